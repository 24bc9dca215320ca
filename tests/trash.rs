//! `--skip-trash`: the same volume from every kind of source, and one that agrees with itself wherever it is loaded.

use std::collections::{HashMap, HashSet};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::kit::redis::Redis;
use crate::kit::tree::{Volume, hex};
use crate::kit::{Folder, archive_rows, expect, metaferry};

const TRASH: u64 = 0x7FFF_FFFF_1000_0000;
/// Link counts and statistics that the tour has wrong itself.
const CARRIED: [&str; 2] = ["directory statistics", "link count"];

/// Runs a command that ends with 3 because of what the volume itself has wrong, and returns what it found.
#[track_caller]
fn carried(args: &[&str]) -> Value {
    let output = metaferry(&[args, &["--json"]].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{args:?}: {error}");
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found: Vec<_> =
        done["findings"]["census"].as_array().unwrap().iter().map(|sort| sort["sort"].clone()).collect();
    assert_eq!(found, CARRIED, "{args:?}");
    done
}

/// The tour as an archive and in SQLite.
fn tour(folder: &Folder) -> (String, String) {
    let sqlite = format!("sqlite3://{}", folder.unpack("tour/sqlite/store.db", "store.db"));
    let full = folder.path("full");
    carried(&["dump", "--keep-secrets", &sqlite, &full]);
    (sqlite, full)
}

#[test]
fn every_source_gives_the_same_volume_without_its_trash() {
    let folder = Folder::new();
    let (sqlite, full) = tour(&folder);
    let redis = Redis::start();
    carried(&["load", "--keep-counters", &full, &redis.url()]);
    let first = folder.path("sqlite");
    let done = carried(&["dump", "--skip-trash", "--keep-secrets", &sqlite, &first]);
    assert_eq!(done["findings"]["left_behind"]["names in the trash"], 18);
    assert_eq!(done["findings"]["left_behind"]["inodes in the trash"], 16);
    assert!(done["source"]["notes"].to_string().contains("juicefs gc"));
    for (name, source, option) in
        [("redis", redis.url(), "--quiet"), ("scan", redis.url(), "--scan"), ("file", full.clone(), "--threads=5")]
    {
        let target = folder.path(name);
        let done = carried(&["dump", "--skip-trash", "--keep-secrets", &source, &target, option]);
        assert_eq!(archive_rows(&first), archive_rows(&target), "{name}");
        assert_eq!(done["findings"]["left_behind"]["names in the trash"], 18);
    }
    let target = folder.path("pipe");
    let input = Stdio::from(std::fs::File::open(&full).unwrap());
    let args = ["dump", "--skip-trash", "--keep-secrets", "-", &target];
    let status = Command::new(env!("CARGO_BIN_EXE_metaferry")).args(args).stdin(input).output().unwrap().status;
    assert_eq!(status.code(), Some(3));
    assert_eq!(archive_rows(&first), archive_rows(&target));
}

#[test]
fn what_is_left_is_what_lies_outside_the_trash() {
    let folder = Folder::new();
    let (sqlite, full) = tour(&folder);
    let less = folder.path("less");
    carried(&["dump", "--skip-trash", "--keep-secrets", &sqlite, &less]);
    let (full, less) = (Volume::read(&full), Volume::read(&less));
    let trash = hex(b"/.trash/");
    let (inside, outside): (Vec<_>, Vec<_>) =
        full.tree().into_iter().partition(|((path, _), _)| path.starts_with(&trash));
    let mut names: HashMap<u64, u64> = HashMap::new();
    inside.iter().for_each(|((_, inode), _)| *names.entry(*inode).or_default() += 1);
    let found = less.tree();
    assert_eq!(found.len(), outside.len());
    for ((path, inode), mut line) in outside {
        if let Some(names) = names.remove(&inode) {
            line["nlink"] = json!(line["nlink"].as_u64().unwrap() - names);
            line["parents"].as_object_mut().unwrap().retain(|parent, _| parent.parse::<u64>().unwrap() < TRASH);
        }
        assert_eq!(found.get(&(path.clone(), inode)), Some(&line), "{path}");
    }
    let gone: HashSet<u64> = names.into_keys().collect();
    assert_eq!(gone.len(), 16);
    for kind in ["node", "edge", "chunk", "symlink", "xattr", "parent", "dirStat"] {
        for row in less.of(kind) {
            let is_gone = |name| row.get(name).and_then(Value::as_u64).is_some_and(|inode| gone.contains(&inode));
            assert!(!is_gone("inode") && (kind == "node" || !is_gone("parent")), "{kind} {row}");
        }
    }
    let slices = |volume: &Volume| volume.of("delSlices").to_vec();
    assert_eq!((slices(&less), less.of("delFile")), (slices(&full), full.of("delFile")));
}

#[test]
fn a_volume_without_its_trash_agrees_with_itself_wherever_it_is_loaded() {
    let folder = Folder::new();
    let (sqlite, full) = tour(&folder);
    let (less, again) = (folder.path("less"), folder.path("again"));
    let (redis, copy, third) = (Redis::start(), folder.sqlite("copy.db"), folder.sqlite("third.db"));
    carried(&["dump", "--skip-trash", "--keep-secrets", &sqlite, &less]);
    carried(&["load", "--verify", &less, &copy]);
    carried(&["load", "--verify", "--skip-trash", &full, &third]);
    carried(&["migrate", "--skip-trash", "--live", &sqlite, &redis.url()]);
    carried(&["dump", "--keep-secrets", &redis.url(), &again]);
    assert_eq!(archive_rows(&less), archive_rows(&again));
    for other in [&copy, &third, &redis.url()] {
        expect(0, &["verify", &less, other]);
    }
    let mended = folder.sqlite("mended.db");
    expect(0, &["load", "--skip-trash", "--mend", &full, &mended]);
    expect(0, &["dump", &mended, &folder.path("clean")]);
}

#[test]
fn a_volume_in_which_nothing_is_wrong_ends_with_0() {
    let folder = Folder::new();
    let volume = "synthetic://?files=3000&seed=11";
    let (one, two, copy) = (folder.path("one"), folder.path("two"), folder.sqlite("copy.db"));
    let said = expect(0, &["dump", "--skip-trash", volume, &one]);
    assert!(said.contains("not carried") && said.contains("of names in the trash"), "{said}");
    expect(0, &["migrate", "--skip-trash", volume, &copy]);
    expect(0, &["dump", &copy, &two]);
    assert_eq!(archive_rows(&one), archive_rows(&two));
    let nodes = Volume::read(&one).of("node").to_vec();
    let inodes = nodes.iter().filter_map(|row| row["inode"].as_u64());
    assert_eq!(inodes.filter(|inode| *inode >= TRASH).collect::<Vec<_>>(), [TRASH], "the root of the trash stays");
    assert_eq!(metaferry(&["load", "--skip-trash", "--keep-counters", &one, &copy]).status.code(), Some(2));
}
