//! verify of one source: what carries checksums is read whole, and each of them is held; a backup is restored into a scratch
//! database. Of a repository, it is told which backups are hurt.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use metaferry_codecs::system::Batch as _;
use metaferry_engines::repository::{
    Damaged, Listed, Repository, RepositoryAddress, RepositorySource, Which, hurt, mark_damaged,
};
use metaferry_pipeline::copy::{self, Report};
use metaferry_pipeline::{About, Emit, Error, Result, Scope, Source, stage};
use serde_json::json;

use crate::Outcome;
use crate::args::CopyArgs;
use crate::commands::verify::settled;
use crate::context::Context;
use crate::open::Place;
use crate::output::{Printer, about, tell};
use crate::progress::Progress;
use crate::served::Served;

/// Reads all of a source that carries checksums; each of them is held, and what is damaged is told.
pub(crate) fn prove<S: Served>(context: &Context, source: &str, limit: usize) -> Result<Outcome> {
    let (place, backup) = settled(context, Place::parse(source)?)?;
    if place.is_engine() {
        return Err(
            Error::config(format!("{place} carries no checksums")).hint("name a second source to compare it with")
        );
    }
    let started = Instant::now();
    let progress = Progress::start(context);
    let proven = read_all::<S>(context, (&place, backup.as_ref()), limit)?;
    drop(progress);
    if let Some((repository, backup)) = backup.as_ref().filter(|_| proven.damaged == 0) {
        told_if_not(repository.note_verified(backup));
    }
    let Proven { about: said, rows, damaged, told, hurt } = proven;
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    let seconds = started.elapsed().as_secs_f64();
    if context.common.json {
        printer.line(json!({ "version": 1, "event": "proof", "source": about(&said), "rows": rows,
            "damaged": damaged, "told": told, "seconds": seconds,
            "hurt": hurt.iter().map(|backup| backup.name.as_str()).collect::<Vec<_>>() }));
    } else {
        told.iter().for_each(|text| tell(format_args!("damaged: {text}")));
        hurt.iter().for_each(|backup| tell(format_args!("hurt: backup {}", backup.name)));
        if damaged > 0 {
            printer.line(format!("damaged: {damaged} stretches of rows are lost"));
            if backup.is_some() {
                tell(
                    "note: the next backup sends again what of this the volume still has, which mends earlier ones too",
                );
            }
        } else if !context.common.quiet {
            printer.line(format!("proven: {rows} rows in {seconds:.2} s, every checksum holds"));
        }
    }
    Ok(if damaged > 0 { Outcome::Found } else { Outcome::Holds })
}

/// What a proof came to.
struct Proven {
    about: About,
    rows: u64,
    /// Stretches of rows that cannot be had, and some of them in words.
    damaged: u64,
    told: Vec<String>,
    /// The backups that need what is damaged.
    hurt: Vec<Listed>,
}

/// Reads all of a place. Of a backup it takes note of what is damaged.
fn read_all<S: Served>(
    context: &Context,
    (place, backup): (&Place, Option<&(Arc<Repository>, Listed)>),
    limit: usize,
) -> Result<Proven> {
    let (source, blobs) = collecting::<S>(context, place)?;
    let snapshot = source.snapshot(context.threads(), &context.stop)?;
    let partitions = snapshot.plan(&Scope::<S>::default())?;
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
    let mut proven = Proven { about: snapshot.about(), rows: 0, damaged: 0, told: Vec::new(), hurt: Vec::new() };
    for (rows, damaged, told) in proofs {
        proven.rows += rows;
        proven.damaged += damaged;
        proven.told.extend(told);
    }
    proven.told.truncate(limit);
    if let Some((repository, _)) = backup.filter(|_| proven.damaged > 0) {
        let blobs = blobs.lock().unwrap_or_else(PoisonError::into_inner);
        proven.hurt = hurt::<S>(repository, &blobs)?;
        told_if_not(mark_damaged(repository, &blobs));
    }
    Ok(proven)
}

/// It may be that nothing can be written in a repository; what was found there holds all the same.
fn told_if_not(noted: Result<()>) {
    if let Err(error) = noted {
        tell(format_args!("note: what was found could not be noted in the repository: {error}"));
    }
}

/// Fails where anything of a backup cannot be had, and takes note of that.
fn must_be_whole<S: Served>(
    context: &Context,
    place: &Place,
    (repository, backup): (&Arc<Repository>, &Listed),
) -> Result<()> {
    let Proven { told, hurt, .. } =
        read_all::<S>(context, (place, Some(&(Arc::clone(repository), backup.clone()))), 1)?;
    let Some(first) = told.into_iter().next() else { return Ok(()) };
    let names: Vec<_> = hurt.iter().map(|backup| backup.name.as_str()).collect();
    let hint = "the next backup sends again what of this the volume still has";
    Err(Error::corrupt(first).hint(format!("hurt: {}; {hint}", names.join(", "))))
}

/// Restores a backup into a scratch database, which is read back and counted, and takes note that it was.
///
/// # Errors
/// Those of the copy: what of the backup cannot be had, and where the database is not equal to it.
pub(crate) fn prove_deep<S: Served>(
    context: &Context,
    repository: &Arc<Repository>,
    (address, backup): (&RepositoryAddress, &Listed),
) -> Result<Report<S>> {
    let address = address.meaning(Which::Id(backup.id().to_owned()));
    let failed = |cause| Error::engine("a folder for a scratch database", cause);
    let folder = match &context.common.spill_dir {
        Some(place) => tempfile::tempdir_in(place),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(failed)?;
    let place = Place::Repository(address);
    must_be_whole::<S>(context, &place, (repository, backup))?;
    let source = place.source::<S>(context)?;
    let sink = S::scratch(folder.path())?;
    let options = copy::Options { prove: true, ..context.copy_options(&CopyArgs::default()) };
    let report = copy::copy(source, sink, &options, &context.monitor, &context.stop);
    let report = report.map_err(|error| error.at(format!("backup {}", backup.name)))?;
    folder.close().map_err(failed)?;
    told_if_not(repository.note_verified(backup));
    Ok(report)
}

/// Restores a backup into a scratch database, and prints what came of it.
pub(crate) fn deep<S: Served>(context: &Context, source: &str) -> Result<Outcome> {
    let Place::Repository(address) = Place::parse(source)? else {
        return Err(Error::config(format!("{source} is no repository"))
            .hint("verify reads all of a file, --deep restores a backup"));
    };
    let started = Instant::now();
    let progress = Progress::start(context);
    let repository = Arc::new(Repository::open(&address, &context.keys()?, &context.stop)?);
    let backup = repository.chosen()?;
    let report = prove_deep::<S>(context, &repository, (&address, &backup))?;
    drop(progress);
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    printer.copied("restored", &report, started.elapsed());
    if !context.common.json && !context.common.quiet {
        printer.line(format!("proven: backup {} restores, and is equal when it is read back", backup.name));
    }
    Ok(if report.findings.is_damaged(report.mended) { Outcome::Found } else { Outcome::Holds })
}

/// A source, and what of a repository it finds damaged.
fn collecting<S: Served>(context: &Context, place: &Place) -> Result<(Box<dyn Source<S>>, Damaged)> {
    let Place::Repository(address) = place else { return Ok((place.source::<S>(context)?, Damaged::default())) };
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

impl<S: Served> Emit<S> for Proof<'_> {
    fn emit(&mut self, batch: S::Batch) -> Result<()> {
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
