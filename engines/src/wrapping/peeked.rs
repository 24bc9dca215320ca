//! Two readers: one whose beginning can be looked at before it is read, and one that turns every error into one of ours,
//! with the place in what it reads.

use std::io::{self, BufRead, ErrorKind as IoKind, Read};

use metaferry_codecs::archive::{MAX_HEADER, frame_bound};
use metaferry_pipeline::Error;

/// How far one looks: the first frame of an archive is no longer.
pub(super) const MOST: usize = frame_bound(MAX_HEADER);
const BUFFER_BYTES: usize = 128 << 10;

/// A reader whose beginning was read already, and can be looked at.
pub(super) struct Peeked {
    buffer: Vec<u8>,
    at: usize,
    input: Box<dyn Read + Send>,
}

impl Peeked {
    /// Reads the beginning, or all there is.
    pub(super) fn new(mut input: Box<dyn Read + Send>) -> io::Result<Self> {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        (&mut input).take(MOST as u64).read_to_end(&mut buffer)?;
        Ok(Self { buffer, at: 0, input })
    }

    /// The beginning; all of it where it is shorter than [`MOST`], and nothing of it was read yet.
    pub(super) fn beginning(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }
}

impl BufRead for Peeked {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.buffer.len() {
            self.at = 0;
            self.buffer.resize(BUFFER_BYTES, 0);
            let read = loop {
                match self.input.read(&mut self.buffer) {
                    Err(error) if error.kind() == IoKind::Interrupted => {}
                    read => break read,
                }
            };
            self.buffer.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        Ok(self.beginning())
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.buffer.len());
    }
}

impl Read for Peeked {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }
}

/// Counts what a layer takes of what is below it.
pub(super) struct Counted {
    pub(super) input: Peeked,
    pub(super) taken: u64,
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.taken += amount as u64;
        self.input.consume(amount);
    }
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(out)?;
        self.taken += length as u64;
        Ok(length)
    }
}

/// What is below every layer: a file or a pipe, whose errors say where they occurred.
pub(super) struct Base {
    pub(super) input: Box<dyn Read + Send>,
    pub(super) offset: u64,
}

impl Read for Base {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.input.read(out) {
            Ok(length) => {
                self.offset += length as u64;
                Ok(length)
            }
            Err(error) if error.kind() == IoKind::Interrupted => Err(error),
            Err(error) => Err(Error::io(format!("read at byte {}", self.offset), error).into()),
        }
    }
}

/// An error of the layer `what`, which stood at `offset` of what it reads; one of the layers below stays what it is.
pub(super) fn broken(what: &str, offset: u64, error: io::Error) -> io::Error {
    let is_ours = error.get_ref().is_some_and(|inner| inner.is::<Error>());
    if is_ours {
        return error;
    }
    let error = match error.kind() {
        IoKind::UnexpectedEof => Error::corrupt(format!("{what}: it ends in the middle, after byte {offset}"))
            .hint("whatever wrote it was stopped, or it was not copied to its end"),
        IoKind::OutOfMemory => Error::engine(format!("{what}: no memory"), error),
        _ => Error::corrupt(format!("{what}: it is damaged at or before byte {offset} ({error})")),
    };
    error.into()
}
