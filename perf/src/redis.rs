//! A Redis server of our own, with default settings but for its place, that ends when it is dropped; and what that server
//! alone needs to hand over all it holds.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process::Ran;

/// How long a server may take to answer once it is started.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that listens on this machine alone.
#[derive(Debug)]
pub(crate) struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// Starts a server that keeps its files in `folder`.
    pub(crate) fn start(program: &Path, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let log = File::create(folder.join("log"))?;
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--save", "", "--dir"])
            .arg(folder)
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            .spawn()
            .with_context(|| program.display().to_string())?;
        let mut server = Self { child, port };
        let started = Instant::now();
        while server.ping().is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("redis-server: {status}; its log is in {}", folder.display());
            }
            if started.elapsed() > PATIENCE {
                bail!("redis-server does not answer; its log is in {}", folder.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Its address, as JuiceFS and metaferry spell it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn port(&self) -> String {
        self.port.to_string()
    }

    fn ping(&self) -> Result<()> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.write_all(b"PING\r\n")?;
        let mut answer = [0; 7];
        connection.read_exact(&mut answer)?;
        if &answer != b"+PONG\r\n" {
            bail!("no PONG");
        }
        Ok(())
    }

    /// Waits until the server has forgotten the last snapshot it was asked for: who asks before that is made to wait for
    /// `repl-diskless-sync-delay`, five seconds, which would be booked on the wrong run.
    pub(crate) fn settle(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
            connection.set_read_timeout(Some(PATIENCE))?;
            connection.write_all(b"INFO\r\nQUIT\r\n")?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer)?;
            let is = |line: &str| answer.lines().any(|found| found == line);
            if is("rdb_bgsave_in_progress:0") && is("connected_slaves:0") {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "redis-server does not come to rest");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks for the replication stream as the oldest replicas do, and reads its snapshot without looking at it: no tool
    /// that wants a snapshot can be done before this is.
    pub(crate) fn drain(&self) -> Result<Ran> {
        let started = Instant::now();
        let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
        connection.write_all(b"SYNC\r\n")?;
        let mut stream = BufReader::with_capacity(1 << 20, connection);
        let mut head = String::new();
        // Empty lines keep the connection alive while the server writes its snapshot.
        while head.trim().is_empty() {
            head.clear();
            if stream.read_line(&mut head)? == 0 {
                bail!("SYNC: the server hung up");
            }
        }
        let bytes: u64 = head.trim().strip_prefix('$').and_then(|count| count.parse().ok()).context(head)?;
        let read = std::io::copy(&mut stream.take(bytes), &mut std::io::sink())?;
        if read != bytes {
            bail!("SYNC: {read} of {bytes} bytes");
        }
        Ok(Ran { bytes, ..Ran::lasting(started.elapsed().as_secs_f64()) })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A server that is gone already is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Programs that come with a Redis server.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) server: PathBuf,
    pub(crate) cli: Option<PathBuf>,
}
