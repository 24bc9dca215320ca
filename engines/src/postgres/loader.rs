//! A loader: encodes batches for COPY, one stretch of rows a table, and sends a stretch once it is long. It runs nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use metaferry_codecs::juicefs::tables::{self, Column};
use metaferry_codecs::juicefs::{Batch, Counter, JuiceFs};
use metaferry_codecs::system::{Batch as _, Kind as _};
use metaferry_pipeline::{Error, ErrorKind, Loader, Result};

use super::cells::{Encoder, columns};
use super::session::Session;
use super::target::Shared;
use crate::sql::bind::{Binder, Bound, Put, Unfit};
use crate::sql::keys::has_surrogate;
use crate::sql::marks::{LINKS, waiting};
use crate::sql::{quotas, serial};

/// What is sent of one table at once, in bytes.
const FULL: usize = 4 << 20;
/// What one loader holds back at most, in bytes.
const HELD: usize = 12 << 20;

/// A worker's hand on a target.
pub(super) struct PostgresLoader {
    session: Session,
    shared: Arc<Shared>,
    stretches: BTreeMap<String, Stretch>,
    held: usize,
    buffer: Vec<u8>,
}

/// Rows of one table that wait to be sent.
struct Stretch {
    sql: String,
    columns: Vec<&'static Column>,
    bytes: Vec<u8>,
    rows: u64,
}

impl Stretch {
    /// For rows of a kind, into a table of this quoted name.
    fn new<R: Bound>(name: &str) -> Self {
        let columns = columns::<R>();
        let names: Vec<_> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        let sql = format!("COPY {name} ({}) FROM STDIN (FORMAT binary)", names.join(", "));
        Self { sql, columns, bytes: Vec::new(), rows: 0 }
    }

    /// Adds a row; `id` is its surrogate key.
    fn add<R: Bound>(&mut self, row: &R, id: Option<u64>, buffer: &mut Vec<u8>) -> Result<()> {
        let mut encoder = Encoder::new(&self.columns, &mut self.bytes);
        let put = id.map_or(Ok(()), |id| encoder.int(id.cast_signed()));
        let put = put.and_then(|()| row.bind(&mut Binder::new(&mut encoder, buffer)));
        self.rows += 1;
        put.map_err(|Unfit(column)| {
            let place = row.place();
            Error::unsupported(format!("{place}: PostgreSQL's column {column} cannot hold it"))
                .hint("numbers there are signed, of 32 or 64 bits as JuiceFS makes the column, and text is UTF-8")
        })
    }

    fn send(&mut self, session: &mut Session) -> Result<()> {
        let taken = session.copy_in(&self.sql, &self.bytes)?;
        if taken != self.rows {
            let what = format!("{}: {} rows were sent to it, and it took {taken}", session.shown(), self.rows);
            return Err(Error::corrupt(what));
        }
        self.bytes.clear();
        self.rows = 0;
        Ok(())
    }
}

/// Rows for a statement of their own, and that statement.
pub(super) fn encode_all<R: Bound>(rows: &[R], shared: &Shared) -> Result<(String, Vec<u8>)> {
    let mut stretch = Stretch::new::<R>(&shared.name(R::TABLE.name));
    rows.iter().try_for_each(|row| stretch.add(row, None, &mut Vec::new()))?;
    Ok((stretch.sql, stretch.bytes))
}

impl PostgresLoader {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self> {
        let (session, shared) = (shared.session()?, Arc::clone(shared));
        Ok(Self { session, shared, stretches: BTreeMap::new(), held: 0, buffer: Vec::new() })
    }

    fn rows<R: Bound>(&mut self, rows: &[R]) -> Result<()> {
        self.rows_into(R::TABLE.name, rows)
    }

    fn rows_into<R: Bound>(&mut self, table: &str, rows: &[R]) -> Result<()> {
        let has_surrogate = has_surrogate(&R::TABLE);
        let first = if has_surrogate { self.shared.keys.take(&R::TABLE, rows.len() as u64) } else { 0 };
        if !self.stretches.contains_key(table) {
            let stretch = Stretch::new::<R>(&self.shared.name(table));
            self.stretches.insert(table.to_owned(), stretch);
        }
        let Some(stretch) = self.stretches.get_mut(table) else { return Ok(()) };
        for (row, id) in rows.iter().zip(first..) {
            let before = stretch.bytes.len();
            stretch.add(row, has_surrogate.then_some(id), &mut self.buffer)?;
            self.held += stretch.bytes.len() - before;
            if stretch.bytes.len() >= FULL {
                self.held -= stretch.bytes.len();
                stretch.send(&mut self.session)?;
            }
        }
        if self.held >= HELD { self.send_longest() } else { Ok(()) }
    }

    fn send_longest(&mut self) -> Result<()> {
        let longest = self.stretches.values_mut().max_by_key(|stretch| stretch.bytes.len());
        longest.map_or(Ok(()), |stretch| {
            self.held -= stretch.bytes.len();
            stretch.send(&mut self.session)
        })
    }

    /// Counters are rows, but for those that the database counts by itself.
    fn counters(&mut self, rows: Vec<Counter>) -> Result<()> {
        let (serials, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| serial(&row.name).is_some());
        for row in serials {
            serial(&row.name).into_iter().for_each(|table| self.shared.keys.give(table, row.value));
        }
        self.rows(&rows)
    }
}

impl Loader<JuiceFs> for PostgresLoader {
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
                rows.iter().for_each(|row| self.shared.keys.give(&tables::ACL, row.id.into()));
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
                rows.iter().for_each(|row| self.shared.keys.give(&tables::DELEGATION_TOKEN, row.id.into()));
                self.rows(&rows)
            }
            Batch::Setting(_) | Batch::Links(_) | Batch::Foreign(_) => Err(misplaced(&batch)),
        }
    }

    fn amend(&mut self, batch: Batch) -> Result<()> {
        match batch {
            Batch::Node(rows) => self.rows_into(&waiting(tables::NODE.name), &rows),
            Batch::DirStat(rows) => self.rows_into(&waiting(tables::DIR_STATS.name), &rows),
            Batch::Links(rows) => self.rows_into(&waiting(LINKS), &rows),
            Batch::Parent(_) => Ok(()),
            _ => Err(misplaced(&batch)),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let Self { stretches, session, .. } = self.as_mut();
        stretches.values_mut().filter(|stretch| stretch.rows > 0).try_for_each(|stretch| stretch.send(session))?;
        self.session.close();
        Ok(())
    }
}

fn misplaced(batch: &Batch) -> Error {
    Error::new(
        ErrorKind::Bug,
        format!("{} rows came to PostgreSQL, where they have no place", batch.kind().info().name),
    )
}
