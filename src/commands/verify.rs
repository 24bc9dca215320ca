//! verify: two sources, compared.

use std::time::Instant;

use metaferry_pipeline::Result;
use metaferry_pipeline::verify::{Options, verify};

use crate::Outcome;
use crate::context::Context;
use crate::open::Place;
use crate::output::Printer;
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
