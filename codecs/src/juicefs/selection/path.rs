//! What is at a path: an entry, a directory with its entries, or all that is below it. It finds the path and the
//! directories below it from edges that come in any order, in few passes, and keeps sets of inodes.

use std::sync::Mutex;

use roaring::RoaringTreemap;

use super::{is_directory, lock, put};
use crate::juicefs::ids::{Counts, IdSet};
use crate::juicefs::kinds::{Batch, Edge};
use crate::juicefs::{FileType, ROOT_INODE, TRASH_INODE, quota_class};
use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// Edges that are remembered in a pass, at most: more of them take more passes.
const MOST_REMEMBERED: usize = 1 << 20;

/// How far a selection reaches from its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// What is there, and nothing in it.
    Entry,
    /// A directory and its entries.
    Entries,
    /// A directory and all that is below it.
    Everything,
}

/// What is at a path.
#[derive(Debug)]
pub(super) struct AtPath {
    path: Vec<Vec<u8>>,
    reach: Reach,
    /// How many names of the path were found.
    found: usize,
    /// What is there.
    inode: u64,
    is_directory: bool,
    /// Directories whose entries are carried.
    directories: RoaringTreemap,
    pass: Pass,
    named: RoaringTreemap,
    /// Names past the first.
    more: Counts,
}

/// What one pass over all edges sees.
#[derive(Debug, Default)]
struct Pass {
    /// Edges with a name that is still to be found: parent, number of the name, inode, whether it is a directory.
    matches: Mutex<Vec<(u64, usize, u64, bool)>>,
    /// Directories after their parents.
    below: Mutex<Vec<(u64, u64)>>,
    /// Inodes with a name that is carried.
    named: IdSet,
    more: Counts,
    /// Directories that were found below those that were known.
    new: IdSet,
}

impl AtPath {
    pub(super) fn new(path: &[u8], reach: Reach) -> Self {
        let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").peekable();
        // As JuiceFS's clients have it (`base.go: Lookup`).
        let in_trash = names.next_if(|name| *name == b".trash").is_some();
        let mut at = Self {
            path: names.map(<[u8]>::to_vec).collect(),
            reach,
            found: 0,
            inode: if in_trash { TRASH_INODE } else { ROOT_INODE },
            is_directory: true,
            directories: RoaringTreemap::new(),
            pass: Pass::default(),
            named: RoaringTreemap::new(),
            more: Counts::default(),
        };
        at.arrive();
        at
    }

    /// Begins with the directory at the path, once that is found.
    fn arrive(&mut self) {
        if self.has_arrived() && self.is_directory && self.reach != Reach::Entry {
            self.directories.insert(self.inode);
        }
    }

    fn has_arrived(&self) -> bool {
        self.found == self.path.len()
    }

    pub(super) fn learn(&self, rows: &[Edge]) {
        self.learn_path(rows);
        if self.reach == Reach::Everything {
            let mut below = lock(&self.pass.below);
            let room = MOST_REMEMBERED.saturating_sub(below.len());
            let unknown = rows.iter().filter(|row| is_directory(row) && !self.directories.contains(row.inode));
            below.extend(unknown.map(|row| (row.parent, row.inode)).take(room));
        }
        if self.directories.is_empty() {
            return;
        }
        let inside: Vec<_> = rows.iter().filter(|row| self.directories.contains(row.parent)).collect();
        let mut named = self.pass.named.hand();
        let again: Vec<u64> = inside.iter().map(|row| row.inode).filter(|&inode| !named.insert(inode)).collect();
        drop(named);
        again.into_iter().for_each(|inode| self.pass.more.increment(inode));
        if self.reach == Reach::Everything {
            put(&self.pass.new, inside.iter().filter(|row| is_directory(row)).map(|row| row.inode));
        }
    }

    fn learn_path(&self, rows: &[Edge]) {
        let Some(missing) = self.path.get(self.found..).filter(|missing| !missing.is_empty()) else { return };
        for row in rows {
            for (number, _) in missing.iter().enumerate().filter(|(_, name)| **name == row.name) {
                let mut matches = lock(&self.pass.matches);
                if matches.len() < MOST_REMEMBERED || row.parent == self.inode {
                    matches.push((row.parent, self.found + number, row.inode, is_directory(row)));
                }
            }
        }
    }

    pub(super) fn settle(&mut self) -> Result<bool> {
        let pass = std::mem::take(&mut self.pass);
        let mut below = std::mem::take(&mut *lock(&pass.below));
        below.sort_unstable();
        if !self.has_arrived() {
            self.follow(&lock(&pass.matches))?;
            if self.has_arrived() && self.reach == Reach::Everything && !self.is_directory {
                return Err(self.error("it is no directory"));
            }
            self.arrive();
            self.close(self.directories.clone(), &below);
            return Ok(!self.has_arrived() || !self.directories.is_empty());
        }
        let before = self.directories.len();
        self.close(pass.new.without(&[]).filter(|inode| !self.directories.contains(*inode)).collect(), &below);
        if self.directories.len() > before {
            return Ok(true);
        }
        self.named = pass.named.without(&[]).collect();
        self.more = pass.more;
        Ok(false)
    }

