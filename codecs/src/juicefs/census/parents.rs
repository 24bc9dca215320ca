//! Parents, where rows are amended: in a fuzzy snapshot a node may name a directory in which no entry leads to it, and parent
//! rows may count other entries than there are. A conflict is settled as a load of a JuiceFS dump settles it: the entries are
//! right; one is the node's parent, of several it has parent rows and the parent 0.
//!
//! Entries, nodes and rows are summed by inode and parent in the first round; only conflicts go on to the second.

use super::{Census, DETACHED, LINK, Seen, section, stats_counted};
use crate::juicefs::kinds::Node;
use crate::juicefs::{FileType, used_space};
use crate::system::{Ledger, Sum, Sums};

/// Keys of the first round under which a node is booked whole. The last of its numbers counts how often it came; in the second
/// round, under [`section::NODE`], it is the right parent.
const NODE: [u64; 3] = [2, 3, 4];

/// A node as numbers to be summed, once.
pub(super) type Lanes = [[i64; 4]; 3];

fn two(low: u32, high: u32) -> i64 {
    (u64::from(low) | u64::from(high) << 32).cast_signed()
}

fn low(lane: i64) -> u32 {
    (lane.cast_unsigned() & u64::from(u32::MAX)) as u32
}

fn high(lane: i64) -> u32 {
    (lane.cast_unsigned() >> 32) as u32
}

fn lanes(row: &Node, last: u64) -> Lanes {
    let small = u32::from_le_bytes([row.flags, row.kind.number(), row.tier, 0]);
    [
        [two(small, u32::from(row.mode)), two(row.uid, row.gid), row.atime, row.mtime],
        [row.ctime, two(row.atimensec, row.mtimensec), two(row.ctimensec, row.nlink), row.length.cast_signed()],
        [two(row.rdev, row.access_acl), two(row.default_acl, 0), row.parent.cast_signed(), last.cast_signed()],
    ]
}

/// The node that was booked, and the last of its numbers.
pub(super) fn node_of(inode: u64, lanes: &Lanes) -> Option<(Node, u64)> {
    let [[small, owner, atime, mtime], [ctime, nsec, links, length], [device, acl, parent, last]] = *lanes;
    let [flags, kind, tier, _] = low(small).to_le_bytes();
    let node = Node {
        inode,
        flags,
        kind: FileType::new(u64::from(kind)).ok()?,
        mode: u16::try_from(high(small)).ok()?,
        uid: low(owner),
        gid: high(owner),
        atime,
        mtime,
        ctime,
        atimensec: low(nsec),
        mtimensec: high(nsec),
        ctimensec: low(links),
        nlink: high(links),
        length: length.cast_unsigned(),
        rdev: low(device),
        parent: parent.cast_unsigned(),
        access_acl: high(device),
        default_acl: low(acl),
        tier,
    };
    Some((node, last.cast_unsigned()))
}

/// Books a node in the first round.
pub(super) fn book<L: Ledger>(row: &Node, ledger: &mut L) -> Result<(), L::Error> {
    NODE.into_iter().zip(lanes(row, 1)).try_for_each(|(key, lanes)| ledger.add_first([row.inode, key], lanes))
}

/// Everything of one inode, whose parents come by in ascending order and are not kept: there may be any number.
struct Family {
    inode: u64,
    lanes: Lanes,
    node: Option<Node>,
    is_directory: bool,
    /// Whether it is in a state to be judged: in a directory, and neither open nor being cloned.
    is_judged: bool,
    /// Entries that lead to it.
    names: i64,
    /// The parent of the first of them, and the count of its row, while it is the only one.
    only: Option<(u64, i64)>,
    /// Whether a parent row was found to be wrong.
    is_changed: bool,
}

