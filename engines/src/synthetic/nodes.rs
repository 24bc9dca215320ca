//! Inodes: their attributes, symbolic links, extended attributes and, of those with several names, their parents.

use std::ops::Range;

use metaferry_codecs::juicefs::{Acl, AclEntries, FileType, Node, Parent, ROOT_INODE, Symlink, TRASH_INODE, Xattr};
use metaferry_pipeline::Result;

use super::dice::{Purpose, pick, skewed};
use super::leaf::Leaf;
use super::names;
use super::rows::Rows;
use super::shape::Shape;

/// When the volume was made, in seconds since the epoch.
pub(super) const BIRTH: i64 = 1_500_000_000;
/// The first trash hour, that of [`names::hour_name`]: 2024-01-01 00:00 UTC.
const TRASH_BIRTH: i64 = 1_704_067_200;
/// The id of the last rule that fits a file; the others are defaults of directories.
const ACCESS_RULES: u64 = 6;
const FILE_MODES: [u16; 8] = [0o644, 0o644, 0o644, 0o664, 0o600, 0o755, 0o444, 0o4755];
const DIRECTORY_MODES: [u16; 8] = [0o755, 0o755, 0o755, 0o775, 0o700, 0o2775, 0o1777, 0o500];
const XATTRS: [&str; 5] = ["security.selinux", "user.blob", "user.checksum", "user.comment", "user.mime_type"];

/// The rules of access control that nodes refer to.
pub(super) fn rules() -> Vec<Acl> {
    let rule = |id: u32, mask, entries: &[(u32, u16)]| Acl {
        id,
        owner: 7,
        group: 5,
        mask,
        other: if id.is_multiple_of(2) { 0 } else { 4 },
        users: AclEntries(entries.to_vec()),
        groups: AclEntries(entries.iter().skip(1).map(|&(id, permission)| (id + 100, permission)).collect()),
    };
    vec![
        rule(1, 7, &[(1001, 7)]),
        rule(2, 5, &[(1001, 5), (1002, 4)]),
        rule(3, 6, &[(1003, 6), (1001, 6), (1002, 0)]),
        rule(4, 4, &[(0, 4)]),
        rule(5, 7, &[(i32::MAX as u32, 7), (65534, 1)]),
        rule(6, 0, &[(1001, 7), (1004, 7), (1005, 7), (1006, 7)]),
        rule(7, u16::MAX, &[]),
        rule(8, 7, &[(1001, 7), (1002, 5)]),
    ]
}

impl Shape {
    /// How many inodes there are at most: second names leave gaps.
    pub(super) fn inodes(&self) -> u64 {
        self.all_directories() + self.slots
    }

    /// Nodes, in the order of their inodes: directories, what slots name, the trash.
    pub(super) fn nodes(&self, range: &Range<u64>, rows: &mut Rows<'_, Node>) -> Result<()> {
        for directory in range.start..range.end.min(self.trash_root()) {
            rows.push(self.directory_node(directory))?;
        }
        for (directory, slots) in self.runs(self.inodes_from(range)) {
            let parent = self.directory_inode(directory);
            for slot in slots {
                let leaf = self.leaf(slot);
                if leaf.slot == slot {
                    rows.push(self.leaf_node(leaf, parent))?;
                }
            }
        }
        for ordinal in range.start.max(self.trash_root() + self.slots)..range.end {
            rows.push(self.directory_node(ordinal - self.slots))?;
        }
        Ok(())
    }

    fn directory_node(&self, directory: u64) -> Node {
        let inode = self.directory_inode(directory);
        let mut node = Node { inode, kind: FileType::DIRECTORY, nlink: 2, length: 4096, ..Node::default() };
        if inode == ROOT_INODE || inode >= TRASH_INODE {
            let when = match directory.checked_sub(self.trash_root() + 1) {
                Some(hour) => TRASH_BIRTH + hour as i64 * 3600,
                None => BIRTH,
            };
            (node.atime, node.mtime, node.ctime) = (when, when, when);
            node.mode = if inode == ROOT_INODE { 0o777 } else { 0o555 };
            node.parent = if inode > TRASH_INODE { TRASH_INODE } else { ROOT_INODE };
        } else {
            node.parent = self.directory_inode(self.parent_of(directory));
            self.describe(&mut node, &DIRECTORY_MODES);
        }
        if inode < TRASH_INODE {
            node.nlink += self.subdirectories(directory) as u32;
        }
        node
    }

    fn leaf_node(&self, leaf: Leaf, parent: u64) -> Node {
        let slot = leaf.slot;
        let mut node = Node { inode: self.slot_inode(slot), kind: leaf.kind, nlink: 1, parent, ..Node::default() };
        node.length = self.size_of(leaf);
        node.rdev = self.device(leaf);
        if leaf.linked {
            node.nlink = self.names_of(slot).into_iter().flatten().count() as u32;
            node.parent = 0;
        }
        self.describe(&mut node, &FILE_MODES);
        if leaf.kind == FileType::SYMLINK {
            node.length = names::target(self.dice, slot).len() as u64;
            node.mode = 0o777;
        }
        node
    }

