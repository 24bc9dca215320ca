//! What planning asks of a table, or of a query in its place.

use rusqlite::{Connection, OptionalExtension, Result};

use super::select::Select;
use crate::sql::plan::{self, Range};

struct Probe<'c> {
    connection: &'c Connection,
    select: &'c Select,
}

impl plan::Probe for Probe<'_> {
    type Error = rusqlite::Error;

    fn after(&mut self, from: i64, rows: u64) -> Result<Option<i64>> {
        let Select { from: table, key, .. } = self.select;
        let sql = format!("SELECT {key} FROM {table} WHERE {key} >= ?1 ORDER BY {key} LIMIT 1 OFFSET ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        statement.query_row((from, rows.cast_signed()), |row| row.get(0)).optional()
    }

    fn count(&mut self, from: i64) -> Result<u64> {
        let Select { from: table, key, .. } = self.select;
        let sql = format!("SELECT count(*) FROM {table} WHERE {key} >= ?1");
        self.connection.query_row(&sql, [from], |row| row.get(0).map(i64::cast_unsigned))
    }
}

/// The ranges of a table, by key.
pub(super) fn ranges(connection: &Connection, select: &Select) -> Result<Vec<Range>> {
    plan::ranges(&mut Probe { connection, select })
}