/// Books in the second round what directories hold, and which nodes and parent rows are in conflict.
pub(super) fn bridge<L: Ledger>(census: &Census, sums: Sums<'_, L::Error>, ledger: &mut L) -> Result<(), L::Error> {
    let mut family: Option<Family> = None;
    while let Some(([inode, key], sum)) = sums()? {
        if family.as_ref().is_none_or(|family| family.inode != inode) {
            family.take().map_or(Ok(()), |family| family.end(ledger))?;
        }
        let family = family.get_or_insert_with(|| Family::new(inode));
        if key & LINK != 0 {
            family.parent(([inode, key & !LINK], sum), ledger)?;
        } else if let Some(index) = NODE.iter().position(|number| *number == key) {
            family.lanes.get_mut(index).into_iter().for_each(|lanes| *lanes = sum);
            if index == NODE.len() - 1 {
                family.meet(&census.seen);
            }
        } else {
            debug_assert_eq!(key, DETACHED, "the first round books nothing else where rows are amended");
        }
    }
    family.map_or(Ok(()), |family| family.end(ledger))
}

impl Family {
    fn new(inode: u64) -> Self {
        let lanes = Lanes::default();
        let (node, is_directory, is_judged, only) = (None, false, false, None);
        Self { inode, lanes, node, is_directory, is_judged, names: 0, only, is_changed: false }
    }

    /// The node is known. One that came twice is none that could be told.
    fn meet(&mut self, seen: &Seen) {
        self.node = node_of(self.inode, &self.lanes).filter(|(_, times)| *times == 1).map(|(node, _)| node);
        self.is_directory = self.node.as_ref().is_some_and(|node| node.kind == FileType::DIRECTORY);
        self.is_judged = self.node.is_some() && seen.edges.contains(self.inode) && !seen.held.contains(self.inode);
    }

    /// A parent, by its row, its entries, or both.
    fn parent<L: Ledger>(&mut self, ([_, parent], [row, names, ..]): Sum, ledger: &mut L) -> Result<(), L::Error> {
        let Some(node) = self.node.as_ref().filter(|_| self.is_judged || names > 0) else { return Ok(()) };
        if names > 0 && stats_counted(parent) {
            let length = if node.kind == FileType::REGULAR { node.length.cast_signed() } else { 0 };
            let space = used_space(node.kind, node.length);
            let sums = [length.wrapping_mul(names), space.wrapping_mul(names), names, 0];
            ledger.add([parent, section::CHILDREN], sums)?;
        }
        if names == 1 && self.names == 0 {
            self.only = Some((parent, row));
        } else {
            if names > 0
                && let Some((first, row)) = self.only.take()
            {
                self.want(first, row, 1, ledger)?;
            }
            self.want(parent, row, names, ledger)?;
        }
        self.names += names;
        Ok(())
    }

    /// Books a parent row that does not count what it must.
    fn want<L: Ledger>(&mut self, parent: u64, row: i64, right: i64, ledger: &mut L) -> Result<(), L::Error> {
        if !self.is_judged || self.is_directory || row == right {
            return Ok(());
        }
        self.is_changed = true;
        ledger.add([self.inode, LINK | parent], [row, right, 1, 0])
    }

    fn end<L: Ledger>(mut self, ledger: &mut L) -> Result<(), L::Error> {
        let Some(node) = self.node.take().filter(|_| self.is_judged) else { return Ok(()) };
        let right = match self.only {
            // A file that once had more names keeps a parent of 0 and one row.
            Some((_, 1)) if node.parent == 0 && !self.is_directory && !self.is_changed => 0,
            Some((parent, row)) => {
                self.want(parent, row, 0, ledger)?;
                parent
            }
            // A directory with several entries is damage that nobody can mend.
            None if self.is_directory => node.parent,
            None => 0,
        };
        if node.parent == right {
            return Ok(());
        }
        let mut booked = section::NODE.into_iter().zip(lanes(&node, right));
        booked.try_for_each(|(section, lanes)| ledger.add([self.inode, section], lanes))
    }
}
