//! A volume without its trash, as `juicefs dump --skip-trash` has it. What stays is what an edge outside the trash leads to,
//! and what no edge leads to. It keeps sets of inodes, and no map of them.

use std::sync::Mutex;

use roaring::RoaringTreemap;

use super::{is_directory, lock, put};
use crate::juicefs::ids::{Counts, IdSet};
use crate::juicefs::kinds::{Batch, Edge};
use crate::juicefs::{TRASH_INODE, quota_class};
#[cfg(test)]
mod tests;

/// Directories and their parents that are held in a pass, at most. Of a volume with more, it takes as many passes as the
/// trash is deep.
const MOST_BELOW: usize = 1 << 20;

/// A volume without its trash. The root of the trash stays: JuiceFS makes it when it formats, and only then.
#[derive(Debug, Default)]
pub(super) struct WithoutTrash {
    /// Directories that only the trash leads to, its hours aside.
    directories: RoaringTreemap,
    /// What was seen in this pass.
    pass: Pass,
    /// Inodes that only the trash leads to.
    gone: RoaringTreemap,
    /// Inodes with names in the trash and outside.
    linked: RoaringTreemap,
    /// Names in the trash, past the first.
    more: Counts,
}

/// What one pass over all edges sees.
#[derive(Debug, Default)]
struct Pass {
    /// Inodes with a name outside the trash.
    live: IdSet,
    /// Directories with another one; no whole volume has any.
    twice: IdSet,
    /// Inodes with a name in the trash.
    named: IdSet,
    /// Directories among them.
    trashed: IdSet,
    /// Names in the trash, past the first.
    more: Counts,
    /// Directories with anything in them.
    filled: IdSet,
    /// Directories outside the trash, after their parents.
    below: Mutex<Vec<(u64, u64)>>,
}

impl WithoutTrash {
    fn is_in_trash(&self, directory: u64) -> bool {
        directory >= TRASH_INODE || self.directories.contains(directory)
    }

    fn is_gone(&self, inode: u64) -> bool {
        inode > TRASH_INODE || self.gone.contains(inode)
    }

    /// How many names of what stays are left out.
    fn names_left_out(&self, inode: u64) -> u32 {
        if self.linked.contains(inode) { 1 + self.more.of(inode) } else { 0 }
    }
}

impl WithoutTrash {
    pub(super) fn learn(&self, rows: &[Edge]) {
        let (inside, outside): (Vec<_>, Vec<_>) = rows.iter().partition(|row| self.is_in_trash(row.parent));
        self.pass.inside(&inside);
        self.pass.outside(&outside);
    }

    pub(super) fn settle(&mut self) -> bool {
        let pass = std::mem::take(&mut self.pass);
        let mut below = std::mem::take(&mut *lock(&pass.below));
        below.sort_unstable();
        let mut has_grown = false;
        let mut todo = Vec::new();
        for directory in pass.trashed.without(&[&pass.live]).filter(|&directory| directory < TRASH_INODE) {
            todo.push(directory);
            while let Some(directory) = todo.pop() {
                if !self.directories.insert(directory) {
                    continue;
                }
                has_grown |= pass.filled.contains(directory);
                let first = below.partition_point(|(parent, _)| *parent < directory);
                let children = below.iter().skip(first).take_while(|(parent, _)| *parent == directory);
                todo.extend(children.map(|(_, child)| *child).filter(|&child| !pass.twice.contains(child)));
            }
        }
        if has_grown {
            return true;
        }
        for inode in pass.named.without(&[]) {
            let place = if pass.live.contains(inode) { &mut self.linked } else { &mut self.gone };
            place.insert(inode);
        }
        self.more = pass.more;
        false
    }

    /// Leaves rows out; says of which sort they are where that is worth telling.
    pub(super) fn keep(&self, batch: &mut Batch) -> Option<&'static str> {
        let stays = |inode| !self.is_gone(inode);
        let mut told = None;
        match batch {
            Batch::Node(rows) => {
                rows.retain(|row| stays(row.inode));
                rows.iter_mut().for_each(|row| row.nlink = row.nlink.saturating_sub(self.names_left_out(row.inode)));
                told = Some("inodes in the trash");
            }
            Batch::Edge(rows) => {
                rows.retain(|row| !self.is_in_trash(row.parent));
                told = Some("names in the trash");
            }
            Batch::Chunk(rows) => rows.retain(|row| stays(row.inode)),
            Batch::Symlink(rows) => rows.retain(|row| stays(row.inode)),
            Batch::Xattr(rows) => rows.retain(|row| stays(row.inode)),
            Batch::Parent(rows) => rows.retain(|row| stays(row.inode) && !self.is_in_trash(row.parent)),
            // Where the root of the trash has statistics, they are of what is left out.
            Batch::DirStat(rows) => rows.retain(|row| row.inode != TRASH_INODE && stays(row.inode)),
            Batch::Quota(rows) => rows.retain(|row| row.class != quota_class::DIRECTORY || stays(row.id)),
            _ => {}
        }
        told
    }
}

impl Pass {
    /// Takes in edges that are left out. No two sets are locked at once.
    fn inside(&self, rows: &[&Edge]) {
        let mut named = self.named.hand();
        let again: Vec<u64> = rows.iter().map(|row| row.inode).filter(|&inode| !named.insert(inode)).collect();
        drop(named);
        again.into_iter().for_each(|inode| self.more.increment(inode));
        put(&self.trashed, rows.iter().filter(|row| is_directory(row)).map(|row| row.inode));
        self.fill(rows);
    }

    /// Takes in edges that stay, as far as is known. No two sets are locked at once.
    fn outside(&self, rows: &[&Edge]) {
        let mut live = self.live.hand();
        let again: Vec<&Edge> = rows.iter().copied().filter(|row| !live.insert(row.inode)).collect();
        drop(live);
        put(&self.twice, again.iter().filter(|row| is_directory(row)).map(|row| row.inode));
        self.fill(rows);
        let mut below = lock(&self.below);
        let room = MOST_BELOW.saturating_sub(below.len());
        below.extend(rows.iter().filter(|row| is_directory(row)).map(|row| (row.parent, row.inode)).take(room));
    }

    fn fill(&self, rows: &[&Edge]) {
        let parents = rows.chunk_by(|one, other| one.parent == other.parent).filter_map(<[_]>::first);
        put(&self.filled, parents.map(|row| row.parent));
    }
}
