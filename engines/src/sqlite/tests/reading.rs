//! Reading: every fixture whole, and its files as they were; a log that must be read too; damage; writers at work.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use metaferry_codecs::juicefs::{Kind, TRASH_INODE};
use metaferry_pipeline::{ErrorKind, Scope};
use rusqlite::Connection;
use serde_json::Value;

use super::kit::{Folder, Rows, VOLUMES, fixture, number, open, read, rows, sql, tables};

#[test]
fn every_row_of_every_fixture_comes_and_the_file_stays_as_it_was() {
    for volume in VOLUMES {
        let folder = Folder::new();
        let path = folder.store(volume);
        let before = folder.files();
        let rows = read(&path);
        assert_eq!(rows.damaged, Vec::<String>::new(), "{volume}");
        assert!(folder.files() == before, "{volume}");
        for (kind, table) in tables() {
            let exists = number(&path, &format!("SELECT count(*) FROM sqlite_master WHERE name = '{table}'")) == 1;
            let expected = if exists { number(&path, &format!("SELECT count(*) FROM {table}")) } else { 0 };
            assert_eq!(rows.of(kind).len() as i64, expected, "{volume} {table}");
        }
        assert_eq!(rows.of(Kind::Setting).len(), 1, "{volume}");
    }
}

fn lines(name: &str) -> Vec<Value> {
    let text = String::from_utf8(fixture(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn by_inode(rows: &Rows, kind: Kind) -> BTreeMap<u64, Vec<Value>> {
    let mut found: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for line in rows.of(kind) {
        let row: Value = serde_json::from_str(line).unwrap();
        found.entry(row["inode"].as_u64().unwrap()).or_default().push(row);
    }
    found
}

/// A field that is left out where it is zero.
fn int(row: &Value, field: &str) -> i64 {
    row.get(field).map_or(0, |value| value.as_i64().unwrap())
}

const TYPES: [&str; 8] = ["", "regular", "directory", "symlink", "fifo", "blockdev", "chardev", "socket"];

#[test]
fn nodes_are_what_the_clients_of_juicefs_see() {
    for (volume, tree) in VOLUMES.map(|volume| (volume, format!("{volume}/sqlite/tree.jsonl"))) {
        let legacy = volume.starts_with("legacy");
        let tree = if legacy { "legacy/v1.0/tree-expected.jsonl" } else { &tree };
        let folder = Folder::new();
        let rows = read(&folder.store(volume));
        let (nodes, parents) = (by_inode(&rows, Kind::Node), by_inode(&rows, Kind::Parent));
        let (xattrs, chunks) = (by_inode(&rows, Kind::Xattr), by_inode(&rows, Kind::Chunk));
        for line in lines(tree) {
            let inode = line["ino"].as_u64().unwrap();
            // Clients make up the trash of a volume that never had any.
            if inode == TRASH_INODE && !nodes.contains_key(&inode) {
                continue;
            }
            let Some([node]) = nodes.get(&inode).map(Vec::as_slice) else { panic!("{volume}: no inode {inode}") };
            assert_eq!(node["type"], TYPES[line["type"].as_u64().unwrap() as usize], "{volume} {inode}");
            for field in ["mode", "uid", "gid", "nlink", "length", "rdev", "parent", "flags", "tier"] {
                assert_eq!(int(node, field), int(&line, field), "{volume} {inode} {field}");
            }
            for field in ["atime", "mtime", "ctime"] {
                let found = [int(node, field), int(node, &format!("{field}nsec"))];
                assert_eq!(serde_json::json!(found), line[field], "{volume} {inode} {field}");
            }
            assert_eq!(int(node, "accessACL"), int(&line, "access_acl"), "{volume} {inode}");
            assert_eq!(int(node, "defaultACL"), int(&line, "default_acl"), "{volume} {inode}");
            let count = |found: &BTreeMap<u64, Vec<Value>>| found.get(&inode).map_or(0, Vec::len);
            let listed = |field: &str| line[field].as_array().map_or(0, Vec::len);
            assert_eq!(count(&xattrs), listed("xattrs"), "{volume} {inode}");
            assert!(count(&chunks) >= listed("chunks"), "{volume} {inode}");
            let stored = parents.get(&inode).into_iter().flatten();
            let stored = stored.map(|row| (row["parent"].to_string(), row["count"].clone())).collect();
            let expected = line["parents"].as_object().cloned().unwrap_or_default();
            assert_eq!(Value::Object(stored), Value::Object(expected), "{volume} {inode}");
        }
    }
}

#[test]
fn counters_that_sqlite_counts_by_itself_come_too_and_what_is_not_carried_is_counted() {
    let folder = Folder::new();
    let path = folder.store("tour");
    sql(&path, "INSERT INTO jfs_counter VALUES ('lastChangelog', 51)");
    let rows = read(&path);
    let counters = rows.of(Kind::Counter).join("\n");
    for (name, value) in [("nextInode", 3074), ("nextTrash", 5), ("aclMaxId", 12), ("krbTokenMaxId", 3)] {
        assert!(counters.contains(&format!("{{\"name\":\"{name}\",\"value\":{value}}}")), "{name}: {counters}");
    }
    assert!(!counters.contains("lastChangelog"));
    let left = [("change log lines", 51), ("flocks", 3), ("plocks", 2), ("sessions", 1), ("unknown counters", 1)];
    assert_eq!(rows.left_behind, BTreeMap::from(left));
}

#[test]
fn sessions_that_have_not_expired_are_counted() {
    let folder = Folder::new();
    let path = folder.store("tour");
    assert_eq!(open(&path, 1).unwrap().about().live_sessions, 0);
    sql(&path, "UPDATE jfs_session2 SET expire = unixepoch() + 60");
    assert_eq!(open(&path, 1).unwrap().about().live_sessions, 1);
}

#[test]
fn a_log_left_by_a_crash_is_read_and_nothing_is_touched() {
    let folder = Folder::new();
    let whole = read(&folder.store("tour"));
    for suffixes in [&["", "-wal", "-shm"][..], &["", "-wal"]] {
        let folder = Folder::new();
        for suffix in suffixes {
            let name = format!("store-with-wal.db{suffix}");
            folder.put(&name, &fixture(&format!("tour/sqlite/{name}")));
        }
        let before = folder.files();
        let snapshot = open(&folder.path("store-with-wal.db"), 3).unwrap();
        assert_eq!(rows(snapshot.as_ref()), whole, "{suffixes:?}");
        drop(snapshot);
        assert!(folder.files() == before, "{suffixes:?}");
    }
}

#[test]
fn a_log_left_empty_keeps_no_reader_away() {
    let folder = Folder::new();
    let path = folder.store("plain");
    sql(&path, "PRAGMA journal_mode = WAL");
    let client = Connection::open(&path).unwrap();
    client.query_row("SELECT count(*) FROM jfs_node", [], |_| Ok(())).unwrap();
    let left = Folder::new();
    folder.files().iter().for_each(|(name, bytes)| drop(left.put(name, bytes)));
    assert_eq!(fs::metadata(left.path("store.db-wal")).unwrap().len(), 0);
    let before = left.files();
    let snapshot = open(&left.path("store.db"), 3).unwrap();
    let notes = snapshot.about().notes;
    assert!(notes[0].contains("3 readers see one point in time"), "{notes:?}");
    assert_eq!(rows(snapshot.as_ref()), read(&path));
    drop(snapshot);
    assert!(left.files() == before);
}

#[test]
fn a_log_that_reading_creates_is_taken_away_again_unless_somebody_uses_it() {
    let folder = Folder::new();
    let path = folder.store("plain");
    sql(&path, "PRAGMA journal_mode = WAL");
    assert_eq!(folder.names(), ["store.db"]);
    let before = folder.files();
    read(&path);
    assert!(folder.files() == before);
    let snapshot = open(&path, 2).unwrap();
    let client = Connection::open(&path).unwrap();
    client.execute_batch("UPDATE jfs_counter SET value = value + 1").unwrap();
    drop(snapshot);
    assert_eq!(folder.names(), ["store.db", "store.db-shm", "store.db-wal"]);
    client.execute_batch("UPDATE jfs_counter SET value = value + 1").unwrap();
    assert_eq!(number(&path, "SELECT value FROM jfs_counter WHERE name = 'nextSession'"), 3);
}

#[test]
fn a_path_may_hold_anything() {
    let folder = Folder::new();
    let path = folder.put("a %41?mode=rw#ü.db", &fixture("empty/sqlite/store.db"));
    assert_eq!(read(&path).of(Kind::Setting).len(), 1);
}

#[test]
fn damaged_rows_are_named_and_the_rest_comes() {
    let folder = Folder::new();
    let path = folder.store("plain");
    let whole = read(&path);
    let chunk = number(&path, "SELECT inode FROM jfs_chunk WHERE id = 5");
    let rotten = "UPDATE jfs_chunk SET slices = CAST('short' AS BLOB) WHERE id = 5;
        UPDATE jfs_node SET type = 0 WHERE inode = 1;
        UPDATE jfs_node SET uid = 'me', mode = x'00' WHERE inode = 2;
        UPDATE jfs_node SET gid = 4294967296 WHERE inode = 3;
        UPDATE jfs_edge SET inode = -7 WHERE id = 1;
        INSERT INTO jfs_symlink VALUES (-3, x'00');";
    sql(&path, rotten);
    let rows = read(&path);
    assert_eq!(rows.of(Kind::Chunk).len(), whole.of(Kind::Chunk).len() - 1);
    assert_eq!(rows.of(Kind::Node).len(), whole.of(Kind::Node).len() - 3);
    assert_eq!(rows.damaged.len(), 6, "{:?}", rows.damaged);
    assert!(rows.damaged[0].starts_with("jfs_node inode 1: "), "{:?}", rows.damaged);
    assert!(
        rows.damaged
            .iter()
            .any(|place| place.starts_with(&format!("jfs_chunk inode {chunk} indx 0: malformed slices")))
    );
    assert!(rows.damaged.iter().any(|place| place.starts_with("jfs_symlink inode -3: ")), "{:?}", rows.damaged);
}

#[test]
fn what_is_no_volume_is_said_to_be_what_it_is() {
    let folder = Folder::new();
    let fails = |name: &str, kind: ErrorKind, part: &str| {
        let error = open(&folder.path(name), 2).err().unwrap();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.to_string().contains(part) && error.to_string().contains(name), "{error:?}");
    };
    fails("missing.db", ErrorKind::Engine, "no such file");
    folder.put("garbage.db", &[0x5a; 8192]);
    fails("garbage.db", ErrorKind::Corrupt, "no SQLite database");
    folder.put("zero.db", b"");
    fails("zero.db", ErrorKind::Corrupt, "no JuiceFS volume");
    sql(&folder.path("foreign.db"), "CREATE TABLE songs (title)");
    fails("foreign.db", ErrorKind::Corrupt, "no JuiceFS volume");
    folder.put("half.db", &fixture("empty/sqlite/store.db"));
    sql(&folder.path("half.db"), "DELETE FROM jfs_setting");
    fails("half.db", ErrorKind::Corrupt, "never finished");
    folder.put("lacking.db", &fixture("empty/sqlite/store.db"));
    sql(&folder.path("lacking.db"), "DROP TABLE jfs_edge");
    fails("lacking.db", ErrorKind::Corrupt, "no table jfs_edge");
}

#[test]
fn a_file_cut_short_fails_and_never_panics() {
    let whole = fixture("plain/sqlite/store.db");
    for length in [50, 100, 4096, 20_000, 100_000, whole.len() - 4096, whole.len() - 1] {
        let folder = Folder::new();
        let path = folder.put("cut.db", &whole[..length]);
        let scanned = open(&path, 1).and_then(|snapshot| {
            let mut rows = Rows::default();
            let partitions = snapshot.plan(&Scope::default())?;
            partitions.iter().try_for_each(|partition| snapshot.scan(partition, &mut rows))
        });
        if let Err(error) = scanned {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}: {error:?}");
        } else {
            assert!(length == whole.len() - 1, "{length} bytes passed for a whole volume");
        }
    }
}

#[test]
fn readers_see_one_point_in_time_whatever_a_writer_does() {
    let folder = Folder::new();
    let path = folder.store("empty");
    sql(&path, "PRAGMA journal_mode = WAL");
    let done = AtomicBool::new(false);
    let writer = || {
        // Each transaction adds as much to a counter as files to a directory, and a name for each.
        let connection = Connection::open(&path).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
        for inode in 100.. {
            let step = format!(
                "BEGIN IMMEDIATE; INSERT INTO jfs_symlink VALUES ({inode}, x'61');
                 INSERT INTO jfs_edge (parent, name, inode, type) VALUES (1, CAST('{inode}' AS BLOB), {inode}, 3);
                 UPDATE jfs_counter SET value = value + 1 WHERE name = 'totalInodes'; COMMIT"
            );
            connection.execute_batch(&step).unwrap();
            if inode % 16 == 0 {
                // As often as a busy client commits, and the volume stays small.
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            if done.load(Ordering::Relaxed) {
                return;
            }
        }
    };
    let mut aligned = 0;
    std::thread::scope(|scope| {
        scope.spawn(writer);
        for _ in 0..10 {
            let snapshot = open(&path, 4).unwrap();
            aligned += usize::from(snapshot.about().notes[0].contains("4 readers"));
            let plan = snapshot.plan(&Scope::default()).unwrap();
            let counts = std::thread::scope(|scope| {
                let scan = |kind| {
                    let (snapshot, plan) = (&snapshot, &plan);
                    scope.spawn(move || {
                        let mut rows = Rows::default();
                        let mine = plan.iter().filter(|partition| partition.kind == Some(kind));
                        mine.for_each(|partition| snapshot.scan(partition, &mut rows).unwrap());
                        rows
                    })
                };
                let scans = [Kind::Symlink, Kind::Edge, Kind::Counter].map(scan);
                scans.map(|scan| scan.join().unwrap())
            });
            let [links, edges, counters] = counts;
            let made = links.of(Kind::Symlink).len();
            assert_eq!(edges.of(Kind::Edge).len(), made);
            assert!(
                counters.of(Kind::Counter).contains(&format!("{{\"name\":\"totalInodes\",\"value\":{made}}}"))
                    || made == 0
            );
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(aligned > 0, "four readers never saw one point in time");
    let before = fs::read(&path).unwrap();
    read(&path);
    assert!(fs::read(&path).unwrap() == before);
}
