//! preflight: what stands in the way of a copy, and what it costs, before anything is read or written.

use metaferry_pipeline::preflight::{Level, Remark, preflight};
use metaferry_pipeline::{Error, Result, Sink, Source};
use serde_json::json;

use crate::Outcome;
use crate::args::{CopyArgs, WidenArgs};
use crate::context::Context;
use crate::files::Writing;
use crate::open::Place;
use crate::output::{print, tell};
use crate::served::Served;

/// Looks at both ends of a migration, and prints all there is to say.
pub(crate) fn run<S: Served>(
    context: &Context,
    source: &str,
    target: &str,
    widen: WidenArgs,
    live: bool,
) -> Result<Outcome> {
    let (source, target) = (Place::parse(source)?, Place::parse(target)?);
    let options = context.copy_options(&CopyArgs::default());
    let writing = Writing { options: &options, skip_trash: false, widths: widen.widths() };
    let sink = target.sink::<S>(context, None, &writing)?;
    let remarks = preflight(source.source::<S>(context)?.as_ref(), sink.as_ref(), live, &context.stop)?;
    for remark in &remarks {
        if context.common.json {
            print(line(remark));
        } else if !(context.common.quiet && remark.level == Level::Ok) {
            print(shown(remark));
        }
    }
    match remarks.iter().find(|remark| remark.level == Level::Refusal) {
        Some(refusal) => Err(refusal.to_error()),
        None => Ok(Outcome::Holds),
    }
}

/// Looks at both ends of a copy that is about to begin: tells what it costs, and ends it where it would fail.
pub(crate) fn pass<S: Served>(
    context: &Context,
    source: &dyn Source<S>,
    sink: &dyn Sink<S>,
    live: bool,
) -> Result<(), Error> {
    let remarks = preflight(source, sink, live, &context.stop)?;
    let mut refusals = remarks.iter().filter(|remark| remark.level == Level::Refusal);
    let first = refusals.next();
    let warnings = remarks.iter().filter(|remark| remark.level == Level::Warning && !context.common.quiet);
    for remark in warnings.chain(refusals) {
        if context.common.json {
            tell(line(remark));
        } else {
            tell(shown(remark));
        }
    }
    first.map_or(Ok(()), |refusal| Err(refusal.to_error()))
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Refusal => "refused",
    }
}

fn shown(remark: &Remark) -> String {
    let Remark { level, subject, text, advice } = remark;
    let advice = advice.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
    format!("{:<8} {subject}: {text}{advice}", name(*level))
}

fn line(remark: &Remark) -> serde_json::Value {
    let Remark { level, subject, text, advice } = remark;
    json!({ "version": 1, "event": "preflight", "level": name(*level), "subject": subject, "text": text, "advice": advice })
}