    /// Fills in owner, mode, times and the rare marks.
    fn describe(&self, node: &mut Node, modes: &[u16]) {
        let roll = self.dice.roll(Purpose::Owner, node.inode);
        let stranger = (1000 + skewed(roll >> 8 & 0xffff_ffff | roll << 32, 24)) as u32;
        (node.uid, node.gid) = match roll & 0xff {
            0..150 => (1000, 1000),
            150..190 => (0, 0),
            190..220 => (1001, 100),
            220 => (i32::MAX as u32, i32::MAX as u32),
            _ => (stranger, pick(&[1000, 100, stranger], roll >> 40)),
        };
        node.mode = pick(modes, roll >> 56);
        let roll = self.dice.roll(Purpose::Times, node.inode);
        node.mtime = BIRTH + (roll % 200_000_000) as i64;
        node.ctime = node.mtime + (roll >> 32 & 0xffff) as i64;
        node.atime = node.ctime + (roll >> 48) as i64;
        node.mtimensec = (roll >> 8) as u32 % 1_000_000_000;
        node.ctimensec = (roll >> 20) as u32 % 1_000_000_000;
        node.atimensec = (roll >> 31) as u32 % 1_000_000_000;
        self.mark(node);
    }

    fn mark(&self, node: &mut Node) {
        let roll = self.dice.roll(Purpose::Mark, node.inode);
        let is_directory = node.kind == FileType::DIRECTORY;
        let which = roll >> 32;
        match roll % 1000 {
            0..5 if is_directory || node.kind == FileType::REGULAR => {
                node.access_acl = (1 + which % ACCESS_RULES) as u32;
                if let Some(rule) = self.rules.get(node.access_acl as usize - 1) {
                    node.mode = node.mode & 0o7000 | rule.owner << 6 | rule.mask << 3 | rule.other;
                }
            }
            5..10 if is_directory => node.default_acl = (ACCESS_RULES + 1 + which % 2) as u32,
            10..13 if node.kind == FileType::REGULAR => node.flags = pick(&[1, 2, 4, 8, 16, 32], which),
            13..20 if node.kind == FileType::REGULAR => node.tier = 1,
            _ => {}
        }
    }

    /// The targets of symbolic links.
    pub(super) fn symlinks(&self, slots: Range<u64>, rows: &mut Rows<'_, Symlink>) -> Result<()> {
        for slot in slots {
            let leaf = self.leaf(slot);
            if leaf.slot == slot && leaf.kind == FileType::SYMLINK {
                rows.push(Symlink { inode: self.slot_inode(slot), target: names::target(self.dice, slot) })?;
            }
        }
        Ok(())
    }

    /// Extended attributes: one inode in twenty has one to three.
    pub(super) fn xattrs(&self, range: Range<u64>, rows: &mut Rows<'_, Xattr>) -> Result<()> {
        for ordinal in range.start..range.end.min(self.trash_root() + self.slots) {
            let roll = self.dice.roll(Purpose::Xattr, ordinal);
            let is_second_name = |slot| self.leaf(slot).slot != slot;
            if !roll.is_multiple_of(20) || ordinal.checked_sub(self.trash_root()).is_some_and(is_second_name) {
                continue;
            }
            let first = (roll >> 8 & 0xff) % 3;
            for which in first..=first + (roll >> 16 & 0xff) % 3 {
                let name = pick(&XATTRS, which).as_bytes().to_vec();
                let value = self.xattr_value(ordinal, which);
                rows.push(Xattr { inode: ROOT_INODE + ordinal, name, value })?;
            }
        }
        Ok(())
    }

    fn xattr_value(&self, ordinal: u64, which: u64) -> Vec<u8> {
        let roll = self.dice.roll(Purpose::Bytes, ordinal ^ which << 56);
        match which {
            0 => b"system_u:object_r:user_home_t:s0\0".to_vec(),
            1 => names::bytes(roll, skewed(roll, 10) as usize),
            2 => names::bytes(roll, 32),
            3 => names::text(roll, 1 + (roll % 200) as usize),
            _ => pick(&["text/plain", "image/jpeg", "application/octet-stream"], roll).as_bytes().to_vec(),
        }
    }

    /// Where the names of linked files are.
    pub(super) fn parents(&self, blocks: Range<u64>, rows: &mut Rows<'_, Parent>) -> Result<()> {
        for slot in blocks.flat_map(|block| self.linked(block)) {
            let inode = self.slot_inode(slot);
            let mut parents: Vec<u64> = self
                .names_of(slot)
                .into_iter()
                .flatten()
                .map(|name| self.directory_inode(self.directory_of(name)))
                .collect();
            parents.sort_unstable();
            for names in parents.chunk_by(|one, other| one == other) {
                let count = names.len() as i64;
                for &parent in names.iter().take(1) {
                    rows.push(Parent { inode, parent, count })?;
                }
            }
        }
        Ok(())
    }
}
