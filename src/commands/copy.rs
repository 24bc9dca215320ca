//! dump, load and migrate: copies that differ in what stands at either end and in what is asked of the end.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use metaferry_codecs::juicefs::tables::Widths;
use metaferry_codecs::juicefs::{JuiceFs, Reach, Selection};
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
use crate::secrets::{self, Watched};

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
pub(crate) fn dump(context: &Context, source: &str, target: &str, into: &IntoFile<'_>) -> Result<Outcome> {
    let (source, target) = in_order(Place::parse(source)?, Place::parse(target)?, true)?;
    if target.is_engine() {
        return Err(Error::config(format!("{target} is an engine; a dump goes to a file"))
            .hint("migrate copies an engine into another"));
    }
    into_file(context, "dump", (&source, target), into)
}

/// A file into a file of another format.
pub(crate) fn convert(context: &Context, source: &str, target: &str, into: &IntoFile<'_>) -> Result<Outcome> {
    let (source, target) = (Place::parse(source)?, Place::parse(target)?);
    if let Some(engine) = [&source, &target].into_iter().find(|place| place.is_engine()) {
        return Err(Error::config(format!("{engine} is an engine; convert goes from a file to a file"))
            .hint("dump copies an engine into a file, load a file into an engine"));
    }
    into_file(context, "convert", (&source, target), into)
}

/// Any source into a file.
pub(crate) fn into_file(
    context: &Context,
    verb: &'static str,
    (source, target): (&Place, Place),
    into: &IntoFile<'_>,
) -> Result<Outcome> {
    let options = context.copy_options(into.copy);
    let selected = selected(context, source, into.copy, &options)?;
    let skip_trash = into.copy.skip_trash || into.copy.subdir.is_some();
    let route = Route { verb, target, format: into.format, skip_trash, widths: Widths::Stock };
    run(context, &route, selected, &options)
}

/// A file into an empty engine; either order of the two is right.
pub(crate) fn load(context: &Context, source: &str, target: &str, args: &CopyArgs, load: &Load) -> Result<Outcome> {
    let (source, target) = in_order(Place::parse(source)?, Place::parse(target)?, false)?;
    load_from(context, "load", (&source, target), args, load)
}

/// A file or a backup into an empty engine.
pub(crate) fn load_from(
    context: &Context,
    verb: &'static str,
    (source, target): (&Place, Place),
    args: &CopyArgs,
    load: &Load,
) -> Result<Outcome> {
    if !target.is_engine() {
        return Err(Error::config(format!("{target} is no engine; a {verb} goes to an engine")));
    }
    let MendArgs { keep_counters, mend } = load.mend;
    let Load { advance, strict, verify: prove, .. } = *load;
    let options = Options { keep_counters, advance, mend, prove, strict, ..context.copy_options(args) };
    let key = load.secret_key_file.as_deref().map(secrets::read).transpose()?;
    let (source, missing) = Watched::new(selected(context, source, args, &options)?, key);
    let widths = load.widen.widths();
    let route = Route { verb, target, format: None, skip_trash: false, widths };
    let outcome = run(context, &route, Box::new(source), &options)?;
    for line in secrets::advice(&missing.names(), &route.target.to_string()) {
        tell(format_args!("note: {line}"));
    }
    Ok(outcome)
}

/// An engine into another, empty one.
pub(crate) fn migrate(
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
    let MendArgs { keep_counters, mend } = migrate.mend;
    let prove = !migrate.no_verify;
    let options = Options { keep_counters, mend, prove, live: migrate.live, ..context.copy_options(args) };
    let selected = selected(context, &source, args, &options)?;
    let widths = migrate.widen.widths();
    let route = Route { verb: "migrate", target, format: None, skip_trash: false, widths };
    let outcome = run(context, &route, selected, &options)?;
    if !context.common.quiet {
        tell(format_args!(
            "note: {source} must stay offline or read-only from now on: both would hand out the same object names"
        ));
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
pub(crate) fn selected(
    context: &Context,
    source: &Place,
    args: &CopyArgs,
    options: &Options,
) -> Result<Box<dyn Source<JuiceFs>>> {
    let source = source.source(context)?;
    let selection = match &args.subdir {
        Some(path) => Selection::at_path(path.as_bytes(), Reach::Everything),
        None if args.skip_trash => Selection::without_trash(),
        None => return Ok(source),
    };
    Ok(Box::new(Select::new(source, selection, options.spill.clone(), Arc::clone(&context.monitor))))
}

fn run(context: &Context, route: &Route, source: Box<dyn Source<JuiceFs>>, options: &Options) -> Result<Outcome> {
    let Route { verb, target, format, skip_trash, widths } = route;
    let started = Instant::now();
    let progress = Progress::start(context);
    let sink = target.sink(context, *format, &Writing { options, skip_trash: *skip_trash, widths: *widths })?;
    if target.is_engine() {
        preflight::pass(context, source.as_ref(), sink.as_ref(), options.live)?;
    }
    let report: Report<JuiceFs> = copy::copy(source, sink, options, &context.monitor, &context.stop)?;
    drop(progress);
    let common = &context.common;
    let printer = Printer { json: common.json, quiet: common.quiet, to_stderr: target.is_pipe() };
    printer.copied(verb, &report, started.elapsed());
    Ok(if report.findings.is_damaged(report.mended) { Outcome::Found } else { Outcome::Holds })
}
