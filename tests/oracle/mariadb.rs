//! The stock client with MariaDB: what metaferry loaded there is what the client itself would have made, and it works in it.

use super::fixtures::work_in;
use super::kit::{differences, json, juicefs, migrate};
use crate::kit::mariadb::MariaDb;
use crate::kit::{Folder, expect};

/// Those whose numbers fit.
const VOLUMES: [&str; 4] = ["empty", "encrypted", "plain", "tour"];

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_client_says_the_same_of_a_copy_on_mariadb() {
    let mariadb = MariaDb::start();
    for volume in VOLUMES {
        let folder = Folder::new();
        let source = format!("sqlite3://{}", folder.unpack(&format!("{volume}/sqlite/store.db"), "store.db"));
        let target = mariadb.database(volume);
        migrate(&source, &target, &[]);
        let found = differences(&json(&source), &json(&target));
        let permitted: &[&str] = if volume == "tour" { &["/Counters/lastChangelog: 51, null"] } else { &[] };
        assert_eq!(found, permitted, "{volume}");
        assert!(juicefs(&["status", &target]).contains("\"Setting\""));
    }
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_client_works_in_a_copy_on_mariadb_and_changes_no_table() {
    let mariadb = MariaDb::start();
    for volume in ["plain", "tour"] {
        let folder = Folder::new();
        let source = format!("sqlite3://{}", folder.unpack(&format!("{volume}/sqlite/store.db"), "store.db"));
        let target = mariadb.database(volume);
        migrate(&source, &target, &["--mend"]);
        let layout = mariadb.layout(volume);
        let before = json(&target);
        juicefs(&["config", &target, "--trash-days", "1", "--yes"]);
        work_in(&folder, &target);
        assert_eq!(layout, mariadb.layout(volume), "the client's look at its tables finds nothing to change");
        let touched = ["/Setting/TrashDays", "/Counters/", "/FSTree/attr/", "/Trash", "/Sustained", "/DelFiles"];
        let mut found = differences(&before, &json(&target));
        found.retain(|line| !touched.iter().any(|part| line.starts_with(part)));
        assert_eq!(found, [""; 0], "{volume}");
        expect(0, &["migrate", &target, &folder.sqlite("again.db")]);
        expect(0, &["verify", &target, &folder.sqlite("again.db")]);
    }
}
