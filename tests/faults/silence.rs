//! Those that say nothing: the first interruption ends the wait for them, and nothing is left.

use std::net::TcpListener;
use std::time::Duration;

use super::kit::{ENDLESS, Run, failed, fills, until};
use crate::kit::redis::Redis;
use crate::kit::{Folder, expect};

/// How soon an interrupted run has ended that waits for somebody.
const AT_ONCE: Duration = Duration::from_secs(3);

fn interrupted(run: Run, patience: Duration) {
    std::thread::sleep(Duration::from_millis(300));
    run.interrupt();
    failed(130, &run.end(patience));
}

#[test]
fn a_silent_standard_input_is_not_waited_for() {
    let (folder, redis) = (Folder::new(), Redis::start());
    let archive = folder.path("volume");
    expect(0, &["dump", "synthetic://?files=3000&seed=5", &archive]);
    let whole = std::fs::read(&archive).unwrap();
    for target in [folder.sqlite("volume.db"), redis.url()] {
        for said in [&[][..], &whole[..10], &whole[..whole.len() / 2], &whole[..whole.len() - 1]] {
            let mut run = Run::awaiting(&["load", "-", &target]);
            run.say(said);
            interrupted(run, AT_ONCE);
            assert_eq!(folder.names(), ["volume"]);
            assert_eq!(redis.cli(&["DBSIZE"]).trim(), "0");
        }
    }
    interrupted(Run::awaiting(&["info", "-"]), AT_ONCE);
}

#[test]
fn a_pipe_that_nobody_writes_to_is_not_waited_for() {
    let folder = Folder::new();
    let pipe = folder.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    interrupted(Run::start(&["load", &pipe, &folder.sqlite("volume.db")]), AT_ONCE);
    // One whose writer comes late is read to its end.
    let archive = folder.path("volume");
    expect(0, &["dump", "synthetic://?files=3000&seed=5", &archive]);
    let run = Run::start(&["load", &pipe, &folder.sqlite("volume.db")]);
    std::thread::sleep(Duration::from_millis(300));
    std::fs::write(&pipe, std::fs::read(&archive).unwrap()).unwrap();
    assert!(run.end(Duration::from_secs(20)).status.success());
    expect(0, &["verify", &archive, &folder.sqlite("volume.db")]);
}

#[test]
fn a_silent_server_is_not_waited_for() {
    let folder = Folder::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for scheme in ["redis", "rediss"] {
        let url = format!("{scheme}://:pw@127.0.0.1:{port}/1");
        interrupted(Run::start(&["dump", &url, &folder.path("volume")]), AT_ONCE);
        interrupted(Run::start(&["load", ENDLESS, &url]), AT_ONCE);
        interrupted(Run::start(&["info", &url, "--scan"]), AT_ONCE);
    }
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_server_that_falls_silent_is_left_as_it_is() {
    let redis = Redis::start();
    let run = Run::start(&["load", ENDLESS, &redis.url()]);
    until("the load writes", || fills(&redis));
    redis.freeze(true);
    // What was sent may arrive yet: that is waited for, a little.
    interrupted(run, Duration::from_secs(12));
    redis.freeze(false);
    expect(0, &["load", "synthetic://?files=3000&seed=5", &redis.url(), "--verify"]);
}
