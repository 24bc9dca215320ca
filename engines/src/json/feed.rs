//! The text of a dump as it arrives: steps of a walk over a buffer that is filled again when one needs more.

use std::io::{ErrorKind as IoKind, Read};

use metaferry_codecs::Error as CodecError;
use metaferry_codecs::juicefs::dump::{Event, Walk};
use metaferry_pipeline::{Error, Result};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
/// The largest single value, such as a chunk or an extended attribute, in bytes.
const MOST_BYTES: usize = 64 << 20;

/// A dump, as far as it was read.
pub(super) struct Feed {
    input: Box<dyn Read + Send>,
    walk: Walk,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    /// Bytes before the buffer.
    passed: u64,
    is_drained: bool,
    /// Why the last step did not succeed.
    failed: Option<CodecError>,
}

impl Feed {
    pub(super) fn new(input: Box<dyn Read + Send>) -> Self {
        Self {
            input,
            walk: Walk::new(),
            buffer: Vec::new(),
            begin: 0,
            end: 0,
            passed: 0,
            is_drained: false,
            failed: None,
        }
    }

    pub(super) fn walk(&self) -> &Walk {
        &self.walk
    }

    /// How many bytes were understood.
    pub(super) fn offset(&self) -> u64 {
        self.passed + self.begin as u64
    }

    /// The next event; `None` at the end of the document.
    pub(super) fn next(&mut self) -> Result<Option<Event>> {
        while !self.walk.is_over() {
            let unread = self.buffer.get(self.begin..self.end).unwrap_or_default();
            let mut rest = unread;
            match self.walk.step(&mut rest) {
                Ok(event) => {
                    self.failed = None;
                    self.begin += unread.len() - rest.len();
                    if event.is_some() {
                        return Ok(event);
                    }
                }
                Err(error) if self.is_drained || unread.len() >= MOST_BYTES => return Err(Error::from(error)),
                // Where more of it changed nothing, it is no lack of input.
                Err(error @ CodecError::Malformed { .. }) if self.failed.as_ref() == Some(&error) => {
                    return Err(Error::from(error));
                }
                Err(error) => {
                    let enough = 2 * unread.len();
                    self.failed = Some(error);
                    self.fill()?;
                    while !self.is_drained && self.end - self.begin < enough {
                        self.fill()?;
                    }
                }
            }
        }
        self.end_of_input()?;
        Ok(None)
    }

    /// Nothing but white space may follow the document.
    fn end_of_input(&mut self) -> Result<()> {
        loop {
            let blank = |byte: &u8| byte.is_ascii_whitespace();
            let unread = self.buffer.get(self.begin..self.end).unwrap_or_default();
            if !unread.iter().all(blank) {
                return Err(Error::corrupt("something follows the end of the dump"));
            }
            if self.is_drained {
                return Ok(());
            }
            self.begin = self.end;
            self.fill()?;
        }
    }

    /// Reads once more behind what is unread.
    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.begin..self.end, 0);
        self.passed += self.begin as u64;
        (self.begin, self.end) = (0, self.end - self.begin);
        let room = (self.end + READ_BYTES / 2).max(READ_BYTES).max(2 * self.end);
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match self.input.read(space) {
                Ok(count) => {
                    self.end += count;
                    self.is_drained = count == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == IoKind::Interrupted => {}
                Err(error) => return Err(Error::io("reading the dump", error)),
            }
        }
    }
}
