//! A made-up volume that has everything: the client checks it, stores files in it, and carries it on by its own dump.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use super::kit::{complaints, contents, differences, json, juicefs, juicefs_logs, juicefs_with};
use crate::kit::redis::Redis;
use crate::kit::{Folder, archive_rows, expect, metaferry};

const VOLUME: &str = "synthetic://?files=2000&seed=7";
const TRASH: u64 = 0x7FFF_FFFF_1000_0000;

/// Loads the volume, and lets its blocks be in a folder of the tests.
fn load(folder: &Folder, target: &str) {
    expect(0, &["load", VOLUME, target, "--verify"]);
    juicefs(&["config", target, "--bucket", &folder.path("bucket/"), "--yes"]);
}

fn targets(folder: &Folder, redis: &Redis) -> [String; 2] {
    [folder.sqlite("volume.db"), redis.url()]
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_client_finds_nothing_wrong_with_a_loaded_volume() {
    let (folder, redis) = (Folder::new(), Redis::start());
    for target in targets(&folder, &redis) {
        load(&folder, &target);
        assert_eq!(complaints(&target), [""; 0], "{target}");
        // There are no blocks: none is taken for a leaked one, and all slices are used.
        let told = juicefs_logs(&["gc", &target]);
        assert!(told.contains("scanned 0 objects") && told.contains(" 0 leaked"), "{told}");
        expect(0, &["dump", &target, &folder.path(&format!("archive-{}", target.len()))]);
    }
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn files_synced_into_a_loaded_volume_come_back() {
    let (folder, redis) = (Folder::new(), Redis::start());
    let here = std::path::PathBuf::from(folder.path("here"));
    std::fs::create_dir_all(here.join("sub/deeper")).unwrap();
    std::fs::write(here.join("large"), (0..5_000_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>()).unwrap();
    std::fs::write(here.join("sub/empty"), "").unwrap();
    std::fs::write(here.join("sub/deeper/größe 数"), "small").unwrap();
    std::fs::create_dir(folder.path("nothing")).unwrap();
    for (number, target) in targets(&folder, &redis).iter().enumerate() {
        load(&folder, target);
        let back = folder.path(&format!("back-{number}"));
        let mirror = |from: &str, to: &str| {
            juicefs_with(&["sync", from, to, "--dirs", "--delete-dst"], &[("loaded", target)]);
        };
        mirror(&folder.path("here/"), "jfs://loaded/synced/");
        mirror("jfs://loaded/synced/", &format!("{back}/"));
        assert!(contents(&here) == contents(back.as_ref()), "{target}");
        expect(0, &["dump", target, &folder.path(&format!("with-{number}"))]);
        mirror(&folder.path("nothing/"), "jfs://loaded/synced/");
        let left = json(target)["FSTree"]["entries"]["synced"]["entries"].take();
        assert!(left.as_object().is_none_or(serde_json::Map::is_empty), "{left}");
        expect(0, &["dump", target, &folder.path(&format!("without-{number}"))]);
        assert_eq!(complaints(target), [""; 0], "{target}");
    }
}

/// The rows of a volume, parsed, by kind.
fn rows(folder: &Folder, url: &str, name: &str) -> BTreeMap<String, BTreeSet<String>> {
    let archive = folder.path(name);
    assert!(matches!(metaferry(&["dump", url, &archive, "--keep-secrets"]).status.code(), Some(0 | 3)));
    let mut rows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in archive_rows(&archive) {
        let (kind, row) = line.split_once(' ').unwrap();
        rows.entry(kind.to_owned()).or_default().insert(row.to_owned());
    }
    rows
}

/// What the first has and the second has not, by kind.
fn missing(
    one: &BTreeMap<String, BTreeSet<String>>,
    other: &BTreeMap<String, BTreeSet<String>>,
) -> BTreeMap<String, Vec<Value>> {
    let none = BTreeSet::new();
    let parsed = |row: &String| serde_json::from_str(row).unwrap();
    let of = |kind: &String| one[kind].difference(other.get(kind).unwrap_or(&none)).map(parsed).collect::<Vec<_>>();
    one.keys().map(|kind| (kind.clone(), of(kind))).filter(|(_, rows)| !rows.is_empty()).collect()
}

fn kinds(rows: &BTreeMap<String, Vec<Value>>) -> Vec<&str> {
    rows.keys().map(String::as_str).collect()
}

/// What the client's JSON leaves out, and what it makes of a load, by what `metaferry verify` sees of it.
fn carried_on(folder: &Folder, ours: &str, theirs: &str) {
    let dumped = json(ours);
    std::fs::write(folder.path("dump.json"), dumped.to_string()).unwrap();
    juicefs(&["load", theirs, &folder.path("dump.json")]);
    let found = differences(&dumped, &json(theirs));
    // It counts on from the highest of what is in the tree, whatever the counters in the dump.
    assert!(found.iter().all(|line| line.starts_with("/Counters/next")), "{found:?}");
    expect(3, &["verify", ours, theirs]);
    let (one, other) = (rows(folder, ours, "ours"), rows(folder, theirs, "theirs"));
    let (lost, gained) = (missing(&one, &other), missing(&other, &one));
    assert_eq!(kinds(&lost), ["acl", "chunk", "counter", "delSlices", "node"]);
    let is_sql = theirs.starts_with("sqlite3:");
    let all = ["acl", "counter", "dirStat", "node", "sliceRef"];
    assert_eq!(kinds(&gained), all[..if is_sql { 5 } else { 4 }]);
    // Rules that nothing uses are left out, the others numbered anew, and the nodes with them.
    let without = |rows: &[Value]| -> BTreeSet<String> {
        let clear = |row: &Value| {
            let mut row = row.clone();
            ["accessACL", "defaultACL"].iter().for_each(|name| drop(row.as_object_mut().unwrap().remove(*name)));
            row.to_string()
        };
        rows.iter().map(clear).collect()
    };
    assert_eq!(without(&lost["node"]), without(&gained["node"]));
    assert!(gained["acl"].len() <= lost["acl"].len());
    // Chunks of files that wait for their deletion are left out, and so are slices that do.
    let waiting: HashSet<u64> = ["delFile", "sustained"]
        .iter()
        .flat_map(|kind| one.get(*kind).into_iter().flatten())
        .map(|row| serde_json::from_str::<Value>(row).unwrap()["inode"].as_u64().unwrap())
        .collect();
    assert!(lost["chunk"].iter().all(|row| waiting.contains(&row["inode"].as_u64().unwrap())));
    assert_eq!(lost["delSlices"].len(), one["delSlices"].len());
    // The root of the trash gets a statistic, which no client keeps.
    assert!(gained["dirStat"].iter().all(|row| row["inode"] == TRASH));
    // A load into SQL writes the references of holes over those of the slices before them.
    let refs: HashSet<_> = gained.get("sliceRef").into_iter().flatten().map(|row| row["refs"].as_u64()).collect();
    assert_eq!(refs.len(), usize::from(is_sql));
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_clients_own_dump_carries_a_loaded_volume_on_but_for_what_it_leaves_out() {
    let (folder, redis) = (Folder::new(), Redis::start());
    for ours in targets(&folder, &redis) {
        load(&folder, &ours);
        for theirs in [folder.sqlite(&format!("theirs-{}.db", ours.len())), redis.database(1)] {
            carried_on(&folder, &ours, &theirs);
            std::fs::remove_file(folder.path("ours")).unwrap();
            std::fs::remove_file(folder.path("theirs")).unwrap();
        }
        redis.cli(&["-n", "1", "FLUSHDB"]);
    }
}
