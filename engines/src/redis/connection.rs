//! One connection to the Redis server that holds a volume: socket or TLS, authentication, database, commands one by one
//! and in pipelines. Knows no key; where the server is, `discovery` finds out.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use metaferry_pipeline::{Error, ErrorKind, Result, Stop};

use super::address::{Address, Endpoint, Timeouts};
use super::reply::{Reply, ServerError};
use super::resp::{self, Patience, Reader};
use super::tls::{self, TlsStream};
use super::{Info, discovery, owner};

const SEND_BYTES: usize = 256 * 1024;
const LONGEST_LOADING: Duration = Duration::from_secs(60);
const LOADING_PAUSE: Duration = Duration::from_millis(250);
/// How often a long wait is left to look at the stop.
const LOOK_UP: Duration = Duration::from_millis(200);

/// The bytes under a connection.
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsStream>),
}

/// One connection, authenticated, its database selected, its server not loading. `Debug` shows the address, without
/// its password.
pub struct Connection {
    reader: Reader<Stream>,
    unsent: Vec<u8>,
    prefix: String,
}

impl Connection {
    /// Opens a connection to the master that holds the volume: through the Sentinels, or to the owner of its slot in a
    /// cluster, as the address says or, for one server, as that says of itself.
    ///
    /// # Errors
    /// `Config` for a wrong password, database, certificate or permission; `Engine` for what cannot be reached, and for
    /// a server that is still loading its data after a minute.
    pub fn open(address: &Address) -> Result<Self> {
        let mut connection = discovery::find(address)?;
        connection.wait_while_loading()?;
        Ok(connection)
    }

    /// What stands before each key: `{N}` in a cluster, else nothing.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Runs one command; an error reply is an error, with a [`ServerError`] as its source. Not for the middle of a
    /// pipeline: all earlier replies must have been read.
    ///
    /// # Errors
    /// The server's, or those of the connection, which is then useless.
    pub fn command(&mut self, args: &[&[u8]]) -> Result<Reply> {
        match self.ask(args)? {
            Reply::Error(error) => {
                let name = String::from_utf8_lossy(args.first().copied().unwrap_or_default()).into_owned();
                Err(Error::from(error).at(name).at(self.reader.peer()))
            }
            reply => Ok(reply),
        }
    }

    /// Runs one command, as [`Self::command`]; an error reply is a reply.
    ///
    /// # Errors
    /// Those of the connection, which is then useless.
    pub fn ask(&mut self, args: &[&[u8]]) -> Result<Reply> {
        resp::command(&mut self.unsent, args);
        let sent = self.flush();
        match self.reader.reply() {
            // A server that closes on us may have said why.
            Err(error) => sent.and(Err(error)),
            reply => reply,
        }
    }

    /// Queues encoded commands (see [`resp::command`]), sending where enough has gathered. The server answers each
    /// while the next arrive and keeps unread answers in its memory: read them before long.
    ///
    /// # Errors
    /// `Engine` where the connection broke; it is then useless.
    pub fn send(&mut self, encoded: &[u8]) -> Result<()> {
        if self.unsent.len() + encoded.len() > SEND_BYTES {
            self.flush()?;
        }
        if encoded.len() > SEND_BYTES {
            return self.write(encoded);
        }
        self.unsent.extend_from_slice(encoded);
        Ok(())
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// `Engine` where the connection broke; it is then useless.
    pub fn flush(&mut self) -> Result<()> {
        let unsent = std::mem::take(&mut self.unsent);
        let written = self.write(&unsent);
        self.unsent = unsent;
        self.unsent.clear();
        written
    }

    /// The replies, in the order of the commands sent.
    pub fn reader(&mut self) -> &mut Reader<Stream> {
        &mut self.reader
    }

    /// Asks for the server's `INFO`: one section of it, or the default ones where `section` is empty.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub fn info(&mut self, section: &str) -> Result<Info> {
        let args: &[&[u8]] = if section.is_empty() { &[b"INFO"] } else { &[b"INFO", section.as_bytes()] };
        let reply = self.command(args)?;
        Ok(Info::parse(&String::from_utf8_lossy(reply.bytes().unwrap_or_default())))
    }

