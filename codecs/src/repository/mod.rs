//! The repository's codecs: blobs of rows, pages over them, indexes of packs, manifests of backups, the config, as
//! `docs/repository-format.md` defines them. They take and give bytes in memory and know no store.

mod blob;
mod config;
mod cut;
mod index;
mod lease;
mod manifest;
mod mark;
mod page;
mod tree;
mod vault;

pub use blob::{begin_blob, blob_rows};
pub use config::{CONFIG_NAME, Config};
pub use cut::{Cutter, MOST_TEXT, ends_blob};
pub use index::{Index, Pack, Placed, SALT};
pub use lease::{LEASE_NAME, Lease};
pub use manifest::{Manifest, Root, moment_of, name_of, system_of};
pub use mark::Mark;
pub use page::{Entry, MOST_ENTRIES, Page, short};
pub use tree::{Put, Tree};
pub use vault::{SEALED_BYTES, Vault};

use crate::json::write_hex;

/// The newest version of the format: the one that is written, and the newest that is read.
pub const FORMAT: u32 = 1;
/// The largest page, decompressed, in bytes.
pub const MAX_PAGE: usize = 1 << 20;
/// The largest index, decompressed, in bytes.
pub const MAX_INDEX: usize = 64 << 20;
/// The largest manifest of a backup, decompressed, in bytes.
pub const MAX_BACKUP: usize = 1 << 20;

/// What a blob, a page or a pack is called by: the digest of what it holds.
pub type Id = [u8; 32];

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    write_hex(bytes, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests;
