//! Listings: the entries of one directory, or one entry with all it has, as text. The rows come from a selection, in which
//! what is listed is the root.

use std::io::Write;
use std::sync::Arc;

use metaferry_codecs::juicefs::{Batch, FileType, JuiceFs, Kind, Node, ROOT_INODE};
use metaferry_codecs::system::Batch as _;
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{About, Commit, Error, Findings, KindSet, Loader, Needs, Result, Sink, Snapshot, Stop};

use super::held::{Held, Loaded};
use super::print::Printer;
use super::shelves::SHELVED;

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// The entries of a directory, a line each, as `ls -li` has them; a file by itself.
    Lines,
    /// The same as JSON: the entry and the node, as an archive has them.
    JsonLines,
    /// The entry itself, as a JSON dump has it.
    Entry,
}

/// Prints a listing.
pub struct ListingSink {
    listing: Listing,
    out: Box<dyn Write + Send>,
    held: Held,
    spill: SpillDir,
    memory_bytes: usize,
}

impl ListingSink {
    /// Prints `listing` to `out`, and spills what is more than `memory_bytes`.
    #[must_use]
    pub fn new(listing: Listing, out: Box<dyn Write + Send>, spill: SpillDir, memory_bytes: usize) -> Self {
        Self { listing, out, held: Held::default(), spill, memory_bytes }
    }
}

impl Sink<JuiceFs> for ListingSink {
    fn needs(&self) -> Needs {
        Needs {
            loaders: 1,
            ordered: KindSet::of(SHELVED),
            affine: false,
            works_out: KindSet::NONE,
            mends: false,
            defaults: false,
            strips_secrets: true,
        }
    }

    fn prepare(&mut self, _about: &About, _stop: &Stop) -> Result<()> {
        self.held.prepare(&self.spill, self.memory_bytes);
        Ok(())
    }

    fn loader(&mut self) -> Result<Box<dyn Loader<JuiceFs>>> {
        Ok(self.held.loader())
    }

    fn uncommitted(&mut self) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        Err(Error::unsupported("a listing is not read back"))
    }

    fn commit(mut self: Box<Self>, _commit: Commit<JuiceFs>) -> Result<Findings> {
        let loaded = self.held.take()?;
        let written = match self.listing {
            Listing::Entry => self.entry(&loaded),
            Listing::Lines | Listing::JsonLines => self.entries(&loaded),
        };
        written?;
        self.out.flush().map_err(|cause| Error::engine("the listing", cause))?;
        Ok(Findings::default())
    }
}

impl ListingSink {
    fn write(&mut self, text: &[u8]) -> Result<()> {
        self.out.write_all(text).map_err(|cause| Error::engine("the listing", cause))
    }

    fn entry(&mut self, loaded: &Loaded) -> Result<()> {
        let node = loaded.shelves.read(Kind::Node)?.node(ROOT_INODE)?.cloned().ok_or_else(no_node)?;
        let mut printer = Printer::new(&loaded.shelves, &loaded.rules, &Arc::default())?;
        let text = printer.entry(ROOT_INODE, node.parent, node.kind)?;
        text.each(&mut |piece| self.write(piece))
    }

    fn entries(&mut self, loaded: &Loaded) -> Result<()> {
        let (mut nodes, mut edges) = (loaded.shelves.read(Kind::Node)?, loaded.shelves.read(Kind::Edge)?);
        let here = nodes.node(ROOT_INODE)?.cloned().ok_or_else(no_node)?;
        if here.kind != FileType::DIRECTORY {
            let text = self.line(b".", &Node { inode: here.parent, ..here });
            return self.write(&text);
        }
        let mut spot = edges.seek(ROOT_INODE)?;
        while let Some(Batch::Edge(rows)) = edges.next_of(ROOT_INODE, &mut spot)? {
            let Some(edge) = rows.first() else { continue };
            let missing = Node { inode: edge.inode, kind: edge.kind, ..Node::default() };
            let node = nodes.node(edge.inode)?.cloned().unwrap_or(missing);
            let text = self.line(&edge.name, &node);
            self.write(&text)?;
        }
        Ok(())
    }

    fn line(&self, name: &[u8], node: &Node) -> Vec<u8> {
        let mut text = Vec::new();
        if self.listing == Listing::JsonLines {
            let mut names = Vec::new();
            metaferry_codecs::json::write_bytes(name, &mut names);
            text.extend_from_slice(b"{\"name\":");
            text.append(&mut names);
            text.extend_from_slice(b",\"node\":");
            Batch::from(vec![node.clone()]).write_lines(&mut text);
            text.pop();
            text.extend_from_slice(b"}\n");
            return text;
        }
        let Node { inode, nlink, uid, gid, length, mtime, .. } = node;
        let time = jiff::Timestamp::from_second(*mtime).map_or_else(|_| mtime.to_string(), |time| time.to_string());
        let line = format!("{inode:>12} {} {nlink:>4} {uid:>6} {gid:>6} {length:>15} {time} ", mode(node));
        text.extend_from_slice(line.as_bytes());
        for chunk in name.utf8_chunks() {
            for each in chunk.valid().chars() {
                if each.is_control() {
                    text.extend(each.escape_default().map(|escaped| escaped as u8));
                } else {
                    text.extend_from_slice(each.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            chunk.invalid().iter().for_each(|byte| text.extend_from_slice(format!("\\x{byte:02x}").as_bytes()));
        }
        text.push(b'\n');
        text
    }
}

fn no_node() -> Error {
    Error::corrupt("there is an entry, but it has no node")
}

/// Type and permissions, as `ls` writes them.
fn mode(node: &Node) -> String {
    let sort = b"?-dlpbcs".get(usize::from(node.kind.number())).copied().map_or('?', char::from);
    let bits =
        "rwxrwxrwx".chars().enumerate().map(|(bit, letter)| if node.mode >> (8 - bit) & 1 == 1 { letter } else { '-' });
    let mut text: Vec<char> = std::iter::once(sort).chain(bits).collect();
    for (place, bit, letter) in [(3, 0o4000, 's'), (6, 0o2000, 's'), (9, 0o1000, 't')] {
        if let Some(at) = text.get_mut(place).filter(|_| node.mode & bit != 0) {
            *at = if *at == 'x' { letter } else { letter.to_ascii_uppercase() };
        }
    }
    text.into_iter().collect()
}
