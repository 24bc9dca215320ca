//! Where a stretch of rows or of entries ends and the next begins. It is decided by the key that the next would begin with,
//! and by nothing that is in the rows: a row that changes moves no boundary, one that comes or goes only those beside it.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::page::MOST_ENTRIES;
use crate::system::Kind;

/// Rows before a blob may end by itself.
const LEAST_ROWS: u64 = 64;
/// Of the keys behind them, one in so many begins another blob.
const ONE_ROW_IN: u64 = 64;
/// The text from which on a blob ends whatever its keys, in bytes.
pub const MOST_TEXT: usize = 1 << 20;
/// Entries before a page may end by itself.
const LEAST_ENTRIES: usize = 32;
/// Of the entries behind them, one in so many begins another page.
const ONE_ENTRY_IN: u64 = 32;

/// Turns keys into digests that decide.
#[derive(Debug, Clone, Copy)]
pub struct Cutter {
    seed: u64,
}

impl Cutter {
    /// Where `seed` is secret, so are the boundaries.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The digest of the key of a row.
    #[must_use]
    pub fn digest<K: Kind>(self, kind: K, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.seed ^ u64::from(kind.info().number))
    }
}

/// Whether a blob that has `rows` rows and `text` bytes ends before the row whose key has this digest.
#[must_use]
pub fn ends_blob(rows: u64, text: usize, digest: u64) -> bool {
    rows > 0 && (text >= MOST_TEXT || (rows >= LEAST_ROWS && digest.is_multiple_of(ONE_ROW_IN)))
}

/// Whether a page at `height` that has `entries` ends before the one whose first key has this digest. Each height looks
/// at other bits of it.
#[must_use]
pub(super) fn ends_page(height: u8, entries: usize, digest: u64) -> bool {
    let bits = digest.rotate_right(1 + 5 * u32::from(height));
    entries >= MOST_ENTRIES || (entries >= LEAST_ENTRIES && bits.is_multiple_of(ONE_ENTRY_IN))
}
