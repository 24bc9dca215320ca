//! A backup that is to be brought back or compared: what it is of, and what must be true of it before anything is removed for it.

use std::sync::Arc;

use metaferry_codecs::kylin::key::{self, Owner};
use metaferry_codecs::kylin::{Batch, Kylin, Layout, Selection, Setting};
use metaferry_engines::kylin::folder::{BackupSource, Reading};
use metaferry_pipeline::{Emit, Error, Result, Scope, Select, Source};

use crate::commands::settled;
use crate::context::Context;
use crate::open::Place;

/// A backup.
pub(super) struct Wanted {
    pub(super) place: Place,
    /// The one project that is asked for.
    asked: Option<Vec<u8>>,
    setting: Setting,
}

/// What a backup must have, before what it has not is removed.
#[derive(Debug, Default)]
struct Holdings {
    projects: u64,
    /// Whether it holds what belongs to none, but for projects and the id: users, groups, rights.
    has_global: bool,
}

impl Wanted {
    /// Looks what is there. Of a repository one backup is meant from here on.
    pub(super) fn find(context: &Context, text: &str, asked: Option<&[u8]>) -> Result<Self> {
        let (place, _) = settled(context, Place::parse(text)?)?;
        if matches!(place, Place::KylinStore(..)) {
            return Err(Error::config(format!("{place} is a store, and no backup")).hint("migrate copies a store"));
        }
        let none = || Error::corrupt(format!("{place}: it is no backup of Kylin's metadata"));
        let seal = place.source::<Kylin>(context)?.seal(&context.stop)?;
        let setting = match seal {
            Some(Batch::Setting(rows)) => rows.into_iter().next().ok_or_else(none)?,
            _ => return Err(none()),
        };
        Ok(Self { place, asked: asked.map(<[u8]>::to_vec), setting })
    }

    /// The project that it is of, where it is not of all.
    pub(super) fn project(&self) -> Option<&[u8]> {
        Some(self.setting.project.as_slice()).filter(|project| !project.is_empty())
    }

    /// It, to be read.
    pub(super) fn source(&self, context: &Context) -> Result<Box<dyn Source<Kylin>>> {
        let project = self.asked.clone();
        if let Place::KylinBackup(path) = &self.place {
            return Ok(Box::new(BackupSource::open(path, Reading { project, ..Reading::default() })?));
        }
        let source = self.place.source::<Kylin>(context)?;
        let Some(project) = project else { return Ok(source) };
        let selection = Selection::project(&project);
        Ok(Box::new(Select::new(source, selection, context.spill(), Arc::clone(&context.monitor))))
    }

    /// Refuses a store of the other layout.
    pub(super) fn must_be_of(&self, layout: Layout) -> Result<()> {
        let ours = self.setting.layout;
        if ours == layout {
            return Ok(());
        }
        let (ours, theirs) = (ours.name(), layout.name());
        Err(Error::refused(format!(
            "{} is a backup in the {ours} layout, and the store has the {theirs} one",
            self.place
        ))
        .hint("Kylin 5.0.0 changed its layout: its own MigrateKEMetadataTool converts a flat backup into a typed one"))
    }

    /// Refuses to remove what the backup has not, where the backup is empty or of less than what would be removed.
    pub(super) fn must_not_wipe(&self, context: &Context) -> Result<()> {
        if self.asked.is_some() {
            // A project that is not in the backup is no backup of it.
            return Ok(());
        }
        let why = match self.project() {
            Some(project) => {
                let project = String::from_utf8_lossy(project);
                format!(
                    "it is a backup of the project {project:?} alone: all other projects, users and rights would go"
                )
            }
            None => match self.holdings(context)? {
                Holdings { projects: 0, .. } => "there is no project in it: everything would go".to_owned(),
                Holdings { has_global: false, .. } => {
                    "there are neither users nor groups nor rights in it: all of them would go".to_owned()
                }
                Holdings { .. } => return Ok(()),
            },
        };
        Err(Error::refused(format!("{}: {why}", self.place)).hint("--force does it all the same"))
    }

    /// Of a folder by its names alone, of anything else by reading it.
    fn holdings(&self, context: &Context) -> Result<Holdings> {
        let mut holdings = Holdings::default();
        if let (Place::KylinBackup(path), Layout::Flat) = (&self.place, self.setting.layout) {
            let seen = BackupSource::open(path, Reading::default())?.verification()?;
            holdings.projects = seen.projects().count() as u64;
            holdings.has_global = seen.user || seen.user_group || seen.acl;
            return Ok(holdings);
        }
        let snapshot = self.source(context)?.snapshot(1, &context.stop)?;
        // All of it, so that its end can prove what was read.
        for partition in snapshot.plan(&Scope::default())? {
            context.stop.check()?;
            snapshot.scan(&partition, &mut holdings)?;
        }
        snapshot.finish()?;
        Ok(holdings)
    }
}

impl Emit<Kylin> for Holdings {
    fn emit(&mut self, batch: Batch) -> Result<()> {
        let Batch::Resource(rows) = batch else { return Ok(()) };
        for row in &rows {
            match key::owner(&row.key, b"") {
                Owner::Project(_) => self.projects += 1,
                Owner::Global => self.has_global |= !key::is_id(&row.key),
                Owner::Member(_) | Owner::Unknown => {}
            }
        }
        Ok(())
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        Err(Error::from(why).at(place))
    }

    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}
