//! The walk: reads a dump that comes in parts, with a stack of its own and no more in memory than one small value. Keys may
//! come in any order, unknown ones are skipped whole.

use super::escape::unescape;
use super::{AclRole, Rule, counter_name, values};
use crate::json::Reader;
use crate::juicefs::kinds::Node;
use crate::juicefs::types::Slice;
use crate::juicefs::{counter, quota_class};
use crate::{Error, Result};

/// How deep a tree may be. JuiceFS itself reads no deeper: its parser recurses.
pub const MAX_DEPTH: usize = 1 << 20;
const WHAT: &str = "JSON dump";

/// Which of the two trees of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// `FSTree`: the volume, or the directory that was dumped.
    Files,
    /// `Trash`.
    Trash,
}

/// What a walk comes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The setting, as it stands there.
    Setting(Vec<u8>),
    /// A counter, by the name it has in a dump.
    Counter(Vec<u8>, i64),
    /// A counter of another name, whatever its value is.
    UnknownCounter,
    /// A session and the inodes it keeps.
    Sustained(u64, Vec<u64>),
    /// A file that waits for its data to be freed: inode, length, and when it was queued.
    DelFile(u64, u64, i64),
    /// A quota: its class and whose it is, and the limits of space and of inodes.
    Quota(u8, u64, (i64, i64)),
    /// A line of the change log, which is not carried.
    ChangeLog,
    /// The root of a tree begins.
    Root(Tree),
    /// An entry of the directory that was begun last and not ended.
    Enter(Vec<u8>),
    /// The attributes of the entry at hand: its parent is not in them.
    Attr(Box<Node>),
    /// Its link target.
    Symlink(Vec<u8>),
    /// One of its extended attributes.
    Xattr(Vec<u8>, Vec<u8>),
    /// One of its ACL rules.
    Acl(AclRole, Box<Rule>),
    /// One of its chunks.
    Chunk(u32, Vec<Slice>),
    /// Its children follow.
    Entries,
    /// It ends.
    Leave,
}

/// What is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    Top,
    Counters,
    Quotas(u8),
    Sustained,
    DelFiles,
    ChangeLog,
    Entry,
    Entries,
    Xattrs,
    Chunks,
    /// An object or a list that is not understood.
    SkippedObject,
    SkippedList,
}

impl Frame {
    /// What closes it.
    fn close(self) -> u8 {
        match self {
            Self::Sustained | Self::DelFiles | Self::ChangeLog | Self::Xattrs | Self::Chunks | Self::SkippedList => {
                b']'
            }
            _ => b'}',
        }
    }

    fn is_list(self) -> bool {
        self.close() == b']'
    }
}

/// A place in a dump.
#[derive(Debug, Default)]
pub struct Walk {
    stack: Vec<Frame>,
    has_begun: bool,
    /// Whether something stands before in what is open.
    follows: bool,
    is_over: bool,
    seen: u16,
}

/// The trees of a dump that came by, as bits.
const SEEN: [(Tree, u16); 2] = [(Tree::Files, 1), (Tree::Trash, 2)];

impl Walk {
    /// A walk that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the document has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether a tree came by.
    #[must_use]
    pub fn has_seen(&self, tree: Tree) -> bool {
        SEEN.iter().any(|&(which, bit)| which == tree && self.seen & bit != 0)
    }

    /// Reads on, and takes what it read off the front of `input`; `None` where it only stepped.
    ///
    /// # Errors
    /// What is no dump. Where more input may follow, an error may only mean that it is needed: `input` and the walk stand
    /// as they were then, and the step is to be taken again with more.
    pub fn step(&mut self, input: &mut &[u8]) -> Result<Option<Event>> {
        let mut reader = Reader::new(input);
        let event = self.advance(&mut reader)?;
        *input = reader.rest();
        Ok(event)
    }

    fn advance(&mut self, reader: &mut Reader<'_>) -> Result<Option<Event>> {
        let Some(&frame) = self.stack.last() else {
            if self.has_begun {
                return Err(Error::malformed(WHAT, "something follows its end"));
            }
            reader.expect(b'{')?;
            self.has_begun = true;
            return Ok(self.open(Frame::Top, None));
        };
        if reader.token(frame.close()) {
            self.stack.pop();
            (self.follows, self.is_over) = (true, self.stack.is_empty());
            return Ok((frame == Frame::Entry).then_some(Event::Leave));
        }
        if self.follows {
            reader.expect(b',')?;
        }
        let key = if frame.is_list() { None } else { Some(reader.text()?) };
        if key.is_some() {
            reader.expect(b':')?;
        }
        let key = key.as_deref().unwrap_or_default();
        let before = (self.stack.len(), self.seen);
        let event = self.value(frame, key, reader)?;
        // What was opened has nothing before its first item.
        self.follows = self.stack.len() == before.0;
        Ok(event)
    }

