//! info: what an engine or a file holds, without carrying it anywhere.

use std::collections::{BTreeMap, BTreeSet};

use metaferry_codecs::system::{Batch as _, Kind as _};
use metaferry_codecs::tally::DIGEST_VERSION;
use metaferry_engines::archive::Description;
use metaferry_pipeline::{Emit, Error, Result, Scope};
use serde_json::json;

use crate::Outcome;
use crate::context::Context;
use crate::open::Place;
use crate::output::{Printer, about, by_kind, cell, table};
use crate::served::Served;

/// Tells what a source is and how much of what it holds. An archive in a file says so itself: only its setting is read. Of
/// everything else every row is.
pub(crate) fn run<S: Served>(context: &Context, source: &str) -> Result<Outcome> {
    let place = Place::parse(source)?;
    let description = place.description::<S>()?;
    let kinds = description.is_some().then(|| BTreeSet::from([S::SEAL]));
    let scope = Scope::<S> { kinds, buckets: None };
    let snapshot = place.source::<S>(context)?.snapshot(1, &context.stop)?;
    let mut count = Count::<S> { rows: BTreeMap::new(), seal: None, damaged: 0, context };
    for partition in snapshot.plan(&scope)? {
        snapshot.scan(&partition, &mut count)?;
    }
    match &description {
        Some(description) => count.rows.clone_from(&description.rows),
        None => snapshot.finish()?,
    }
    let seal = count.seal.ok_or_else(|| Error::corrupt(format!("{place}: there is no setting in it")))?;
    let (what, shown, line) = S::introduce(&seal).map_err(|error| error.at(&place))?;
    let said = snapshot.about();
    let printer = Printer { json: context.common.json, quiet: false, to_stderr: false };
    if context.common.json {
        printer.line(json!({
            "version": 1, "event": "info", "source": about(&said), "rows": by_kind(&count.rows), "damaged": count.damaged,
            what: shown,
            "archive": description.map(|archive| json!({
                "bytes": archive.length, "segments": archive.segments, "text_bytes": archive.bytes,
                "tally": cell(&archive.tally.total()), "digest_version": DIGEST_VERSION,
            })),
        }));
    } else {
        printer.line(line);
        printer.line(format!("source {}, snapshot {}", said.origin, said.guarantee));
        said.notes.iter().for_each(|note| printer.line(format!("note: {note}")));
        if let Some(archive) = &description {
            let Description { length, segments, bytes, tally, .. } = archive;
            printer.line(format!("archive of {length} bytes: {segments} segments, {bytes} bytes of text"));
            printer.line(format!("tally: {:032x}", tally.total().digest));
        }
        let mut table = table(["kind", "rows"]);
        for (kind, rows) in &count.rows {
            table.add_row([kind.info().name.to_owned(), rows.to_string()]);
        }
        printer.line(table);
        if count.damaged > 0 {
            printer.line(format!("damaged: {} rows cannot be decoded", count.damaged));
        }
    }
    Ok(if count.damaged > 0 { Outcome::Found } else { Outcome::Holds })
}

struct Count<'a, S: Served> {
    rows: BTreeMap<S::Kind, u64>,
    seal: Option<S::Batch>,
    damaged: u64,
    context: &'a Context,
}

impl<S: Served> Emit<S> for Count<'_, S> {
    fn emit(&mut self, mut batch: S::Batch) -> Result<()> {
        self.context.stop.check()?;
        batch.canonicalize();
        if !batch.is_empty() {
            *self.rows.entry(batch.kind()).or_default() += batch.len() as u64;
            if batch.kind() == S::SEAL {
                self.seal = Some(batch);
            }
        }
        Ok(())
    }

    fn damaged(&mut self, _place: String, _why: metaferry_codecs::Error) -> Result<()> {
        self.damaged += 1;
        Ok(())
    }

    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}
