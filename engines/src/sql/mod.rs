//! What the dialects of SQL share: the layout, rows and their columns. Each dialect's statements and connections are in its
//! own folder.

pub(crate) mod batches;
pub(crate) mod bind;
pub(crate) mod ddl;
pub(crate) mod keys;
pub(crate) mod loader;
pub(crate) mod marks;
pub(crate) mod parentless;
pub(crate) mod plan;
pub(crate) mod pool;
pub(crate) mod room;
pub(crate) mod rows;
pub(crate) mod schema;

use metaferry_codecs::juicefs::tables::{self, Table};
use metaferry_codecs::juicefs::{Counter, Quota, counter, quota_class};

use metaferry_pipeline::preflight::Remark;
use rows::DirQuota;

/// Counters that JuiceFS updates without looking whether they are there, and what a new volume begins with (`sql.go: doInit`).
pub(crate) fn first_counters() -> [Counter; 6] {
    [
        (counter::NEXT_INODE, 2),
        (counter::NEXT_CHUNK, 1),
        (counter::NEXT_SESSION, 0),
        (counter::USED_SPACE, 0),
        (counter::TOTAL_INODES, 0),
        (b"nextCleanupSlices", 0),
    ]
    .map(|(name, value): (&[u8], _)| Counter { name: name.to_vec(), value })
}

/// A `table_prefix` that can be part of a name.
pub(crate) fn prefix_of(text: &str) -> Result<String, String> {
    let is_fine = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if is_fine {
        Ok(text.to_owned())
    } else {
        Err("the table prefix can hold letters, digits, _, - and . only".to_owned())
    }
}

/// The table whose ids a counter counts elsewhere: where the database does so by itself, it is no row.
pub(crate) fn serial(counter: &[u8]) -> Option<&'static Table> {
    match counter {
        counter::ACL_MAX_ID => Some(&tables::ACL),
        counter::TOKEN_MAX_ID => Some(&tables::DELEGATION_TOKEN),
        _ => None,
    }
}

/// Quotas by the table they are in: those of directories, and those of users and groups.
pub(crate) fn quotas(rows: Vec<Quota>) -> (Vec<DirQuota>, Vec<Quota>) {
    let (directories, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.class == quota_class::DIRECTORY);
    (directories.into_iter().map(DirQuota).collect(), others)
}

/// About how much a target will grow by. A server cannot be asked how much it has left.
pub(crate) fn size(rows: Option<u64>, row_bytes: u64, besides: &str) -> Remark {
    let left = "the server cannot be asked how much is left";
    Remark::ok(
        "room",
        match rows {
            Some(rows) => {
                let mib = (rows.saturating_mul(row_bytes) >> 20).max(1);
                format!("about {rows} rows, which take about {mib} MiB, {besides}; {left}")
            }
            None => format!("how much it is cannot be known before it is read, and {left}"),
        },
    )
}