    /// In a cluster: whether this server still owns the whole slot of [`Self::prefix`], none of it moving in or out.
    /// Elsewhere: true.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub fn holds_whole_slot(&mut self) -> Result<bool> {
        if self.prefix.is_empty() { Ok(true) } else { discovery::holds_whole_slot(self) }
    }

    /// Allows bytes at least this long to arrive, while the stop is not set.
    pub(super) fn wait_at_least(&mut self, least: Duration, stop: &Stop) -> Result<()> {
        let look = Some(LOOK_UP);
        let swap = match self.reader.inner() {
            Stream::Tcp(socket) => socket.read_timeout().and_then(|now| socket.set_read_timeout(look).map(|()| now)),
            Stream::Unix(socket) => socket.read_timeout().and_then(|now| socket.set_read_timeout(look).map(|()| now)),
            Stream::Tls(stream) => {
                let socket = &stream.sock;
                socket.read_timeout().and_then(|now| socket.set_read_timeout(look).map(|()| now))
            }
        };
        let most = swap.map_err(|cause| self.reader.failed(cause))?.map(|now| now.max(least));
        self.reader.set_patience(Patience { stop: stop.clone(), most });
        Ok(())
    }

    /// What errors call this connection.
    #[must_use]
    pub fn name(&self) -> &str {
        self.reader.peer()
    }

    /// Connects to a host; not yet authenticated.
    pub(super) fn to_host(endpoint: &Endpoint, address: &Address) -> Result<Self> {
        let stream = connect_tcp(endpoint, address.timeouts).and_then(|socket| match &address.tls {
            Some(options) => {
                Ok(Stream::Tls(Box::new(tls::connect(socket, &endpoint.host, options, address.timeouts.connect)?)))
            }
            None => Ok(Stream::Tcp(socket)),
        });
        Ok(Self::over(stream.map_err(|error| error.at(endpoint).at(address))?, address))
    }

    /// Connects to a unix socket; not yet authenticated.
    pub(super) fn to_socket(path: &Path, address: &Address) -> Result<Self> {
        let socket = UnixStream::connect(path).and_then(|socket| {
            socket.set_read_timeout(address.timeouts.read)?;
            socket.set_write_timeout(address.timeouts.write)?;
            Ok(socket)
        });
        let socket = socket.map_err(|cause| Error::engine(format!("{address}: cannot connect"), cause))?;
        Ok(Self::over(Stream::Unix(socket), address))
    }

    fn over(stream: Stream, address: &Address) -> Self {
        Self { reader: Reader::new(stream, address.to_string()), unsent: Vec::new(), prefix: String::new() }
    }

    /// Authenticates and gives the connection a name the server's operator can recognise.
    pub(super) fn authenticate(&mut self, user: &str, password: &str) -> Result<()> {
        if !password.is_empty() {
            let reply = match user {
                "" => self.ask(&[b"AUTH", password.as_bytes()])?,
                user => self.ask(&[b"AUTH", user.as_bytes(), password.as_bytes()])?,
            };
            if let Reply::Error(error) = reply {
                self.judge_authentication(error, password)?;
            }
        }
        match self.ask(&[b"CLIENT", b"SETNAME", owner::connection_name().as_bytes()])? {
            Reply::Error(error) if error.closes() => Err(Error::from(error).at(self.name())),
            _ => Ok(()),
        }
    }

    /// A server without a password lets anyone in, whatever password is offered; it only says so.
    fn judge_authentication(&self, mut error: ServerError, password: &str) -> Result<()> {
        if error.text.contains("without any password configured") || error.text.contains("no password is set") {
            return Ok(());
        }
        error.text = error.text.replace(password, "****");
        if error.closes() {
            return Err(Error::from(error).at(self.name()));
        }
        let what = format!("{}: user or password refused", self.name());
        let refusal = Error::config(what).because(error);
        Err(refusal.hint("give user and password in the URL, or the password in META_PASSWORD or REDIS_PASSWORD"))
    }

    /// Selects a database. False means that there are none to select: the server is a node of a cluster.
    pub(super) fn select(&mut self, database: u32) -> Result<bool> {
        if database == 0 {
            return Ok(true);
        }
        match self.ask(&[b"SELECT", database.to_string().as_bytes()])? {
            Reply::Error(error) if error.text.contains("cluster mode") => Ok(false),
            Reply::Error(error) => {
                let what = format!("{}: database {database}", self.name());
                let kind = match Error::from(error.clone()).kind() {
                    ErrorKind::Engine if error.code == "ERR" => ErrorKind::Config,
                    kind => kind,
                };
                Err(Error::new(kind, what).because(error))
            }
            _ => Ok(true),
        }
    }

    pub(super) fn set_prefix(&mut self, prefix: String) {
        self.prefix = prefix;
    }

    /// A user may be forbidden to PING: only what says that no command would work is an error.
    fn wait_while_loading(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            match self.ask(&[b"PING"])? {
                Reply::Error(error) if error.code == "LOADING" && started.elapsed() < LONGEST_LOADING => {
                    sleep(LOADING_PAUSE);
                }
                Reply::Error(error) if matches!(error.code.as_str(), "LOADING" | "NOAUTH" | "DENIED") => {
                    return Err(Error::from(error).at(self.name()));
                }
                _ => return Ok(()),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let stream = self.reader.inner();
        let written = stream.write_all(bytes).and_then(|()| stream.flush());
        written.map_err(|cause| self.reader.failed(cause))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn connect_tcp(endpoint: &Endpoint, timeouts: Timeouts) -> Result<TcpStream> {
    let unreachable = |cause| Error::engine("cannot connect", cause);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (endpoint.host.as_str(), endpoint.port).to_socket_addrs().map_err(unreachable)? {
        let socket = match timeouts.connect {
            Some(timeout) => TcpStream::connect_timeout(&address, timeout),
            None => TcpStream::connect(address),
        };
        let ready = socket.and_then(|socket| {
            socket.set_nodelay(true)?;
            socket.set_read_timeout(timeouts.read)?;
            socket.set_write_timeout(timeouts.write)?;
            Ok(socket)
        });
        match ready {
            Ok(socket) => return Ok(socket),
            Err(cause) => last = cause,
        }
    }
    Err(unreachable(last))
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.flush(),
            Self::Unix(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests;
