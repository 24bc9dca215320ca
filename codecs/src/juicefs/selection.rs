//! Selection: what of a volume a copy carries, where that is not all of it.

mod path;
mod trash;

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::FileType;
use super::ids::IdSet;
use super::kinds::{Batch, Edge, Kind};
use crate::Result;
use crate::system::{self, Batch as _};

use path::AtPath;
pub use path::Reach;
use trash::WithoutTrash;

/// What of a volume a copy carries.
#[derive(Debug)]
pub struct Selection(Sort);

#[derive(Debug)]
enum Sort {
    Trash(Box<WithoutTrash>),
    Path(Box<AtPath>),
}

impl Selection {
    /// Everything but what is only in the trash.
    #[must_use]
    pub fn without_trash() -> Self {
        Self(Sort::Trash(Box::default()))
    }

    /// What is at `path`, from the root of the volume, as far as `reach` goes. The inode there becomes the root of what is
    /// carried.
    #[must_use]
    pub fn at_path(path: &[u8], reach: Reach) -> Self {
        Self(Sort::Path(Box::new(AtPath::new(path, reach))))
    }
}

impl system::Selection for Selection {
    type Batch = Batch;

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Edge]
    }

    fn learn(&self, batch: &Batch) {
        let Batch::Edge(rows) = batch else { return };
        match &self.0 {
            Sort::Trash(trash) => trash.learn(rows),
            Sort::Path(path) => path.learn(rows),
        }
    }

    fn settle(&mut self) -> Result<bool> {
        match &mut self.0 {
            Sort::Trash(trash) => Ok(trash.settle()),
            Sort::Path(path) => path.settle(),
        }
    }

    fn keep(&self, batch: &mut Batch) -> Option<(&'static str, u64)> {
        if let (Batch::Foreign(rows), Sort::Path(_)) = (&mut *batch, &self.0) {
            // They may speak of anything.
            let segments = rows.iter().filter(|row| row.piece == 0).count() as u64;
            rows.clear();
            return Some(("segments of unknown types", segments));
        }
        let before = batch.len();
        let told = match &self.0 {
            Sort::Trash(trash) => trash.keep(batch),
            Sort::Path(path) => path.keep(batch),
        };
        told.map(|what| (what, (before - batch.len()) as u64))
    }

    fn note(&self) -> &'static str {
        match self.0 {
            Sort::Trash(_) => {
                "the trash is left out; objects of what was in it stay in the bucket until `juicefs gc` finds them"
            }
            Sort::Path(_) => {
                "only a part of the volume is carried; what it shares with the rest are the objects in the bucket"
            }
        }
    }
}

fn put(set: &IdSet, ids: impl Iterator<Item = u64>) {
    let mut set = set.hand();
    for id in ids {
        set.insert(id);
    }
}

fn is_directory(row: &Edge) -> bool {
    row.kind == FileType::DIRECTORY
}

/// A list stays whole whatever a worker was doing when it stopped: each extension is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
