//! JuiceFS's metadata, v1.0 to v1.4.1: its kinds, its byte layouts, its canonical form and its census.

pub mod acl;
pub mod attr;
pub mod binary;
mod canonical;
mod census;
mod changed;
pub mod counter;
pub mod dump;
pub mod envelope;
mod ids;
mod kinds;
mod paths;
pub mod redis_keys;
pub mod secret;
mod selection;
pub mod setting;
pub mod storage;
pub mod tables;
mod types;

pub use census::Census;
pub use changed::Changed;
pub use kinds::{
    Acl, Batch, Chunk, Counter, DelFile, DelSlices, Detached, DirStat, Edge, Foreign, Kind, Links, Node, Parent, Quota,
    Setting, SliceRef, Sustained, Symlink, Token, Xattr,
};
pub use paths::Paths;
pub use selection::{Reach, Selection};
pub use types::{AclEntries, DelayedSlices, Document, FileType, Limit, SLICE_BYTES, Slice, Slices};

use crate::Result;
use crate::system::System;

/// The root of the volume.
pub const ROOT_INODE: u64 = 1;
/// The root of the trash (`interface.go: TrashInode`); trash hours are numbered from here on.
pub const TRASH_INODE: u64 = 0x7FFF_FFFF_1000_0000;
/// The longest name of an entry, in bytes.
pub const MAX_NAME: usize = 255;
/// The size of a chunk of a file, in bytes.
pub const CHUNK_SIZE: u64 = 1 << 26;

/// Quota classes, as [`Quota::class`] holds them; 1 and 2 are JuiceFS's own numbers in SQL.
pub mod quota_class {
    /// Of a directory, by its inode.
    pub const DIRECTORY: u8 = 0;
    /// Of a user, by uid.
    pub const USER: u8 = 1;
    /// Of a group, by gid.
    pub const GROUP: u8 = 2;
}

/// What an inode counts towards used space, in bytes (`utils.go: align4K`): its length rounded up to 4 KiB, at least 4 KiB.
#[must_use]
pub fn used_space(kind: FileType, length: u64) -> i64 {
    if kind != FileType::REGULAR || length == 0 {
        return 4096;
    }
    i64::try_from(length.saturating_add(4095) & !4095).unwrap_or(i64::MAX & !4095)
}

/// JuiceFS as a system of metadata.
#[derive(Debug, PartialEq, Eq)]
pub struct JuiceFs;

impl System for JuiceFs {
    const NAME: &'static str = "juicefs";
    const SEAL: Kind = Kind::Setting;

    type Kind = Kind;
    type Batch = Batch;
    type Census = Census;
    type Selection = Selection;

    fn strip_secrets(batch: &mut Batch) -> Result<u64> {
        match batch {
            Batch::Setting(rows) => rows.iter_mut().try_fold(0, |sum, row| {
                let stripped = setting::strip_secrets(&mut row.document.0)?;
                Ok(sum + stripped.len() as u64)
            }),
            Batch::Token(rows) => {
                Ok(rows.iter_mut().map(|row| u64::from(!std::mem::take(&mut row.token).is_empty())).sum())
            }
            _ => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests;
