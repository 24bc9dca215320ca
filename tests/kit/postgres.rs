//! A real PostgreSQL server on a spare port in a temporary folder, gone when it is dropped.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::{server_folder, shared};

/// What a server that only tests use need not do, and what it must allow.
const SETTINGS: [&str; 7] = [
    "fsync=off",
    "full_page_writes=off",
    "max_connections=60",
    "listen_addresses=127.0.0.1",
    "wal_level=minimal",
    // Where it goes with the folder.
    "dynamic_shared_memory_type=mmap",
    "max_wal_senders=0",
];

pub(crate) struct Postgres {
    child: Child,
    command: Command,
    folder: tempfile::TempDir,
    _template: Arc<tempfile::TempDir>,
    port: u16,
}

/// The folder of the server's programs; it is not on the path of a Debian machine.
fn programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed.map(|version| version.path().join("bin")).max();
    newest.filter(|folder| folder.join("initdb").exists()).unwrap_or_default()
}

/// A program of the server's, run as somebody who is not root: the server refuses it.
fn command(program: &str) -> Command {
    let program = programs().join(program);
    if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0) {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}

fn succeed(command: &mut Command) {
    let output = command.output().expect("PostgreSQL is needed: install the package postgresql");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A new cluster, made once and copied for each server, and gone with the last.
fn template() -> Arc<tempfile::TempDir> {
    static TEMPLATE: Mutex<Weak<tempfile::TempDir>> = Mutex::new(Weak::new());
    shared(&TEMPLATE, || {
        let folder = server_folder();
        let data = folder.path().join("data");
        succeed(
            command("initdb")
                .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"])
                .arg(data),
        );
        folder
    })
}

impl Postgres {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with further settings.
    pub(crate) fn with(settings: &[&str]) -> Self {
        let folder = server_folder();
        let template = template();
        succeed(Command::new("cp").arg("-a").arg(template.path().join("data")).arg(folder.path()));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = command("postgres");
        server.arg("-D").arg(folder.path().join("data")).args(["-p", &port.to_string()]).arg("-k").arg(folder.path());
        for setting in SETTINGS.iter().chain(settings) {
            server.args(["-c", setting]);
        }
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        server.stdout(Stdio::null()).stderr(log);
        let child = server.spawn().expect("PostgreSQL is needed: install the package postgresql");
        let started = Self { child, command: server, folder, _template: template, port };
        started.wait();
        started
    }

    /// Starts it again after its end.
    pub(crate) fn revive(&mut self) {
        self.child.wait().unwrap();
        self.child = self.command.spawn().unwrap();
        self.wait();
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.is_ready() {
            assert!(Instant::now() < deadline, "PostgreSQL did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts a server that wants a password over TCP.
    pub(crate) fn with_password(password: &str) -> Self {
        let rules = tempfile::NamedTempFile::new().unwrap();
        std::fs::set_permissions(rules.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        std::fs::write(rules.path(), "local all all trust\nhost all all all scram-sha-256\n").unwrap();
        let server = Self::with(&[&format!("hba_file={}", rules.path().display())]);
        let mut psql = Command::new(programs().join("psql"));
        let (folder, port) = (server.folder.path(), server.port.to_string());
        succeed(
            psql.args([
                "-X",
                "-U",
                "postgres",
                "-p",
                &port,
                "-c",
                &format!("ALTER USER postgres PASSWORD '{password}'"),
                "-h",
            ])
            .arg(folder),
        );
        server
    }

    /// The first database, with a password.
    pub(crate) fn url_with(&self, password: &str) -> String {
        format!("postgres://postgres:{password}@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    fn is_ready(&self) -> bool {
        let asked = Command::new(programs().join("pg_isready"))
            .args(["-q", "-h", "127.0.0.1", "-p"])
            .arg(self.port.to_string())
            .status();
        asked.is_ok_and(|status| status.success())
    }

    /// A new database, restored from what `pg_dump` wrote.
    pub(crate) fn restore(&self, database: &str, sql: &[u8]) -> String {
        let url = self.database(database);
        let mut psql = self
            .psql(database)
            .args(["-v", "ON_ERROR_STOP=1", "-q"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        psql.stdin.take().unwrap().write_all(sql).unwrap();
        assert!(psql.wait().unwrap().success(), "psql");
        url
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A new empty database.
    pub(crate) fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(name)
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The same through the unix socket.
    pub(crate) fn socket(&self, database: &str) -> String {
        format!("postgres://postgres@/{database}?host={}&port={}", self.folder.path().display(), self.port)
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(programs().join("psql"));
        psql.args(["-X", "-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string(), "-d", database]);
        psql
    }

    /// A client that runs what it is fed, and stops at the first error.
    pub(crate) fn client(&self, database: &str) -> Child {
        let mut psql = self.psql(database);
        psql.args(["-q", "-v", "ON_ERROR_STOP=1"]).stdin(Stdio::piped()).stdout(Stdio::null());
        psql.spawn().unwrap()
    }

    /// The tables, keys and indexes of a database, as statements that make them.
    pub(crate) fn layout(&self, database: &str) -> String {
        let output = Command::new(programs().join("pg_dump"))
            .args([
                "--schema-only",
                "--no-owner",
                "-h",
                "127.0.0.1",
                "-U",
                "postgres",
                "-p",
                &self.port.to_string(),
                database,
            ])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        // Each run of the program has a password of its own for its two last words.
        text.lines().filter(|line| !line.starts_with("\\")).collect::<Vec<_>>().join("\n")
    }

    /// Runs statements, and returns what they say, unaligned.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database).args(["-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Takes everything out of a database.
    pub(crate) fn clear(&self, database: &str) {
        self.sql(database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    }

    /// Makes it one that only follows another, at what it holds now.
    pub(crate) fn become_standby(&mut self) {
        assert!(Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap().success());
        self.child.wait().unwrap();
        std::fs::write(self.folder.path().join("data/standby.signal"), "").unwrap();
        self.revive();
    }

    /// Ends it as a machine that loses power does.
    pub(crate) fn kill(&mut self) {
        // The children of the server end with it.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