    /// Goes along the path as far as edges were seen.
    fn follow(&mut self, matches: &[(u64, usize, u64, bool)]) -> Result<()> {
        let before = self.found;
        while !self.has_arrived() {
            let next = matches.iter().find(|(parent, number, ..)| (*parent, *number) == (self.inode, self.found));
            let Some((_, _, inode, is_directory)) = next else { break };
            (self.inode, self.is_directory) = (*inode, *is_directory);
            self.found += 1;
        }
        if self.found == before { Err(self.error("there is nothing of this name")) } else { Ok(()) }
    }

    fn error(&self, why: &str) -> Error {
        let path = self.path.get(..=self.found).unwrap_or(&self.path).join(&b'/');
        Error::malformed("path", format!("/{}: {why}", String::from_utf8_lossy(&path)))
    }

    /// Takes in directories and what is known to be below them.
    fn close(&mut self, new: RoaringTreemap, below: &[(u64, u64)]) {
        let mut todo: Vec<u64> = new.iter().collect();
        self.directories |= new;
        while let Some(directory) = todo.pop() {
            let first = below.partition_point(|(parent, _)| *parent < directory);
            let children = below.iter().skip(first).take_while(|(parent, _)| *parent == directory);
            todo.extend(children.map(|(_, child)| *child).filter(|child| self.directories.insert(*child)));
        }
    }

    /// What an inode is called where it is carried.
    fn new_name(&self, inode: u64) -> u64 {
        if inode == self.inode { ROOT_INODE } else { inode }
    }

    fn stays(&self, inode: u64) -> bool {
        // JuiceFS makes the root of the trash when it formats, and only then.
        let is_trash = inode == TRASH_INODE && self.reach == Reach::Everything;
        inode == self.inode || is_trash || (self.named.contains(inode) && inode != ROOT_INODE)
    }

    pub(super) fn keep(&self, batch: &mut Batch) -> Option<&'static str> {
        match batch {
            Batch::Node(rows) => {
                rows.retain(|row| self.stays(row.inode));
                rows.iter_mut().for_each(|row| {
                    if row.inode == TRASH_INODE && row.inode != self.inode {
                        return;
                    }
                    if row.kind != FileType::DIRECTORY && row.inode != self.inode {
                        row.nlink = row.nlink.min(1 + self.more.of(row.inode));
                    }
                    // Of one that is only looked at, the parent tells what it was called.
                    row.parent = match row.inode == self.inode {
                        true if self.reach == Reach::Everything => ROOT_INODE,
                        true => row.inode,
                        false => self.new_name(row.parent),
                    };
                    row.inode = self.new_name(row.inode);
                });
            }
            Batch::Edge(rows) => {
                rows.retain(|row| self.directories.contains(row.parent));
                rows.iter_mut().for_each(|row| row.parent = self.new_name(row.parent));
            }
            Batch::Parent(rows) => {
                rows.retain(|row| self.stays(row.inode) && self.directories.contains(row.parent));
                rows.iter_mut().for_each(|row| row.parent = self.new_name(row.parent));
            }
            Batch::Quota(rows) => {
                rows.retain(|row| row.class == quota_class::DIRECTORY && self.stays(row.id));
                rows.iter_mut().for_each(|row| row.id = self.new_name(row.id));
            }
            Batch::Chunk(rows) => keep_rows(rows, self, |row| &mut row.inode),
            Batch::Symlink(rows) => keep_rows(rows, self, |row| &mut row.inode),
            Batch::Xattr(rows) => keep_rows(rows, self, |row| &mut row.inode),
            Batch::DirStat(rows) => {
                rows.retain(|row| self.directories.contains(row.inode));
                rows.iter_mut().for_each(|row| row.inode = self.new_name(row.inode));
            }
            // They are of the whole volume, and of what has no path.
            Batch::Sustained(rows) => rows.clear(),
            Batch::DelFile(rows) => rows.clear(),
            Batch::DelSlices(rows) => rows.clear(),
            Batch::Detached(rows) => rows.clear(),
            Batch::Token(rows) => rows.clear(),
            _ => {}
        }
        None
    }
}

fn keep_rows<R>(rows: &mut Vec<R>, selection: &AtPath, inode: impl Fn(&mut R) -> &mut u64) {
    rows.retain_mut(|row| {
        let inode = inode(row);
        let stays = selection.stays(*inode);
        *inode = selection.new_name(*inode);
        stays
    });
}
