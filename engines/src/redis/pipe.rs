//! Commands sent without waiting: the replies of one window are read while the server works on the next, each of them
//! checked. Knows no key.

use std::time::{Duration, Instant};

use metaferry_pipeline::{Error, Result};

use super::connection::Connection;
use super::reply::ServerError;
use super::socket::is_silence;

/// Bytes sent before the replies to the window before are read: the server always has something to do, and never more
/// than two windows of replies wait in its memory.
const WINDOW_BYTES: usize = 512 << 10;

/// How long the replies to what was sent are waited for when there is no more to send.
const REST: Duration = Duration::from_secs(5);

/// One connection, written to in windows. What is dropped before [`Pipe::drain`] still waits for the replies to what was
/// sent, so that nothing arrives at the server later.
pub(super) struct Pipe {
    connection: Connection,
    /// Encoded commands that are yet to be sent.
    pub(super) out: Vec<u8>,
    /// Commands in it.
    unsent: usize,
    /// Replies that are due to the window before the last, and to the last.
    due: [usize; 2],
    is_broken: bool,
    /// Whether the server may still read what was sent, though it was not waited for.
    is_silent: bool,
}

impl Pipe {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            out: Vec::with_capacity(2 * WINDOW_BYTES),
            unsent: 0,
            due: [0; 2],
            is_broken: false,
            is_silent: false,
        }
    }

    /// Counts a command that was appended to `out`; true where that filled the window, and it was sent.
    #[inline]
    pub(super) fn queued(&mut self) -> Result<bool> {
        self.unsent += 1;
        let full = self.out.len() >= WINDOW_BYTES;
        if full {
            self.turn()?;
        }
        Ok(full)
    }

    /// Sends everything and reads every reply; the connection is at rest then.
    pub(super) fn drain(&mut self) -> Result<&mut Connection> {
        self.turn()?;
        self.turn()?;
        Ok(&mut self.connection)
    }

    /// Sends this window and reads the replies to the one before.
    fn turn(&mut self) -> Result<()> {
        let sent = self.connection.send(&self.out).and_then(|()| self.connection.flush());
        self.out.clear();
        self.due[1] = std::mem::take(&mut self.unsent);
        if let Err(error) = sent {
            // A server that closes on us may have said why.
            let told = self.replies().err();
            (self.is_broken, self.is_silent) = (true, is_silence(&error));
            return Err(told.filter(|told| told.what_to_do().is_some()).unwrap_or(error));
        }
        self.replies()?;
        self.due = [self.due[1], 0];
        Ok(())
    }

    /// Reads the replies to the window before.
    fn replies(&mut self) -> Result<()> {
        while self.due[0] > 0 {
            let reader = self.connection.reader();
            // One that was waited for in vain may come yet.
            let line = reader.line().inspect_err(|error| self.is_broken = !is_silence(error))?;
            self.due[0] -= 1;
            if let Some(error) = reader.slice(line).strip_prefix(b"-") {
                return Err(Error::from(ServerError::parse(error)).at(reader.peer()));
            }
        }
        Ok(())
    }

    /// Waits for the replies to what was sent, whoever stops, until `deadline`; false where they have not come by then.
    pub(super) fn rest(&mut self, deadline: Instant) -> bool {
        self.connection.wait_at_most(deadline.saturating_duration_since(Instant::now()));
        for _ in 0..std::mem::take(&mut self.due).into_iter().sum() {
            if self.is_broken {
                break;
            }
            if let Err(error) = self.connection.reader().line() {
                (self.is_broken, self.is_silent) = (true, is_silence(&error));
            }
        }
        !self.is_silent
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.rest(Instant::now() + REST);
    }
}
