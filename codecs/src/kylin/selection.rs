//! Selection by project: what Kylin's own backup and restore of one project touch (`MetadataToolHelper.backupProjects`), which
//! is the project, what belongs to it, and the id of the instance.

use std::sync::atomic::{AtomicBool, Ordering};

use super::image::{FLAT_UUID, TYPED_UUID};
use super::key::{self, Owner};
use super::kinds::{Batch, Kind, Resource};
use super::layout::Layout;
use crate::system;
use crate::{Error, Result};

/// The resources of one project.
#[derive(Debug)]
pub struct Selection {
    project: Vec<u8>,
    /// Whether the project's own resource was seen.
    found: AtomicBool,
}

impl Selection {
    /// The project of this name, byte for byte.
    #[must_use]
    pub fn project(name: &[u8]) -> Self {
        Self { project: name.to_vec(), found: AtomicBool::new(false) }
    }

    fn is_project(&self, row: &Resource) -> bool {
        match Layout::of_key(&row.key) {
            Layout::Flat => {
                let name = row.key.strip_prefix(b"/_global/project/").and_then(|rest| rest.strip_suffix(b".json"));
                name == Some(&self.project)
            }
            Layout::Typed => row.key.strip_prefix(b"PROJECT/") == Some(&self.project),
        }
    }

    fn carries(&self, row: &Resource) -> bool {
        let is_id = row.key == FLAT_UUID || row.key == TYPED_UUID;
        let is_member = || matches!(key::owner(&row.key, &row.content), Owner::Member(name) if *name == self.project);
        is_id || self.is_project(row) || is_member()
    }
}

impl system::Selection for Selection {
    type Batch = Batch;

    /// It learns whether the project is there: a backup of one that is not would hold nothing, and Kylin's own says it went
    /// well.
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Resource]
    }

    fn learn(&self, batch: &Batch) {
        let Batch::Resource(rows) = batch else { return };
        if rows.iter().any(|row| self.is_project(row)) {
            self.found.store(true, Ordering::Relaxed);
        }
    }

    fn settle(&mut self) -> Result<bool> {
        if *self.found.get_mut() {
            return Ok(false);
        }
        Err(Error::malformed("selection", format!("there is no project {:?}", String::from_utf8_lossy(&self.project))))
    }

    fn keep(&self, batch: &mut Batch) -> Option<(&'static str, u64)> {
        match batch {
            Batch::Resource(rows) => rows.retain(|row| self.carries(row)),
            Batch::Setting(rows) => {
                for row in rows {
                    row.project.clone_from(&self.project);
                    // A flat backup of a project has no `_image`; a typed one does.
                    row.offset = row.offset.filter(|_| row.layout == Layout::Typed);
                }
            }
            Batch::Audit(rows) => {
                let count = rows.len() as u64;
                rows.clear();
                return (count > 0).then_some(("entries of the change log", count));
            }
        }
        None
    }

    fn note(&self) -> &'static str {
        "only one project is carried: users, groups, the rights on the project and the change log are not"
    }
}
