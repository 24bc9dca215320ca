//! kylin list, fetch and cat: some resources of the store, without the rest.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use metaferry_codecs::kylin::{Batch, Kind, Kylin};
use metaferry_engines::kylin::folder::{BackupSink, Form};
use metaferry_engines::kylin::store::{KylinSource, Reading};
use metaferry_pipeline::{Emit, Error, Result, Scope, Source, copy};
use serde_json::json;

use super::backup;
use super::settings::Settings;
use crate::Outcome;
use crate::args::CopyArgs;
use crate::context::Context;
use crate::output::{escaped, print, value};

/// Prints what is directly in a folder.
pub(super) fn list(context: &Context, settings: &Settings, path: &OsStr) -> Result<Outcome> {
    let folder = path.as_bytes().strip_suffix(b"/").unwrap_or(path.as_bytes()).to_vec();
    let mut children = BTreeSet::new();
    read(context, settings, &folder, true, &mut |batch| {
        let Batch::Resource(rows) = batch else { return Ok(()) };
        for row in rows {
            let rest = row.key.strip_prefix(folder.as_slice()).unwrap_or_default();
            let rest = rest.strip_prefix(b"/").unwrap_or(rest);
            let name = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
            if !name.is_empty() {
                children.insert(row.key.get(..row.key.len() - rest.len() + name.len()).unwrap_or(&row.key).to_vec());
            }
        }
        Ok(())
    })?;
    if children.is_empty() {
        return Err(absent(&folder));
    }
    for child in &children {
        if context.common.json {
            print(json!({ "version": 1, "event": "listed", "key": value(child) }));
        } else {
            print(escaped(child));
        }
    }
    Ok(Outcome::Holds)
}

/// Prints one resource as it is.
pub(super) fn cat(context: &Context, settings: &Settings, key: &OsStr) -> Result<Outcome> {
    let mut found = None;
    read(context, settings, key.as_bytes(), false, &mut |batch| {
        if let Batch::Resource(rows) = batch {
            found = rows.into_iter().find(|row| row.key == key.as_bytes()).or(found.take());
        }
        Ok(())
    })?;
    let row = found.ok_or_else(|| absent(key.as_bytes()))?;
    let written = std::io::stdout().write_all(&row.content);
    written.map_err(|cause| Error::io("standard output", cause))?;
    Ok(Outcome::Holds)
}

/// Copies one resource, or a folder of them, into a folder of its own.
pub(super) fn fetch(context: &Context, settings: &Settings, path: &OsStr, dir: Option<PathBuf>) -> Result<Outcome> {
    let dir = match dir {
        Some(dir) if !dir.is_dir() => {
            return Err(Error::config(format!("{}: there is no such folder", dir.display())));
        }
        Some(dir) => dir,
        None => settings
            .own_folder("meta_fetch")?
            .ok_or_else(|| Error::config("where it is to go is not known").hint("name a folder, or set KYLIN_HOME"))?,
    };
    let under = path.as_bytes().strip_suffix(b"/").unwrap_or(path.as_bytes()).to_vec();
    let mut is_there = false;
    read(context, settings, &under, true, &mut |batch| {
        is_there |= matches!(batch, Batch::Resource(rows) if !rows.is_empty());
        Ok(())
    })?;
    if !is_there {
        return Err(absent(&under));
    }
    let target = dir.join(backup::named("fetch"));
    let reading = Reading { under: Some(under), ..Reading::default() };
    let (source, sink) = (backup::source(settings, reading), Box::new(BackupSink::create(&target, Form::Folder)));
    let options = context.copy_options(&CopyArgs::default());
    let report = copy::copy(source, sink, &options, &context.monitor, &context.stop)?;
    let rows = report.tally.of(Kind::Resource).rows;
    if context.common.json {
        print(json!({ "version": 1, "event": "fetched", "path": target.display().to_string(), "resources": rows }));
    } else if !context.common.quiet {
        print(format_args!("{rows} resources are in {}", target.display()));
    }
    Ok(Outcome::Holds)
}

fn absent(path: &[u8]) -> Error {
    Error::corrupt(format!("{} is not exist", escaped(path)))
}

/// Reads what is at a key and below it.
fn read(
    context: &Context,
    settings: &Settings,
    under: &[u8],
    keys_only: bool,
    take: &mut dyn FnMut(Batch) -> Result<()>,
) -> Result<()> {
    let reading = Reading { under: Some(under.to_vec()), keys_only, uncounted: true, ..Reading::default() };
    let source: Box<dyn Source<Kylin>> = Box::new(KylinSource::new(settings.store.clone(), reading));
    let snapshot = source.snapshot(1, &context.stop)?;
    let scope = Scope { kinds: Some([Kind::Resource].into()), buckets: None };
    for partition in snapshot.plan(&scope)? {
        snapshot.scan(&partition, &mut Take { context, take })?;
    }
    snapshot.finish()
}

struct Take<'a> {
    context: &'a Context,
    take: &'a mut dyn FnMut(Batch) -> Result<()>,
}

impl Emit<Kylin> for Take<'_> {
    fn emit(&mut self, batch: Batch) -> Result<()> {
        self.context.stop.check()?;
        (self.take)(batch)
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        Err(Error::from(why).at(place))
    }

    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}
