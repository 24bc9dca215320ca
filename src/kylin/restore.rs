//! kylin restore and restore-project: a backup is brought back in one transaction, in the maintenance mode, after what is there was
//! saved; and kylin diff, which only tells what that would change.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use metaferry_codecs::kylin::key::TRASH;
use metaferry_codecs::kylin::{Batch, Kylin};
use metaferry_engines::kylin::store::Reading;
use metaferry_engines::kylin::store::maintenance::{Guard, Held, Process};
use metaferry_engines::kylin::store::patch::{KylinPatch, Restoring};

use metaferry_pipeline::patch::{Changes, Note, Options, Patch, Report, patch};
use metaferry_pipeline::{Error, Result, copy};
use serde_json::json;

use super::saved::{self, Saved};
use super::settings::Settings;
use super::wanted::Wanted;
use super::{backup, maintenance};
use crate::Outcome;
use crate::args::{CopyArgs, FromBackup};
use crate::context::Context;
use crate::open::Place;
use crate::output::{self, Printer, escaped, print, tell, value};
use crate::progress::Progress;

/// How often a wait looks whether it is to end.
const TICK: Duration = Duration::from_millis(100);

/// Brings a backup back.
pub(super) fn run(
    context: &Context,
    settings: &Settings,
    project: Option<&OsStr>,
    from: &FromBackup,
) -> Result<Outcome> {
    let started = Instant::now();
    let wanted = Wanted::find(context, &from.backup, project.map(OsStr::as_bytes))?;
    let restoring = restoring(settings, project, None);
    let target = KylinPatch::open(settings.store.clone(), restoring, &context.stop)?;
    wanted.must_be_of(target.layout())?;
    if from.after_truncate && !from.force {
        wanted.must_not_wipe(context)?;
    }
    let progress = Progress::start(context);
    if from.dry_run {
        let report = change(context, (&wanted, target), &options(context, from), &mut told)?;
        drop(progress);
        return summary(context, "would restore", &report, started);
    }
    drop(target);
    let safe = safe_place(settings, &wanted, from)?;
    let held = hold(context, settings, from)?;
    let guard = held.as_ref().map(Held::guard);
    let target = KylinPatch::open(settings.store.clone(), self::restoring(settings, project, guard), &context.stop)?;
    let mut options = options(context, from);
    let report = match &safe {
        None => change(context, (&wanted, target), &options, &mut |_| {})?,
        Some(path) => {
            // Both are on the way at once.
            options.memory_bytes /= 2;
            let memory_bytes = options.memory_bytes;
            let copying = copy::Options { memory_bytes, ..context.copy_options(&CopyArgs::default()) };
            let reading = Reading { uncounted: true, ..Reading::default() };
            let saving = saved::saving(backup::source(settings, reading), path, copying);
            let target = Saved::new(target, saving);
            change(context, (&wanted, target), &options, &mut |_| {})?
        }
    };
    drop(progress);
    if let (Some(path), false) = (&safe, context.common.quiet) {
        tell(format_args!("note: what was there before is saved in {}", path.display()));
    }
    let outcome = summary(context, "restore", &report, started)?;
    match held.map_or(Ok(true), Held::release) {
        Ok(true) => Ok(outcome),
        Ok(false) => {
            tell("note: somebody else has switched the maintenance mode meanwhile; it was left as it is");
            Ok(outcome)
        }
        Err(error) => {
            tell(format_args!("Exit Maintain Mode failed: {error}"));
            tell("note: the restore is done; metaferry kylin maintenance off --force ends the maintenance mode");
            Ok(Outcome::Found)
        }
    }
}

/// Tells which resources came, went or changed since a backup.
pub(super) fn diff(context: &Context, settings: &Settings, backup: &str) -> Result<Outcome> {
    let started = Instant::now();
    let wanted = Wanted::find(context, backup, None)?;
    let project = wanted.project().map(<[u8]>::to_vec);
    let project = project.as_deref().map(OsStr::from_bytes);
    let target = KylinPatch::open(settings.store.clone(), restoring(settings, project, None), &context.stop)?;
    wanted.must_be_of(target.layout())?;
    let progress = Progress::start(context);
    let options = Options { delete: true, skip_equal: true, dry_run: true, ..plain(context) };
    let as_json = context.common.json;
    let mut count = [0_u64; 3];
    let mut note = |changes: &Changes<Batch>| {
        let (place, mark, word, rows) = match changes {
            Changes::Delete(rows) => (0, "+", "came", rows),
            Changes::Insert(rows) => (1, "-", "went", rows),
            Changes::Replace { after, .. } => (2, "~", "changed", after),
            Changes::Keep(_) => return,
        };
        // What is to be cleaned up is in no backup.
        for key in keys(rows).filter(|key| !TRASH.contains(key)) {
            count.iter_mut().skip(place).take(1).for_each(|count| *count += 1);
            if as_json {
                print(json!({ "version": 1, "event": word, "key": value(key) }));
            } else {
                print(format_args!("{mark} {}", escaped(key)));
            }
        }
    };
    let report = change(context, (&wanted, target), &options, &mut note)?;
    drop(progress);
    let [came, went, changed] = count;
    let printer = Printer { json: as_json, quiet: context.common.quiet, to_stderr: false };
    if !as_json {
        printer.findings(&report.findings, false);
    }
    let seconds = started.elapsed().as_secs_f64();
    if as_json {
        printer.line(json!({ "version": 1, "event": "diff", "came": came, "went": went, "changed": changed,
            "equal": report.equal, "seconds": seconds, "findings": output::findings(&report.findings, false) }));
    } else if !context.common.quiet {
        printer.line(format!(
            "{came} came, {went} went, {changed} changed, {} are equal, in {seconds:.2} s",
            report.equal
        ));
    }
    Ok(if came + went + changed == 0 { Outcome::Holds } else { Outcome::Found })
}

