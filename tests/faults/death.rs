//! Runs that are interrupted, and runs that are killed: what they leave is never a volume, and the next one works.

use std::time::{Duration, Instant};

use super::kit::{ENDLESS, Run, failed, fills, no_volume, until, writes};
use crate::kit::mariadb::MariaDb;
use crate::kit::postgres::Postgres;
use crate::kit::redis::Redis;
use crate::kit::{Folder, expect, expect_error, metaferry};

const VOLUME: &str = "synthetic://?files=20000&seed=5";
/// How soon an interrupted run has ended.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn an_interrupted_dump_leaves_nothing() {
    let folder = Folder::new();
    let run = Run::start(&["dump", ENDLESS, &folder.path("volume")]);
    until("the dump writes", || writes(&folder));
    run.interrupt();
    failed(130, &run.end(SOON));
    assert_eq!(folder.names(), [""; 0]);
    expect(0, &["dump", VOLUME, &folder.path("volume")]);
}

#[test]
fn an_interrupted_load_into_sqlite_leaves_nothing() {
    let folder = Folder::new();
    let run = Run::start(&["load", ENDLESS, &folder.sqlite("volume.db")]);
    until("the load writes", || writes(&folder));
    run.interrupt();
    failed(130, &run.end(SOON));
    assert_eq!(folder.names(), [""; 0]);
    expect(0, &["load", VOLUME, &folder.sqlite("volume.db")]);
}

#[test]
fn an_interrupted_load_into_redis_leaves_nothing() {
    let redis = Redis::start();
    let run = Run::start(&["load", ENDLESS, &redis.url()]);
    until("the load writes", || fills(&redis));
    run.interrupt();
    failed(130, &run.end(SOON));
    assert_eq!(redis.cli(&["DBSIZE"]).trim(), "0");
    expect(0, &["load", VOLUME, &redis.url(), "--verify"]);
}

#[test]
fn an_interruption_ends_the_wait_for_a_servers_snapshot() {
    let folder = Folder::new();
    // A millisecond for each key, in the one mode before the first byte comes, in the other while they come.
    for option in ["--quiet", "--redis-diskless"] {
        let redis = Redis::with(&["--rdb-key-save-delay", "1000"]);
        expect(0, &["load", VOLUME, &redis.url()]);
        let run = Run::start(&["dump", &redis.url(), &folder.path("volume"), option]);
        until("the server saves", || redis.cli(&["INFO", "persistence"]).contains("rdb_bgsave_in_progress:1"));
        std::thread::sleep(Duration::from_millis(200));
        run.interrupt();
        failed(130, &run.end(SOON));
        assert_eq!(folder.names(), [""; 0]);
    }
}

/// Interrupts loads at ten moments of their whole length: each is done, or has left nothing.
fn interrupted_anywhere(target: &str, clean: impl Fn()) {
    let begun = Instant::now();
    expect(0, &["load", VOLUME, target, "--verify"]);
    let whole = begun.elapsed();
    clean();
    for tenth in 0..10 {
        let run = Run::start(&["load", VOLUME, target, "--verify"]);
        std::thread::sleep(Duration::from_millis(20) + whole * tenth / 10);
        run.interrupt();
        let output = run.end(SOON);
        if output.status.code() == Some(0) {
            expect(0, &["info", target]);
        } else {
            failed(130, &output);
            no_volume(target);
        }
        clean();
    }
}

#[test]
fn an_interruption_at_any_moment_is_all_or_nothing() {
    let (folder, redis) = (Folder::new(), Redis::start());
    interrupted_anywhere(&folder.sqlite("volume.db"), || {
        std::fs::remove_file(folder.path("volume.db")).ok();
        assert_eq!(folder.names(), [""; 0]);
    });
    interrupted_anywhere(&redis.url(), || {
        if redis.cli(&["EXISTS", "setting"]).trim() == "1" {
            redis.cli(&["FLUSHDB"]);
        }
        assert_eq!(redis.cli(&["DBSIZE"]).trim(), "0");
    });
    let postgres = Postgres::start();
    interrupted_anywhere(&postgres.database("target"), || {
        if postgres.tables("target") > 0 {
            assert_eq!(postgres.sql("target", "SELECT count(*) FROM jfs_setting"), "1\n");
            postgres.clear("target");
        }
    });
}

/// The tables of a database, one a line.
fn tables(mariadb: &MariaDb, database: &str) -> String {
    mariadb.sql(&format!("SELECT table_name FROM information_schema.tables WHERE table_schema = '{database}'"))
}

fn recreate(mariadb: &MariaDb, database: &str) {
    mariadb.sql(&format!("DROP DATABASE {database}; CREATE DATABASE {database} CHARACTER SET utf8mb4"));
}

