//! PostgreSQL behind PgBouncer: a dump holds its session in one transaction and works behind either sort of pool; a load works
//! where sessions are its own, and is refused where they are not, before anything has changed.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::kit::sql::{Sql, postgres};
use crate::kit::{Folder, expect, expect_error};

const VOLUME: &str = "synthetic://?files=3000&seed=5";

/// A pooler in front of a server, gone when it is dropped.
struct Pooler {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Pooler {
    fn start(server: u16, mode: &str, sessions: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let setting = folder.path().join("pgbouncer.ini");
        let lines = format!(
            "[databases]\n* = user=postgres host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = any\nunix_socket_dir =\nlogfile =\npool_mode = {mode}\ndefault_pool_size = {sessions}\n\
             query_wait_timeout = 2\n"
        );
        std::fs::write(&setting, lines).unwrap();
        for path in [folder.path(), &setting] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let program = ["/usr/sbin/pgbouncer", "pgbouncer"].into_iter().find(|path| std::path::Path::new(path).exists());
        let mut command = Command::new(program.unwrap_or("pgbouncer"));
        // It does not run as root.
        if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
            command.args(["-u", "postgres"]);
        }
        let child = command.arg("-q").arg(&setting).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.expect("PgBouncer is needed: install the package pgbouncer");
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, port, _folder: folder }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn behind_a_pooler_of_transactions_a_volume_is_read_and_none_is_loaded() {
    let (folder, postgres) = (Folder::new(), postgres());
    let url = postgres.database("pooled");
    postgres.sql("pooled", "CREATE SCHEMA other");
    expect(0, &["load", VOLUME, &format!("{url}&search_path=other")]);
    for (sessions, said) in [(20, "readers see one point in time"), (1, "one reader, since no other can take on")] {
        let pooler = Pooler::start(postgres.port(), "transaction", sessions);
        let pooled = postgres.by_way_of(pooler.port, "pooled") + "&search_path=other";
        let notes = expect(0, &["dump", &pooled, &folder.path("volume"), "--threads", "3"]);
        assert!(notes.contains(said), "{notes}");
        expect(0, &["verify", VOLUME, &folder.path("volume")]);
        std::fs::remove_file(folder.path("volume")).unwrap();
        let error = expect_error(4, &["load", VOLUME, &postgres.by_way_of(pooler.port, "pooled")]);
        assert!(error.contains("a pooler stands before it") && error.contains("pool_mode = session"), "{error}");
        assert!(postgres.names("pooled").is_empty());
        // Whoever gets one of its sessions next finds it as it was.
        let left = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = \
                    (SELECT oid FROM pg_database WHERE datname = 'pooled')";
        assert_eq!(postgres.sql("pooled", left), "0\n");
    }
}

#[test]
fn behind_a_pooler_of_sessions_everything_works() {
    let (folder, postgres) = (Folder::new(), postgres());
    postgres.database("sessions");
    let pooler = Pooler::start(postgres.port(), "session", 20);
    let url = postgres.by_way_of(pooler.port, "sessions");
    expect(0, &["load", VOLUME, &url, "--verify"]);
    let notes = expect(0, &["dump", &url, &folder.path("volume"), "--threads", "3"]);
    assert!(notes.contains("3 readers see one point in time"), "{notes}");
    expect(0, &["verify", VOLUME, &folder.path("volume")]);
    let error = expect_error(4, &["load", VOLUME, &url]);
    assert!(error.contains("the volume "), "{error}");
}
