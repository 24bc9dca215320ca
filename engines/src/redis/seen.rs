//! Which keys a SCAN has already handed out, in little memory: it may hand out a key more than once.

use std::collections::BTreeSet;

use metaferry_codecs::juicefs::redis_keys::Key;
use roaring::RoaringTreemap;

/// Chunk indexes that are kept beside their inode in one number.
const INDEX_BITS: u32 = 20;

/// Compressed bitmaps of what is numbered; names of what is not, which are few.
#[derive(Default)]
pub(super) struct Seen {
    nodes: RoaringTreemap,
    directories: RoaringTreemap,
    symlinks: RoaringTreemap,
    xattrs: RoaringTreemap,
    parents: RoaringTreemap,
    sustained: RoaringTreemap,
    first_chunks: RoaringTreemap,
    chunks: RoaringTreemap,
    /// Chunks of inodes or indexes too large for the bitmap; slices from before 1.0.
    others: BTreeSet<(u64, u32)>,
    slices: BTreeSet<(u64, u32)>,
    names: BTreeSet<Vec<u8>>,
}

impl Seen {
    /// Whether a key comes by for the first time.
    pub(super) fn is_new(&mut self, key: Key, name: &[u8]) -> bool {
        match key {
            Key::Node(inode) => self.nodes.insert(inode),
            Key::Directory(inode) => self.directories.insert(inode),
            Key::Symlink(inode) => self.symlinks.insert(inode),
            Key::Xattrs(inode) => self.xattrs.insert(inode),
            Key::Parents(inode) => self.parents.insert(inode),
            Key::Sustained(sid) => self.sustained.insert(sid),
            Key::Chunk(inode, 0) => self.first_chunks.insert(inode),
            Key::Chunk(inode, index) if index >> INDEX_BITS == 0 && inode.leading_zeros() >= INDEX_BITS => {
                self.chunks.insert(inode << INDEX_BITS | u64::from(index))
            }
            Key::Chunk(inode, index) => self.others.insert((inode, index)),
            Key::OldSliceRef(id, size) => self.slices.insert((id, size)),
            _ => self.names.insert(name.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_new_once() {
        let mut seen = Seen::default();
        let names = [
            "i1",
            "d1",
            "s1",
            "x1",
            "p1",
            "session1",
            "c1_0",
            "c1_1",
            "c1_1048576",
            "c9223372032828243968_1",
            "k1_2",
            "acl",
        ];
        for name in names {
            let key = Key::of(name.as_bytes()).unwrap();
            assert!(seen.is_new(key, name.as_bytes()), "{name}");
            assert!(!seen.is_new(key, name.as_bytes()), "{name}");
        }
    }
}
