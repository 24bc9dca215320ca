//! ls and cat: a look at one directory or one entry of any source, without loading it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use metaferry_codecs::juicefs::{Reach, Selection};
use metaferry_engines::json::{Listing, ListingSink};
use metaferry_pipeline::copy;
use metaferry_pipeline::{Result, Select};

use crate::Outcome;
use crate::args::CopyArgs;
use crate::context::Context;
use crate::open::Place;

/// Prints the entries of the directory at `path`.
pub(crate) fn ls(context: &Context, source: &str, path: &OsStr) -> Result<Outcome> {
    let listing = if context.common.json { Listing::JsonLines } else { Listing::Lines };
    look(context, source, path, listing)
}

/// Prints the entry at `path` as a JSON dump has it.
pub(crate) fn cat(context: &Context, source: &str, path: &OsStr) -> Result<Outcome> {
    look(context, source, path, Listing::Entry)
}

fn look(context: &Context, source: &str, path: &OsStr, listing: Listing) -> Result<Outcome> {
    let reach = if listing == Listing::Entry { Reach::Entry } else { Reach::Entries };
    let selection = Selection::at_path(path.as_bytes(), reach);
    let source = Place::parse(source)?.source(context)?;
    let options = context.copy_options(&CopyArgs::default());
    let selected = Select::new(source, selection, options.spill.clone(), Arc::clone(&context.monitor));
    let out = Box::new(std::io::BufWriter::new(std::io::stdout()));
    let sink = ListingSink::new(listing, out, options.spill.clone(), options.memory_bytes);
    copy::copy(Box::new(selected), Box::new(sink), &options, &context.monitor, &context.stop)?;
    Ok(Outcome::Holds)
}
