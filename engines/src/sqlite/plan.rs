//! Cutting a table into ranges of about as many rows, by few probes of its key: row ids are sparse, unevenly, and those of
//! the trash lie far away. It counts no table.

use rusqlite::{Connection, OptionalExtension, Result};

use super::select::Select;

/// Rows in a range, about.
const RANGE_ROWS: u64 = 1 << 16;
/// Keys that a range may cover unseen: it cannot hold more rows.
const FAR: u64 = 8 * RANGE_ROWS;
/// Rows by which a density is measured.
const SAMPLE_ROWS: u64 = 1024;

/// A range of keys that begins at `from` and ends where the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: i64,
    pub(super) rows: u64,
}

struct Probe<'c> {
    connection: &'c Connection,
    sql: String,
}

impl Probe<'_> {
    /// The key `rows` rows behind the first one at or after `from`.
    fn after(&self, from: i64, rows: u64) -> Result<Option<i64>> {
        let mut statement = self.connection.prepare_cached(&self.sql)?;
        statement.query_row((from, rows.cast_signed()), |row| row.get(0)).optional()
    }

    /// How many keys further `SAMPLE_ROWS` rows reach; `None` where fewer are left.
    fn width(&self, from: i64) -> Result<Option<u64>> {
        Ok(self.after(from, SAMPLE_ROWS)?.map(|to| to.abs_diff(from)))
    }
}

/// The ranges of a table, by key.
pub(super) fn ranges(connection: &Connection, select: &Select) -> Result<Vec<Range>> {
    let (from, key) = (&select.from, select.key);
    let sql = format!("SELECT {key} FROM {from} WHERE {key} >= ?1 ORDER BY {key} LIMIT 1 OFFSET ?2");
    let probe = Probe { connection, sql };
    let mut ranges = Vec::new();
    let mut next = probe.after(i64::MIN, 0)?;
    while let Some(from) = next {
        let Some(width) = probe.width(from)? else {
            let sql = format!("SELECT count(*) FROM {} WHERE {key} >= ?1", select.from);
            let rows = connection.query_row(&sql, [from], |row| row.get(0).map(i64::cast_unsigned))?;
            ranges.push(Range { from, rows });
            break;
        };
        next = match end(&probe, from, width)? {
            Some(end) => probe.after(end, 0)?,
            None => None,
        };
        ranges.push(Range { from, rows: RANGE_ROWS });
    }
    Ok(ranges)
}

/// Where a range ends that begins with a sample so wide; `None` where that is beyond all keys. As far as the sample
/// reaches; but where that is far, there may be more than it promises, and rows are stepped over to see.
fn end(probe: &Probe<'_>, from: i64, width: u64) -> Result<Option<i64>> {
    let reach = width.max(1).saturating_mul(RANGE_ROWS / SAMPLE_ROWS);
    let end = from.checked_add_unsigned(reach);
    if reach <= FAR {
        return Ok(end);
    }
    let most = probe.after(from, 2 * RANGE_ROWS)?;
    Ok(most.into_iter().chain(end).min())
}
