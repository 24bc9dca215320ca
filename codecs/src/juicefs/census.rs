//! The census of a JuiceFS volume: what its rows say its counters, link counts, slice references and directory statistics
//! must be, and what is broken. Sums that do not fit in memory go to the ledger; nothing here knows a store.

use std::sync::Arc;

use super::ids::IdSet;
use super::kinds::{Batch, Chunk, Counter, DelSlices, Edge, Node, SliceRef};
use super::{FileType, ROOT_INODE, TRASH_INODE, counter, setting, used_space};
use crate::system::{self, CensusOptions, Ledger, Outcome, Sums};

mod parents;
mod settle;
#[cfg(test)]
mod tests;
mod usage;

use usage::Usage;

/// What a key of the second round sums; the second half of the key. In the first round it is 0 for the length, space and
/// number of a directory or a node without a parent, [`DETACHED`], or [`LINK`] and a parent for the count of names there;
/// where rows are amended it is what [`parents`] says.
mod section {
    /// Edges past the first, link count, nodes, nodes without a parent: of what is no directory.
    pub(super) const FILE: u64 = 1;
    /// Counts of parent rows.
    pub(super) const PARENTS: u64 = 2;
    /// Sub-directories, link count, nodes: of a directory.
    pub(super) const DIRECTORY: u64 = 3;
    /// Length, space and number of children, counted.
    pub(super) const CHILDREN: u64 = 4;
    /// Length, space and number of children, stored.
    pub(super) const STORED: u64 = 5;
    /// Uses of a slice, and its size as often.
    pub(super) const SLICE: u64 = 6;
    /// Stored references of a slice, its size, and the number of such rows.
    pub(super) const REFS: u64 = 7;
    /// A node whose parent is wrong, and the right one. [`super::LINK`] and a parent: a parent row that is wrong, its count and
    /// the right one.
    pub(super) const NODE: [u64; 3] = [8, 9, 10];
}

/// What all workers saw.
#[derive(Debug)]
struct Seen {
    nodes: IdSet,
    edges: IdSet,
    /// Inodes that may be without an edge: sustained and detached ones.
    held: IdSet,
    /// Slices that are used, where nobody asks for a row of each.
    slices: IdSet,
    /// Slices that are stored with one reference.
    single: IdSet,
}

/// One worker's part of the census of a volume.
#[derive(Debug)]
pub struct Census {
    options: CensusOptions,
    seen: Arc<Seen>,
    counters: Vec<Counter>,
    dir_stats: bool,
    space: i64,
    count: i64,
    usage: Usage,
    highest: Highest,
    doubled: u64,
    /// Tokens whose bytes a dump took out; an engine has no use for them.
    stripped_tokens: Vec<u32>,
}

/// The largest of what is numbered.
#[derive(Debug, Clone, Copy, Default)]
struct Highest {
    inode: u64,
    trash: u64,
    slice: u64,
    session: u64,
    acl: u64,
    token: u64,
}

impl Highest {
    fn inode(&mut self, inode: u64) {
        if inode >= TRASH_INODE {
            self.trash = self.trash.max(inode - TRASH_INODE);
        } else {
            self.inode = self.inode.max(inode);
        }
    }

    fn merge(&mut self, other: Self) {
        self.inode = self.inode.max(other.inode);
        self.trash = self.trash.max(other.trash);
        self.slice = self.slice.max(other.slice);
        self.session = self.session.max(other.session);
        self.acl = self.acl.max(other.acl);
        self.token = self.token.max(other.token);
    }
}

/// Marks a directory that is being cloned, in the second half of a key of the first round.
const DETACHED: u64 = 1;
/// Marks a parent in the second half of a key of the first round.
const LINK: u64 = 1 << 63;

/// The trash root has no statistics (`base.go: checkTrash`).
fn stats_counted(parent: u64) -> bool {
    parent != TRASH_INODE
}

fn is_root(inode: u64) -> bool {
    inode == ROOT_INODE || inode == TRASH_INODE
}

impl system::Census for Census {
    type Batch = Batch;

    fn new(options: CensusOptions) -> Self {
        let [nodes, edges, held, slices, single] = std::array::from_fn(|_| IdSet::new());
        Self {
            options,
            seen: Arc::new(Seen { nodes, edges, held, slices, single }),
            counters: Vec::new(),
            dir_stats: false,
            space: 0,
            count: 0,
            usage: Usage::default(),
            highest: Highest::default(),
            doubled: 0,
            stripped_tokens: Vec::new(),
        }
    }

    fn share(&self) -> Self {
        let seen = Arc::clone(&self.seen);
        Self { seen, ..Self::new(self.options) }
    }

