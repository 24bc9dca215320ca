//! A loader of any dialect: which rows go to which table, and which keys they bring. It sends nothing itself.

use metaferry_codecs::juicefs::{Batch, Counter, JuiceFs, tables};
use metaferry_codecs::system::{Batch as _, Kind as _};
use metaferry_pipeline::{Error, ErrorKind, Loader, Result};

use super::bind::Bound;
use super::keys::Keys;
use super::marks::{LINKS, waiting};
use super::{quotas, serial};

/// A dialect's hand on the tables of a target.
pub(crate) trait Tables: Send {
    /// The keys that its loaders share.
    fn keys(&self) -> &Keys;

    /// Adds rows to a table, in their order.
    fn put<R: Bound>(&mut self, table: &str, rows: &[R]) -> Result<()>;

    /// Sends whatever is held back.
    fn finish(self) -> Result<()>;
}

/// A worker's hand on a target.
pub(crate) struct SqlLoader<T>(pub(crate) T);

impl<T: Tables> SqlLoader<T> {
    fn rows<R: Bound>(&mut self, rows: &[R]) -> Result<()> {
        self.0.put(R::TABLE.name, rows)
    }

    /// Counters are rows, but for those that the database counts by itself.
    fn counters(&mut self, rows: Vec<Counter>) -> Result<()> {
        let (serials, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| serial(&row.name).is_some());
        for row in serials {
            serial(&row.name).into_iter().for_each(|table| self.0.keys().give(table, row.value));
        }
        self.rows(&rows)
    }
}

impl<T: Tables> Loader<JuiceFs> for SqlLoader<T> {
    fn load(&mut self, batch: Batch) -> Result<()> {
        match batch {
            Batch::Counter(rows) => self.counters(rows),
            Batch::Node(rows) => self.rows(&rows),
            Batch::Edge(rows) => self.rows(&rows),
            Batch::Chunk(rows) => self.rows(&rows),
            Batch::SliceRef(rows) => self.rows(&rows),
            Batch::Symlink(rows) => self.rows(&rows),
            Batch::Xattr(rows) => self.rows(&rows),
            // Parents follow from the entries.
            Batch::Parent(_) => Ok(()),
            Batch::Acl(rows) => {
                rows.iter().for_each(|row| self.0.keys().give(&tables::ACL, row.id.into()));
                self.rows(&rows)
            }
            Batch::DirStat(rows) => self.rows(&rows),
            Batch::Quota(rows) => {
                let (directories, others) = quotas(rows);
                self.rows(&directories)?;
                self.rows(&others)
            }
            Batch::Sustained(rows) => self.rows(&rows),
            Batch::DelFile(rows) => self.rows(&rows),
            Batch::DelSlices(rows) => self.rows(&rows),
            Batch::Detached(rows) => self.rows(&rows),
            Batch::Token(rows) => {
                rows.iter().for_each(|row| self.0.keys().give(&tables::DELEGATION_TOKEN, row.id.into()));
                self.rows(&rows)
            }
            Batch::Setting(_) | Batch::Links(_) | Batch::Foreign(_) => Err(misplaced(&batch)),
        }
    }

    fn amend(&mut self, batch: Batch) -> Result<()> {
        match batch {
            Batch::Node(rows) => self.0.put(&waiting(tables::NODE.name), &rows),
            Batch::DirStat(rows) => self.0.put(&waiting(tables::DIR_STATS.name), &rows),
            Batch::Links(rows) => self.0.put(&waiting(LINKS), &rows),
            Batch::Parent(_) => Ok(()),
            _ => Err(misplaced(&batch)),
        }
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.0.finish()
    }
}

fn misplaced(batch: &Batch) -> Error {
    let name = batch.kind().info().name;
    Error::new(ErrorKind::Bug, format!("{name} rows came to a database in SQL, where they have no place"))
}
