//! Socket: bytes to and from a server, waited for as long as the address says, and only while nobody stops.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use metaferry_pipeline::{Error, Result, Stop};

use super::address::{Endpoint, Timeouts};

/// How often whoever waits looks up.
const LOOK_UP: Duration = Duration::from_millis(100);
/// How long bytes may still leave after a stop: a command cut in two would leave in doubt what was done.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// A socket of either kind.
#[derive(Debug)]
pub struct Socket {
    kind: Kind,
    timeouts: Timeouts,
    stop: Stop,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to a host.
    pub(super) fn to_host(endpoint: &Endpoint, timeouts: Timeouts, stop: &Stop) -> Result<Self> {
        let unreachable = |cause| Error::engine("cannot connect", cause);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (endpoint.host.as_str(), endpoint.port).to_socket_addrs().map_err(unreachable)? {
            stop.check()?;
            let socket = match timeouts.connect {
                Some(timeout) => TcpStream::connect_timeout(&address, timeout),
                None => TcpStream::connect(address),
            };
            let ready = socket.and_then(|socket| {
                socket.set_nodelay(true)?;
                socket.set_read_timeout(look_up(timeouts.read))?;
                socket.set_write_timeout(look_up(timeouts.write))?;
                Ok(socket)
            });
            match ready {
                Ok(socket) => return Ok(Self { kind: Kind::Tcp(socket), timeouts, stop: stop.clone() }),
                Err(cause) => last = cause,
            }
        }
        Err(unreachable(last))
    }

    /// Connects to a unix socket.
    pub(super) fn to_path(path: &Path, timeouts: Timeouts, stop: &Stop) -> io::Result<Self> {
        let socket = UnixStream::connect(path)?;
        socket.set_read_timeout(look_up(timeouts.read))?;
        socket.set_write_timeout(look_up(timeouts.write))?;
        Ok(Self { kind: Kind::Unix(socket), timeouts, stop: stop.clone() })
    }

    /// How long bytes are waited for, to be changed.
    pub(super) fn timeouts(&mut self) -> &mut Timeouts {
        &mut self.timeouts
    }

    /// What ends every wait, to be changed.
    pub(super) fn stop(&mut self) -> &mut Stop {
        &mut self.stop
    }

    /// Attempts something until it is done, for `most` at most, and for `last` where there is a stop.
    fn patiently<T>(
        &mut self,
        most: Option<Duration>,
        last: Duration,
        mut attempt: impl FnMut(&mut Kind) -> io::Result<T>,
    ) -> io::Result<T> {
        let since = Instant::now();
        loop {
            match attempt(&mut self.kind) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_late(&error) => {
                    let waited = since.elapsed();
                    if self.stop.is_set() && waited >= last || most.is_some_and(|most| waited >= most) {
                        return Err(error);
                    }
                }
                done => return done,
            }
        }
    }
}

fn look_up(most: Option<Duration>) -> Option<Duration> {
    Some(most.unwrap_or(LOOK_UP).min(LOOK_UP))
}

/// Whether an error says that nothing came or went in time.
pub(super) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Whether an error says that a server was waited for in vain.
pub(super) fn is_silence(error: &Error) -> bool {
    std::error::Error::source(error).and_then(|cause| cause.downcast_ref()).is_some_and(is_late)
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patiently(self.timeouts.read, Duration::ZERO, |kind| match kind {
            Kind::Tcp(socket) => socket.read(buffer),
            Kind::Unix(socket) => socket.read(buffer),
        })
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(self.timeouts.write, LAST_BYTES, |kind| match kind {
            Kind::Tcp(socket) => socket.write(bytes),
            Kind::Unix(socket) => socket.write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
