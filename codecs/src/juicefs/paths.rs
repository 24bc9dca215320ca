//! Paths: where directories are, found from edges that come in any order, in few passes. It keeps those that are asked for and
//! those above them, and refuses to know what they are wanted for.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use roaring::RoaringTreemap;

use super::kinds::Edge;
use super::{FileType, ROOT_INODE, TRASH_INODE};

/// Parents that are remembered in a pass, at most: more directories take more passes.
const MOST_REMEMBERED: usize = 1 << 20;
/// No path is followed further up.
const MOST_DEPTH: usize = 1 << 16;

/// Looks for directories. Learns from edges until [`Paths::settle`] says that it has seen enough.
#[derive(Debug, Default)]
pub struct Paths {
    /// What is looked for in this pass.
    wanted: RoaringTreemap,
    found: HashMap<u64, (u64, Vec<u8>)>,
    pass: Mutex<Pass>,
}

#[derive(Debug, Default)]
struct Pass {
    found: HashMap<u64, (u64, Vec<u8>)>,
    parents: HashMap<u64, u64>,
}

impl Paths {
    /// Asks for a directory.
    pub fn want(&mut self, directory: u64) {
        if !is_top(directory) && !self.found.contains_key(&directory) {
            self.wanted.insert(directory);
        }
    }

    /// Whether there is anything to look for.
    #[must_use]
    pub fn is_looking(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Learns from edges, all of which are shown in each pass; many workers may show them.
    pub fn learn(&self, rows: &[Edge]) {
        for row in rows.iter().filter(|row| row.kind == FileType::DIRECTORY) {
            let mut pass = lock(&self.pass);
            if self.wanted.contains(row.inode) {
                pass.found.insert(row.inode, (row.parent, row.name.clone()));
            } else if pass.parents.len() < MOST_REMEMBERED && !self.found.contains_key(&row.inode) {
                pass.parents.insert(row.inode, row.parent);
            }
        }
    }

    /// Ends a pass; true where another is needed. What was in no edge is nowhere.
    pub fn settle(&mut self) -> bool {
        let Pass { found, parents } = std::mem::take(&mut *lock(&self.pass));
        self.wanted.clear();
        let above: Vec<u64> = found.values().map(|(parent, _)| *parent).collect();
        self.found.extend(found);
        for mut directory in above {
            while !is_top(directory) && !self.found.contains_key(&directory) && self.wanted.insert(directory) {
                let Some(&parent) = parents.get(&directory) else { break };
                directory = parent;
            }
        }
        self.is_looking()
    }

    /// The path of a directory, `/` for the root; none where it is below no root, as far as was seen.
    #[must_use]
    pub fn of(&self, directory: u64) -> Option<Vec<u8>> {
        let (mut names, mut at) = (Vec::new(), directory);
        while at != ROOT_INODE {
            if at == TRASH_INODE {
                // As JuiceFS's clients have it (`base.go: Lookup`).
                names.push(b".trash".as_slice());
                break;
            }
            let (parent, name) = self.found.get(&at)?;
            names.push(name);
            at = *parent;
            if names.len() > MOST_DEPTH {
                return None;
            }
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        Some(if path.is_empty() { b"/".to_vec() } else { path })
    }
}

fn is_top(directory: u64) -> bool {
    directory == ROOT_INODE || directory == TRASH_INODE
}

/// A map stays whole whatever a worker was doing when it stopped: each insertion is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(parent: u64, name: &str, inode: u64) -> Edge {
        Edge { parent, name: name.as_bytes().to_vec(), inode, kind: FileType::DIRECTORY }
    }

    fn found(edges: &[Edge], wanted: &[u64]) -> (Paths, usize) {
        let (mut paths, mut passes) = (Paths::default(), 0);
        wanted.iter().for_each(|&directory| paths.want(directory));
        while paths.is_looking() {
            edges.chunks(2).for_each(|rows| paths.learn(rows));
            paths.settle();
            passes += 1;
        }
        (paths, passes)
    }

    #[test]
    fn directories_are_found_in_two_passes_however_deep_they_are() {
        let mut edges: Vec<Edge> = (2..500).map(|inode| edge(inode - 1, "d", inode)).collect();
        edges.push(edge(TRASH_INODE, "2026-01-31-12", 600));
        edges.push(edge(700, "lost", 701));
        let (paths, passes) = found(&edges, &[1, 4, 499, 600, 701, 999]);
        assert_eq!(passes, 2);
        assert_eq!(paths.of(1).as_deref(), Some(b"/".as_slice()));
        assert_eq!(paths.of(4).as_deref(), Some(b"/d/d/d".as_slice()));
        assert_eq!(paths.of(499), Some(b"/d".repeat(498)));
        assert_eq!(paths.of(600).as_deref(), Some(b"/.trash/2026-01-31-12".as_slice()));
        assert_eq!((paths.of(701), paths.of(999)), (None, None));
    }

    #[test]
    fn directories_in_a_ring_have_no_path() {
        let (paths, _) = found(&[edge(3, "a", 2), edge(2, "b", 3)], &[2, 3]);
        assert_eq!((paths.of(2), paths.of(3)), (None, None));
    }
}
