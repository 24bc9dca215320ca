//! Timeouts of servers of SQL, locks that others hold, and targets that may only be read.

use std::time::{Duration, Instant};

use super::kit::{ENDLESS, Run, failed, no_volume, until};
use crate::kit::mariadb::MariaDb;
use crate::kit::sql::{Sql, at_once, postgres};
use crate::kit::{Folder, expect, expect_error, metaferry};

const VOLUME: &str = "synthetic://?files=10000&seed=5";

/// The shortest timeouts there can be, for whoever loads and for whoever dumps.
fn survives(server: &dyn Sql, user: &str, database: &str) {
    let folder = Folder::new();
    let url = server.address(user, database);
    expect(0, &["load", VOLUME, &url, "--verify"]);
    expect(0, &["dump", &url, &folder.path("volume"), "--threads", "3"]);
    expect(0, &["verify", &folder.path("volume"), &url, "--threads", "1"]);
}

#[test]
fn timeouts_of_a_postgres_end_nothing() {
    let postgres = postgres();
    postgres.sql(
        "postgres",
        "CREATE ROLE hasty LOGIN; ALTER ROLE hasty SET statement_timeout = '20ms'; \
         ALTER ROLE hasty SET lock_timeout = '1ms'; ALTER ROLE hasty SET idle_session_timeout = '30ms'; \
         ALTER ROLE hasty SET idle_in_transaction_session_timeout = '30ms'",
    );
    postgres.sql("postgres", "CREATE DATABASE hurried OWNER hasty");
    survives(postgres.as_ref(), "hasty", "hurried");
}

#[test]
fn timeouts_of_a_mariadb_end_nothing() {
    let mariadb = MariaDb::with(&[
        "--max-statement-time=0.05",
        "--wait-timeout=1",
        "--idle-transaction-timeout=1",
        "--idle-readonly-transaction-timeout=1",
        "--net-read-timeout=1",
        "--net-write-timeout=1",
    ]);
    mariadb.database("hurried");
    mariadb.sql("CREATE USER hasty@'%' WITH MAX_STATEMENT_TIME 0.02; GRANT ALL ON hurried.* TO hasty@'%'");
    survives(&mariadb, "hasty", "hurried");
    // Somebody who may not write, where nobody may.
    mariadb.database("sealed");
    mariadb.sql("SET GLOBAL read_only = 1; GRANT ALL ON sealed.* TO hasty@'%'");
    let error = expect_error(4, &["load", VOLUME, &mariadb.url_of("hasty", "sealed")]);
    assert!(error.contains("nothing may be written there") && error.contains("--read-only"), "{error}");
    assert!(mariadb.names("sealed").is_empty());
    expect(0, &["verify", VOLUME, &mariadb.url_of("hasty", "hurried")]);
}

#[test]
fn a_postgres_that_only_reads_is_refused_as_a_target_and_read() {
    let postgres = postgres();
    let url = postgres.database("sealed");
    expect(0, &["load", VOLUME, &url]);
    postgres.sql("postgres", "ALTER DATABASE sealed SET default_transaction_read_only = on");
    expect(0, &["verify", VOLUME, &url]);
    let prefixed = format!("{url}&table_prefix=second");
    let error = expect_error(4, &["load", VOLUME, &prefixed]);
    assert!(error.contains("can only read") && error.contains("default_transaction_read_only"), "{error}");
    assert!(!postgres.names("sealed").iter().any(|name| name.contains("second")));
}

#[test]
fn a_table_that_somebody_holds_is_not_waited_for_for_ever() {
    at_once(|server| {
        let (folder, url) = (Folder::new(), server.create("locked"));
        expect(0, &["load", VOLUME, &url]);
        let held = server.hold("locked", "jfs_xattr");
        let begun = Instant::now();
        let error = failed(1, &metaferry(&["dump", &url, &folder.path("volume"), "--threads", "1"]));
        assert!(error.contains("a lock could not be had"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        assert_eq!(folder.names(), [""; 0]);
        drop(held);
        expect(0, &["dump", &url, &folder.path("volume")]);
    });
}

#[test]
fn what_a_dead_load_has_left_and_somebody_holds_is_not_waited_for_for_ever() {
    at_once(|server| {
        let url = server.create("left_behind");
        let run = Run::start(&["load", ENDLESS, &url]);
        until("the load writes", || server.names("left_behind").len() > 20);
        run.kill();
        let held = server.hold("left_behind", "jfs_node");
        let error = failed(1, &metaferry(&["load", VOLUME, &url]));
        assert!(error.contains("a lock could not be had"), "{error}");
        drop(held);
        no_volume(&url);
        expect(0, &["load", VOLUME, &url]);
    });
}
