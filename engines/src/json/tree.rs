//! The order of the tree: directories one inside the other, children by name, as steps that anybody can print. It reads
//! entries and nothing else.

use std::ops::Range;

use metaferry_codecs::juicefs::{Batch, FileType, Kind};
use metaferry_pipeline::Result;
use metaferry_pipeline::spill::Spot;
use roaring::RoaringTreemap;

use super::shelves::{Rows, Shelves};

/// Steps on a page, at most: each may have large attributes.
const PAGE_STEPS: usize = 256;
/// Bytes of text on a page, about: an entry begins three lines, each indented by four bytes a directory above it.
const PAGE_BYTES: usize = 512 << 10;

/// Some steps of a tree.
#[derive(Default)]
pub(super) struct Page {
    /// How deep the directory lies that is open where the page begins, in the unit of the writer.
    pub(super) indent: usize,
    pub(super) steps: Vec<Step>,
    names: Vec<u8>,
}

/// One step.
pub(super) enum Step {
    /// The root of a tree begins.
    Root(&'static str, u64),
    /// An entry begins; one that is no directory ends too.
    Enter { name: Range<usize>, inode: u64, kind: FileType, is_first: bool },
    /// The directory at hand ends.
    Leave,
}

impl Page {
    pub(super) fn name(&self, name: &Range<usize>) -> &[u8] {
        self.names.get(name.clone()).unwrap_or_default()
    }
}

/// A walk through one tree.
pub(super) struct Walk {
    edges: Rows,
    stack: Vec<Open>,
    /// Every inode that was entered.
    seen: RoaringTreemap,
    /// Entries that were not entered: they lead to a directory that was, by another name.
    pub(super) doubled: u64,
}

/// A directory that is open.
struct Open {
    inode: u64,
    spot: Spot,
    is_first: bool,
}

impl Walk {
    pub(super) fn new(shelves: &Shelves) -> Result<Self> {
        Ok(Self { edges: shelves.read(Kind::Edge)?, stack: Vec::new(), seen: RoaringTreemap::new(), doubled: 0 })
    }

    pub(super) fn has_seen(&self, inode: u64) -> bool {
        self.seen.contains(inode)
    }

    /// Begins a tree; its first page follows.
    pub(super) fn begin(&mut self, name: &'static str, inode: u64) -> Result<Page> {
        self.open(inode)?;
        Ok(Page { indent: 0, steps: vec![Step::Root(name, inode)], names: Vec::new() })
    }

    fn open(&mut self, inode: u64) -> Result<()> {
        self.seen.insert(inode);
        let spot = self.edges.seek(inode)?;
        self.stack.push(Open { inode, spot, is_first: true });
        Ok(())
    }

    /// Fills a page; none where the tree has ended.
    pub(super) fn page(&mut self, mut page: Page) -> Result<Option<Page>> {
        let mut bytes = 0;
        while page.steps.len() < PAGE_STEPS && bytes < PAGE_BYTES && !self.stack.is_empty() {
            bytes += 512 + 12 * self.stack.len();
            self.step(&mut page)?;
        }
        Ok(Some(page).filter(|page| !page.steps.is_empty()))
    }

    /// The page after the last one.
    pub(super) fn next(&mut self) -> Result<Option<Page>> {
        let indent = 2 * self.stack.len().saturating_sub(1) + 1;
        self.page(Page { indent, ..Page::default() })
    }

    fn step(&mut self, page: &mut Page) -> Result<()> {
        let Some(open) = self.stack.last_mut() else { return Ok(()) };
        let Some(Batch::Edge(rows)) = self.edges.next_of(open.inode, &mut open.spot)? else {
            self.stack.pop();
            page.steps.push(Step::Leave);
            return Ok(());
        };
        let Some(edge) = rows.first() else { return Ok(()) };
        let (inode, kind) = (edge.inode, edge.kind);
        let is_directory = kind == FileType::DIRECTORY;
        if is_directory && self.seen.contains(inode) {
            self.doubled += 1;
            return Ok(());
        }
        let begin = page.names.len();
        page.names.extend_from_slice(&edge.name);
        let is_first = std::mem::replace(&mut open.is_first, false);
        page.steps.push(Step::Enter { name: begin..page.names.len(), inode, kind, is_first });
        if is_directory {
            return self.open(inode);
        }
        self.seen.insert(inode);
        Ok(())
    }
}
