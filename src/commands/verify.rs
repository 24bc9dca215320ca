//! verify of two sources: they are compared.

use std::sync::Arc;
use std::time::Instant;

use metaferry_codecs::juicefs::{JuiceFs, Kind};
use metaferry_codecs::system::Kind as _;
use metaferry_engines::repository::{Listed, Repository, Which};
use metaferry_pipeline::Result;
use metaferry_pipeline::verify::{Difference, Options, Verdict, verify};
use serde_json::Value;

use crate::Outcome;
use crate::context::Context;
use crate::open::Place;
use crate::output::Printer;
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
