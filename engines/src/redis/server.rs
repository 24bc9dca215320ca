//! Real Redis servers for tests: started on a spare port in a folder of their own, killed on drop.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use metaferry_pipeline::{Result, Stop};

use super::{Address, Connection, Target};

pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) folder: tempfile::TempDir,
}

impl Server {
    /// Starts a server with these arguments besides its port, folder and socket.
    pub(crate) fn start(extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, spare_port(), extra)
    }

    /// Starts a server on what a folder holds.
    pub(crate) fn start_with(folder: tempfile::TempDir, extra: &[&str]) -> Self {
        Self::start_in(folder, spare_port(), extra)
    }

    /// Gives a server that was started for it all slots of a cluster.
    pub(crate) fn become_cluster(&self) {
        let Ok(address) = Address::parse(&self.url(), &|_| None) else { return };
        let Target::Server(endpoint) = address.target() else { return };
        let mut raw = Connection::to_host(endpoint, &address, &Stop::new()).unwrap();
        raw.command(&[b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"16383"]).unwrap();
        while !raw.ask(&[b"CLUSTER", b"INFO"]).unwrap().text().unwrap().contains("cluster_state:ok") {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts a server with TLS only, on its port.
    pub(crate) fn start_tls(folder: tempfile::TempDir, extra: &[&str]) -> Self {
        let port = spare_port();
        let text = port.to_string();
        let mut args = vec!["--port", "0", "--tls-port", &text];
        args.extend_from_slice(extra);
        Self::start_in(folder, port, &args)
    }

    fn start_in(folder: tempfile::TempDir, port: u16, extra: &[&str]) -> Self {
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--unixsocket", "s.sock", "--repl-diskless-sync-delay", "0", "--dir"])
            .arg(folder.path())
            .args(extra)
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed for these tests");
        Self { child, port, folder }.ready()
    }

    /// Starts a Sentinel that watches the master `mymaster` on `master_port`.
    pub(crate) fn start_sentinel(master_port: u16, password: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = spare_port();
        let config = folder.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\nunixsocket s.sock\ndir {}\nrequirepass {password}\nsentinel monitor mymaster 127.0.0.1 {master_port} 1\n",
            folder.path().display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("redis-server")
            .arg(config)
            .arg("--sentinel")
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed for these tests");
        Self { child, port, folder }.ready()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("s.sock")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn connect(&self) -> Connection {
        open(&self.url()).unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn ready(mut self) -> Self {
        let started = Instant::now();
        loop {
            let answered = UnixStream::connect(self.socket()).and_then(|mut socket| {
                socket.write_all(b"PING\r\n")?;
                socket.set_read_timeout(Some(Duration::from_secs(2)))?;
                socket.read_exact(&mut [0; 1])
            });
            if answered.is_ok() {
                return self;
            }
            let status = self.child.try_wait().unwrap();
            assert!(
                status.is_none() && started.elapsed() < Duration::from_secs(20),
                "no server: {answered:?} {status:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Opens an address, without an environment.
pub(crate) fn open(url: &str) -> Result<Connection> {
    Connection::open(&Address::parse(url, &|_| None)?, &Stop::new())
}

pub(crate) fn spare_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
