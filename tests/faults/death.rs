//! Dumps that are interrupted or killed, waits that an interruption ends, and a lock of another machine.

use std::time::Duration;

use super::kit::{ENDLESS, Run, failed, fills, no_volume, until, writes};
use crate::kit::redis::Redis;
use crate::kit::{Folder, expect, expect_error};

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
