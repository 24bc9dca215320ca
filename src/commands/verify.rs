//! verify of two sources: they are compared.

use std::sync::Arc;
use std::time::Instant;

use metaferry_engines::repository::{Listed, Repository, Which};
use metaferry_pipeline::Result;
use metaferry_pipeline::verify::{Options, verify};

use crate::Outcome;
use crate::context::Context;
use crate::open::Place;
use crate::output::Printer;
use crate::progress::Progress;
use crate::served::Served;

/// Compares two sources and prints the verdict.
pub(crate) fn run<S: Served>(context: &Context, left: &str, right: &str, limit: usize) -> Result<Outcome> {
    let (left, right) = (Place::parse(left)?, Place::parse(right)?);
    let started = Instant::now();
    let options =
        Options { threads: context.threads(), memory_bytes: context.memory_bytes(), spill: context.spill(), limit };
    let progress = Progress::start(context);
    let verdict = verify(&|| left.source::<S>(context), &|| right.source::<S>(context), &options, &context.stop)?;
    drop(progress);
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    let moved_on = if !left.is_engine() && right.is_engine() { S::moved_on(&verdict) } else { Vec::new() };
    printer.verdict(&verdict, &moved_on, started.elapsed());
    Ok(if verdict.differences.is_empty() || !moved_on.is_empty() { Outcome::Holds } else { Outcome::Found })
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
