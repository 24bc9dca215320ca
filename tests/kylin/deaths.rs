//! Restores that end in the middle: the process is killed, the server is, the user interrupts. The store is as it was.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use metaferry_engines::kylin::store::StoreAddress;
use metaferry_engines::kylin::store::maintenance::{Maintenance, Off, Process};
use metaferry_pipeline::{ErrorKind, Stop};

use super::place::{Place, Server};
use super::restore::{Wanted, backup, logged, options, restore, restore_at, restoring, store};

/// What a process that is to be killed finds its store by.
const STORE: &str = "METAFERRY_TEST_STORE";

/// A transaction of somebody else's that keeps everybody from the end of the log: whoever restores has changed all rows when it
/// comes there, and waits.
struct Barrier(Child);

impl Barrier {
    fn raise(place: &Place<'_>) -> Self {
        let (mut client, sql) = match place.server {
            Server::Postgres(server) => {
                (server.client(&place.database), "BEGIN; LOCK TABLE k_audit_log IN ACCESS EXCLUSIVE MODE;\n")
            }
            Server::MariaDb(server) => (
                server.writer(&place.database),
                "BEGIN// SELECT id FROM k_audit_log ORDER BY id DESC LIMIT 1 FOR UPDATE//\n",
            ),
        };
        client.stdin.as_mut().unwrap().write_all(sql.as_bytes()).unwrap();
        let barrier = Self(client);
        until(|| match place.server {
            Server::Postgres(_) => {
                place.run("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted").trim() != "0"
            }
            Server::MariaDb(_) => place.run("SELECT count(*) FROM information_schema.innodb_trx").trim() != "0",
        });
        barrier
    }

    /// Waits until somebody stands before it.
    fn reached(place: &Place<'_>) {
        until(|| match place.server {
            Server::Postgres(_) => place.run("SELECT count(*) FROM pg_locks WHERE NOT granted").trim() != "0",
            Server::MariaDb(_) => {
                place.run("SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'").trim()
                    != "0"
            }
        });
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[track_caller]
fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to that");
        // MariaDB shows what it showed before to whoever asks again within a tenth of a second.
        std::thread::sleep(Duration::from_millis(150));
    }
}

/// Nobody works on the store any more.
fn quiet(place: &Place<'_>) {
    until(|| match place.server {
        Server::Postgres(_) => {
            let others =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
            place.run(others).trim() == "0"
        }
        Server::MariaDb(_) => place.run("SELECT count(*) FROM information_schema.innodb_trx").trim() == "0",
    });
}

/// Not a test by itself: a process that restores under maintenance mode.
#[test]
#[ignore = "it is run by another test, which kills it"]
fn restores_until_it_is_killed() {
    let address = StoreAddress::parse(&std::env::var(STORE).unwrap()).unwrap();
    let held = Maintenance::new(address.clone()).on(&Process::this().reason(), "all", &Stop::new()).unwrap();
    let guarded = metaferry_engines::kylin::store::patch::Restoring { guard: Some(held.guard()), ..restoring() };
    drop(restore_at(address, &backup(), guarded, &options(true, false), &Stop::new()));
    panic!("nobody killed it");
}

#[test]
fn a_restore_that_is_killed_leaves_the_store_as_it_was_and_says_so() {
    for server in Server::both() {
        let place = store(&server, "killed");
        let before = (place.versions(), logged(&place));
        let barrier = Barrier::raise(&place);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kylin::deaths::restores_until_it_is_killed", "--ignored"])
            .env(STORE, place.url())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Barrier::reached(&place);
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        drop(barrier);
        quiet(&place);
        assert_eq!((place.versions(), logged(&place)), before, "{}", server.name());
        let (maintenance, stop) = (Maintenance::new(place.address()), Stop::new());
        let status = maintenance.status(&stop).unwrap();
        assert!(status.is_on && status.by == Some(Process { id: child.id(), ..Process::this() }), "{status:?}");
        maintenance.off(Off::IfOn, &stop).unwrap();
        assert_eq!(restore(&place, &backup(), restoring(), &options(true, false)).unwrap().deleted, 4);
    }
}

#[test]
fn a_server_that_dies_in_a_restore_has_the_store_as_it_was() {
    for mut server in Server::both() {
        let place = store(&server, "dead");
        let before = (place.versions(), logged(&place));
        let barrier = Barrier::raise(&place);
        let address = place.address();
        let restoring = std::thread::spawn(move || {
            restore_at(address, &backup(), restoring(), &options(true, false), &Stop::new())
        });
        Barrier::reached(&place);
        server.kill();
        let error = restoring.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Engine, "{error:?}");
        drop(barrier);
        server.revive();
        let place = server.place("dead");
        assert_eq!((place.versions(), logged(&place)), before, "{}", server.name());
    }
}

#[test]
fn a_restore_that_is_interrupted_leaves_the_store_as_it_was() {
    for server in Server::both() {
        let place = store(&server, "interrupted");
        let before = (place.versions(), logged(&place));
        let barrier = Barrier::raise(&place);
        let (address, stop) = (place.address(), Stop::new());
        let stopped = stop.clone();
        let restoring =
            std::thread::spawn(move || restore_at(address, &backup(), restoring(), &options(true, false), &stopped));
        Barrier::reached(&place);
        stop.interrupt();
        assert_eq!(restoring.join().unwrap().unwrap_err().kind(), ErrorKind::Interrupted);
        drop(barrier);
        quiet(&place);
        assert_eq!((place.versions(), logged(&place)), before, "{}", server.name());
    }
}

#[test]
fn a_restore_of_many_resources_keeps_to_the_rules_too() {
    for server in Server::both() {
        let place = store(&server, "large");
        let mut node = super::node::Node::boot(&place);
        let mut wanted = Wanted::default();
        let noise = |number: u32, at: u32| {
            (number.wrapping_mul(40_503).wrapping_add(at).wrapping_mul(2_654_435_761) >> 13) as u8
        };
        for number in 0..30_000_u32 {
            let project = number % 7;
            wanted.0.insert(format!("/_global/project/q{project}.json").into_bytes(), b"{}".to_vec());
            let content = (0..number % 500).map(|at| noise(number, at)).collect();
            wanted.0.insert(format!("/q{project}/dataflow_details/{number}/x.json").into_bytes(), content);
        }
        for (truncate, inserted) in [(false, 30_007), (true, 0)] {
            let report = restore(&place, &wanted, restoring(), &options(truncate, false)).unwrap();
            assert_eq!((report.inserted, report.conflicts.len()), (inserted, 0), "{}", server.name());
            node.catch_up(&place);
        }
        // All but the instance's id is what was wanted.
        assert_eq!(place.versions().len(), 30_008);
    }
}
