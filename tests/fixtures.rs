//! Volumes written by a real JuiceFS: read, and held against what its own client listed of them. Copies of them from engine to
//! engine are in the matrix.

use serde_json::{Value, json};

use crate::kit::engine::{copied, engines};
use crate::kit::redis::Redis;
use crate::kit::tree::{Volume, bytes, expected, hex};
use crate::kit::{Folder, expect, has_data, read_data};

const VOLUMES: [&str; 5] = ["empty", "encrypted", "plain", "tour", "wideid"];

/// Everything that was done to one fixture of one engine.
#[track_caller]
fn check(volume: &str, engine: &str, archive: &str) {
    let read = Volume::read(archive);
    facts(&read, &serde_json::from_slice(&read_data(&format!("{volume}/{engine}/facts.json"))).unwrap(), engine);
    if !has_data(&format!("{volume}/{engine}/tree.jsonl")) {
        return;
    }
    let listed = expected(&read_data(&format!("{volume}/{engine}/tree.jsonl")));
    let found = read.tree();
    for (key, line) in listed.iter().filter(|(key, line)| !is_made_up(key, line)) {
        assert_eq!(found.get(key), Some(line), "{volume} on {engine}: {key:?}");
    }
    let unlisted: Vec<_> = found.keys().filter(|key| !listed.contains_key(*key)).collect();
    assert!(unlisted.is_empty(), "{volume} on {engine}: {unlisted:?}");
}

/// Where the trash was never on, the client makes up its root.
fn is_made_up(key: &(String, u64), line: &Value) -> bool {
    key.0 == hex(b"/.trash") && line["ctime"] == json!([0, 0])
}

fn facts(read: &Volume, facts: &Value, engine: &str) {
    assert_eq!(read.of("edge").len(), facts["edges"].as_u64().unwrap() as usize);
    assert_eq!(
        read.of("xattr").iter().filter(|row| row["name"] != "lastBackup").count(),
        facts["xattrs"].as_u64().unwrap() as usize
    );
    let counters = facts["counters_as_returned_by_getCounter"].as_object().unwrap();
    for name in ["nextInode", "nextChunk", "nextSession", "nextTrash", "usedSpace", "totalInodes"] {
        let row = read.of("counter").iter().find(|row| row["name"] == name);
        let stored = counters.get(name).and_then(Value::as_i64).unwrap_or(0);
        let first = match name {
            "nextInode" => 2,
            "nextChunk" => 1,
            _ => i64::MIN,
        };
        let next = i64::from(engine == "redis" && first > 0);
        let value = row.and_then(|row| row["value"].as_i64()).unwrap_or(0);
        assert_eq!(value, (stored + next).max(first), "counter {name}");
    }
    let mut delfiles: Vec<_> =
        read.of("delFile").iter().map(|row| json!([row["inode"], row["length"], row["expire"]])).collect();
    delfiles.sort_by_key(|row| row[0].as_u64());
    assert_eq!(json!(delfiles), list(&facts["delfiles"]["list"]));
    let detached: Vec<_> = read.of("detached").iter().map(|row| row["inode"].clone()).collect();
    assert_eq!(json!(detached), list(&facts["detached"]));
    let tokens: serde_json::Map<_, _> =
        read.of("token").iter().map(|row| (row["id"].to_string(), json!(hex(&bytes(&row["token"]))))).collect();
    assert_eq!(tokens, facts["delegation_tokens_hex"].as_object().cloned().unwrap_or_default());
    let mut delayed: Vec<_> = read
        .of("delSlices")
        .iter()
        .map(|row| {
            let slices = row["slices"].as_array().unwrap().iter();
            let slices: Vec<_> = slices.map(|slice| json!([slice["id"], slice["size"]])).collect();
            json!({ "deleted": row["deleted"], "slices": slices })
        })
        .collect();
    delayed.sort_by_key(|row| (row["deleted"].as_i64(), row["slices"][0][0].as_u64()));
    assert_eq!(json!(delayed), list(&facts["delayed_slices"]));
    let mut pending: Vec<_> =
        read.of("sliceRef").iter().filter(|row| row.get("refs").and_then(Value::as_i64).unwrap_or(0) <= 0).collect();
    pending.sort_by_key(|row| row["id"].as_u64());
    let pending: Vec<_> = pending.iter().map(|row| json!([row["id"], row["size"]])).collect();
    assert_eq!(json!(pending), list(&facts["pending_slices"]));
    quotas(read, &facts["quotas"]);
}

/// What the facts leave out where there is none.
fn list(facts: &Value) -> Value {
    if facts.is_null() { json!([]) } else { facts.clone() }
}

