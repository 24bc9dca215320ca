//! Cutting a table into ranges of about as many rows, by few probes of its key: row ids are sparse, unevenly, and those of
//! the trash lie far away. It counts no table.

use rusqlite::{Connection, OptionalExtension, Result};

use super::select::Select;

/// Rows in a range, about.
const RANGE_ROWS: u64 = 1 << 16;
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
        let end = from.checked_add_unsigned(reach(&probe, from, width)?);
        next = match end {
            Some(end) => probe.after(end, 0)?,
            None => None,
        };
        ranges.push(Range { from, rows: RANGE_ROWS });
    }
    Ok(ranges)
}

/// How many keys a range covers where a sample was so wide: less where it is denser further on.
fn reach(probe: &Probe<'_>, from: i64, width: u64) -> Result<u64> {
    let wide = |rows: u64, width: u64| width.max(1).saturating_mul(rows / SAMPLE_ROWS);
    let mut reach = wide(RANGE_ROWS, width);
    while reach > RANGE_ROWS {
        let half = reach / 2;
        let Some(middle) = from.checked_add_unsigned(half) else {
            reach = half;
            continue;
        };
        let dense = match probe.width(middle)? {
            Some(width) => wide(RANGE_ROWS, width) < half,
            None => false,
        };
        if !dense {
            break;
        }
        reach = half;
    }
    Ok(reach)
}
