//! Loads that are killed: the client does not take what they leave for a volume, and opens what the next load makes.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::kit::{json, juicefs, juicefs_fails};
use crate::kit::redis::Redis;
use crate::kit::{Folder, expect, metaferry};

const VOLUME: &str = "synthetic://?files=50000&seed=5";

/// Kills loads at some moments. `clear` takes away a volume; `remains` is called while what a killed load left is there.
fn killed(target: &str, clear: impl Fn(), remains: impl Fn()) {
    let begun = Instant::now();
    expect(0, &["load", VOLUME, target]);
    let whole = begun.elapsed();
    clear();
    for tenths in [1, 3, 5, 7, 9] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metaferry"));
        let mut run = command.args(["load", VOLUME, target, "--quiet"]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole * tenths / 10);
        run.kill().unwrap();
        run.wait().unwrap();
        if metaferry(&["info", target]).status.success() {
            // It was done before it was killed.
            juicefs(&["status", target]);
            clear();
        } else {
            remains();
        }
    }
    expect(0, &["load", VOLUME, target]);
    juicefs(&["status", target]);
    assert!(json(target)["FSTree"]["entries"].as_object().unwrap().len() > 1);
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_client_takes_no_killed_load_into_redis_for_a_volume() {
    let redis = Redis::start();
    let remains = || {
        assert!(juicefs_fails(&["status", &redis.url()]).contains("not formatted"));
        juicefs_fails(&["dump", &redis.url()]);
    };
    killed(&redis.url(), || drop(redis.cli(&["FLUSHDB"])), remains);
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_client_takes_no_killed_load_into_sqlite_for_a_volume() {
    let folder = Folder::new();
    let clear = || {
        for name in folder.names().iter().filter(|name| name.starts_with("volume.db")) {
            std::fs::remove_file(folder.path(name)).unwrap();
        }
    };
    let remains = || {
        let elsewhere = Folder::new();
        for name in folder.names() {
            std::fs::copy(folder.path(&name), elsewhere.path(&name)).unwrap();
            // One that was whole, and only not yet in its place, is one.
            let left = elsewhere.sqlite(&name);
            if !metaferry(&["verify", VOLUME, &left]).status.success() {
                juicefs_fails(&["status", &left]);
            }
        }
        assert!(juicefs_fails(&["status", &folder.sqlite("volume.db")]).contains("not formatted"));
        // Where there is no file, the client makes an empty one, with a log beside it.
        clear();
    };
    killed(&folder.sqlite("volume.db"), clear, remains);
}
