//! The rows that a dump needs again by inode, put away until the tree is known: loaded in key order, read by many.

use std::collections::BTreeMap;
use std::sync::Arc;

use metaferry_codecs::juicefs::{Acl, Batch, Chunk, Kind, Node};
use metaferry_codecs::system::Batch as _;
use metaferry_pipeline::spill::{Shelf, ShelfReader, ShelfWriter, SpillDir, Spot};
use metaferry_pipeline::{Error, ErrorKind, Result};

/// The kinds that are put away, each ascending by key.
pub(super) const SHELVED: [Kind; 6] = [Kind::Node, Kind::Edge, Kind::Chunk, Kind::Symlink, Kind::Xattr, Kind::DelFile];
/// Of the memory for shelves, each of the three large kinds gets a share like this, and the others one together.
const SHARES: usize = 4;

/// Rows while they come.
pub(super) struct Filling {
    dir: SpillDir,
    shelves: BTreeMap<Kind, ShelfWriter>,
    key: Vec<u8>,
    row: Vec<u8>,
}

impl Filling {
    pub(super) fn new(dir: &SpillDir, budget_bytes: usize) -> Self {
        let shelf = |kind| {
            let is_large = matches!(kind, Kind::Node | Kind::Edge | Kind::Chunk);
            let budget = budget_bytes / SHARES / if is_large { 1 } else { SHELVED.len() - 3 };
            (kind, ShelfWriter::new(dir, budget))
        };
        let shelves = SHELVED.into_iter().map(shelf).collect();
        Self { dir: dir.clone(), shelves, key: Vec::new(), row: Vec::new() }
    }

    /// Puts a batch away; false where it is of no kind that is.
    pub(super) fn put(&mut self, batch: &Batch) -> Result<bool> {
        let Some(shelf) = self.shelves.get_mut(&batch.kind()) else { return Ok(false) };
        for index in 0..batch.len() {
            self.key.clear();
            self.row.clear();
            batch.pack(index, &mut self.key, &mut self.row);
            // A key begins with the inode, or with the directory of an entry.
            let id = self.key.first_chunk().ok_or_else(|| Error::new(ErrorKind::Bug, "a key without an inode"))?;
            shelf.push(u64::from_be_bytes(*id), &self.row)?;
        }
        Ok(true)
    }

    pub(super) fn finish(self) -> Result<Shelves> {
        let shelves = self.shelves.into_iter().map(|(kind, shelf)| Ok((kind, shelf.finish()?)));
        Ok(Shelves { shelves: shelves.collect::<Result<_>>()?, dir: self.dir })
    }
}

/// All rows, once they are there.
#[derive(Clone)]
pub(super) struct Shelves {
    shelves: BTreeMap<Kind, Arc<Shelf>>,
    dir: SpillDir,
}

impl Shelves {
    /// Where else what does not fit into memory goes.
    pub(super) fn dir(&self) -> &SpillDir {
        &self.dir
    }

    pub(super) fn read(&self, kind: Kind) -> Result<Rows> {
        let shelf = self.shelves.get(&kind).ok_or_else(|| Error::new(ErrorKind::Bug, "no such shelf"))?;
        Ok(Rows { reader: ShelfReader::new(shelf), batch: Batch::empty(kind) })
    }
}

/// A reader of rows of one kind.
pub(super) struct Rows {
    reader: ShelfReader,
    /// Holds one row, and its memory.
    batch: Batch,
}

impl Rows {
    pub(super) fn is_empty(&self) -> bool {
        self.reader.shelf().records() == 0
    }

    /// Where the rows of an inode begin.
    pub(super) fn seek(&mut self, inode: u64) -> Result<Spot> {
        self.reader.seek(inode)
    }

    /// The next row of an inode, as a batch of one; none where there is no more.
    pub(super) fn next_of(&mut self, inode: u64, spot: &mut Spot) -> Result<Option<&Batch>> {
        let Some(row) = self.reader.next_of(inode, spot)? else { return Ok(None) };
        unpack(&mut self.batch, row)?;
        Ok(Some(&self.batch))
    }

    /// The next row of all.
    pub(super) fn next(&mut self, spot: &mut Spot) -> Result<Option<(u64, &Batch)>> {
        let Some((inode, row)) = self.reader.next(spot)? else { return Ok(None) };
        unpack(&mut self.batch, row)?;
        Ok(Some((inode, &self.batch)))
    }

    /// The node of an inode.
    pub(super) fn node(&mut self, inode: u64) -> Result<Option<&Node>> {
        let mut spot = self.seek(inode)?;
        match self.next_of(inode, &mut spot)? {
            Some(Batch::Node(rows)) => Ok(rows.first()),
            _ => Ok(None),
        }
    }

    /// The next chunk of an inode.
    pub(super) fn chunk(&mut self, inode: u64, spot: &mut Spot) -> Result<Option<&Chunk>> {
        match self.next_of(inode, spot)? {
            Some(Batch::Chunk(rows)) => Ok(rows.first()),
            _ => Ok(None),
        }
    }
}

fn unpack(batch: &mut Batch, row: &[u8]) -> Result<()> {
    batch.clear();
    batch.unpack(row).map_err(|error| Error::from(error).at("spilled row"))
}

/// The rules of a volume, by id.
pub(super) type Rules = BTreeMap<u32, Acl>;
