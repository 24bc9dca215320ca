//! verify: two sources, compared; or one, proven by the checksums it carries.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use metaferry_codecs::juicefs::{Batch, JuiceFs, Kind};
use metaferry_codecs::system::{Batch as _, Kind as _};
use metaferry_engines::repository::{Damaged, Listed, Repository, RepositoryAddress, RepositorySource, Which, hurt};
use metaferry_engines::sqlite::{SqliteAddress, SqliteSink};
use metaferry_pipeline::copy::{self, Report};
use metaferry_pipeline::verify::{Difference, Options, Verdict, verify};
use metaferry_pipeline::{Emit, Error, Result, Scope, Source, stage};
use serde_json::{Value, json};

use crate::Outcome;
use crate::args::CopyArgs;
use crate::context::Context;
use crate::open::Place;
use crate::output::{Printer, about, tell};
use crate::progress::Progress;

/// The counters that hand out numbers.
const NEXT: [&str; 2] = ["nextInode", "nextChunk"];

/// Compares two sources and prints the verdict.
pub(crate) fn run(context: &Context, left: &str, right: &str, limit: usize) -> Result<Outcome> {
    let (left, right) = (Place::parse(left)?, Place::parse(right)?);
    let started = Instant::now();
    let options =
        Options { threads: context.threads(), memory_bytes: context.memory_bytes(), spill: context.spill(), limit };
    let progress = Progress::start(context);
    let verdict = verify(&|| left.source(context), &|| right.source(context), &options, &context.stop)?;
    drop(progress);
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    let moved_on = if !left.is_engine() && right.is_engine() { moved_on(&verdict) } else { Vec::new() };
    printer.verdict(&verdict, &moved_on, started.elapsed());
    Ok(if verdict.differences.is_empty() || !moved_on.is_empty() { Outcome::Holds } else { Outcome::Found })
}

/// By how much the next numbers of a volume are past those of the backup, where nothing else differs: a restore leaves them so.
/// Empty where anything else does.
fn moved_on(verdict: &Verdict<JuiceFs>) -> Vec<(String, u64)> {
    let moved = |row: &Difference| {
        let counter = |text: &Option<String>| {
            let row: Value = serde_json::from_str(text.as_ref()?).ok()?;
            let name = row.get("name")?.as_str().filter(|name| NEXT.contains(name))?;
            Some((name.to_owned(), row.get("value")?.as_u64()?))
        };
        let ((left, had), (right, has)) = (counter(&row.left)?, counter(&row.right)?);
        Some((left == right).then_some(left)?).zip(has.checked_sub(had))
    };
    let moved: Vec<_> =
        verdict.rows.iter().filter(|row| row.kind == Kind::Counter.info().name).filter_map(moved).collect();
    if moved.len() as u64 == verdict.differing.total() { moved } else { Vec::new() }
}

/// Reads all of a source that carries checksums; each of them is held, and what is damaged is told.
pub(crate) fn prove(context: &Context, source: &str, limit: usize) -> Result<Outcome> {
    let (place, backup) = settled(context, Place::parse(source)?)?;
    if place.is_engine() {
        return Err(
            Error::config(format!("{place} carries no checksums")).hint("name a second source to compare it with")
        );
    }
    let started = Instant::now();
    let progress = Progress::start(context);
    let (source, blobs) = collecting(context, &place)?;
    let snapshot = source.snapshot(context.threads(), &context.stop)?;
    let partitions = snapshot.plan(&Scope::<JuiceFs>::default())?;
    context.monitor.begin("prove", partitions.iter().map(|partition| partition.weight).sum());
    let (next, partitions, snapshot) = (&AtomicUsize::new(0), &partitions, snapshot.as_ref());
    let worker = |_| {
        move || {
            let mut proof = Proof { rows: 0, damaged: 0, told: Vec::new(), limit, context };
            while let Some(partition) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                snapshot.scan(partition, &mut proof)?;
            }
            Ok((proof.rows, proof.damaged, proof.told))
        }
    };
    let proofs = stage::run_alone(&context.stop, (0..context.threads()).map(worker).collect())?;
    snapshot.finish()?;
    drop(progress);
    let (mut rows, mut damaged, mut told) = (0, 0, Vec::new());
    for (more_rows, more_damaged, more_told) in proofs {
        rows += more_rows;
        damaged += more_damaged;
        told.extend(more_told);
    }
    told.truncate(limit);
    let hurt = match &backup {
        Some((repository, backup)) if damaged == 0 => repository.note_verified(backup).map(|()| Vec::new())?,
        Some((repository, _)) => hurt::<JuiceFs>(repository, &blobs.lock().unwrap_or_else(PoisonError::into_inner))?,
        None => Vec::new(),
    };
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    let seconds = started.elapsed().as_secs_f64();
    if context.common.json {
        printer.line(json!({ "version": 1, "event": "proof", "source": about(&snapshot.about()), "rows": rows,
            "damaged": damaged, "told": told, "seconds": seconds,
            "hurt": hurt.iter().map(|backup| backup.name.as_str()).collect::<Vec<_>>() }));
    } else {
        told.iter().for_each(|text| tell(format_args!("damaged: {text}")));
        hurt.iter().for_each(|backup| tell(format_args!("hurt: backup {}", backup.name)));
        if damaged > 0 {
            printer.line(format!("damaged: {damaged} stretches of rows are lost"));
        } else if !context.common.quiet {
            printer.line(format!("proven: {rows} rows in {seconds:.2} s, every checksum holds"));
        }
    }
    Ok(if damaged > 0 { Outcome::Found } else { Outcome::Holds })
}