fn restoring(settings: &Settings, project: Option<&OsStr>, guard: Option<Guard>) -> Restoring {
    Restoring {
        project: project.map(|project| project.as_bytes().to_vec()),
        compress: settings.compress,
        log: settings.audit,
        ip: settings.address.clone(),
        guard,
    }
}

fn plain(context: &Context) -> Options {
    Options {
        threads: context.threads(),
        memory_bytes: context.memory_bytes(),
        spill: context.spill(),
        delete: false,
        skip_equal: false,
        dry_run: false,
    }
}

fn options(context: &Context, from: &FromBackup) -> Options {
    let FromBackup { after_truncate: delete, skip_equal, dry_run, .. } = *from;
    Options { delete, skip_equal, dry_run, ..plain(context) }
}

/// Makes the store what is wanted, or finds out what that would change.
fn change(
    context: &Context,
    (wanted, target): (&Wanted, impl Patch<Kylin> + 'static),
    options: &Options,
    note: Note<'_, Batch>,
) -> Result<Report> {
    patch::<Kylin>(wanted.source(context)?, Box::new(target), (options, note), &context.monitor, &context.stop)
}

/// Switches the maintenance mode on, and waits until what was under way is seen.
fn hold(context: &Context, settings: &Settings, from: &FromBackup) -> Result<Option<Held>> {
    if from.no_maintenance {
        return Ok(None);
    }
    context.monitor.begin("maintenance", 0);
    let (reason, mode) = (Process::this().reason(), &settings.server_mode);
    let held = maintenance::of(settings).on(&reason, mode, &context.stop);
    let held = held.map_err(|error| error.at("Enter Maintain Mode failed"))?;
    let begun = Instant::now();
    while begun.elapsed() < settings.catch_up {
        context.stop.check()?;
        std::thread::sleep(TICK.min(settings.catch_up));
    }
    Ok(Some(held))
}

/// Where what is there is saved first.
fn safe_place(settings: &Settings, wanted: &Wanted, from: &FromBackup) -> Result<Option<PathBuf>> {
    if from.no_safety_backup {
        return Ok(None);
    }
    let dir = match (&from.safety_dir, &wanted.place) {
        (Some(dir), _) => Some(dir.clone()),
        (None, Place::KylinBackup(path) | Place::File(path)) => {
            let whole = std::path::absolute(path).ok();
            whole.as_deref().and_then(Path::parent).map(Path::to_owned)
        }
        _ => settings.own_folder("meta_backups")?,
    };
    let dir = dir.ok_or_else(|| {
        Error::config("where the metastore as it is now is to be saved is not known")
            .hint("name a folder with --safety-dir, or go on without with --no-safety-backup")
    })?;
    Ok(Some(dir.join(backup::named("before_restore"))))
}

/// The keys of resources.
fn keys(batch: &Batch) -> impl Iterator<Item = &[u8]> {
    let rows = if let Batch::Resource(rows) = batch { rows.as_slice() } else { &[] };
    rows.iter().map(|row| row.key.as_slice())
}

/// Prints what would change.
fn told(changes: &Changes<Batch>) {
    let (word, rows) = match changes {
        Changes::Insert(rows) => ("insert", rows),
        Changes::Replace { after, .. } => ("replace", after),
        Changes::Delete(rows) => ("remove", rows),
        Changes::Keep(_) => return,
    };
    keys(rows).for_each(|key| print(format_args!("{word} {}", escaped(key))));
}

fn summary(context: &Context, verb: &str, report: &Report, started: Instant) -> Result<Outcome> {
    let Report { inserted, replaced, deleted, equal, kept, conflicts, findings, .. } = report;
    if !conflicts.is_empty() {
        let first: Vec<_> = conflicts.iter().map(|conflict| conflict.text.as_str()).collect();
        return Err(Error::refused("somebody has written meanwhile; nothing was changed")
            .hint(format!("{}; run again once nobody writes", first.join(", "))));
    }
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    let seconds = started.elapsed().as_secs_f64();
    if context.common.json {
        printer.line(json!({ "version": 1, "event": "restored", "verb": verb, "inserted": inserted, "replaced": replaced,
            "removed": deleted, "equal": equal, "kept": kept, "seconds": seconds, "findings": output::findings(findings, false) }));
    } else {
        if !context.common.quiet {
            printer.line(format!(
                "{verb}: {inserted} inserted, {replaced} replaced, {deleted} removed, {equal} equal and left alone, {kept} kept, in {seconds:.2} s"
            ));
        }
        printer.findings(findings, false);
        if verb == "restore" && !context.common.quiet {
            printer.line("Restore succeed.");
        }
    }
    Ok(if findings.is_damaged(false) { Outcome::Found } else { Outcome::Holds })
}
