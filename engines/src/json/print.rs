//! Printing: the steps of a page with everything their inodes have, as JuiceFS prints it (`pkg/meta/dump.go`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metaferry_codecs::juicefs::dump::{AclRole, Writer};
use metaferry_codecs::juicefs::{Batch, CHUNK_SIZE, FileType, Kind, Node};
use metaferry_pipeline::Result;
use metaferry_pipeline::spill::{Backlog, SpillDir};

use super::shelves::{Rows, Rules, Shelves};
use super::tree::{Page, Step};

/// How much of a text is held in memory, in bytes: a page is shorter, but for files of very many chunks.
const HELD_BYTES: usize = 8 << 20;
/// The pieces in which what was put away comes back, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// What was printed: the beginning put away where it is long, and the end.
#[derive(Default)]
pub(super) struct Text {
    begin: Option<Backlog>,
    end: Vec<u8>,
}

impl Text {
    /// Hands all of it out, piece by piece.
    pub(super) fn each(mut self, out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if let Some(begin) = &mut self.begin {
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let length = begin.pop(&mut piece)?;
                match piece.get(..length) {
                    Some(full) if length > 0 => out(full)?,
                    _ => break,
                }
            }
        }
        out(&self.end)
    }
}

/// What several printers count.
#[derive(Default)]
pub(super) struct Counts {
    /// Chunks behind the end of their file.
    pub(super) beyond: AtomicU64,
    /// Rules that are named, and not there.
    pub(super) rules: AtomicU64,
}

/// Prints pages, one after another, with readers of its own.
pub(super) struct Printer {
    writer: Writer,
    nodes: Rows,
    chunks: Rows,
    symlinks: Rows,
    xattrs: Rows,
    rules: Arc<Rules>,
    counts: Arc<Counts>,
    dir: SpillDir,
    /// What of the text at hand is put away.
    begin: Option<Backlog>,
}

impl Printer {
    pub(super) fn new(shelves: &Shelves, rules: &Arc<Rules>, counts: &Arc<Counts>) -> Result<Self> {
        Ok(Self {
            writer: Writer::default(),
            nodes: shelves.read(Kind::Node)?,
            chunks: shelves.read(Kind::Chunk)?,
            symlinks: shelves.read(Kind::Symlink)?,
            xattrs: shelves.read(Kind::Xattr)?,
            rules: Arc::clone(rules),
            counts: Arc::clone(counts),
            dir: shelves.dir().clone(),
            begin: None,
        })
    }

    /// Prints names, targets and values in ASCII alone, where that is asked.
    pub(super) fn ascii(mut self, ascii: bool) -> Self {
        self.writer.ascii = ascii;
        self
    }

    /// The text of a page.
    pub(super) fn print(&mut self, page: &Page) -> Result<Text> {
        self.writer.indent = page.indent;
        for step in &page.steps {
            match step {
                Step::Root(name, inode) => {
                    self.writer.root(name);
                    self.begin((*inode, *inode), FileType::DIRECTORY)?;
                    self.writer.entries();
                }
                Step::Enter { name, inode, kind, is_first } => {
                    self.writer.enter(page.name(name), *is_first);
                    self.begin((*inode, *inode), *kind)?;
                    if *kind == FileType::DIRECTORY {
                        self.writer.entries();
                    } else {
                        self.writer.leave();
                    }
                }
                Step::Leave => {
                    self.writer.end_entries();
                    self.writer.leave();
                }
            }
        }
        Ok(self.text())
    }

    /// The text of one entry, what is in it aside; `shown` is the inode that is printed.
    pub(super) fn entry(&mut self, inode: u64, shown: u64, kind: FileType) -> Result<Text> {
        self.writer.indent = 0;
        self.writer.out.push(b'{');
        self.begin((inode, shown), kind)?;
        self.writer.leave();
        self.writer.out.push(b'\n');
        Ok(self.text())
    }

    fn text(&mut self) -> Text {
        Text { begin: self.begin.take(), end: std::mem::take(&mut self.writer.out) }
    }

    /// Prints what an entry has, but for its children and its end.
    fn begin(&mut self, (inode, shown): (u64, u64), kind: FileType) -> Result<()> {
        let is_directory = kind == FileType::DIRECTORY;
        // What has no node is printed nevertheless, as JuiceFS with Redis does (`redis.go: dumpEntries`).
        let missing = Node { inode, kind, nlink: if is_directory { 2 } else { 1 }, ..Node::default() };
        let mut node = self.nodes.node(inode)?.cloned().unwrap_or(missing);
        let length = std::mem::take(&mut node.length);
        if node.kind == FileType::REGULAR {
            node.length = length;
        }
        node.inode = shown;
        self.writer.attr(&node);
        if kind == FileType::SYMLINK {
            self.symlink(inode)?;
        }
        self.xattrs(inode)?;
        for (role, id) in [(AclRole::Access, node.access_acl), (AclRole::Default, node.default_acl)] {
            match self.rules.get(&id) {
                _ if id == 0 => {}
                Some(rule) => self.writer.acl(role, rule),
                None => {
                    self.counts.rules.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        if kind == FileType::REGULAR { self.chunks(inode, node.length) } else { Ok(()) }
    }

    fn symlink(&mut self, inode: u64) -> Result<()> {
        let mut spot = self.symlinks.seek(inode)?;
        if let Some(Batch::Symlink(rows)) = self.symlinks.next_of(inode, &mut spot)? {
            rows.iter().filter(|row| !row.target.is_empty()).for_each(|row| self.writer.symlink(&row.target));
        }
        Ok(())
    }

    fn xattrs(&mut self, inode: u64) -> Result<()> {
        if self.xattrs.is_empty() {
            return Ok(());
        }
        let (mut spot, mut found) = (self.xattrs.seek(inode)?, Vec::new());
        while let Some(Batch::Xattr(rows)) = self.xattrs.next_of(inode, &mut spot)? {
            found.extend(rows.iter().map(|row| (row.name.clone(), row.value.clone())));
        }
        self.writer.xattrs(&found);
        Ok(())
    }

    /// The chunks within the length of the file: JuiceFS prints no others.
    fn chunks(&mut self, inode: u64, length: u64) -> Result<()> {
        let begin = self.chunks.seek(inode)?;
        let is_within = |index: u32| u64::from(index) * CHUNK_SIZE < length;
        let (mut spot, mut within) = (begin, 0);
        while let Some(chunk) = self.chunks.chunk(inode, &mut spot)? {
            if is_within(chunk.index) {
                within += 1;
            } else {
                self.counts.beyond.fetch_add(1, Ordering::Relaxed);
            }
        }
        if within == 0 {
            return Ok(());
        }
        self.writer.chunks();
        let (mut spot, mut is_first) = (begin, true);
        while let Some(chunk) = self.chunks.chunk(inode, &mut spot)? {
            if is_within(chunk.index) {
                self.writer.chunk(chunk.index, &chunk.slices.0, is_first, within > 1);
                is_first = false;
                if self.writer.out.len() > HELD_BYTES {
                    self.begin.get_or_insert_with(|| Backlog::new(&self.dir, 0)).push(&mut self.writer.out)?;
                    self.writer.out.clear();
                }
            }
        }
        self.writer.end_chunks(within > 1);
        Ok(())
    }
}