/// Restores a backup into a scratch database, which is read back and counted, and takes note that it was.
///
/// # Errors
/// Those of the copy: what of the backup cannot be had, and where the database is not equal to it.
pub(crate) fn prove_deep(
    context: &Context,
    repository: &Repository,
    (address, backup): (&RepositoryAddress, &Listed),
) -> Result<Report<JuiceFs>> {
    let address = address.meaning(Which::Id(backup.id().to_owned()));
    let failed = |cause| Error::engine("a folder for a scratch database", cause);
    let folder = match &context.common.spill_dir {
        Some(place) => tempfile::tempdir_in(place),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(failed)?;
    let source = Place::Repository(address).source(context)?;
    let sink = Box::new(SqliteSink::new(SqliteAddress::file(folder.path().join("scratch.db"))));
    let options = copy::Options { prove: true, ..context.copy_options(&CopyArgs::default()) };
    let report = copy::copy(source, sink, &options, &context.monitor, &context.stop);
    let report = report.map_err(|error| error.at(format!("backup {}", backup.name)))?;
    folder.close().map_err(failed)?;
    repository.note_verified(backup)?;
    Ok(report)
}

/// Restores a backup into a scratch database, and prints what came of it.
pub(crate) fn deep(context: &Context, source: &str) -> Result<Outcome> {
    let Place::Repository(address) = Place::parse(source)? else {
        return Err(Error::config(format!("{source} is no repository"))
            .hint("verify reads all of a file, --deep restores a backup"));
    };
    let started = Instant::now();
    let progress = Progress::start(context);
    let repository = Repository::open(&address, &context.keys()?, &context.stop)?;
    let backup = repository.chosen()?;
    let report = prove_deep(context, &repository, (&address, &backup))?;
    drop(progress);
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    printer.copied("restored", &report, started.elapsed());
    if !context.common.json && !context.common.quiet {
        printer.line(format!("proven: backup {} restores, and is equal when it is read back", backup.name));
    }
    Ok(if report.findings.is_damaged(report.mended) { Outcome::Found } else { Outcome::Holds })
}

/// A place, and the backup where it is one.
type Settled = (Place, Option<(Arc<Repository>, Listed)>);

/// Of a repository, the one backup that is meant: another may become the newest meanwhile.
pub(crate) fn settled(context: &Context, place: Place) -> Result<Settled> {
    let Place::Repository(address) = &place else { return Ok((place, None)) };
    let repository = Arc::new(Repository::open(address, &context.keys()?, &context.stop)?);
    let backup = repository.chosen()?;
    let address = address.meaning(Which::Id(backup.id().to_owned()));
    Ok((Place::Repository(address), Some((repository, backup))))
}

/// A source, and what of a repository it finds damaged.
fn collecting(context: &Context, place: &Place) -> Result<(Box<dyn Source<JuiceFs>>, Damaged)> {
    let Place::Repository(address) = place else { return Ok((place.source(context)?, Damaged::default())) };
    let source = RepositorySource::new(address.clone(), context.keys()?);
    let damaged = source.damaged();
    Ok((Box::new(source), damaged))
}

/// Counts what is read, and what cannot be.
struct Proof<'a> {
    rows: u64,
    damaged: u64,
    told: Vec<String>,
    limit: usize,
    context: &'a Context,
}

impl Emit<JuiceFs> for Proof<'_> {
    fn emit(&mut self, batch: Batch) -> Result<()> {
        self.context.stop.check()?;
        self.rows += batch.len() as u64;
        self.context.monitor.scanned(batch.len());
        Ok(())
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        self.damaged += 1;
        if self.told.len() < self.limit {
            self.told.push(format!("{place}: {why}"));
        }
        Ok(())
    }

    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}
