//! The splitter: cuts a dump that comes in parts into blocks of whole messages, whatever the length of its segments. It
//! reads what tells where a message ends, and nothing in it.

use super::block::{Block, Content, Left};
use super::footer::Contents;
use super::foreign::PIECE_BYTES;
use super::segment::{HEAD_BYTES, MARKER, SegmentType};
use super::wire::{self, Layout};
use crate::juicefs::Foreign;
use crate::{Error, Result};

/// How full a block becomes before it is handed out, in bytes.
const BLOCK_BYTES: usize = 256 << 10;
/// How many blocks are kept to be filled again.
const SPARES: usize = 16;
/// The longest message that is read, in bytes: a chunk of 700 000 slices.
const MAX_MESSAGE: u64 = 16 << 20;
/// The longest footer, in bytes: about that of ten million segments.
const MAX_FOOTER: usize = 64 << 20;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A segment, or the marker.
    Head,
    /// The one message of a format segment.
    Format,
    /// The messages of any other.
    Messages,
    /// The bytes of a segment of an unknown type.
    Pieces,
    /// What is passed over, up to this byte of the dump.
    Pass(u64),
    Footer,
}

/// Why reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    On,
    Starved,
    Full,
}

/// What a field of a `Batch` is.
enum Field {
    /// One of the segment's messages, which is here as a whole.
    Own,
    /// Something to be passed over, of so many bytes; whether it is a message of the segment.
    Passed(u64, bool),
}

