//! The replication handshake: asks a server for one snapshot (an RDB file) and hands out exactly its bytes. Knows
//! nothing of what is in them.

use std::io::{self, BufRead, Read};
use std::time::Duration;

use metaferry_pipeline::{Error, ErrorKind, Result};

use super::connection::Connection;
use super::reply::{Reply, ServerError};

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
        connection.wait_at_least(SHORTEST_PATIENCE);
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::super::server::{Server, open};
    use super::*;

    fn fill(server: &Server) {
        let mut connection = server.connect();
        let value = vec![b'v'; 20_000];
        for number in 0..200 {
            connection.command(&[b"SET", format!("key{number}").as_bytes(), &value]).unwrap();
        }
        connection.command(&[b"CONFIG", b"SET", b"rdbcompression", b"no"]).unwrap();
    }

    /// An RDB file: its magic, its last opcode and eight bytes of checksum.
    fn assert_whole(rdb: &[u8]) {
        assert!(rdb.starts_with(b"REDIS00"));
        assert_eq!(rdb[rdb.len() - 9], 0xff, "the end opcode stands before the checksum");
        assert!(rdb.len() > 4_000_000);
    }

    #[test]
    fn the_snapshot_ends_where_it_should_in_both_modes() {
        for (diskless, setting) in [(false, "no"), (false, "yes"), (true, "yes"), (true, "no")] {
            let server = Server::start(&["--repl-diskless-sync", setting]);
            fill(&server);
            let mut stream = SyncStream::start(server.connect(), diskless).unwrap();
            assert_eq!(stream.length_bytes().is_none(), diskless && setting == "yes");
            let mut rdb = Vec::new();
            stream.read_to_end(&mut rdb).unwrap();
            assert_whole(&rdb);
            assert_eq!(stream.read_bytes(), rdb.len() as u64);
            assert!(stream.length_bytes().is_none_or(|length| length == rdb.len() as u64));
            assert!(stream.connection.is_none());
            assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        }
    }

    #[test]
    fn users_without_permission_and_servers_without_sync_are_unsupported() {
        let refusing: [(&[&str], &str); 4] = [
            (&["--user", "some", "on", ">pw", "~*", "+@all", "-sync"], "some:pw@"),
            (&["--user", "some", "on", ">pw", "~*", "+@all", "-replconf"], "some:pw@"),
            (&["--rename-command", "SYNC", ""], ""),
            (&["--replicaof", "127.0.0.1", "1"], ""),
        ];
        for (args, userinfo) in refusing {
            let server = Server::start(args);
            let connection = open(&format!("redis://{userinfo}127.0.0.1:{}", server.port)).unwrap();
            let error = SyncStream::start(connection, false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{args:?} {error:?}");
            assert!(error.what_to_do().unwrap().contains("SCAN"));
        }
    }

    /// A server that answers the handshake, then sends this, and closes.
    fn scripted(sent: Vec<u8>) -> (std::thread::JoinHandle<()>, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            for answer in ["+OK", "-ERR cluster", "+PONG", "-ERR Unrecognized REPLCONF option: rdb-only"] {
                assert!(socket.read(&mut buffer).unwrap() > 0);
                socket.write_all(format!("{answer}\r\n").as_bytes()).unwrap();
            }
            assert!(socket.read(&mut buffer).unwrap() > 0);
            for piece in sent.chunks(7) {
                // The reader may have seen enough and closed.
                if socket.write_all(piece).is_err() {
                    return;
                }
            }
        });
        (thread, open(&format!("redis://127.0.0.1:{port}")).unwrap())
    }

    fn read_scripted(sent: &[u8]) -> Result<io::Result<Vec<u8>>> {
        let (thread, connection) = scripted(sent.to_vec());
        let read = SyncStream::start(connection, false).map(|mut stream| {
            let mut out = Vec::new();
            let read = stream.read_to_end(&mut out);
            if read.is_err() {
                assert!(stream.read(&mut [0; 1]).is_err(), "an error must not turn into an end");
            }
            read.map(|_| out)
        });
        thread.join().unwrap();
        read
    }

    #[test]
    fn old_servers_go_on_with_commands_that_are_not_read() {
        let read = read_scripted(b"\n\n\n$5\r\nHELLO*1\r\n$4\r\nPING\r\n").unwrap();
        assert_eq!(read.unwrap(), b"HELLO");
        assert_eq!(read_scripted(b"$0\r\n").unwrap().unwrap(), b"");
        let mark = "0123456789abcdef0123456789abcdef01234567";
        for payload in ["", "x", "HELLO 0123456789abcdef0123456789abcdef0123456 again"] {
            let sent = format!("\n$EOF:{mark}\r\n{payload}{mark}*1\r\n$4\r\nPING\r\n");
            assert_eq!(read_scripted(sent.as_bytes()).unwrap().unwrap(), payload.as_bytes());
        }
    }

    #[test]
    fn a_server_that_dies_is_told_wherever_it_does() {
        let mark = "0123456789abcdef0123456789abcdef01234567";
        for whole in ["\n$9\r\nSOMETHING".to_owned(), format!("$EOF:{mark}\r\nSOMETHING{mark}")] {
            for cut in 0..whole.len() {
                match read_scripted(&whole.as_bytes()[..cut]) {
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Engine, "{error:?}"),
                    Ok(Err(error)) => {
                        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                        assert!(error.to_string().contains("cut off after"), "{error}");
                    }
                    Ok(Ok(bytes)) => panic!("{cut} bytes were taken for a whole: {bytes:?}"),
                }
            }
        }
    }

    #[test]
    fn what_is_no_snapshot_is_told() {
        assert_eq!(read_scripted(b"$-1\r\n").unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(read_scripted(b"$EOF:short\r\n").unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(read_scripted(b"+OK\r\n").unwrap_err().kind(), ErrorKind::Corrupt);
        let gave_up = read_scripted(b"-ERR BGSAVE failed, replication can't continue\r\n").unwrap_err();
        assert_eq!(gave_up.kind(), ErrorKind::Engine);
        let unknown = read_scripted(b"-ERR unknown command `SYNC`, with args beginning with: \r\n").unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_server_killed_while_it_sends() {
        for diskless in [false, true] {
            let mut server = Server::start(&["--repl-diskless-sync", "yes", "--rdb-key-save-delay", "1000"]);
            fill(&server);
            let mut stream = SyncStream::start(server.connect(), diskless).unwrap();
            stream.read_exact(&mut [0; 100]).unwrap();
            server.kill();
            let read = stream.read_to_end(&mut Vec::new());
            // In disk mode all of it may be on its way already.
            assert!(read.is_err() || stream.length_bytes().is_some());
        }
    }
}
