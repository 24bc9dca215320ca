//! The stock client with PostgreSQL: what metaferry loaded there is what the client itself would have made, and it works in it.

use super::fixtures::work_in;
use super::formats::permitted;
use super::kit::{differences, json, juicefs, migrate};
use crate::kit::postgres::Postgres;
use crate::kit::{Folder, expect, metaferry, read_data};

/// Those whose numbers fit.
const VOLUMES: [&str; 4] = ["empty", "encrypted", "plain", "tour"];

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_client_says_the_same_of_a_copy_on_postgres() {
    let postgres = Postgres::start();
    for volume in VOLUMES {
        let folder = Folder::new();
        let source = format!("sqlite3://{}", folder.unpack(&format!("{volume}/sqlite/store.db"), "store.db"));
        let target = postgres.database(volume);
        migrate(&source, &target, &[]);
        let found = differences(&json(&source), &json(&target));
        let permitted: &[&str] = if volume == "tour" { &["/Counters/lastChangelog: 51, null"] } else { &[] };
        assert_eq!(found, permitted, "{volume}");
        assert!(juicefs(&["status", &target]).contains("\"Setting\""));
    }
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_client_works_in_a_copy_on_postgres_and_changes_no_table() {
    let postgres = Postgres::start();
    for volume in ["plain", "tour"] {
        let folder = Folder::new();
        let source = format!("sqlite3://{}", folder.unpack(&format!("{volume}/sqlite/store.db"), "store.db"));
        let target = postgres.database(volume);
        migrate(&source, &target, &["--mend"]);
        let layout = postgres.layout(volume);
        let before = json(&target);
        juicefs(&["config", &target, "--trash-days", "1", "--yes"]);
        work_in(&folder, &target);
        assert_eq!(layout, postgres.layout(volume), "the client's look at its tables finds nothing to change");
        let touched = ["/Setting/TrashDays", "/Counters/", "/FSTree/attr/", "/Trash", "/Sustained", "/DelFiles"];
        let mut found = differences(&before, &json(&target));
        found.retain(|line| !touched.iter().any(|part| line.starts_with(part)));
        assert_eq!(found, [""; 0], "{volume}");
        expect(0, &["migrate", &target, &folder.sqlite("again.db")]);
        expect(0, &["verify", &target, &folder.sqlite("again.db")]);
    }
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_client_loads_our_dumps_into_postgres() {
    let postgres = Postgres::start();
    for volume in ["empty", "plain", "tour"] {
        let folder = Folder::new();
        let source = postgres.restore(&format!("{volume}_source"), &read_data(&format!("{volume}/postgres/store.sql")));
        for (file, binary) in [("dump.json", &[][..]), ("dump.bin", &["--binary"])] {
            let (ours, theirs) = (folder.path(&format!("ours-{file}")), folder.path(&format!("theirs-{file}")));
            let dumped = metaferry(&["dump", "--keep-secrets", &source, &ours]);
            assert!(matches!(dumped.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&dumped.stderr));
            juicefs(&[&["dump", "--keep-secret-key"][..], binary, &[&source, &theirs]].concat());
            let loaded = |whose: &str, dump: &str| {
                let target = postgres.database(&format!("{volume}_{}_{whose}", &file[5..]));
                juicefs(&[&["load"][..], binary, &[&target, dump]].concat());
                json(&target)
            };
            let mut found = differences(&loaded("theirs", &theirs), &loaded("ours", &ours));
            found.retain(|line| !permitted(volume, "postgres", file).iter().any(|part| line.contains(part)));
            assert_eq!(found, [""; 0], "{volume} as {file}");
        }
    }
}
