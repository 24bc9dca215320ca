//! One connection to the Redis server that holds a volume: socket or TLS, authentication, database, commands one by one
//! and in pipelines. Knows no key; where the server is, `discovery` finds out.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use metaferry_pipeline::{Error, ErrorKind, Result, Stop};

use super::address::{Address, Endpoint};
use super::reply::{Reply, ServerError};
use super::resp::{self, Reader};
use super::socket::Socket;
use super::tls::{self, TlsStream};
use super::{Info, discovery, owner};

const SEND_BYTES: usize = 256 * 1024;
const LONGEST_LOADING: Duration = Duration::from_secs(60);
const LOADING_PAUSE: Duration = Duration::from_millis(250);

/// The bytes under a connection.
pub enum Stream {
    /// As they are.
    Plain(Socket),
    /// Through TLS.
    Tls(Box<TlsStream>),
}

impl Stream {
    fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &mut stream.sock,
        }
    }
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
    /// cluster, as the address says or, for one server, as that says of itself. `stop` ends every wait of it.
    ///
    /// # Errors
    /// `Config` for a wrong password, database, certificate or permission; `Engine` for what cannot be reached, and for
    /// a server that is still loading its data after a minute.
    pub fn open(address: &Address, stop: &Stop) -> Result<Self> {
        let mut connection = discovery::find(address, stop)?;
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

    /// Allows bytes at least this long to arrive.
    pub(super) fn wait_at_least(&mut self, least: Duration) {
        let read = &mut self.reader.inner().socket().timeouts().read;
        *read = read.map(|most| most.max(least));
    }

    /// Allows bytes this long to arrive, whoever stops.
    pub(super) fn wait_at_most(&mut self, most: Duration) {
        let socket = self.reader.inner().socket();
        *socket.stop() = Stop::new();
        socket.timeouts().read = Some(most);
    }

    /// What errors call this connection.
    #[must_use]
    pub fn name(&self) -> &str {
        self.reader.peer()
    }

    /// Connects to a host; not yet authenticated.
    pub(super) fn to_host(endpoint: &Endpoint, address: &Address, stop: &Stop) -> Result<Self> {
        let stream = Socket::to_host(endpoint, address.timeouts, stop).and_then(|socket| match &address.tls {
            Some(options) => Ok(Stream::Tls(Box::new(tls::connect(socket, &endpoint.host, options)?))),
            None => Ok(Stream::Plain(socket)),
        });
        Ok(Self::over(stream.map_err(|error| error.at(endpoint).at(address))?, address))
    }

    /// Connects to a unix socket; not yet authenticated.
    pub(super) fn to_socket(path: &Path, address: &Address, stop: &Stop) -> Result<Self> {
        let socket = Socket::to_path(path, address.timeouts, stop);
        let socket = socket.map_err(|cause| Error::engine(format!("{address}: cannot connect"), cause))?;
        Ok(Self::over(Stream::Plain(socket), address))
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
                    self.reader.inner().socket().stop().check()?;
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

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests;
