//! Disks of servers of SQL that are full: told, and nothing of the load is taken for a volume.

use super::kit::{Small, failed, no_volume};
use crate::kit::mariadb::MariaDb;
use crate::kit::postgres::Postgres;
use crate::kit::sql::Sql;
use crate::kit::{expect, metaferry};

const VOLUME: &str = "synthetic://?files=30000&seed=5";

#[test]
fn a_full_disk_of_a_postgres_is_told_and_nothing_is_left() {
    let small = Small::new(1 << 30);
    if !small.is_mounted() {
        return;
    }
    let postgres = Postgres::start();
    let url = postgres.create_in(small.folder.path("").trim_end_matches('/'), "cramped");
    // Too small for rows, for more of them, for indexes.
    for megabytes in [9, 13, 18] {
        small.grow(megabytes << 20);
        let error = failed(1, &metaferry(&["load", VOLUME, &url]));
        assert!(error.contains("the server's disk is full"), "{megabytes}: {error}");
        no_volume(&url);
        assert!(postgres.names("cramped").is_empty(), "{megabytes}: {:?}", postgres.names("cramped"));
    }
    small.grow(1 << 30);
    expect(0, &["load", VOLUME, &url, "--verify"]);
}

/// The server itself may end over a page that it cannot write, then or later: it is started again.
#[test]
fn a_full_disk_of_a_mariadb_is_told_and_no_volume() {
    let small = Small::new(1 << 30);
    if !small.is_mounted() {
        return;
    }
    for megabytes in [4, 10, 16] {
        small.grow(megabytes << 20);
        let mut mariadb = MariaDb::start();
        let database = format!("cramped_{megabytes}");
        let url = mariadb.create_in(small.folder.path("").trim_end_matches('/'), &database);
        let error = failed(1, &metaferry(&["load", VOLUME, &url]));
        let told = ["the server's disk is full", "the connection failed"].into_iter().find(|told| error.contains(told));
        assert!(told.is_some(), "{megabytes}: {error}");
        small.grow(1 << 30);
        mariadb.kill();
        mariadb.revive();
        no_volume(&url);
        expect(0, &["load", VOLUME, &url, "--verify"]);
        mariadb.sql(&format!("DROP DATABASE {database}"));
    }
}