    fn value(&mut self, frame: Frame, key: &[u8], reader: &mut Reader<'_>) -> Result<Option<Event>> {
        match frame {
            Frame::Top => self.top(key, reader),
            Frame::Entry => self.field(key, reader),
            Frame::Entries => {
                reader.expect(b'{')?;
                if self.stack.len() >= MAX_DEPTH {
                    return Err(Error::malformed(WHAT, "directories are nested without end"));
                }
                Ok(self.open(Frame::Entry, Some(Event::Enter(unescape(key.to_vec())))))
            }
            Frame::Xattrs => values::xattr(reader).map(|(name, value)| Some(Event::Xattr(name, value))),
            Frame::Chunks => values::chunk(reader).map(|(index, slices)| Some(Event::Chunk(index, slices))),
            Frame::Counters if !counter::ALL.contains(&counter_name(key)) => {
                self.skip(reader).map(|_| Some(Event::UnknownCounter))
            }
            Frame::Counters => number(reader).map(|value| Some(Event::Counter(key.to_vec(), value))),
            Frame::Quotas(class) => {
                let id = std::str::from_utf8(key).ok().and_then(|key| key.parse().ok());
                let id = id.ok_or_else(|| Error::malformed("quota", "its key is no number"))?;
                values::limits(reader).map(|limits| Some(Event::Quota(class, id, limits)))
            }
            Frame::Sustained => values::sustained(reader).map(|(sid, inodes)| Some(Event::Sustained(sid, inodes))),
            Frame::DelFiles => {
                values::del_file(reader).map(|(inode, length, expire)| Some(Event::DelFile(inode, length, expire)))
            }
            Frame::ChangeLog => followed(reader, Reader::skip).map(|_| Some(Event::ChangeLog)),
            Frame::SkippedObject | Frame::SkippedList => self.skip(reader),
        }
    }

    fn top(&mut self, key: &[u8], reader: &mut Reader<'_>) -> Result<Option<Event>> {
        let frame = match key {
            b"Setting" => return setting(reader).map(Some),
            b"Counters" => Frame::Counters,
            b"Sustained" => Frame::Sustained,
            b"DelFiles" => Frame::DelFiles,
            b"Quotas" => Frame::Quotas(quota_class::DIRECTORY),
            b"UserQuotas" => Frame::Quotas(quota_class::USER),
            b"GroupQuotas" => Frame::Quotas(quota_class::GROUP),
            b"ChangeLog" => Frame::ChangeLog,
            b"FSTree" => return self.tree(Tree::Files, reader),
            b"Trash" => return self.tree(Tree::Trash, reader),
            _ => return self.skip(reader),
        };
        self.begin(frame, reader)
    }

    fn tree(&mut self, tree: Tree, reader: &mut Reader<'_>) -> Result<Option<Event>> {
        if values::null(reader) {
            return Ok(None);
        }
        if self.has_seen(tree) {
            return Err(Error::malformed(WHAT, format!("{tree:?} comes twice")));
        }
        reader.expect(b'{')?;
        self.seen |= SEEN.iter().filter(|(which, _)| *which == tree).fold(0, |bits, (_, bit)| bits | bit);
        Ok(self.open(Frame::Entry, Some(Event::Root(tree))))
    }

    fn field(&mut self, key: &[u8], reader: &mut Reader<'_>) -> Result<Option<Event>> {
        match key {
            b"attr" => values::attr(reader).map(|node| Some(Event::Attr(Box::new(node)))),
            b"entries" => {
                let begun = self.begin(Frame::Entries, reader)?;
                Ok(begun.or_else(|| (self.stack.last() == Some(&Frame::Entries)).then_some(Event::Entries)))
            }
            b"xattrs" => self.begin(Frame::Xattrs, reader),
            b"chunks" => self.begin(Frame::Chunks, reader),
            _ if values::null(reader) => Ok(None),
            b"symlink" => Ok(Some(Event::Symlink(unescape(reader.text()?.into_owned())))),
            b"posix_acl_access" => Ok(Some(Event::Acl(AclRole::Access, Box::new(values::rule(reader)?)))),
            b"posix_acl_default" => Ok(Some(Event::Acl(AclRole::Default, Box::new(values::rule(reader)?)))),
            _ => self.skip(reader),
        }
    }

    /// Begins an object or a list; null is an empty one.
    fn begin(&mut self, frame: Frame, reader: &mut Reader<'_>) -> Result<Option<Event>> {
        if values::null(reader) {
            return Ok(None);
        }
        reader.expect(if frame.is_list() { b'[' } else { b'{' })?;
        Ok(self.open(frame, None))
    }

    /// Steps into what is not understood, or over it where it has no inside.
    fn skip(&mut self, reader: &mut Reader<'_>) -> Result<Option<Event>> {
        let frame = if reader.token(b'{') {
            Frame::SkippedObject
        } else if reader.token(b'[') {
            Frame::SkippedList
        } else {
            return followed(reader, |reader| reader.skip().map(|_| None));
        };
        if self.stack.len() >= MAX_DEPTH {
            return Err(Error::malformed(WHAT, "something unknown is nested without end"));
        }
        Ok(self.open(frame, None))
    }

    fn open(&mut self, frame: Frame, event: Option<Event>) -> Option<Event> {
        self.stack.push(frame);
        self.follows = false;
        event
    }
}

/// The setting; what is wrong in it is not shown, because it may be a secret.
fn setting(reader: &mut Reader<'_>) -> Result<Event> {
    let text = followed(reader, Reader::skip).map_err(|error| match error {
        Error::Malformed { .. } => Error::malformed("Setting", "it is no JSON"),
        other => other,
    })?;
    Ok(Event::Setting(text.to_vec()))
}

fn number(reader: &mut Reader<'_>) -> Result<i64> {
    followed(reader, |reader| reader.i64())
}

/// Reads what has no end of its own: something must follow, or more input is needed to know that it is whole.
fn followed<'a, T>(reader: &mut Reader<'a>, read: impl FnOnce(&mut Reader<'a>) -> Result<T>) -> Result<T> {
    let value = read(reader)?;
    if reader.at_end() { Err(Error::Truncated(WHAT)) } else { Ok(value) }
}