fn quotas(read: &Volume, facts: &Value) {
    for (class, name) in [(0, "dir"), (1, "user"), (2, "group")] {
        let limit = |value: &Value| value.as_i64().unwrap_or(0);
        let listed = facts.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
        let mut expected: Vec<_> = listed
            .iter()
            .map(|(id, quota)| {
                (id.parse::<u64>().unwrap(), limit(&quota[0]), limit(&quota[1]), quota[2].as_i64(), quota[3].as_i64())
            })
            .collect();
        expected.sort_unstable();
        let number = |row: &Value, name: &str| Some(row.get(name).and_then(Value::as_i64).unwrap_or(0));
        let rows = read.of("quota").iter().filter(|row| row.get("class").and_then(Value::as_u64).unwrap_or(0) == class);
        let mut found: Vec<_> = rows
            .map(|row| {
                (
                    row["id"].as_u64().unwrap(),
                    limit(&row["maxSpace"]),
                    limit(&row["maxInodes"]),
                    number(row, "usedSpace"),
                    number(row, "usedInodes"),
                )
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{name} quotas");
    }
}

#[test]
fn volumes_of_every_engine_are_read_as_juicefs_lists_them() {
    let folder = Folder::new();
    for engine in engines() {
        for volume in VOLUMES {
            let Some(source) = engine.fixture(volume) else { continue };
            let archive = folder.path(&format!("{volume}-{}", engine.name()));
            copied(&["dump", "--keep-secrets", &source, &archive]);
            check(volume, engine.name(), &archive);
        }
    }
}

#[test]
fn a_volume_that_was_never_used_gives_its_root_away_to_nobody() {
    let (folder, redis) = (Folder::new(), Redis::from_rdb(Some(&read_data("empty/redis/store.rdb")), &[]));
    assert_eq!(redis.cli(&["EXISTS", "nextinode"]).trim(), "0");
    expect(0, &["migrate", &redis.url(), &folder.sqlite("copy.db")]);
    let database = rusqlite::Connection::open(folder.path("copy.db")).unwrap();
    let next = |name| database.query_row("SELECT value FROM jfs_counter WHERE name = ?1", [name], |row| row.get(0));
    assert_eq!((next("nextInode"), next("nextChunk")), (Ok(2), Ok(1)));
}

#[test]
fn a_snapshot_file_and_a_scan_read_what_the_stream_reads() {
    for volume in VOLUMES {
        let folder = Folder::new();
        let rdb = folder.unpack(&format!("{volume}/redis/store.rdb"), "store.rdb");
        let redis = Redis::from_rdb(Some(&read_data(&format!("{volume}/redis/store.rdb"))), &[]);
        expect(0, &["verify", &redis.url(), &format!("rdb://{rdb}?db=0")]);
        expect(0, &["verify", "--scan", &redis.url(), &format!("rdb://{rdb}?db=0")]);
    }
}

#[test]
fn a_database_that_lies_half_in_its_log_is_read_whole_and_left_alone() {
    let folder = Folder::new();
    let store = folder.unpack("tour/sqlite/store-with-wal.db", "store.db");
    folder.unpack("tour/sqlite/store-with-wal.db-wal", "store.db-wal");
    folder.unpack("tour/sqlite/store-with-wal.db-shm", "store.db-shm");
    let before: Vec<_> = folder.names().iter().map(|name| std::fs::read(folder.path(name)).unwrap()).collect();
    let names = folder.names();
    let elsewhere = Folder::new();
    let archive = elsewhere.path("archive");
    copied(&["dump", "--keep-secrets", &format!("sqlite3://{store}"), &archive]);
    check("tour", "sqlite", &archive);
    assert_eq!(folder.names(), names);
    for (name, before) in names.iter().zip(before).filter(|(name, _)| !name.ends_with("-shm")) {
        assert!(std::fs::read(folder.path(name)).unwrap() == before, "{name} was changed");
    }
}

#[test]
fn a_database_of_version_1_0_is_read() {
    let folder = Folder::new();
    let store = folder.unpack("legacy/v1.0/sqlite/store.db", "store.db");
    let archive = folder.path("archive");
    copied(&["dump", &format!("sqlite3://{store}"), &archive]);
    let listed = expected(&read_data("legacy/v1.0/tree-expected.jsonl"));
    let found = Volume::read(&archive).tree();
    for (key, line) in listed.iter().filter(|(key, line)| !is_made_up(key, line)) {
        // The listing is that of a newer copy, which had statistics.
        let mut line = line.clone();
        line.as_object_mut().unwrap().remove("dirstat");
        assert_eq!(found.get(key), Some(&line), "{key:?}");
    }
}
