//! A loader: encodes batches for COPY, one stretch of rows a table, and sends a stretch once it is long. What is left at the
//! end and short goes as values of statements, all at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use metaferry_codecs::juicefs::tables::{Column, Widths};
use metaferry_pipeline::{Error, Result};

use super::cells::{Encoder, HEADER, Rows};
use super::session::Session;
use super::target::Shared;
use crate::sql::bind::{Binder, Bound, Put, Unfit, columns};
use crate::sql::keys::{Keys, has_surrogate};
use crate::sql::loader::Tables;

/// What is sent of one table at once, in bytes.
const FULL: usize = 4 << 20;
/// What one loader holds back at most, in bytes.
const HELD: usize = 12 << 20;
/// A stretch that is no longer than this, in bytes, is short: each COPY ends with two small packets, of which a system may
/// keep the second back until the first is acknowledged, for 40 ms.
const SHORT: usize = 64 << 10;

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
    /// The table and its columns, in a statement.
    into: String,
    columns: Vec<Column>,
    bytes: Vec<u8>,
    rows: u64,
}

impl Stretch {
    /// For rows of a kind, into a table of this quoted name.
    fn new<R: Bound>(name: &str, widths: Widths) -> Self {
        let columns = columns::<R>(widths);
        let names: Vec<_> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        Self { into: format!("{name} ({})", names.join(", ")), columns, bytes: Vec::new(), rows: 0 }
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
                .hint("numbers there are signed, of 32 or 64 bits as JuiceFS makes the column, and text is UTF-8; --widen makes columns wider")
        })
    }

    fn copy(&self) -> String {
        format!("COPY {} FROM STDIN (FORMAT binary)", self.into)
    }

    /// A statement that brings the rows itself.
    fn insert(&self) -> Result<String> {
        let mut sql = format!("INSERT INTO {} VALUES ", self.into);
        let mut rows = Rows::default();
        rows.feed::<Error>(HEADER, &mut |_| Ok(()))?;
        rows.feed::<Error>(&self.bytes, &mut |row| {
            sql.push_str(if sql.ends_with(')') { ",(" } else { "(" });
            row.values(&self.columns, &mut sql);
            sql.push(')');
            Ok(())
        })?;
        Ok(sql)
    }

    fn send(&mut self, session: &mut Session) -> Result<()> {
        let taken = session.copy_in(&self.copy(), &self.bytes)?;
        expect(session, self.rows, taken)?;
        self.bytes.clear();
        self.rows = 0;
        Ok(())
    }
}

/// Rows for a statement of their own, and that statement.
pub(super) fn encode_all<R: Bound>(rows: &[R], shared: &Shared) -> Result<(String, Vec<u8>)> {
    let mut stretch = Stretch::new::<R>(&shared.name(R::TABLE.name), shared.widths);
    rows.iter().try_for_each(|row| stretch.add(row, None, &mut Vec::new()))?;
    Ok((stretch.copy(), stretch.bytes))
}

/// Sees that all rows arrived.
pub(crate) fn expect(session: &Session, sent: u64, taken: u64) -> Result<()> {
    let lost = || format!("{}: {sent} rows were sent to it, and it took {taken}", session.shown());
    if taken == sent { Ok(()) } else { Err(Error::corrupt(lost())) }
}

impl PostgresLoader {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self> {
        let (session, shared) = (shared.session()?, Arc::clone(shared));
        Ok(Self { session, shared, stretches: BTreeMap::new(), held: 0, buffer: Vec::new() })
    }

    fn send_longest(&mut self) -> Result<()> {
        let longest = self.stretches.values_mut().max_by_key(|stretch| stretch.bytes.len());
        longest.map_or(Ok(()), |stretch| {
            self.held -= stretch.bytes.len();
            stretch.send(&mut self.session)
        })
    }
}

impl Tables for PostgresLoader {
    fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    fn put<R: Bound>(&mut self, table: &str, rows: &[R]) -> Result<()> {
        let has_surrogate = has_surrogate(&R::TABLE);
        let first = if has_surrogate { self.shared.keys.take(&R::TABLE, rows.len() as u64) } else { 0 };
        if !self.stretches.contains_key(table) {
            let stretch = Stretch::new::<R>(&self.shared.name(table), self.shared.widths);
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

    fn finish(mut self) -> Result<()> {
        let Self { stretches, session, .. } = &mut self;
        let left = stretches.values_mut().filter(|stretch| stretch.rows > 0);
        let (short, long): (Vec<_>, Vec<_>) = left.partition(|stretch| stretch.bytes.len() <= SHORT);
        long.into_iter().try_for_each(|stretch| stretch.send(session))?;
        let statements = short.iter().map(|stretch| stretch.insert()).collect::<Result<Vec<_>>>()?;
        let taken = session.insert(&statements.join(";"))?;
        expect(session, short.iter().map(|stretch| stretch.rows).sum(), taken)?;
        self.session.close();
        Ok(())
    }
}
