//! A real MariaDB server on a spare port in a temporary folder, gone when it is dropped.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::{server_folder, shared};

/// What a server that only tests use need not do, and what it must allow.
const SETTINGS: [&str; 8] = [
    "--no-defaults",
    "--bind-address=127.0.0.1",
    "--local-infile=1",
    "--skip-name-resolve",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=32M",
    "--max-connections=100",
];

pub(crate) struct MariaDb {
    child: Child,
    command: Command,
    folder: tempfile::TempDir,
    _template: Arc<tempfile::TempDir>,
    port: u16,
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn succeed(command: &mut Command) {
    let output = command.output().expect("MariaDB is needed: install the package mariadb-server");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The tables of a new server, made once, copied for each, and gone with the last.
fn template() -> Arc<tempfile::TempDir> {
    static TEMPLATE: Mutex<Weak<tempfile::TempDir>> = Mutex::new(Weak::new());
    shared(&TEMPLATE, || {
        let folder = server_folder();
        let mut install = Command::new("mariadb-install-db");
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        if is_root() {
            install.arg("--user=mysql");
        }
        let data = format!("--datadir={}", folder.path().join("data").display());
        succeed(install.arg("--innodb-log-file-size=32M").arg(data));
        folder
    })
}

impl MariaDb {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with further settings.
    pub(crate) fn with(settings: &[&str]) -> Self {
        let folder = server_folder();
        let template = template();
        succeed(Command::new("cp").arg("-a").arg(template.path().join("data")).arg(folder.path()));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (data, socket) = (folder.path().join("data"), folder.path().join("socket"));
        // Debian has it on root's path alone.
        let program = if Path::new("/usr/sbin/mariadbd").exists() { "/usr/sbin/mariadbd" } else { "mariadbd" };
        let mut server = Command::new(program);
        server.args(SETTINGS).args(settings).arg(format!("--port={port}"));
        server.arg(format!("--datadir={}", data.display())).arg(format!("--socket={}", socket.display()));
        // A server that starts clears its folder for temporary tables, also of those that another one has open.
        server.arg(format!("--tmpdir={}", folder.path().display()));
        if is_root() {
            server.arg("--user=mysql");
        }
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        server.stdout(Stdio::null()).stderr(log);
        let child = server.spawn().expect("MariaDB is needed: install the package mariadb-server");
        let server = Self { child, command: server, folder, _template: template, port };
        server.wait();
        // An account without a name is taken before one with a name from anywhere.
        server.sql("DELETE FROM mysql.global_priv WHERE user = ''; FLUSH PRIVILEGES");
        server
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
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(Instant::now() < deadline, "MariaDB did not start: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_ready(&self) -> bool {
        self.client().args(["-e", "SELECT 1"]).output().is_ok_and(|output| output.status.success())
    }

    /// A new database, restored from what `mariadb-dump` wrote.
    pub(crate) fn restore(&self, database: &str, sql: &[u8]) -> String {
        let url = self.database(database);
        let mut client = self.client().arg(database).stdin(Stdio::piped()).spawn().unwrap();
        client.stdin.take().unwrap().write_all(sql).unwrap();
        assert!(client.wait().unwrap().success(), "mariadb");
        url
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A new empty database.
    pub(crate) fn database(&self, name: &str) -> String {
        self.sql(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"));
        self.url(name)
    }

    pub(crate) fn url(&self, database: &str) -> String {
        self.url_of("root", database)
    }

    /// The same for somebody else.
    pub(crate) fn url_of(&self, user: &str, database: &str) -> String {
        format!("mysql://{user}@(127.0.0.1:{})/{database}", self.port)
    }

    /// The same through the unix socket.
    pub(crate) fn socket(&self, database: &str) -> String {
        format!("mysql://root@unix({})/{database}", self.folder.path().join("socket").display())
    }

    fn client(&self) -> Command {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "--user=root", "--batch", "--skip-column-names", "--raw"]);
        client.arg(format!("--socket={}", self.folder.path().join("socket").display()));
        client
    }

    /// Runs statements, and returns what they say, a line a row.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let output = self.client().args(["-e", sql]).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The columns and indexes of a database, a line each.
    pub(crate) fn layout(&self, database: &str) -> String {
        let columns =
            "table_name, ordinal_position, column_name, column_type, is_nullable, column_default, extra, column_key";
        let indexes = "table_name, index_name, non_unique, seq_in_index, column_name";
        [(columns, "columns"), (indexes, "statistics")]
            .map(|(what, from)| {
                let place = format!("FROM information_schema.{from} WHERE table_schema = '{database}'");
                self.sql(&format!("SELECT {what} {place} ORDER BY 1, 2, 4"))
            })
            .concat()
    }

    /// The folder in which a database lies.
    pub(crate) fn data(&self, database: &str) -> String {
        self.folder.path().join("data").join(database).to_str().unwrap().to_owned()
    }

    /// Ends it as a machine that loses power does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A client that runs statements as they come, each ended by two slashes and a line.
    pub(crate) fn writer(&self, database: &str) -> Child {
        self.client().arg(database).arg("--delimiter=//").stdin(Stdio::piped()).spawn().unwrap()
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
