//! Servers that refuse, and servers that die.

use std::time::Duration;

use super::kit::{ENDLESS, Run, failed, fills, no_volume, until, writes};
use crate::kit::mariadb::MariaDb;
use crate::kit::postgres::Postgres;
use crate::kit::redis::Redis;
use crate::kit::{Folder, expect, metaferry};

const VOLUME: &str = "synthetic://?files=10000&seed=5";
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_wrong_password_is_said_to_be_wrong_and_never_shown() {
    let (folder, redis) = (Folder::new(), Redis::start());
    redis.cli(&["CONFIG", "SET", "requirepass", "right"]);
    let wrong = redis.url().replace("://", "://:wrong-one@");
    let archive = folder.path("volume");
    expect(0, &["dump", VOLUME, &archive]);
    for args in [
        &["info", &wrong][..],
        &["dump", &wrong, &folder.path("another")],
        &["load", &archive, &wrong],
        &["verify", &archive, &wrong],
    ] {
        let output = metaferry(args);
        let error = failed(2, &output);
        assert!(error.contains("password") && !error.contains("wrong-one"), "{error}");
    }
    failed(2, &metaferry(&["info", &redis.url()]));
    assert_eq!(folder.names(), ["volume"]);
}

#[test]
fn a_target_that_dies_is_told() {
    let mut redis = Redis::start();
    let run = Run::start(&["load", ENDLESS, &redis.url()]);
    until("the load writes", || fills(&redis));
    redis.kill();
    let error = failed(1, &run.end(SOON));
    assert!(error.contains("redis://127.0.0.1"), "{error}");
}

#[test]
fn a_postgres_that_dies_is_told() {
    let mut postgres = Postgres::start();
    let url = postgres.database("target");
    let run = Run::start(&["load", ENDLESS, &url]);
    until("the load writes", || postgres.sql("target", "SELECT pg_database_size('target') > 20000000") == "t\n");
    postgres.kill();
    let error = failed(1, &run.end(SOON));
    assert!(error.contains("postgres://postgres@127.0.0.1"), "{error}");
    postgres.revive();
    no_volume(&url);
    expect(0, &["load", VOLUME, &url, "--verify"]);
    let (folder, mut postgres) = (Folder::new(), Postgres::start());
    let url = postgres.database("source");
    expect(0, &["load", "synthetic://?files=300000&seed=5", &url]);
    let run = Run::start(&["dump", &url, &folder.path("volume")]);
    until("the dump writes", || writes(&folder));
    postgres.kill();
    failed(1, &run.end(SOON));
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_mariadb_that_dies_is_told() {
    let mut mariadb = MariaDb::start();
    let url = mariadb.database("target");
    let run = Run::start(&["load", ENDLESS, &url]);
    let rows = "SELECT sum(table_rows) > 10000 FROM information_schema.tables WHERE table_schema = 'target'";
    until("the load writes", || mariadb.sql(rows) == "1\n");
    mariadb.kill();
    let error = failed(1, &run.end(SOON));
    assert!(error.contains("mysql://root@(127.0.0.1"), "{error}");
    mariadb.revive();
    no_volume(&url);
    expect(0, &["load", VOLUME, &url, "--verify"]);
    let (folder, mut mariadb) = (Folder::new(), MariaDb::start());
    let url = mariadb.database("source");
    expect(0, &["load", "synthetic://?files=300000&seed=5", &url]);
    let run = Run::start(&["dump", &url, &folder.path("volume")]);
    until("the dump writes", || writes(&folder));
    mariadb.kill();
    failed(1, &run.end(SOON));
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_source_that_dies_leaves_no_target() {
    // In the one mode the server dies before the first byte has come, in the other while they come.
    for option in ["--quiet", "--redis-diskless", "--scan"] {
        let folder = Folder::new();
        let mut redis = Redis::with(&["--rdb-key-save-delay", "500"]);
        expect(0, &["load", "synthetic://?files=100000&seed=5", &redis.url()]);
        let target = folder.sqlite("volume.db");
        let run = Run::start(&["migrate", &redis.url(), &target, option]);
        match option {
            "--scan" => until("the load writes", || folder.names().len() > 1),
            _ => until("the server saves", || redis.cli(&["INFO", "persistence"]).contains("rdb_bgsave_in_progress:1")),
        }
        std::thread::sleep(Duration::from_millis(50));
        redis.kill();
        failed(1, &run.end(SOON));
        assert_eq!(folder.names(), [""; 0]);
        no_volume(&target);
    }
}

#[test]
fn a_target_that_dies_before_the_commit_holds_no_volume() {
    let mut redis = Redis::with(&["--rdb-key-save-delay", "1000"]);
    let mut run = Run::start(&["load", VOLUME, &redis.url(), "--verify", "--json"]);
    run.await_phase("prove");
    redis.kill();
    failed(1, &run.end(SOON));
}