    fn observe<L: Ledger>(&mut self, batch: &Batch, ledger: &mut L) -> Result<bool, L::Error> {
        match batch {
            Batch::Node(rows) => self.nodes(rows, ledger)?,
            Batch::Edge(rows) => self.edges(rows, ledger)?,
            Batch::Chunk(rows) => self.chunks(rows, ledger)?,
            Batch::DelSlices(rows) => self.delayed(rows, ledger)?,
            Batch::SliceRef(rows) => {
                self.references(rows, ledger)?;
                return Ok(self.works_out());
            }
            Batch::Counter(rows) => {
                self.counters.extend_from_slice(rows);
                return Ok(self.works_out());
            }
            Batch::Quota(rows) if self.options.partial => {
                self.usage.quotas(rows);
                return Ok(true);
            }
            Batch::Parent(rows) => {
                for row in rows.iter().filter(|row| row.count > 0) {
                    ledger.add([row.inode, section::PARENTS], [row.count, 0, 0, 0])?;
                    ledger.add_first([row.inode, LINK | row.parent], [row.count, 0, 0, 0])?;
                }
            }
            Batch::DirStat(rows) => {
                for row in rows {
                    ledger.add([row.inode, section::STORED], [row.length, row.space, row.inodes, 1])?;
                }
            }
            Batch::Detached(rows) => {
                let mut held = self.seen.held.hand();
                for row in rows {
                    held.insert(row.inode);
                    ledger.add_first([row.inode, DETACHED], [1, 0, 0, 0])?;
                }
            }
            Batch::Token(rows) => {
                self.highest.token =
                    rows.iter().fold(self.highest.token, |highest, row| highest.max(u64::from(row.id)));
                let stripped = rows.iter().filter(|row| row.token.is_empty());
                self.stripped_tokens.extend(stripped.map(|row| row.id).filter(|_| self.options.mend));
                return Ok(self.options.mend && rows.iter().all(|row| row.token.is_empty()));
            }
            _ => self.small(batch),
        }
        Ok(false)
    }

    fn merge(&mut self, other: Self) {
        self.counters.extend(other.counters);
        self.dir_stats |= other.dir_stats;
        self.space += other.space;
        self.count += other.count;
        self.usage.merge(other.usage);
        self.doubled += other.doubled;
        self.stripped_tokens.extend(other.stripped_tokens);
        self.highest.merge(other.highest);
    }

    fn bridge<L: Ledger>(&mut self, sums: Sums<'_, L::Error>, ledger: &mut L) -> Result<(), L::Error> {
        if self.options.amend {
            return parents::bridge(self, sums, ledger);
        }
        let mut linked = (0, [0; 4]);
        while let Some(([inode, key], sum)) = sums()? {
            let parent = key & !LINK;
            if key == 0 {
                linked = (inode, sum);
            } else if key == DETACHED {
                linked = (0, [0; 4]);
            } else if linked.0 == inode && stats_counted(parent) {
                let ([length, space, ..], [count, ..]) = (linked.1, sum);
                ledger.add([parent, section::CHILDREN], [length * count, space * count, count, 0])?;
            }
        }
        Ok(())
    }

    fn settle<E>(self, sums: Sums<'_, E>, emit: &mut dyn FnMut(Outcome<Batch>) -> Result<(), E>) -> Result<(), E> {
        settle::settle(self, sums, emit)
    }
}

impl Census {
    fn nodes<L: Ledger>(&mut self, rows: &[Node], ledger: &mut L) -> Result<(), L::Error> {
        let seen = Arc::clone(&self.seen);
        let mut nodes = seen.nodes.hand();
        for row in rows {
            if !nodes.insert(row.inode) {
                self.doubled += 1;
            }
            self.highest.inode(row.inode);
            self.highest.acl = self.highest.acl.max(u64::from(row.access_acl.max(row.default_acl)));
            if is_root(row.inode) {
                ledger.add([row.inode, section::DIRECTORY], [0, i64::from(row.nlink), 1, 0])?;
                continue;
            }
            let space = used_space(row.kind, row.length);
            self.space = self.space.wrapping_add(space);
            self.count += 1;
            if self.options.partial {
                self.usage.node(row, space);
            }
            if row.kind == FileType::DIRECTORY {
                ledger.add([row.inode, section::DIRECTORY], [0, i64::from(row.nlink), 1, 0])?;
            } else if row.nlink != 1 || row.parent == 0 {
                let orphan = i64::from(row.parent == 0);
                ledger.add([row.inode, section::FILE], [0, i64::from(row.nlink), 1, orphan])?;
            }
            if self.options.amend {
                parents::book(row, ledger)?;
                continue;
            }
            let length = if row.kind == FileType::REGULAR { row.length.cast_signed() } else { 0 };
            if row.parent == 0 {
                ledger.add_first([row.inode, 0], [length, space, 1, 0])?;
            } else if row.kind == FileType::DIRECTORY {
                // One that is being cloned is no child yet, though it names its parent.
                ledger.add_first([row.inode, 0], [length, space, 1, 0])?;
                ledger.add_first([row.inode, LINK | row.parent], [1, 0, 0, 0])?;
            } else if stats_counted(row.parent) && row.nlink > 0 {
                ledger.add([row.parent, section::CHILDREN], [length, space, 1, 0])?;
            }
        }
        Ok(())
    }

