//! verify: two sources, compared; or one, proven by the checksums it carries.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use metaferry_codecs::juicefs::{Batch, JuiceFs};
use metaferry_codecs::system::Batch as _;
use metaferry_engines::repository::{Listed, Repository, Which};
use metaferry_pipeline::verify::{Options, verify};
use metaferry_pipeline::{Emit, Error, Result, Scope, stage};
use serde_json::json;

use crate::Outcome;
use crate::context::Context;
use crate::open::Place;
use crate::output::{Printer, about, tell};
use crate::progress::Progress;

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
    printer.verdict(&verdict, started.elapsed());
    Ok(if verdict.differences.is_empty() { Outcome::Holds } else { Outcome::Found })
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
    let snapshot = place.source(context)?.snapshot(context.threads(), &context.stop)?;
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
    if let (Some((repository, backup)), 0) = (&backup, damaged) {
        repository.note_verified(backup)?;
    }
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    let seconds = started.elapsed().as_secs_f64();
    if context.common.json {
        printer.line(json!({ "version": 1, "event": "proof", "source": about(&snapshot.about()), "rows": rows,
            "damaged": damaged, "told": told, "seconds": seconds }));
    } else {
        told.iter().for_each(|text| tell(format_args!("damaged: {text}")));
        if damaged > 0 {
            printer.line(format!("damaged: {damaged} stretches of rows are lost"));
        } else if !context.common.quiet {
            printer.line(format!("proven: {rows} rows in {seconds:.2} s, every checksum holds"));
        }
    }
    Ok(if damaged > 0 { Outcome::Found } else { Outcome::Holds })
}

/// Of a repository, the one backup that is meant: another may become the newest meanwhile.
pub(crate) fn settled(context: &Context, place: Place) -> Result<(Place, Option<(Repository, Listed)>)> {
    let Place::Repository(address) = &place else { return Ok((place, None)) };
    let repository = Repository::open(address, &context.keys()?, &context.stop)?;
    let backup = repository.chosen()?;
    let address = address.meaning(Which::Id(backup.id().to_owned()));
    Ok((Place::Repository(address), Some((repository, backup))))
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
