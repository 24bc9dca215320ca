//! dump, load and migrate: copies that differ in what stands at either end and in what is asked of the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use metaferry_codecs::juicefs::tables::Widths;
use metaferry_codecs::system::Advance;
use metaferry_pipeline::copy::{self, Options, Report};
use metaferry_pipeline::{Error, Result, Select, Source};

use crate::Outcome;
use crate::args::{CopyArgs, Format, MendArgs, WidenArgs};
use crate::commands::preflight;
use crate::context::Context;
use crate::files::Writing;
use crate::open::Place;
use crate::output::{Printer, tell};
use crate::progress::Progress;
use crate::secrets;
use crate::served::Served;

/// Where something goes, and how.
struct Route {
    verb: &'static str,
    target: Place,
    format: Option<Format>,
    skip_trash: bool,
    widths: Widths,
}

/// What only a load is asked.
pub(crate) struct Load {
    pub(crate) mend: MendArgs,
    pub(crate) widen: WidenArgs,
    pub(crate) verify: bool,
    pub(crate) strict: bool,
    pub(crate) secret_key_file: Option<PathBuf>,
    pub(crate) advance: Advance,
}

/// What only a migration is asked.
pub(crate) struct Migrate {
    pub(crate) mend: MendArgs,
    pub(crate) widen: WidenArgs,
    pub(crate) no_verify: bool,
    pub(crate) live: bool,
}

/// What goes into a file: how that is written, and what of the source is carried.
pub(crate) struct IntoFile<'a> {
    pub(crate) format: Option<Format>,
    pub(crate) copy: &'a CopyArgs,
}

/// An engine into a file; either order of the two is right.
pub(crate) fn dump<S: Served>(context: &Context, source: &str, target: &str, into: &IntoFile<'_>) -> Result<Outcome> {
    let (source, target) = in_order(Place::parse(source)?, Place::parse(target)?, true)?;
    if target.is_engine() {
        return Err(Error::config(format!("{target} is an engine; a dump goes to a file"))
            .hint("migrate copies an engine into another"));
    }
    into_file::<S>(context, "dump", (&source, target), into)
}

/// A file into a file of another format.
pub(crate) fn convert<S: Served>(
    context: &Context,
    source: &str,
    target: &str,
    into: &IntoFile<'_>,
) -> Result<Outcome> {
    let (source, target) = (Place::parse(source)?, Place::parse(target)?);
    if let Some(engine) = [&source, &target].into_iter().find(|place| place.is_engine()) {
        return Err(Error::config(format!("{engine} is an engine; convert goes from a file to a file"))
            .hint("dump copies an engine into a file, load a file into an engine"));
    }
    into_file::<S>(context, "convert", (&source, target), into)
}

/// Any source into a file.
pub(crate) fn into_file<S: Served>(
    context: &Context,
    verb: &'static str,
    (source, target): (&Place, Place),
    into: &IntoFile<'_>,
) -> Result<Outcome> {
    let options = context.copy_options(into.copy);
    let selected = selected::<S>(context, source, into.copy, &options)?;
    let skip_trash = into.copy.skip_trash || into.copy.subdir.is_some();
    let route = Route { verb, target, format: into.format, skip_trash, widths: Widths::Stock };
    run::<S>(context, &route, selected, &options)
}

/// A file into an empty engine; either order of the two is right.
pub(crate) fn load<S: Served>(
    context: &Context,
    source: &str,
    target: &str,
    args: &CopyArgs,
    load: &Load,
) -> Result<Outcome> {
    let (source, target) = in_order(Place::parse(source)?, Place::parse(target)?, false)?;
    load_from::<S>(context, "load", (&source, target), args, load)
}

