//! A client that has a volume mounted and writes all the time while it is dumped: every dump is a tree without a hole, and
//! wrong of itself only in what the client itself writes later.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::kit::{Mount, complaints, json, juicefs};
use crate::kit::mariadb::MariaDb;
use crate::kit::redis::Redis;
use crate::kit::tree::Volume;
use crate::kit::{Folder, expect, metaferry};

const DUMPS: usize = 10;
/// What the writer does between two dumps, at the least.
const STEPS: u64 = 12;
const ROOT: u64 = 1;
const TRASH: u64 = 0x7FFF_FFFF_1000_0000;

/// One step of the writer: a new file; those before it are renamed, linked, appended to and removed.
fn step(root: &Path, number: u64) -> std::io::Result<()> {
    let place = |file: u64, moved: u64| root.join(format!("d{}/f{file}", (file * 7 + moved) % 8));
    std::fs::write(place(number, 0), vec![b'x'; (number * 37 % 9000) as usize])?;
    if let Some(file) = number.checked_sub(5) {
        std::fs::rename(place(file, 0), place(file, 3))?;
    }
    if let Some(file) = number.checked_sub(10).filter(|file| file.is_multiple_of(3)) {
        std::fs::hard_link(place(file, 3), place(file, 1).with_extension("link"))?;
    }
    if let Some(file) = number.checked_sub(20).filter(|file| !file.is_multiple_of(4)) {
        std::fs::remove_file(place(file, 3))?;
    }
    if number.is_multiple_of(10) {
        let directory = place(number, 2).with_extension("dir");
        std::fs::create_dir(&directory)?;
        std::os::unix::fs::symlink("elsewhere", directory.join("symlink"))?;
    }
    Ok(())
}

/// Writes until it is over, and counts the steps.
fn write(root: &Path, over: &AtomicBool, steps: &AtomicU64) {
    (0..8).for_each(|directory| std::fs::create_dir(root.join(format!("d{directory}"))).unwrap());
    while !over.load(Ordering::Relaxed) {
        step(root, steps.load(Ordering::Relaxed)).unwrap();
        steps.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until the writer has done so many steps.
fn wait(steps: &AtomicU64, enough: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while steps.load(Ordering::Relaxed) < enough {
        assert!(Instant::now() < deadline, "the writer hardly writes");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Every edge leads to a node, and one leads to every node that is not held open.
fn is_closed(archive: &str) {
    let volume = Volume::read(archive);
    let inodes = |kind: &str| volume.of(kind).iter().map(|row| row["inode"].as_u64().unwrap()).collect::<HashSet<_>>();
    let (nodes, named, held) = (inodes("node"), inodes("edge"), inodes("sustained"));
    assert_eq!(named.difference(&nodes).next(), None, "edges without nodes");
    let lost = nodes.difference(&named).find(|inode| ![ROOT, TRASH].contains(inode) && !held.contains(inode));
    assert_eq!(lost, None, "nodes without edges");
}

/// Dumps, and looks whether anything but what `lags` is found wrong. Returns how many nodes there were.
fn dump(url: &str, archive: &str, lags: &[&str]) -> u64 {
    let output = metaferry(&["dump", url, archive, "--json", "--quiet"]);
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = done["findings"]["census"].as_array().unwrap();
    assert_eq!(output.status.code(), Some(if found.is_empty() { 0 } else { 3 }), "{done}");
    assert_eq!(done["source"]["guarantee"], "exact");
    for finding in found {
        let told = finding["told"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        for line in told {
            assert!(lags.iter().any(|lag| line.starts_with(lag)), "{line}");
        }
    }
    done["rows"]["node"].as_u64().unwrap()
}

/// Dumps ten times while the client writes, and once when it has ended.
fn dumped_while_mounted(url: &str, other: &str, lags: &[&str], options: &[&str]) {
    let folder = Folder::new();
    juicefs(&[&["format", url, "live", "--bucket", &folder.path("bucket/")][..], options].concat());
    let mount = Mount::new(&folder, url);
    let (over, steps) = (AtomicBool::new(false), AtomicU64::new(0));
    let archive = |round: usize| folder.path(&format!("dump-{round}"));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&mount.path(""), &over, &steps));
        let one = |round| {
            wait(&steps, STEPS * (round as u64 + 1));
            dump(url, &archive(round), lags)
        };
        let dumps = std::panic::catch_unwind(|| (0..DUMPS).map(one).collect::<HashSet<_>>());
        over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        let sizes = dumps.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(sizes.len() > DUMPS / 2, "the volume hardly changed between the dumps: {sizes:?}");
    });
    mount.end();
    (0..DUMPS).for_each(|round| is_closed(&archive(round)));
    expect(0, &["dump", url, &folder.path("at-rest")]);
    expect(0, &["verify", url, &folder.path("at-rest")]);
    expect(0, &["load", "--mend", &archive(DUMPS - 1), other]);
    assert!(json(other)["FSTree"]["entries"]["d0"].is_object());
    assert_eq!(complaints(other), [""; 0]);
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn redis_is_dumped_whole_while_the_client_writes() {
    let (folder, redis) = (Folder::new(), Redis::start());
    // The client adds up what changed in a directory, and writes it once a second.
    dumped_while_mounted(&redis.url(), &folder.sqlite("copy.db"), &["directory "], &["--trash-days", "0"]);
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn sqlite_is_dumped_whole_while_the_client_writes() {
    let (folder, redis) = (Folder::new(), Redis::start());
    // In SQL, it does so with the two counters of the whole volume too.
    let lags = ["directory ", "counter usedSpace: ", "counter totalInodes: "];
    dumped_while_mounted(&folder.sqlite("live.db"), &redis.url(), &lags, &[]);
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn mariadb_is_dumped_whole_while_the_client_writes() {
    let (folder, mariadb) = (Folder::new(), MariaDb::start());
    let lags = ["directory ", "counter usedSpace: ", "counter totalInodes: "];
    dumped_while_mounted(&mariadb.database("live"), &folder.sqlite("copy.db"), &lags, &[]);
}
