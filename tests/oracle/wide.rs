//! The stock client with columns that were made wide: it reads numbers there that its own columns could not hold, and works.

use super::fixtures::work_in;
use super::kit::{differences, json, juicefs, migrate};
use crate::kit::Folder;
use crate::kit::mariadb::MariaDb;
use crate::kit::postgres::Postgres;

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_client_works_with_wide_columns_and_leaves_them_so() {
    let (postgres, mariadb, folder) = (Postgres::start(), MariaDb::start(), Folder::new());
    let path = folder.unpack("wideid/sqlite/store.db", "store.db");
    // Names of attributes that are not UTF-8 fit neither column.
    let database = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(database.execute("DELETE FROM jfs_xattr WHERE hex(name) LIKE '%FF%'", []).unwrap(), 1);
    drop(database);
    let source = format!("sqlite3://{path}");
    let layouts = || [postgres.layout("wide"), mariadb.layout("wide")];
    let targets = [postgres.database("wide"), mariadb.database("wide")];
    mariadb.sql("ALTER DATABASE wide COLLATE utf8mb4_bin");
    for target in &targets {
        migrate(&source, target, &["--mend", "--widen"]);
        assert_eq!(differences(&json(&source), &json(target)), [""; 0]);
    }
    let before = layouts();
    assert!(before[0].contains("uid bigint") && before[1].to_lowercase().contains("mediumblob"), "{before:?}");
    for target in &targets {
        let inodes = json(target);
        juicefs(&["config", target, "--trash-days", "1", "--yes"]);
        work_in(&folder, target);
        let mut found = differences(&inodes, &json(target));
        let touched = ["/Setting/TrashDays", "/Counters/", "/FSTree/attr/", "/Trash", "/Sustained", "/DelFiles"];
        found.retain(|line| !touched.iter().any(|part| line.starts_with(part)));
        assert_eq!(found, [""; 0]);
    }
    assert_eq!(before, layouts(), "the client's look at its tables finds nothing to change");
}
