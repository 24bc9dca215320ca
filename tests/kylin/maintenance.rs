//! Maintenance mode as Kylin's own tool turns it on and off, row for row, and who may.

use metaferry_engines::kylin::store::maintenance::{Maintenance, Off, Process, Status};
use metaferry_pipeline::{ErrorKind, Stop};

use super::place::{Place, Server};

const OWNER: &str = "10.0.0.1:0000|9223372036854775807";

fn maintenance(place: &Place<'_>) -> Maintenance {
    Maintenance::new(place.address()).with_ip(Some("10.0.0.1"))
}

fn status(place: &Place<'_>) -> Status {
    maintenance(place).status(&Stop::new()).unwrap()
}

/// The epochs of a store that was seen: of the whole, of a project, of one that is gone; another project has none.
fn seed(place: &Place<'_>) {
    place.run(
        "INSERT INTO k_epoch (epoch_id, epoch_target, current_epoch_owner, last_epoch_renew_time, server_mode, mvcc) VALUES \
         (4, '_global', '10.0.0.5:7070|1700000000000', 1700000000001, 'all', 33), \
         (9, 'p1', '10.0.0.5:7070|1700000000000', 1700000000001, 'all', 12), \
         (2, 'gone', '10.0.0.5:7070|1700000000000', 1700000000001, 'all', 1)",
    );
}

fn projects(place: &Place<'_>) {
    place.seed(&[
        ("/_global/project/p1.json", "{}", 0),
        ("/_global/project/p2.json", "{}", 0),
        ("/_global/user/A", "{}", 0),
    ]);
}

/// The rows but for the time of their renewal, which has to be `now` or never.
#[track_caller]
fn rows(place: &Place<'_>, is_now: bool) -> Vec<String> {
    let columns = [
        "epoch_target",
        "epoch_id",
        "current_epoch_owner",
        "server_mode",
        "maintenance_mode_reason",
        "mvcc",
        "last_epoch_renew_time",
    ];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let mut rows = place.rows("k_epoch", &columns, "1");
    rows.sort();
    let fixed = rows.into_iter().map(|row| {
        let (row, renewed) = row.rsplit_once('|').unwrap();
        let renewed: i64 = renewed.parse().unwrap();
        assert!(if is_now { (now - 60_000..=now).contains(&renewed) } else { renewed == i64::MAX }, "{row} {renewed}");
        row.to_owned()
    });
    fixed.collect()
}

#[test]
fn what_was_seen_of_kylin_comes_out_row_for_row() {
    for server in Server::both() {
        for (database, place) in [("flat", server.flat("flat")), ("typed", server.typed("typed"))] {
            seed(&place);
            if database == "flat" {
                projects(&place);
            } else {
                for (number, name) in ["p1", "p2"].iter().enumerate() {
                    let content = place.bytes(b"{}");
                    place.run(&format!(
                        "INSERT INTO k_project (meta_key, uuid, name, mvcc, ts, content) VALUES ('{name}', '{number}', '{name}', 0, 0, {content})"
                    ));
                }
            }
            let (maintenance, stop) = (maintenance(&place), Stop::new());
            let held = maintenance.on("metastore tool", "all", &stop).unwrap();
            let on =
                |target: &str, epoch: u32, mvcc: u32| format!("{target}|{epoch}|{OWNER}|all|metastore tool|{mvcc}");
            let expected = [on("_global", 5, 34), on("gone", 3, 2), on("p1", 10, 13), on("p2", 1, 0)];
            assert_eq!(rows(&place, false), expected, "{} {database}", server.name());
            let again = maintenance.on("metastore tool", "all", &stop).unwrap_err();
            assert_eq!(again.to_string(), "The system is under maintenance mode. Please try again later.");
            assert_eq!((again.kind(), rows(&place, false)), (ErrorKind::Refused, expected.to_vec()));
            maintenance.off(Off::IfOn, &stop).unwrap();
            let off = |target: &str, epoch: u32, mvcc: u32| format!("{target}|{epoch}||all|NULL|{mvcc}");
            let expected = [off("_global", 6, 35), off("gone", 4, 3), off("p1", 11, 14), off("p2", 2, 1)];
            assert_eq!(rows(&place, true), expected, "{} {database}", server.name());
            let again = maintenance.off(Off::IfOn, &stop).unwrap_err();
            assert_eq!(
                (again.kind(), again.to_string().as_str()),
                (ErrorKind::Refused, "System is not in maintenance mode.")
            );
            maintenance.off(Off::Force, &stop).unwrap();
            let expected = [off("_global", 6, 36), off("gone", 4, 4), off("p1", 11, 15), off("p2", 2, 2)];
            assert_eq!(rows(&place, true), expected, "{} {database}", server.name());
            assert!(!held.release().unwrap(), "it was turned off by somebody else");
            assert_eq!(rows(&place, true), expected, "{} {database}", server.name());
        }
    }
}

#[test]
fn a_mode_that_was_turned_on_is_turned_off_on_every_way_out() {
    for server in Server::both() {
        let place = server.flat("ways");
        let reason = Process::this().reason();
        let held = maintenance(&place).on(&reason, "job", &Stop::new()).unwrap();
        let found = status(&place);
        assert!(found.is_on && found.owner == OWNER && found.epoch == 1, "{found:?}");
        assert_eq!((found.reason, found.by), (Some(reason), Some(Process::this())));
        assert_eq!(held.guard().owner, OWNER);
        drop(held);
        let found = status(&place);
        assert!(!found.is_on && found.reason.is_none() && found.by.is_none() && found.epoch == 2, "{found:?}");
        // Its stop is set: whoever was interrupted turns it off all the same.
        let stop = Stop::new();
        let held = maintenance(&place).on("why", "all", &stop).unwrap();
        stop.interrupt();
        assert!(status(&place).is_on);
        assert!(held.release().unwrap());
        assert!(!status(&place).is_on);
        let interrupted = maintenance(&place).on("why", "all", &stop).unwrap_err();
        assert_eq!(interrupted.kind(), ErrorKind::Interrupted);
    }
}

#[test]
fn the_table_of_epochs_is_made_where_there_is_none() {
    for server in Server::both() {
        let place = server.flat("made");
        place.run("DROP TABLE k_epoch");
        projects(&place);
        assert!(!status(&place).is_on);
        let held = maintenance(&place).on("why", "all", &Stop::new()).unwrap();
        let on = |target: &str| format!("{target}|1|{OWNER}|all|why|0");
        assert_eq!(rows(&place, false), [on("_global"), on("p1"), on("p2")], "{}", server.name());
        assert!(held.release().unwrap());
    }
}

#[test]
fn of_many_who_turn_it_on_one_does() {
    for server in Server::both() {
        let place = server.flat("many");
        seed(&place);
        let address = place.address();
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let one = |number: usize| {
                let maintenance = Maintenance::new(address.clone()).with_ip(Some(&format!("10.0.0.{number}")));
                scope.spawn(move || maintenance.on("why", "all", &Stop::new()))
            };
            let threads: Vec<_> = (1..=8).map(one).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (on, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!((on.len(), status(&place).epoch), (1, 5), "{}: {refused:?}", server.name());
        let is_told =
            |error: &metaferry_pipeline::Error| error.to_string().starts_with("The system is under maintenance mode");
        assert!(refused.iter().all(|outcome| outcome.as_ref().is_err_and(is_told)), "{}: {refused:?}", server.name());
    }
}