#[test]
fn an_interruption_of_a_load_into_mariadb_is_all_or_nothing() {
    let mariadb = MariaDb::start();
    let url = mariadb.database("volume");
    interrupted_anywhere(&url, || {
        if tables(&mariadb, "volume").contains("jfs_setting") {
            assert!(!tables(&mariadb, "volume").contains("metaferry"));
            recreate(&mariadb, "volume");
        }
        assert_eq!(tables(&mariadb, "volume"), "");
    });
}

#[test]
fn a_second_load_into_mariadb_is_refused() {
    let mariadb = MariaDb::start();
    let url = mariadb.database("volume");
    let run = Run::start(&["load", ENDLESS, &url]);
    until("the load writes", || tables(&mariadb, "volume").contains("metaferry"));
    let error = expect_error(4, &["load", VOLUME, &url]);
    assert!(error.contains("another load into it is under way"), "{error}");
    run.kill();
    expect(0, &["load", VOLUME, &url, "--verify"]);
}

#[test]
fn a_killed_load_into_mariadb_is_no_volume_and_the_next_one_works() {
    let mariadb = MariaDb::start();
    let url = mariadb.database("volume");
    killed_anywhere(&url, || recreate(&mariadb, "volume"));
    assert!(!tables(&mariadb, "volume").contains("metaferry"));
}

/// Kills loads at ten moments; each but the first meets what the one before has left.
fn killed_anywhere(target: &str, clear: impl Fn()) {
    let begun = Instant::now();
    expect(0, &["load", VOLUME, target]);
    let whole = begun.elapsed();
    clear();
    for round in 0..10 {
        let run = Run::start(&["load", VOLUME, target]);
        std::thread::sleep(whole * ((round * 7 + 3) % 10) / 10);
        run.kill();
        let info = metaferry(&["info", target]);
        if info.status.code() == Some(0) {
            // It was done before it was killed.
            expect(0, &["verify", VOLUME, target]);
            clear();
        } else {
            failed(1, &info);
        }
    }
    expect(0, &["load", VOLUME, target, "--verify"]);
    expect(0, &["verify", VOLUME, target]);
}

#[test]
fn a_killed_dump_is_no_volume_and_the_next_one_clears_it() {
    let folder = Folder::new();
    for _ in 0..2 {
        let run = Run::start(&["dump", ENDLESS, &folder.path("volume")]);
        until("the dump writes", || writes(&folder));
        run.kill();
        let names = folder.names();
        assert_eq!(names.len(), 2, "the file and its lock: {names:?}");
        names.iter().for_each(|name| no_volume(&folder.path(name)));
    }
    expect(0, &["dump", VOLUME, &folder.path("volume")]);
    assert_eq!(folder.names(), ["volume"]);
}

#[test]
fn a_killed_load_into_sqlite_is_no_volume_and_the_next_one_works() {
    let folder = Folder::new();
    killed_anywhere(&folder.sqlite("volume.db"), || std::fs::remove_file(folder.path("volume.db")).unwrap());
    assert_eq!(folder.names(), ["volume.db"]);
}

#[test]
fn a_killed_load_into_redis_is_no_volume_and_the_next_one_works() {
    let redis = Redis::start();
    killed_anywhere(&redis.url(), || drop(redis.cli(&["FLUSHDB"])));
    assert_eq!(redis.cli(&["EXISTS", "metaferry", "metaferryLock"]).trim(), "0");
}

#[test]
fn a_killed_load_into_postgres_is_no_volume_and_the_next_one_works() {
    let postgres = Postgres::start();
    killed_anywhere(&postgres.database("target"), || postgres.clear("target"));
    assert_eq!(postgres.sql("target", "SELECT count(*) FROM pg_tables WHERE tablename LIKE '%metaferry%'"), "0\n");
}

#[test]
fn a_lock_of_another_machine_is_respected() {
    let redis = Redis::start();
    let run = Run::start(&["load", ENDLESS, &redis.url()]);
    until("the load writes", || fills(&redis));
    let lock = redis.cli(&["--raw", "KEYS", "*etaferry*"]);
    let lock = lock.lines().find(|name| redis.cli(&["PTTL", name]).trim() != "-1").unwrap().to_owned();
    expect_error(4, &["load", VOLUME, &redis.url()]);
    let owner = redis.cli(&["--raw", "GET", &lock]);
    run.kill();
    let elsewhere = owner.trim().replacen("host ", "host some-other-", 1).replacen('@', "@0", 1);
    redis.cli(&["SET", &lock, &elsewhere, "KEEPTTL"]);
    let error = expect_error(4, &["load", VOLUME, &redis.url()]);
    assert!(error.contains("some-other-") && error.contains("its lock ends in"), "{error}");
    redis.cli(&["SET", &lock, owner.trim(), "KEEPTTL"]);
    expect(0, &["load", VOLUME, &redis.url(), "--verify"]);
}
