//! Reading ahead: a thread that fills a few buffers while others are read. It refuses to know what is read.

use std::io::{self, BufRead, ErrorKind as IoKind, Read};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::{Stop, start};
use crate::{Error, ErrorKind, Result};

const BUFFERS: usize = 4;
const BUFFER_BYTES: usize = 256 << 10;

/// What a thread of its own reads, in a few buffers. An error comes where it occurred, and whoever reads on after it gets
/// another one: an end is only where the input ended.
pub struct ReadAhead {
    filled: Receiver<io::Result<Vec<u8>>>,
    empty: Sender<Vec<u8>>,
    buffer: Vec<u8>,
    at: usize,
    state: State,
    stop: Stop,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
    Failed,
}

/// Reads `input` ahead of whoever reads what is returned. The thread ends with the input, with the stop, or when the other
/// end is dropped; one that waits in a read of a silent pipe ends with the process.
pub fn read_ahead(name: &str, mut input: impl Read + Send + 'static, stop: &Stop) -> Result<ReadAhead> {
    let (fill, filled) = bounded(BUFFERS);
    let (empty, refill) = bounded(BUFFERS);
    for _ in 0..BUFFERS {
        // There is room: nobody has put anything in.
        drop(empty.send(Vec::new()));
    }
    let (until, last) = (stop.clone(), fill.clone());
    let work = move || {
        loop {
            let buffer = select! {
                recv(refill) -> buffer => buffer.ok(),
                recv(until.halted()) -> _ => None,
            };
            let Some(buffer) = buffer else { break };
            let (bytes, error) = fill_up(&mut input, buffer);
            let is_last = bytes.is_empty() || error.is_some();
            if !bytes.is_empty() || error.is_none() {
                drop(fill.send(Ok(bytes)));
            }
            error.map(|error| fill.send(Err(error)));
            if is_last {
                break;
            }
        }
    };
    start(name, work, move |bug| drop(last.send(Err(bug.into()))))?;
    Ok(ReadAhead { filled, empty, buffer: Vec::new(), at: 0, state: State::Reading, stop: stop.clone() })
}

/// Fills a buffer as far as the input goes; empty at its end.
fn fill_up(input: &mut impl Read, mut buffer: Vec<u8>) -> (Vec<u8>, Option<io::Error>) {
    buffer.resize(BUFFER_BYTES, 0);
    let mut length = 0;
    let mut failed = None;
    while let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) {
        match input.read(room) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == IoKind::Interrupted => {}
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    buffer.truncate(length);
    (buffer, failed)
}

impl ReadAhead {
    fn next(&mut self) -> io::Result<()> {
        let used = std::mem::take(&mut self.buffer);
        self.at = 0;
        if used.capacity() > 0 {
            drop(self.empty.send(used));
        }
        let next = select! {
            recv(self.filled) -> next => next.ok(),
            recv(self.stop.halted()) -> _ => None,
        };
        self.state = State::Failed;
        self.buffer = next.ok_or_else(|| io::Error::from(self.why()))??;
        self.state = if self.buffer.is_empty() { State::Ended } else { State::Reading };
        Ok(())
    }

    fn why(&self) -> Error {
        let early = || Error::new(ErrorKind::Bug, "the thread that reads ahead ended early");
        self.stop.check().err().unwrap_or_else(early)
    }
}

impl BufRead for ReadAhead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.buffer.len() {
            match self.state {
                State::Reading => self.next()?,
                State::Ended => {}
                State::Failed => return Err(io::Error::other("an earlier read failed")),
            }
        }
        Ok(self.buffer.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.buffer.len());
    }
}

impl Read for ReadAhead {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::mpsc;

    use super::*;

    /// Fails, or panics, at its end.
    struct Then(Cursor<Vec<u8>>, fn() -> io::Error);

    impl Read for Then {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            match self.0.read(out)? {
                0 => Err((self.1)()),
                length => Ok(length),
            }
        }
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n * 7 % 251) as u8).collect()
    }

    #[test]
    fn what_is_read_ahead_is_what_there_is() {
        for length in [0, 1, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES * (BUFFERS + 3) + 5] {
            let mut ahead = read_ahead("test", Cursor::new(bytes(length)), &Stop::new()).unwrap();
            let mut read = Vec::new();
            ahead.read_to_end(&mut read).unwrap();
            assert!(read == bytes(length), "{length}");
            assert_eq!(ahead.read(&mut [0; 9]).unwrap(), 0);
        }
    }

    #[test]
    fn an_error_comes_in_its_place_and_never_turns_into_an_end() {
        let fail: fn() -> io::Error = || Error::corrupt("the tag is wrong").into();
        for (then, kind) in [(fail, ErrorKind::Corrupt), (|| panic!("on purpose"), ErrorKind::Bug)] {
            let length = if kind == ErrorKind::Bug { 0 } else { BUFFER_BYTES + 9 };
            let mut ahead = read_ahead("test", Then(Cursor::new(bytes(length)), then), &Stop::new()).unwrap();
            let mut read = vec![0; length];
            ahead.read_exact(&mut read).unwrap();
            assert!(read == bytes(length));
            let error = Error::io("dump", ahead.read(&mut [0; 9]).unwrap_err());
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().starts_with("dump: "), "{error}");
            for _ in 0..3 {
                ahead.read(&mut [0; 9]).unwrap_err();
            }
        }
    }

    #[test]
    fn an_interruption_wakes_the_reader_of_a_silent_pipe() {
        struct Silent(mpsc::Receiver<()>);

        impl Read for Silent {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                assert!(self.0.recv().is_err());
                Ok(0)
            }
        }
        let (speak, silence) = mpsc::channel();
        let stop = Stop::new();
        let mut ahead = read_ahead("test", Silent(silence), &stop).unwrap();
        let reader = std::thread::spawn(move || ahead.read(&mut [0; 9]).unwrap_err());
        stop.interrupt();
        let error = Error::io("pipe", reader.join().unwrap());
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        drop(speak);
    }

    #[test]
    fn the_thread_ends_when_nobody_reads() {
        struct Endless(#[expect(dead_code, reason = "it is dropped with the reader")] mpsc::Sender<()>);

        impl Read for Endless {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                Ok(out.len())
            }
        }
        let (alive, ended) = mpsc::channel();
        let mut ahead = read_ahead("test", Endless(alive), &Stop::new()).unwrap();
        ahead.read_exact(&mut vec![0; 3 * BUFFER_BYTES]).unwrap();
        drop(ahead);
        ended.recv().unwrap_err();
    }
}