/// Cuts a binary dump into blocks. Cheap enough to be called under a lock that several threads share; what it hands out
/// they decode in parallel.
#[derive(Debug)]
pub struct Splitter {
    state: State,
    /// How much of the dump was taken, in bytes.
    at: u64,
    sort: Option<SegmentType>,
    begin: u64,
    end: u64,
    block: Option<Block>,
    block_bytes: usize,
    spare: Vec<Vec<u8>>,
    contents: Contents,
    left: Left,
    footer: Vec<u8>,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Splitter {
    /// A splitter for a dump from its first byte on.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Head,
            at: 0,
            sort: None,
            begin: 0,
            end: 0,
            block: None,
            block_bytes: BLOCK_BYTES,
            spare: Vec::new(),
            contents: Contents::default(),
            left: Left::default(),
            footer: Vec::new(),
        }
    }

    /// Hands out blocks of about so many bytes, in place of 256 KiB.
    #[must_use]
    pub fn with_block_bytes(mut self, bytes: usize) -> Self {
        self.block_bytes = bytes.max(1);
        self
    }

    /// Reads on, and takes off the front of `input` what it has read. Returns a block as soon as one is full or its segment
    /// ends; the rest of `input` is then to be given again. Returns nothing where more input is needed: what is left of
    /// `input` then is to be given again in front of what follows, and is shorter than 17 MiB. A segment of an unknown type
    /// comes in pieces of 64 KiB.
    ///
    /// # Errors
    /// Lengths that do not fit into each other, or are over a bound. There is no reading on after an error.
    pub fn split(&mut self, input: &mut &[u8]) -> Result<Option<Block>> {
        loop {
            let turn = match self.state {
                State::Head => self.head(input)?,
                State::Format => self.format(input),
                State::Messages => self.messages(input)?,
                State::Pieces => self.pieces(input),
                State::Pass(end) => self.pass(end, input),
                State::Footer => self.footer(input)?,
            };
            match turn {
                Turn::On => {}
                Turn::Starved => return Ok(None),
                Turn::Full => {
                    if let Some(block) = self.block.take() {
                        return Ok(Some(block));
                    }
                }
            }
        }
    }

    /// Takes back a block that is done with, to fill its memory again.
    pub fn recycle(&mut self, block: Block) {
        let mut bytes = block.bytes;
        if self.spare.len() < SPARES && bytes.capacity() <= 8 * self.block_bytes {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// Ends the dump: to be called when there is no more input behind `rest`, which was not taken.
    ///
    /// # Errors
    /// A dump that was cut, one that something follows, a footer that does not fit what was read.
    pub fn finish(&mut self, rest: &[u8]) -> Result<()> {
        if self.state != State::Footer || !rest.is_empty() {
            return Err(Error::Truncated("binary dump"));
        }
        let (message, length) = self.footer.split_last_chunk::<8>().ok_or(Error::Truncated("footer"))?;
        let length = u64::from_be_bytes(*length);
        if length != message.len() as u64 {
            let why = format!(
                "it takes {} bytes, and the last eight bytes say {length}: the dump was cut, or something follows it",
                message.len()
            );
            return Err(Error::malformed("footer", why));
        }
        self.contents.check(message)
    }

    /// Where reading stands, `ahead` bytes behind what was taken.
    #[must_use]
    pub fn place(&self, ahead: usize) -> String {
        let at = self.at + ahead as u64;
        match (self.state, self.sort) {
            (State::Head, _) => format!("byte {at}, where a segment or the end is due"),
            (State::Footer, _) => format!("byte {at}, in the footer"),
            (_, Some(sort)) => format!("byte {at}, in the segment {} at byte {}", sort.name(), self.begin),
            (_, None) => format!("byte {at}, in the segment of unknown type at byte {}", self.begin),
        }
    }

    /// What was not carried so far.
    #[must_use]
    pub fn left(&self) -> Left {
        self.left
    }

    /// The first piece of each segment of an unknown type, once: the footer names them, so it must have been read.
    pub fn foreign(&mut self) -> impl Iterator<Item = Foreign> + use<> {
        std::mem::take(&mut self.contents.unknown).into_rows()
    }

    fn take<'a>(&mut self, length: usize, input: &mut &'a [u8]) -> &'a [u8] {
        let (taken, rest) = input.split_at_checked(length).unwrap_or((input, &[]));
        *input = rest;
        self.at += taken.len() as u64;
        taken
    }

    fn head(&mut self, input: &mut &[u8]) -> Result<Turn> {
        let Some((number, rest)) = input.split_first_chunk::<4>() else { return Ok(Turn::Starved) };
        let number = u32::from_be_bytes(*number);
        if number == MARKER {
            self.take(number.to_be_bytes().len(), input);
            self.state = State::Footer;
            return Ok(Turn::On);
        }
        let Some(length) = rest.first_chunk::<8>() else { return Ok(Turn::Starved) };
        let length = u64::from_be_bytes(*length);
        let too_long = || Error::malformed("segment", format!("a length of {length} bytes"));
        let begin = self.at;
        let end = begin.checked_add(HEAD_BYTES as u64).and_then(|at| at.checked_add(length)).ok_or_else(too_long)?;
        self.take(HEAD_BYTES, input);
        (self.sort, self.begin, self.end) = (SegmentType::of(number), begin, end);
        match self.sort {
            Some(sort) => self.contents.segment(sort, begin),
            None => self.contents.unknown.add(number, begin, length)?,
        }
        self.state = match self.sort {
            None => State::Pieces,
            Some(SegmentType::Format) if length > MAX_MESSAGE => {
                return Err(Error::TooLarge { what: "setting", bound: MAX_MESSAGE });
            }
            Some(SegmentType::Format) => {
                self.contents.items(SegmentType::Format, 1);
                State::Format
            }
            Some(_) => State::Messages,
        };
        Ok(Turn::On)
    }

    /// As much of the input as belongs to what ends at `end`, in bytes.
    fn within(&self, end: u64, input: &[u8]) -> usize {
        usize::try_from(end - self.at).map_or(input.len(), |left| left.min(input.len()))
    }

    fn pass(&mut self, end: u64, input: &mut &[u8]) -> Turn {
        self.take(self.within(end, input), input);
        if self.at < end {
            return Turn::Starved;
        }
        self.state = if end == self.end { State::Head } else { State::Messages };
        Turn::On
    }

    fn pieces(&mut self, input: &mut &[u8]) -> Turn {
        let ahead = self.at - self.begin - HEAD_BYTES as u64;
        let left = PIECE_BYTES - ahead % PIECE_BYTES;
        let (offset, length) = (self.at, self.within(self.end.min(self.at + left), input));
        let bytes = self.take(length, input);
        let (segment, piece) = self.contents.unknown.piece(ahead);
        self.fill(Content::Piece(segment, piece), offset, bytes, 0);
        self.ended(if length as u64 == left { Turn::Full } else { Turn::Starved })
    }

    fn format(&mut self, input: &mut &[u8]) -> Turn {
        let (offset, length) = (self.at, self.within(self.end, input));
        let bytes = self.take(length, input);
        self.fill(Content::Messages(SegmentType::Format), offset, bytes, 1);
        self.ended(Turn::Starved)
    }

    /// Takes whole messages, as many as there are and the block has room for.
    fn messages(&mut self, input: &mut &[u8]) -> Result<Turn> {
        let Some(sort) = self.sort else { return Ok(Turn::On) };
        let window = input.get(..self.within(self.end, input)).unwrap_or_default();
        let is_rest = self.at + window.len() as u64 == self.end;
        let room = self.block_bytes.saturating_sub(self.block.as_ref().map_or(0, |block| block.bytes.len()));
        let (mut ahead, mut count) = (window, 0);
        let (turn, passed) = loop {
            let taken = window.len() - ahead.len();
            if ahead.is_empty() {
                break (Turn::Starved, None);
            } else if taken >= room {
                break (Turn::Full, None);
            }
            match next(sort, &mut ahead, self.end - self.at - taken as u64) {
                Ok(Field::Own) => count += 1,
                Ok(Field::Passed(length, own)) => break (Turn::Full, Some((length, own))),
                Err(Error::Truncated(_)) if !is_rest => break (Turn::Starved, None),
                Err(Error::Truncated(_)) => {
                    return Err(Error::malformed("message", "it reaches over the end of its segment"));
                }
                Err(error) => return Err(error),
            }
        };
        let (offset, length) = (self.at, window.len() - ahead.len());
        let bytes = self.take(length, input);
        self.fill(Content::Messages(sort), offset, bytes, count);
        self.contents.items(sort, count as u64);
        if let Some((length, own)) = passed {
            self.contents.items(sort, u64::from(own));
            *(if own { &mut self.left.log_lines } else { &mut self.left.strays }) += 1;
            self.state = State::Pass(self.at + length);
            return Ok(Turn::Full);
        }
        Ok(self.ended(turn))
    }

    /// Looks whether the segment has ended, and its block with it.
    fn ended(&mut self, otherwise: Turn) -> Turn {
        if self.at < self.end {
            return otherwise;
        }
        self.state = State::Head;
        Turn::Full
    }

    fn fill(&mut self, content: Content, offset: u64, bytes: &[u8], messages: usize) {
        if bytes.is_empty() {
            return;
        }
        let (segment, spare) = (self.begin, &mut self.spare);
        let begun = || Block { content, segment, offset, messages: 0, bytes: spare.pop().unwrap_or_default() };
        let block = self.block.get_or_insert_with(begun);
        block.bytes.extend_from_slice(bytes);
        block.messages += messages;
    }

    fn footer(&mut self, input: &mut &[u8]) -> Result<Turn> {
        let bytes = self.take(input.len(), input);
        if self.footer.len() + bytes.len() > MAX_FOOTER {
            return Err(Error::TooLarge { what: "footer", bound: MAX_FOOTER as u64 });
        }
        self.footer.extend_from_slice(bytes);
        Ok(Turn::Starved)
    }
}

/// Reads over one field of a `Batch`, of which `left` bytes are left. Only a message that is wanted has to be here.
fn next(sort: SegmentType, ahead: &mut &[u8], left: u64) -> Result<Field> {
    let mut rest = *ahead;
    let (number, layout) = wire::key(&mut rest)?;
    let length = match layout {
        Layout::Bytes => wire::integer(&mut rest)?,
        Layout::Integer => wire::integer(&mut rest).map(|_| 0)?,
        Layout::Fixed(length) => length as u64,
    };
    let head = (ahead.len() - rest.len()) as u64;
    if length > left - head {
        let why = format!("it promises {length} bytes, and {} are left of its segment", left - head);
        return Err(Error::malformed("message", why));
    }
    let own = layout == Layout::Bytes && sort.fields().contains(&number);
    if !own || sort.kind().is_none() {
        return Ok(Field::Passed(head + length, own));
    }
    if length > MAX_MESSAGE {
        return Err(Error::TooLarge { what: "message", bound: MAX_MESSAGE });
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    *ahead = rest.get(length..).ok_or(Error::Truncated("message"))?;
    Ok(Field::Own)
}