    fn edges<L: Ledger>(&mut self, rows: &[Edge], ledger: &mut L) -> Result<(), L::Error> {
        let seen = Arc::clone(&self.seen);
        let mut edges = seen.edges.hand();
        for row in rows {
            if !edges.insert(row.inode) {
                ledger.add([row.inode, section::FILE], [1, 0, 0, 0])?;
            }
            if row.kind == FileType::DIRECTORY {
                ledger.add([row.parent, section::DIRECTORY], [1, 0, 0, 0])?;
            }
            if self.options.amend {
                ledger.add_first([row.inode, LINK | row.parent], [0, 1, 0, 0])?;
            }
        }
        Ok(())
    }

    fn chunks<L: Ledger>(&mut self, rows: &[Chunk], ledger: &mut L) -> Result<(), L::Error> {
        let slices = rows.iter().flat_map(|row| &row.slices.0);
        self.slices(slices.map(|slice| (slice.id, slice.size)), ledger)
    }

    fn delayed<L: Ledger>(&mut self, rows: &[DelSlices], ledger: &mut L) -> Result<(), L::Error> {
        // The compacted slice gave the row its id.
        self.highest.slice = rows.iter().fold(self.highest.slice, |highest, row| highest.max(row.id));
        self.slices(rows.iter().flat_map(|row| &row.slices.0).copied(), ledger)
    }

    /// Whether counters and slice references come from here, and not from the source.
    fn works_out(&self) -> bool {
        self.options.mend || self.options.partial
    }

    /// Whether a row of every slice is asked for; else only those used more than once are summed.
    fn every_slice(&self) -> bool {
        self.options.mend && self.options.defaults
    }

    fn slices<L: Ledger>(&mut self, slices: impl Iterator<Item = (u64, u32)>, ledger: &mut L) -> Result<(), L::Error> {
        let seen = Arc::clone(&self.seen);
        let mut used = seen.slices.hand();
        let every_slice = self.every_slice();
        for (id, size) in slices.filter(|(id, _)| *id != 0) {
            self.highest.slice = self.highest.slice.max(id);
            if every_slice || !used.insert(id) {
                ledger.add([id, section::SLICE], [1, i64::from(size), 0, 0])?;
            }
        }
        Ok(())
    }

    fn references<L: Ledger>(&mut self, rows: &[SliceRef], ledger: &mut L) -> Result<(), L::Error> {
        let seen = Arc::clone(&self.seen);
        let mut single = seen.single.hand();
        let every_slice = self.every_slice();
        for row in rows.iter().filter(|row| row.id != 0) {
            self.highest.slice = self.highest.slice.max(row.id);
            if every_slice || row.refs != 1 {
                ledger.add([row.id, section::REFS], [row.refs, i64::from(row.size), 1, 0])?;
            } else {
                single.insert(row.id);
            }
        }
        Ok(())
    }

    fn small(&mut self, batch: &Batch) {
        match batch {
            Batch::Setting(rows) => {
                self.dir_stats |=
                    rows.iter().any(|row| setting::read(&row.document.0).is_ok_and(|read| read.dir_stats));
            }
            Batch::Sustained(rows) => {
                let mut held = self.seen.held.hand();
                for row in rows {
                    held.insert(row.inode);
                    self.highest.inode(row.inode);
                    self.highest.session = self.highest.session.max(row.sid);
                }
            }
            Batch::DelFile(rows) => rows.iter().for_each(|row| self.highest.inode(row.inode)),
            Batch::Acl(rows) => {
                self.highest.acl = rows.iter().fold(self.highest.acl, |highest, row| highest.max(u64::from(row.id)));
            }
            Batch::Token(rows) => {
                self.highest.token =
                    rows.iter().fold(self.highest.token, |highest, row| highest.max(u64::from(row.id)));
            }
            _ => {}
        }
    }

    /// What each counter must be at least, or exactly.
    fn expected(&self) -> [(&'static [u8], i64, Rule); 8] {
        let next = |highest: u64| i64::try_from(highest).unwrap_or(i64::MAX - 1) + 1;
        let last = |highest: u64| i64::try_from(highest).unwrap_or(i64::MAX);
        [
            (counter::NEXT_INODE, next(self.highest.inode.max(1)), Rule::AtLeast),
            (counter::NEXT_CHUNK, next(self.highest.slice), Rule::AtLeast),
            (counter::NEXT_SESSION, last(self.highest.session), Rule::AtLeast),
            (counter::NEXT_TRASH, last(self.highest.trash), Rule::AtLeast),
            (counter::ACL_MAX_ID, last(self.highest.acl), Rule::AtLeast),
            (counter::TOKEN_MAX_ID, last(self.highest.token), Rule::AtLeast),
            (counter::USED_SPACE, self.space, Rule::Exactly),
            (counter::TOTAL_INODES, self.count, Rule::Exactly),
        ]
    }
}

/// How a counter is held against the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// It never goes backward.
    AtLeast,
    /// It is a sum.
    Exactly,
}
