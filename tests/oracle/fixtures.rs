//! The fixtures: the client opens what metaferry made of them, says of it what it says of the original, and works in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::kit::{Mount, differences, json, juicefs, mdtest, migrate};
use crate::kit::redis::Redis;
use crate::kit::{Folder, expect, read_data};

const VOLUMES: [&str; 5] = ["empty", "encrypted", "plain", "tour", "wideid"];
/// All but `encrypted`: nobody has the passphrase of its key.
const OPEN: [&str; 4] = ["empty", "plain", "tour", "wideid"];

/// A fixture on both engines: its file, and database 0 of a server.
fn both(folder: &Folder, volume: &str) -> (String, Redis) {
    let store = folder.unpack(&format!("{volume}/sqlite/store.db"), "store.db");
    (format!("sqlite3://{store}"), Redis::from_rdb(Some(&read_data(&format!("{volume}/redis/store.rdb"))), &[]))
}

/// The ways to copy a volume.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Migrated,
    Mended,
    Archived,
}

fn copy(folder: &Folder, way: Way, source: &str, target: &str) {
    match way {
        Way::Migrated => migrate(source, target, &[]),
        Way::Mended => migrate(source, target, &["--mend"]),
        Way::Archived => {
            let archive = folder.path("archive");
            for args in [&["dump", "--keep-secrets", source, &archive][..], &["load", &archive, target]] {
                assert!(matches!(crate::kit::metaferry(args).status.code(), Some(0 | 3)), "{args:?}");
            }
            std::fs::remove_file(&archive).unwrap();
        }
    }
}

/// What may differ between the client's dump of an original and of its copy.
fn permitted(volume: &str, engine: &str, way: Way) -> Vec<String> {
    match (volume, engine) {
        // A fresh volume on Redis has no counters. The client takes that for a next inode of 1, which it never gives away.
        ("empty", "redis") => vec!["/Counters/nextInodes: 1, 2".to_owned()],
        ("tour", _) => {
            // The change log stays behind, and with it the number of its last line.
            let mut permitted = vec!["/Counters/lastChangelog: 51, null".to_owned()];
            if way == Way::Mended {
                // The client gives a clone of a symlink the link count of the original, though it has one name.
                let clone = "/FSTree/entries/clones/entries/links-clone/entries";
                permitted.push(format!("{clone}/other/entries/sym-link2/attr/nlink: 2, 1"));
                permitted.push(format!("{clone}/sym-link/attr/nlink: 2, 1"));
            }
            permitted
        }
        _ => Vec::new(),
    }
}