/// A file or a backup into an empty engine.
pub(crate) fn load_from<S: Served>(
    context: &Context,
    verb: &'static str,
    (source, target): (&Place, Place),
    args: &CopyArgs,
    load: &Load,
) -> Result<Outcome> {
    if !target.is_engine() {
        return Err(Error::config(format!("{target} is no engine; a {verb} goes to an engine")));
    }
    S::must_fit(&load.mend, load.widen)?;
    let MendArgs { keep_counters, mend } = load.mend;
    let Load { advance, strict, verify: prove, .. } = *load;
    let options = Options { keep_counters, advance, mend, prove, strict, ..context.copy_options(args) };
    let key = load.secret_key_file.as_deref().map(secrets::read).transpose()?;
    let (source, advice) = S::watched(selected::<S>(context, source, args, &options)?, key)?;
    let widths = load.widen.widths();
    let route = Route { verb, target, format: None, skip_trash: false, widths };
    let outcome = run::<S>(context, &route, source, &options)?;
    for line in advice(&route.target.to_string()) {
        tell(format_args!("note: {line}"));
    }
    Ok(outcome)
}

/// An engine into another, empty one.
pub(crate) fn migrate<S: Served>(
    context: &Context,
    source: &str,
    target: &str,
    args: &CopyArgs,
    migrate: &Migrate,
) -> Result<Outcome> {
    let (source, target) = (Place::parse(source)?, Place::parse(target)?);
    if !source.is_engine() || !target.is_engine() {
        return Err(Error::config("migrate takes two engines").hint("dump and load take a file on one side"));
    }
    S::must_fit(&migrate.mend, migrate.widen)?;
    let MendArgs { keep_counters, mend } = migrate.mend;
    let prove = !migrate.no_verify;
    let options = Options { keep_counters, mend, prove, live: migrate.live, ..context.copy_options(args) };
    let source = S::migrating(source);
    let selected = selected::<S>(context, &source, args, &options)?;
    let widths = migrate.widen.widths();
    let route = Route { verb: "migrate", target, format: None, skip_trash: false, widths };
    let outcome = run::<S>(context, &route, selected, &options)?;
    if !context.common.quiet {
        tell(format_args!("note: {source} must stay offline or read-only from now on: {}", S::TWO_IN_USE));
    }
    Ok(outcome)
}

/// JuiceFS dumps `META FILE` and loads `META FILE`; people say `FILE META`. Whichever is the engine tells.
fn in_order(left: Place, right: Place, engine_first: bool) -> Result<(Place, Place)> {
    match (left.is_engine(), right.is_engine()) {
        (true, false) | (false, true) if left.is_engine() != engine_first => Ok((right, left)),
        _ => Ok((left, right)),
    }
}

/// What is to be carried of a source.
pub(crate) fn selected<S: Served>(
    context: &Context,
    source: &Place,
    args: &CopyArgs,
    options: &Options,
) -> Result<Box<dyn Source<S>>> {
    let source = source.source::<S>(context)?;
    let Some(selection) = S::selection(args)? else { return Ok(source) };
    Ok(Box::new(Select::new(source, selection, options.spill.clone(), Arc::clone(&context.monitor))))
}

fn run<S: Served>(context: &Context, route: &Route, source: Box<dyn Source<S>>, options: &Options) -> Result<Outcome> {
    let Route { verb, target, format, skip_trash, widths } = route;
    let started = Instant::now();
    let progress = Progress::start(context);
    let sink = target.sink::<S>(context, *format, &Writing { options, skip_trash: *skip_trash, widths: *widths })?;
    if target.is_engine() {
        preflight::pass(context, source.as_ref(), sink.as_ref(), options.live)?;
    }
    let report: Report<S> = copy::copy(source, sink, options, &context.monitor, &context.stop)?;
    drop(progress);
    let common = &context.common;
    let printer = Printer { json: common.json, quiet: common.quiet, to_stderr: target.is_pipe() };
    printer.copied(verb, &report, started.elapsed());
    Ok(if report.findings.is_damaged(report.mended) { Outcome::Found } else { Outcome::Holds })
}
