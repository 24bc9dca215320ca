//! Feed: a stream that several workers read. Under one lock a worker reads on and cuts off a block; outside of it each
//! decodes its own. It knows no format.

use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};

use metaferry_pipeline::{Error, Result};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// What cuts a stream of some format into blocks.
pub(crate) trait Cut {
    /// What a worker decodes at once.
    type Block;

    /// Reads on, and takes off the front of `input` what it has read: a block as soon as one is full, nothing where more
    /// input is needed. What is left of `input` is given again in front of what follows.
    fn cut(&mut self, input: &mut &[u8]) -> Result<Option<Self::Block>>;

    /// Ends the stream: nothing follows `rest`, which was not taken.
    fn end(&mut self, rest: &[u8]) -> Result<()>;

    /// Takes back a block that is done with, to fill its memory again.
    fn recycle(&mut self, block: Self::Block);
}

/// What a worker is to do.
pub(crate) enum Turn<B> {
    Decode(B),
    /// All blocks are decoded, and this worker is the one to finish what belongs to all of them.
    Last,
    Leave,
}

/// What is shared, whoever held it before: it is whole between any two steps.
pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream, as far as it was read.
pub(crate) struct Feed<C: Cut> {
    name: String,
    input: Box<dyn Read + Send>,
    pub(crate) cut: C,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    in_flight: usize,
    is_over: bool,
    is_finished: bool,
}

impl<C: Cut> Feed<C> {
    /// A stream of this name, from its first byte on.
    pub(crate) fn new(name: String, input: Box<dyn Read + Send>, cut: C) -> Self {
        let buffer = vec![0; READ_BYTES];
        Self { name, input, cut, buffer, begin: 0, end: 0, in_flight: 0, is_over: false, is_finished: false }
    }

    /// Takes back a block that is done with, and says what is next.
    pub(crate) fn turn(&mut self, done: Option<C::Block>) -> Result<Turn<C::Block>> {
        if let Some(block) = done {
            self.in_flight -= 1;
            self.cut.recycle(block);
        }
        match self.next() {
            Ok(Some(block)) => {
                self.in_flight += 1;
                Ok(Turn::Decode(block))
            }
            Ok(None) if self.in_flight == 0 && !self.is_finished => {
                self.is_finished = true;
                Ok(Turn::Last)
            }
            Ok(None) => Ok(Turn::Leave),
            Err(error) => {
                (self.is_over, self.is_finished) = (true, true);
                Err(error.at(&self.name))
            }
        }
    }

    /// The next block; `None` at the end of the stream.
    fn next(&mut self) -> Result<Option<C::Block>> {
        while !self.is_over {
            let unread = self.buffer.get(self.begin..self.end).unwrap_or_default();
            let mut rest = unread;
            let block = self.cut.cut(&mut rest)?;
            let consumed = unread.len() - rest.len();
            self.begin += consumed;
            if block.is_some() {
                return Ok(block);
            }
            if self.read()? == 0 {
                self.cut.end(self.buffer.get(self.begin..self.end).unwrap_or_default())?;
                self.is_over = true;
            }
        }
        Ok(None)
    }

    /// Reads once more behind what is unread; 0 is the end.
    fn read(&mut self) -> Result<usize> {
        self.buffer.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        if self.end == self.buffer.len() {
            self.buffer.resize(2 * self.end, 0);
        }
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match self.input.read(space) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("reading on", error)),
            }
        }
    }
}
