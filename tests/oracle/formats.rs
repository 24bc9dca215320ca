//! What metaferry dumps in the client's own formats, loaded by the client: its own dump of that is its dump of what it itself
//! dumped and loaded.

use serde_json::Value;

use super::kit::{differences, json, juicefs};
use crate::kit::redis::Redis;
use crate::kit::{Folder, metaferry, read_data};

const VOLUMES: [&str; 5] = ["empty", "encrypted", "plain", "tour", "wideid"];

/// Dumps with metaferry; what is wrong with a volume, and what the format has no room for, is told and no matter here.
#[track_caller]
fn dump(source: &str, file: &str) {
    let output = metaferry(&["dump", "--keep-secrets", "--quiet", source, file]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The client's dump of what it loads from a file.
fn loaded(file: &str, target: &str) -> Value {
    let binary: &[&str] = if file.ends_with(".bin") { &["--binary"] } else { &[] };
    juicefs(&[&["load"][..], binary, &[target, file]].concat());
    json(target)
}

/// Where the client loses something of its own dump that it gets from ours.
pub(super) fn permitted(volume: &str, engine: &str, file: &str) -> Vec<&'static str> {
    match (volume, engine, file) {
        // It takes U+FFFD for a byte that is no UTF-8, and writes one byte of three.
        ("tour", _, "dump.json") => vec!["x%EFy", "x%EF%BF%BDy", "/Counters/lastChangelog"],
        ("tour", ..) => vec!["/Counters/lastChangelog", "/Counters/nextInodes", "symlink: "],
        // A name of an attribute that is not UTF-8 is altered by it, and left behind by us.
        ("wideid", ..) => vec!["xattrs: "],
        ("empty", "redis", _) => vec!["/Counters/nextInodes"],
        _ => Vec::new(),
    }
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_client_loads_what_it_would_have_dumped() {
    for volume in VOLUMES {
        let folder = Folder::new();
        let store = folder.unpack(&format!("{volume}/sqlite/store.db"), "store.db");
        let redis = Redis::from_rdb(Some(&read_data(&format!("{volume}/redis/store.rdb"))), &[]);
        for (engine, source) in [("sqlite", format!("sqlite3://{store}")), ("redis", redis.url())] {
            // No binary dump can hold an attribute whose name is not UTF-8: the client makes none.
            for file in ["dump.json", "dump.bin"].iter().filter(|file| volume != "wideid" || **file == "dump.json") {
                let (ours, theirs) =
                    (folder.path(&format!("{engine}-ours-{file}")), folder.path(&format!("{engine}-theirs-{file}")));
                dump(&source, &ours);
                let binary: &[&str] = if file.ends_with(".bin") { &["--binary"] } else { &[] };
                juicefs(&[&["dump", "--keep-secret-key"][..], binary, &[&source, &theirs]].concat());
                redis.cli(&["-n", "1", "FLUSHDB"]);
                redis.cli(&["-n", "2", "FLUSHDB"]);
                for (one, other) in [
                    (
                        folder.sqlite(&format!("{engine}-ours-{file}.db")),
                        folder.sqlite(&format!("{engine}-theirs-{file}.db")),
                    ),
                    (redis.database(1), redis.database(2)),
                ] {
                    let (ours, theirs) = (loaded(&ours, &one), loaded(&theirs, &other));
                    let known = permitted(volume, engine, file);
                    let strange: Vec<_> = differences(&theirs, &ours)
                        .into_iter()
                        .filter(|difference| !known.iter().any(|known| difference.contains(known)))
                        .collect();
                    assert!(strange.is_empty(), "{volume} on {engine}, {file} to {one}: {strange:#?}");
                }
            }
        }
    }
}
