//! Apache Kylin's metastore: how its stores and backups are opened for commands, and the commands that are its own, in the words
//! of its `metastore.sh`.

mod backup;
mod look;
mod maintenance;
mod restore;
mod saved;
mod settings;
mod verify;
mod wanted;

use std::path::Path;

use metaferry_codecs::kylin::{Batch, Kind, Kylin, Selection};
use metaferry_engines::kylin::folder::{self, BackupSink, BackupSource, Form};
use metaferry_engines::kylin::store::{KylinSink, KylinSource, Reading, Writing as StoreWriting};
use metaferry_pipeline::{Error, Result, Sink, Source};
use serde_json::json;

use crate::Outcome;
use crate::args::{CopyArgs, Format, KylinArgs, KylinCommand, MendArgs, WidenArgs};
use crate::context::Context;
use crate::files::{self, Writing};
use crate::open::Place;
use crate::served::{Foreign, Introduced, Served};
use settings::Settings;

/// Runs one of its own commands.
pub(crate) fn run(context: &Context, args: &KylinArgs, command: KylinCommand) -> Result<Outcome> {
    let settings = || Settings::find(args);
    match command {
        KylinCommand::Backup { into } => backup::run(context, &settings()?, None, &into),
        KylinCommand::BackupProject { project, into } => backup::run(context, &settings()?, Some(&project), &into),
        KylinCommand::Restore { from } => restore::run(context, &settings()?, None, &from),
        KylinCommand::RestoreProject { project, from } => restore::run(context, &settings()?, Some(&project), &from),
        KylinCommand::List { path } => look::list(context, &settings()?, &path),
        KylinCommand::Fetch { path, dir } => look::fetch(context, &settings()?, &path, dir),
        KylinCommand::Cat { key } => look::cat(context, &settings()?, &key),
        KylinCommand::Maintenance { what } => maintenance::run(context, &settings()?, what),
        KylinCommand::Verify { backup, alone: true } => verify::alone(context, &backup),
        KylinCommand::Verify { backup, alone: false } => verify::run(context, &settings()?, &backup),
        KylinCommand::Diff { backup } => restore::diff(context, &settings()?, &backup),
    }
}

impl Served for Kylin {
    const COUNTED: (Kind, &'static str) = (Kind::Resource, "resources");
    const TWO_IN_USE: &'static str = "two Kylins would go on from it, each its own way";

    fn source(place: &Place, _context: &Context) -> Result<Box<dyn Source<Self>>> {
        match place {
            Place::KylinStore(address, audit) => {
                let reading = Reading { audit: *audit, ..Reading::default() };
                Ok(Box::new(KylinSource::new(address.as_ref().clone(), reading)))
            }
            Place::KylinBackup(path) => Ok(Box::new(BackupSource::open(path, folder::Reading::default())?)),
            Place::KylinSynthetic(made) => Ok(Box::new(*made)),
            other => Err(foreign(other)),
        }
    }

    fn sink(place: &Place, _context: &Context, _writing: &Writing<'_>) -> Result<Box<dyn Sink<Self>>> {
        match place {
            Place::KylinStore(address, _) => {
                Ok(Box::new(KylinSink::new(address.as_ref().clone(), StoreWriting { compress: true })))
            }
            Place::KylinBackup(path) => Ok(Box::new(BackupSink::create(path, Form::Folder))),
            Place::KylinSynthetic(_) => Err(Error::config(format!("{place} can only be read"))),
            other => Err(foreign(other)),
        }
    }

    fn dump_source(dump: Foreign, _context: &Context) -> Result<Box<dyn Source<Self>>> {
        let Foreign { content, name, inside, .. } = dump;
        Err(files::refused(content, &name, &inside).hint(
            "Kylin's metadata is read from a store, a backup's folder, a metadata.zip, an archive or a repository",
        ))
    }

    fn dump_sink(path: Option<&Path>, format: Format, _writing: &Writing<'_>) -> Result<Box<dyn Sink<Self>>> {
        match (path, format) {
            (Some(path), Format::KylinFolder) => Ok(Box::new(BackupSink::create(path, Form::Folder))),
            (Some(path), Format::KylinZip) => Ok(Box::new(BackupSink::create(path, Form::Zip))),
            _ => Err(Error::config("that is a format of JuiceFS").hint(
                "Kylin's metadata goes into an archive, or with --format kylin or kylin.zip into a backup's folder",
            )),
        }
    }

    fn scratch(folder: &Path) -> Result<Box<dyn Sink<Self>>> {
        Ok(Box::new(BackupSink::create(&folder.join("scratch"), Form::Folder)))
    }

    fn introduce(seal: &Batch) -> Result<Introduced> {
        let Batch::Setting(rows) = seal else { return Err(Error::corrupt("there is no setting in it")) };
        let row = rows.first().ok_or_else(|| Error::corrupt("there is no setting in it"))?;
        let project = String::from_utf8_lossy(&row.project);
        let of = if project.is_empty() { "all projects".to_owned() } else { format!("the project {project:?}") };
        let log = row.offset.map(|offset| format!(", its change log read up to {offset}")).unwrap_or_default();
        let layout = row.layout.name();
        let shown = json!({ "layout": layout, "offset": row.offset, "project": project });
        Ok(("metastore", shown, format!("metastore of Kylin in the {layout} layout, {of}{log}")))
    }

    fn selection(args: &CopyArgs) -> Result<Option<Selection>> {
        if args.skip_trash || args.subdir.is_some() {
            return Err(Error::config("--skip-trash and --subdir are for volumes of JuiceFS")
                .hint("metaferry kylin backup-project makes a backup of one project"));
        }
        Ok(None)
    }

    /// With the change log: nodes that begin with an older backup read on from it.
    fn migrating(place: Place) -> Place {
        match place {
            Place::KylinStore(address, _) => Place::KylinStore(address, true),
            other => other,
        }
    }

    fn must_fit(mend: &MendArgs, widen: WidenArgs) -> Result<()> {
        let given = [("--mend", mend.mend), ("--keep-counters", mend.keep_counters), ("--widen", widen.widen)];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => Err(Error::config(format!("{name} is for volumes of JuiceFS"))),
            None => Ok(()),
        }
    }
}

fn foreign(place: &Place) -> Error {
    Error::config(format!("{place} holds no metadata of Kylin"))
}
