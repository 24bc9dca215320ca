//! The replication handshake: asks a server for one snapshot (an RDB file) and hands out exactly its bytes. Knows
//! nothing of what is in them.

use std::io::{self, BufRead, Read};
use std::time::Duration;

use metaferry_pipeline::{Error, ErrorKind, Result};

use super::connection::Connection;
use super::resp::{Reply, ServerError};

const MARK_BYTES: usize = 40;
/// A server that writes its snapshot sends a newline each second, but not while it forks.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(120);

/// The bytes of one snapshot, to be read to their end. Its connection is closed there, or where this is dropped.
#[derive(Debug)]
pub struct SyncStream {
    /// None once the end was seen.
    connection: Option<Connection>,
    end: End,
    /// Bytes that have arrived and are known to be the snapshot's.
    ready: usize,
    /// Whether the snapshot ends after those.
    ends: bool,
    read_bytes: u64,
}

/// How the end of a snapshot is told.
#[derive(Debug)]
enum End {
    Length(u64),
    Mark([u8; MARK_BYTES]),
}

impl SyncStream {
    /// Asks for a snapshot. Returns when its bytes begin to come: in disk mode after the server has written it all.
    ///
    /// In disk mode nothing is announced (`capa eof`), since that makes servers wait `repl-diskless-sync-delay` for
    /// other replicas; nor is a listening port, which only INFO shows. A server may answer in either form whatever the
    /// mode. One that does not know `rdb-only` (older than 7.0) may send commands after the snapshot: never read.
    ///
    /// # Errors
    /// `Unsupported` where the server or the user's permissions refuse replication, and reading by SCAN is the way;
    /// `Engine` where the server tried and gave up, and for the connection's failures.
    pub fn start(mut connection: Connection, diskless: bool) -> Result<Self> {
        connection.wait_at_least(SHORTEST_PATIENCE)?;
        // Each answer is awaited: a server with unsent answers refuses SYNC.
        let mut settings: Vec<[&[u8]; 3]> = vec![[b"REPLCONF", b"rdb-only", b"1"]];
        if diskless {
            settings.push([b"REPLCONF", b"capa", b"eof"]);
        }
        for setting in &settings {
            if let Reply::Error(error) = connection.ask(setting)?
                && is_refusal(&error)
            {
                return Err(refused(&connection, error));
            }
        }
        let mut sync = Vec::new();
        super::resp::command(&mut sync, &[b"SYNC"]);
        connection.send(&sync)?;
        connection.flush()?;
        let end = read_head(&mut connection)?;
        Ok(Self { connection: Some(connection), end, ready: 0, ends: false, read_bytes: 0 })
    }

    /// How many bytes the snapshot has, where the server told.
    #[must_use]
    pub fn length_bytes(&self) -> Option<u64> {
        if let End::Length(length) = self.end { Some(length) } else { None }
    }

    /// How many bytes have been handed out.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes
    }
}

impl BufRead for SyncStream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.ready == 0 && !self.ends {
            self.assess();
            if self.ready == 0 && !self.ends {
                self.receive()?;
            }
        }
        if self.ready == 0 {
            self.connection = None;
        }
        let unread = self.connection.as_mut().map(|connection| connection.reader().unread());
        Ok(unread.and_then(|unread| unread.get(..self.ready)).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        let count = count.min(self.ready);
        if let Some(connection) = &mut self.connection {
            connection.reader().consume(count);
        }
        self.ready -= count;
        self.read_bytes += count as u64;
    }
}

impl Read for SyncStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

impl SyncStream {
    /// Works out how much of what has arrived is the snapshot's.
    fn assess(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let unread = connection.reader().unread();
        (self.ready, self.ends) = match &self.end {
            End::Length(length) => {
                let left = usize::try_from(length - self.read_bytes).unwrap_or(usize::MAX);
                (left.min(unread.len()), left <= unread.len())
            }
            End::Mark(mark) => match memchr::memmem::find(unread, mark) {
                Some(at) => (at, true),
                None => (unread.len().saturating_sub(MARK_BYTES - 1), false),
            },
        };
    }

    fn receive(&mut self) -> io::Result<()> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let reader = connection.reader();
        let (kind, error) = match reader.fill() {
            Ok(0) => (io::ErrorKind::UnexpectedEof, reader.closed()),
            Ok(_) => return Ok(()),
            Err(cause) => (cause.kind(), reader.failed(cause)),
        };
        Err(io::Error::new(kind, error.at(format_args!("snapshot cut off after {} bytes", self.read_bytes))))
    }
}

/// Reads `$length` or `$EOF:mark`, past the newlines that keep the connection alive.
fn read_head(connection: &mut Connection) -> Result<End> {
    loop {
        let reader = connection.reader();
        let line = reader.line().map_err(|error| {
            let gave_up = Error::new(error.kind(), "the server gave no snapshot").because(error);
            gave_up.hint("see the server's log; reading by SCAN (--scan) needs no snapshot")
        })?;
        let text = reader.slice(line);
        if let Some(mark) = text.strip_prefix(b"$EOF:") {
            let mark = mark.try_into();
            return mark.map(End::Mark).map_err(|_| Error::corrupt(format!("{}: snapshot mark", reader.peer())));
        }
        if let Some(length) = text.strip_prefix(b"$") {
            let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
            return length
                .map(End::Length)
                .ok_or_else(|| Error::corrupt(format!("{}: snapshot length", reader.peer())));
        }
        if let Some(error) = text.strip_prefix(b"-") {
            let error = ServerError::parse(error);
            return Err(refused(connection, error));
        }
        if !text.is_empty() {
            return Err(Error::corrupt(format!("{}: neither a snapshot nor a refusal", reader.peer())));
        }
    }
}

/// Whether replication is not to be had here, so that there is no point in asking on.
fn is_refusal(error: &ServerError) -> bool {
    let text = error.text.to_ascii_lowercase();
    matches!(error.code.as_str(), "NOPERM" | "NOMASTERLINK")
        || ["unknown command", "not supported", "not allowed", "disabled", "not permitted"]
            .iter()
            .any(|reason| text.contains(reason))
}

fn refused(connection: &Connection, error: ServerError) -> Error {
    let what = format!("{}: the server gives no snapshot", connection.name());
    if is_refusal(&error) {
        return Error::unsupported(what).because(error).hint(
            "allow SYNC and REPLCONF (ACL SETUSER … +sync +replconf), or read by SCAN (--scan) while nothing writes",
        );
    }
    Error::new(ErrorKind::Engine, what)
        .because(error)
        .hint("see the server's log; reading by SCAN (--scan) needs no snapshot")
}
