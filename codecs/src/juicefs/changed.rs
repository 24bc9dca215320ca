//! Changed: which inodes are not what they were, and in what. It keeps sets of inodes, and knows no names.

use roaring::RoaringTreemap;

use super::kinds::{Batch, Node};

/// What may change of an inode.
const SORTS: [&str; 4] = ["contents", "attributes", "link target", "extended attributes"];

/// Inodes that are in both of two sources, and what changed of each.
#[derive(Debug, Default)]
pub struct Changed {
    sorts: [RoaringTreemap; SORTS.len()],
}

impl Changed {
    /// Takes note of a row as two sources have it, each in a batch of one. Entries of directories are for others to note.
    pub fn note(&mut self, left: Option<&Batch>, right: Option<&Batch>) {
        match (left, right) {
            (Some(Batch::Node(left)), Some(Batch::Node(right))) => {
                left.iter().zip(right).for_each(|(left, right)| self.note_node(left, right));
            }
            (Some(Batch::Chunk(rows)), _) | (_, Some(Batch::Chunk(rows))) => {
                self.put(0, rows.iter().map(|row| row.inode));
            }
            (Some(Batch::Symlink(rows)), _) | (_, Some(Batch::Symlink(rows))) => {
                self.put(2, rows.iter().map(|row| row.inode));
            }
            (Some(Batch::Xattr(rows)), _) | (_, Some(Batch::Xattr(rows))) => {
                self.put(3, rows.iter().map(|row| row.inode));
            }
            _ => {}
        }
    }

    fn note_node(&mut self, left: &Node, right: &Node) {
        if left.length != right.length {
            self.put(0, [right.inode]);
        }
        if (Node { length: right.length, ..left.clone() }) != *right {
            self.put(1, [right.inode]);
        }
    }

    fn put(&mut self, sort: usize, inodes: impl IntoIterator<Item = u64>) {
        if let Some(set) = self.sorts.get_mut(sort) {
            set.extend(inodes);
        }
    }

    /// What changed of an inode.
    pub fn of(&self, inode: u64) -> impl Iterator<Item = &'static str> {
        self.sorts.iter().zip(SORTS).filter(move |(set, _)| set.contains(inode)).map(|(_, sort)| sort)
    }

    /// Whether anything changed of an inode.
    #[must_use]
    pub fn contains(&self, inode: u64) -> bool {
        self.of(inode).next().is_some()
    }

    /// Whether nothing changed of any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorts.iter().all(RoaringTreemap::is_empty)
    }
}
