//! kylin backup and backup-project: everything, or one project, into a folder of its own, which is whole or not there.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

use jiff::Zoned;
use metaferry_codecs::kylin::Kylin;
use metaferry_engines::kylin::folder::{BackupSink, Form};
use metaferry_engines::kylin::store::{KylinSource, Reading};
use metaferry_pipeline::{Error, Result, Source, copy};

use super::settings::Settings;
use crate::Outcome;
use crate::args::{CopyArgs, IntoFolder};
use crate::context::Context;
use crate::output::{Printer, tell};
use crate::progress::Progress;

/// Where backups go in Kylin's own folder.
const BACKUPS: &str = "meta_backups";

/// Makes a backup, and prints where it is.
pub(super) fn run(
    context: &Context,
    settings: &Settings,
    project: Option<&OsStr>,
    into: &IntoFolder,
) -> Result<Outcome> {
    let dir = match &into.dir {
        Some(dir) if !dir.is_dir() => {
            return Err(Error::config(format!("{}: there is no such folder", dir.display()))
                .hint("make it first; a backup goes into a folder of its own in it"));
        }
        Some(dir) => dir.clone(),
        None => settings.own_folder(BACKUPS)?.ok_or_else(|| {
            Error::config("where the backup is to go is not known").hint("name a folder, or set KYLIN_HOME")
        })?,
    };
    let folder = into.folder.clone().map_or_else(|| PathBuf::from(named("backup")), PathBuf::from);
    if folder.components().count() != 1 || folder.file_name().is_none() {
        return Err(Error::config(format!("--folder {}: it is a name, and no path", folder.display())));
    }
    let path = dir.join(folder);
    let reading = Reading {
        project: project.map(|project| project.as_bytes().to_vec()),
        without_table_exd: into.exclude_table_exd,
        ..Reading::default()
    };
    let form = if into.compress { Form::Zip } else { Form::Folder };
    let started = Instant::now();
    let progress = Progress::start(context);
    let options = context.copy_options(&CopyArgs::default());
    let sink = Box::new(BackupSink::create(&path, form));
    let report = copy::copy(source(settings, reading), sink, &options, &context.monitor, &context.stop)?;
    drop(progress);
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    printer.copied("backup", &report, started.elapsed());
    if project.is_some() && !context.common.quiet {
        tell(
            "note: users, groups and the rights on the project are not in the backup of a project, nor is query history in any",
        );
    }
    if !context.common.json && !context.common.quiet {
        printer.line(format!("The metadata backup path is {}.", path.display()));
        printer.line("Backup at local disk succeed.");
    }
    Ok(if report.findings.is_damaged(report.mended) { Outcome::Found } else { Outcome::Holds })
}

/// A folder's name, as Kylin names them: the local time, and what it is.
pub(super) fn named(what: &str) -> String {
    format!("{}_{what}", Zoned::now().strftime("%Y-%m-%d-%H-%M-%S"))
}

/// What is asked of the store.
pub(super) fn source(settings: &Settings, reading: Reading) -> Box<dyn Source<Kylin>> {
    Box::new(KylinSource::new(settings.store.clone(), reading))
}