/// Setting and usage; who has it mounted stays behind.
fn status(url: &str) -> [Value; 2] {
    let mut status: Value = serde_json::from_str(&juicefs(&["status", url])).unwrap();
    [status["Setting"].take(), status["Stat"].take()]
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_client_says_the_same_of_a_copy_and_of_the_original() {
    for volume in VOLUMES {
        let folder = Folder::new();
        let (sqlite, redis) = both(&folder, volume);
        for (engine, source) in [("sqlite", &sqlite), ("redis", &redis.url())] {
            let (dumped, told) = (json(source), status(source));
            for way in [Way::Migrated, Way::Mended, Way::Archived] {
                redis.cli(&["-n", "1", "FLUSHDB"]);
                for target in [folder.sqlite(&format!("{way:?}-{engine}.db")), redis.database(1)] {
                    copy(&folder, way, source, &target);
                    assert_eq!(
                        differences(&dumped, &json(&target)),
                        permitted(volume, engine, way),
                        "{volume} on {engine}, {way:?} to {target}"
                    );
                    assert_eq!(status(&target), told, "{volume} on {engine}, {way:?} to {target}");
                }
            }
        }
    }
}

/// How many rows of each sort are in the client's binary dump, which holds what its JSON leaves out.
fn counted(folder: &Folder, url: &str) -> BTreeMap<String, String> {
    let file = folder.path("dump.bin");
    juicefs(&["dump", "--binary", "--threads", "1", url, &file]);
    let table = juicefs(&["load", "--binary", "--stat", &file]);
    let row = |line: &str| line.split_once('|').map(|(name, count)| (name.trim().to_owned(), count.to_owned()));
    table.lines().filter_map(row).collect()
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_clients_binary_dump_has_as_many_rows_of_a_copy_as_of_the_original() {
    // An attribute whose name is not UTF-8 is more than a binary dump can hold.
    for volume in VOLUMES.into_iter().filter(|volume| *volume != "wideid") {
        let folder = Folder::new();
        let (sqlite, redis) = both(&folder, volume);
        for (source, target) in [(&sqlite, folder.sqlite("copy.db")), (&redis.url(), redis.database(1))] {
            migrate(source, &target, &[]);
            let (original, copy) = (counted(&folder, source), counted(&folder, &target));
            assert!(original.len() > 5, "{original:?}");
            let sorts = original.keys().chain(copy.keys()).collect::<BTreeSet<_>>();
            let differing: Vec<_> = sorts.into_iter().filter(|sort| original.get(*sort) != copy.get(*sort)).collect();
            let permitted: &[&str] = match (volume, target.starts_with("redis:")) {
                // The number of the last line of the change log; and parents that have no name any more.
                ("tour", false) => &["counter"],
                ("tour", true) => &["counter", "parent"],
                _ => &[],
            };
            assert_eq!(differing, permitted, "{source}: {original:?}, {copy:?}");
        }
    }
}

/// The client cannot dump a file of this shape before `config` has brought its tables up to date.
#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn a_volume_of_version_1_0_becomes_what_the_client_makes_of_it() {
    let (folder, redis) = (Folder::new(), Redis::start());
    let source = format!("sqlite3://{}", folder.unpack("legacy/v1.0/sqlite/store.db", "store.db"));
    let original = format!("sqlite3://{}", folder.unpack("legacy/v1.0/sqlite/store.db", "upgraded.db"));
    juicefs(&["config", &original, "--trash-days", "0", "--yes"]);
    let upgraded = json(&original);
    for target in [folder.sqlite("copy.db"), redis.url()] {
        migrate(&source, &target, &[]);
        assert_eq!(differences(&upgraded, &json(&target)), [""; 0], "{target}");
        assert_eq!(status(&target), status(&original));
    }
}

/// Creates, writes, links and renames through a mount, reads it back through a second one, removes it.
pub(super) fn work_in(folder: &Folder, url: &str) {
    const TEXT: &str = "written through the client";
    mdtest(folder, url, "/mdtest");
    let mount = Mount::new(folder, url);
    std::fs::create_dir(mount.path("work")).unwrap();
    std::fs::write(mount.path("work/file"), TEXT).unwrap();
    std::fs::hard_link(mount.path("work/file"), mount.path("work/link")).unwrap();
    std::fs::rename(mount.path("work/file"), mount.path("work/renamed")).unwrap();
    std::os::unix::fs::symlink("renamed", mount.path("work/symlink")).unwrap();
    mount.end();
    let mount = Mount::new(folder, url);
    for name in ["link", "renamed", "symlink"] {
        assert_eq!(std::fs::read_to_string(mount.path(&format!("work/{name}"))).unwrap(), TEXT);
    }
    std::fs::remove_dir_all(mount.path("work")).unwrap();
    juicefs(&["rmr", &mount.name("mdtest")]);
    assert!(!mount.path("mdtest").exists());
    mount.end();
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_client_works_in_a_copy_and_leaves_the_rest_as_it_was() {
    for volume in OPEN {
        let folder = Folder::new();
        let (sqlite, redis) = both(&folder, volume);
        for (source, target) in [(&sqlite, redis.database(1)), (&redis.url(), folder.sqlite("copy.db"))] {
            migrate(source, &target, &["--mend"]);
            let before = json(&target);
            work_in(&folder, &target);
            let touched = ["/Counters/", "/FSTree/attr/", "/Trash", "/Sustained", "/DelFiles"];
            let mut found = differences(&before, &json(&target));
            found.retain(|line| !touched.iter().any(|part| line.starts_with(part)));
            assert_eq!(found, [""; 0], "{volume} on {target}");
            let again = folder.sqlite(&format!("again-{}.db", target.len()));
            expect(0, &["migrate", &target, &again]);
            expect(0, &["verify", &target, &again]);
        }
    }
}
