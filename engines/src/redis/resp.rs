//! RESP2, both ways: encodes commands into a buffer and reads replies out of one, without allocating on the hot path.
//! Knows no socket and no command. What it allocates is bounded by what has arrived, never by what was announced.

use std::io::{self, Read};

use metaferry_pipeline::{Error, ErrorKind, Result};

use super::reply::{Reply, ServerError};
use super::socket::is_late;

/// Bytes read ahead; also the longest value that is handed out without a copy.
const BUFFER_BYTES: usize = 256 * 1024;
const LONGEST_LINE_BYTES: usize = 64 * 1024;
const DEEPEST_REPLY: u32 = 16;

/// Appends the head of a command of `count` arguments, its name included.
pub fn begin(out: &mut Vec<u8>, count: usize) {
    head(out, b'*', count);
}

/// Appends one argument.
pub fn argument(out: &mut Vec<u8>, bytes: &[u8]) {
    argument_of(out, &[bytes]);
}

/// Appends one argument made of several parts, as a prefix and a key.
pub fn argument_of(out: &mut Vec<u8>, parts: &[&[u8]]) {
    head(out, b'$', parts.iter().map(|part| part.len()).sum());
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one argument that is a decimal number.
pub fn number(out: &mut Vec<u8>, value: impl itoa::Integer) {
    argument(out, itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a whole command.
pub fn command(out: &mut Vec<u8>, args: &[&[u8]]) {
    begin(out, args.len());
    for arg in args {
        argument(out, arg);
    }
}

fn head(out: &mut Vec<u8>, mark: u8, count: usize) {
    out.push(mark);
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Reads replies. An error reply read by a typed method is returned as an error whose source is a [`ServerError`]; the
/// reader then stands after it and can go on. After any other error the stream is useless.
pub struct Reader<R> {
    inner: R,
    peer: String,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    large: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Reads from `inner`; `peer` is what errors call it.
    pub fn new(inner: R, peer: impl Into<String>) -> Self {
        let (buffer, peer) = (vec![0; BUFFER_BYTES], peer.into());
        Self { inner, peer, buffer, start: 0, end: 0, large: Vec::new() }
    }

    /// What is read from. Reading from it directly loses bytes.
    pub fn inner(&mut self) -> &mut R {
        &mut self.inner
    }

    /// What errors call the other side.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Reads a bulk string and lends it until the next call; `None` is null.
    ///
    /// # Errors
    /// As every method here: the server's own error, `Engine` for input and output, `Corrupt` for what is not RESP.
    pub fn bulk(&mut self) -> Result<Option<&[u8]>> {
        let Some(length) = self.length(b'$')? else { return Ok(None) };
        if length.saturating_add(2) > BUFFER_BYTES {
            let mut large = std::mem::take(&mut self.large);
            let read = self.copy_bulk(length, &mut large);
            self.large = large;
            read?;
            return Ok(Some(&self.large));
        }
        self.arrive(length + 2)?;
        let from = self.start;
        self.start += length;
        self.line_end()?;
        Ok(Some(self.buffer.get(from..from + length).unwrap_or_default()))
    }

    /// Reads a bulk string into `out`, replacing what it holds; false is null.
    ///
    /// # Errors
    /// See [`Self::bulk`].
    pub fn bulk_into(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        out.clear();
        match self.length(b'$')? {
            Some(length) => self.copy_bulk(length, out).map(|()| true),
            None => Ok(false),
        }
    }

    /// Reads the head of an array: how many replies follow; null is 0.
    ///
    /// # Errors
    /// See [`Self::bulk`].
    pub fn array(&mut self) -> Result<usize> {
        Ok(self.length(b'*')?.unwrap_or(0))
    }

    /// Reads an integer.
    ///
    /// # Errors
    /// See [`Self::bulk`].
    pub fn integer(&mut self) -> Result<i64> {
        let line = self.typed_line(b':')?;
        let value = parse_integer(self.slice(line));
        value.ok_or_else(|| self.corrupt("a number"))
    }

    /// Reads a status and drops it.
    ///
    /// # Errors
    /// See [`Self::bulk`].
    pub fn status(&mut self) -> Result<()> {
        self.typed_line(b'+').map(drop)
    }

    /// Reads any reply; an error reply, nested or not, is a value here.
    ///
    /// # Errors
    /// See [`Self::bulk`].
    pub fn reply(&mut self) -> Result<Reply> {
        self.reply_at(0)
    }

    fn reply_at(&mut self, depth: u32) -> Result<Reply> {
        let line = self.line()?;
        let (mark, rest) = self.slice(line).split_first().unwrap_or((&0, &[]));
        match mark {
            b'+' => Ok(Reply::Status(String::from_utf8_lossy(rest).into_owned())),
            b'-' => Ok(Reply::Error(ServerError::parse(rest))),
            b':' => parse_integer(rest).map(Reply::Integer).ok_or_else(|| self.corrupt("a number")),
            b'_' => Ok(Reply::Null),
            b'$' | b'*' if rest == b"-1" => Ok(Reply::Null),
            b'$' => {
                let length = parse_length(rest).ok_or_else(|| self.corrupt("a length"))?;
                let mut bytes = Vec::new();
                self.copy_bulk(length, &mut bytes)?;
                Ok(Reply::Bulk(bytes))
            }
            b'*' if depth < DEEPEST_REPLY => {
                let count = parse_length(rest).ok_or_else(|| self.corrupt("a length"))?;
                let items = (0..count).map(|_| self.reply_at(depth + 1));
                Ok(Reply::Array(items.collect::<Result<_>>()?))
            }
            _ => Err(self.corrupt("a reply")),
        }
    }

    /// Reads `$N` or `*N`; `None` is null.
    fn length(&mut self, mark: u8) -> Result<Option<usize>> {
        let line = self.typed_line(mark)?;
        let text = self.slice(line);
        if text == b"-1" || text == b"_" {
            return Ok(None);
        }
        let length = parse_length(text);
        length.map(Some).ok_or_else(|| self.corrupt("a length"))
    }

    /// Reads a line with this mark and returns where its text is; a null of RESP3 keeps its mark.
    fn typed_line(&mut self, mark: u8) -> Result<(usize, usize)> {
        let (from, to) = self.line()?;
        match self.slice((from, to)).split_first() {
            Some((&found, _)) if found == mark => Ok((from + 1, to)),
            Some((b'_', [])) if matches!(mark, b'$' | b'*') => Ok((from, to)),
            Some((b'-', text)) => Err(Error::from(ServerError::parse(text)).at(&self.peer)),
            _ => Err(self.corrupt("a reply of the kind asked for")),
        }
    }

    /// Reads one line and returns where it is, its end left out.
    pub(super) fn line(&mut self) -> Result<(usize, usize)> {
        let mut searched = 0;
        loop {
            let unread = self.unread();
            if let Some(at) = unread.get(searched..).and_then(|tail| memchr::memchr(b'\n', tail)) {
                let end = searched + at;
                let has_return = end.checked_sub(1).and_then(|last| unread.get(last)) == Some(&b'\r');
                let from = self.start;
                self.start += end + 1;
                return Ok((from, from + end - usize::from(has_return)));
            }
            searched = unread.len();
            if searched > LONGEST_LINE_BYTES {
                return Err(self.corrupt("a line"));
            }
            self.arrive(searched + 1)?;
        }
    }

    /// The bytes of a place returned by [`Self::line`], valid until more is read.
    pub(super) fn slice(&self, (from, to): (usize, usize)) -> &[u8] {
        self.buffer.get(from..to).unwrap_or_default()
    }

    /// What has arrived and is not yet read.
    pub(super) fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Marks bytes of [`Self::unread`] as read.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }

    /// Waits until `count` bytes, at most a buffer of them, have arrived.
    pub(super) fn arrive(&mut self, count: usize) -> Result<()> {
        while self.end - self.start < count {
            match self.fill() {
                Ok(0) => return Err(self.closed()),
                Ok(_) => {}
                Err(cause) => return Err(self.failed(cause)),
            }
        }
        Ok(())
    }

    /// Reads once more into the buffer, keeping what is unread; 0 is the end.
    pub(super) fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match self.inner.read(space) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(error),
            }
        }
    }

    /// Copies a bulk string's bytes and its line end, growing `out` only by what has arrived.
    fn copy_bulk(&mut self, length: usize, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        while out.len() < length {
            self.arrive(1)?;
            let unread = self.unread();
            let taken = unread.len().min(length - out.len());
            out.extend_from_slice(unread.get(..taken).unwrap_or_default());
            self.consume(taken);
        }
        self.line_end()
    }

    fn line_end(&mut self) -> Result<()> {
        self.arrive(2)?;
        if !self.unread().starts_with(b"\r\n") {
            return Err(self.corrupt("the end of a value"));
        }
        self.consume(2);
        Ok(())
    }

    pub(super) fn closed(&self) -> Error {
        Error::new(ErrorKind::Engine, format!("{}: the server closed the connection", self.peer))
    }

    pub(super) fn failed(&self, cause: io::Error) -> Error {
        let what = if is_late(&cause) { "no answer in time" } else { "the connection broke" };
        Error::engine(format!("{}: {what}", self.peer), cause)
    }

    fn corrupt(&self, expected: &str) -> Error {
        Error::corrupt(format!("{}: not Redis's protocol where {expected} should be", self.peer))
    }
}

fn parse_length(text: &[u8]) -> Option<usize> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

fn parse_integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
