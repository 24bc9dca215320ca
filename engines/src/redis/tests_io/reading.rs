//! Volumes read from files and servers, against what JuiceFS itself read from them.

use std::time::{Duration, Instant};

use metaferry_codecs::juicefs::{Batch, JuiceFs, Kind, Slices, TRASH_INODE};
use metaferry_codecs::system::Batch as _;
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{Emit, Error, ErrorKind, Guarantee, Result, Scope, Stop};
use serde_json::{Value, json};

use super::super::server::Server;
use super::super::{Connection, RedisOptions};
use super::kit::*;
use crate::synthetic::SyntheticSource;

#[test]
fn every_fixture_has_the_counts_of_its_facts() {
    for volume in VOLUMES {
        let (_folder, path) = rdb_file(volume);
        let found = read(file_source(&path)).unwrap();
        let facts: Value = serde_json::from_slice(&fixture(volume, "facts.json")).unwrap();
        assert!(found.damage.is_empty(), "{volume}: {:?}", found.damage);
        let count = |kind| found.of(kind).len() as u64;
        let list = |value: &Value| value.as_array().map_or(0, |list| list.len() as u64);
        // JuiceFS shows a trash root even where none was ever made.
        let shown = u64::from(!found.by(Kind::Node, "inode").contains_key(&TRASH_INODE));
        assert_eq!(count(Kind::Node) + shown, facts["inodes"], "{volume}");
        assert_eq!(count(Kind::Edge), facts["edges"], "{volume}");
        assert_eq!(count(Kind::Xattr), facts["xattrs"], "{volume}");
        assert_eq!(count(Kind::DelFile), list(&facts["delfiles"]["list"]), "{volume}");
        assert_eq!(count(Kind::DelSlices), list(&facts["delayed_slices"]), "{volume}");
        assert_eq!(count(Kind::Detached), list(&facts["detached"]), "{volume}");
        assert_eq!(count(Kind::Setting), 1, "{volume}");
        let quotas = &facts["quotas"];
        for (class, name) in ["dir", "user", "group"].into_iter().enumerate() {
            for (id, numbers) in quotas[name].as_object().unwrap() {
                let id: u64 = id.parse().unwrap();
                let is_it = |row: &&Value| row["class"] == json!(class) && row["id"] == json!(id);
                let row = found.of(Kind::Quota).iter().find(is_it).unwrap();
                let number = |field: &str| row.get(field).and_then(Value::as_i64).unwrap_or(0);
                let ours = [number("maxSpace"), number("maxInodes"), number("usedSpace"), number("usedInodes")];
                let theirs = [0, 1, 2, 3].map(|place| numbers[place].as_i64().unwrap());
                assert_eq!(ours, theirs, "{volume} {name} {id}");
            }
        }
        let quotas = ["dir", "user", "group"].map(|name| quotas[name].as_object().unwrap().len());
        assert_eq!(found.of(Kind::Quota).len(), quotas.iter().sum::<usize>(), "{volume}");
        for (name, value) in facts["counters_as_returned_by_getCounter"].as_object().unwrap() {
            let value = value.as_i64().unwrap();
            let expected = match name.as_str() {
                "nextInode" => (value + 1).max(2),
                "nextChunk" => (value + 1).max(1),
                _ => value,
            };
            assert_eq!(found.counter(name), expected, "{volume} {name}");
        }
    }
}

#[test]
fn every_fixture_has_the_rows_of_its_tree() {
    for volume in VOLUMES {
        let (_folder, path) = rdb_file(volume);
        let found = read(file_source(&path)).unwrap();
        let (nodes, stats) = (found.by(Kind::Node, "inode"), found.by(Kind::DirStat, "inode"));
        let symlinks: Vec<_> = found
            .batches
            .iter()
            .filter_map(|batch| if let Batch::Symlink(rows) = batch { Some(rows) } else { None })
            .flatten()
            .collect();
        let chunks: Vec<_> = found
            .batches
            .iter()
            .filter_map(|batch| if let Batch::Chunk(rows) = batch { Some(rows) } else { None })
            .flatten()
            .collect();
        let parents = found.of(Kind::Parent);
        for line in fixture_lines(volume, "tree.jsonl") {
            let inode = line["ino"].as_u64().unwrap();
            if !nodes.contains_key(&inode) && inode > 1 << 62 {
                continue;
            }
            let node = nodes[&inode];
            let number = |field: &str| node.get(field).and_then(Value::as_i64).unwrap_or(0);
            for field in ["mode", "uid", "gid", "nlink", "length", "rdev", "parent", "flags", "tier"] {
                assert_eq!(json!(number(field)), line[field], "{volume} inode {inode} {field}");
            }
            for time in ["atime", "mtime", "ctime"] {
                assert_eq!(json!([number(time), number(&format!("{time}nsec"))]), line[time], "{volume} {inode}");
            }
            assert_eq!(json!(number("accessACL")), line["access_acl"]);
            assert_eq!(json!(number("defaultACL")), line["default_acl"]);
            let stat = stats.get(&inode).map(|row| {
                ["dataLength", "usedSpace", "usedInodes"]
                    .map(|field| row.get(field).and_then(Value::as_i64).unwrap_or(0))
            });
            assert_eq!(stat.map_or(Value::Null, |stat| json!(stat)), line["dirstat"], "{volume} {inode}");
            let target = symlinks.iter().find(|row| row.inode == inode).map(|row| hex(&row.target));
            assert_eq!(target.map_or(Value::Null, Value::from), line["target_hex"], "{volume} {inode}");
            for chunk in line["chunks"].as_array().into_iter().flatten() {
                let row = chunks.iter().find(|row| row.inode == inode && json!(row.index) == chunk["index"]).unwrap();
                let mut records = Vec::new();
                Slices::encode(&row.slices, &mut records);
                assert_eq!(hex(&records), chunk["records_hex"], "{volume} {inode}");
            }
            for (parent, count) in line["parents"].as_object().into_iter().flatten() {
                let is_it =
                    |row: &&Value| row["inode"] == json!(inode) && row["parent"].as_u64() == parent.parse().ok();
                assert_eq!(parents.iter().find(is_it).unwrap()["count"], *count, "{volume} {inode}");
            }
        }
    }
}

#[test]
fn the_tour_holds_what_is_rare() {
    let (_folder, path) = rdb_file("tour");
    let found = read(file_source(&path)).unwrap();
    assert_eq!(found.of(Kind::Token).len(), 2);
    assert_eq!(found.of(Kind::Sustained), [json!({"sid": 3, "inode": 2054}), json!({"sid": 3, "inode": 2055})]);
    assert_eq!(found.by(Kind::SliceRef, "id")[&8204].get("refs"), None, "a pending slice has no references");
    assert_eq!(found.of(Kind::Acl).len(), 12);
    let users = json!([{"id": 1000, "perm": 7}, {"id": 1001, "perm": 5}]);
    let rule = json!({"id": 1, "owner": 7, "group": 5, "mask": 7, "other": 5, "users": users, "groups": [{"id": 100, "perm": 6}]});
    assert!(found.of(Kind::Acl).contains(&rule));
    assert_eq!(found.left["locks"], 5);
    assert_eq!(found.left["sessions"], 1);
    assert!(found.left["change log lines"] > 10);
}

#[test]
fn a_server_and_a_file_say_the_same() {
    for volume in VOLUMES {
        let (_folder, path) = rdb_file(volume);
        let expected = tally(file_source(&path));
        let server = server_of(volume, &["--repl-diskless-sync", "yes"]);
        for diskless in [false, true] {
            let options = RedisOptions { diskless, ..RedisOptions::default() };
            assert_eq!(tally(server_source(&server.url(), options)), expected, "{volume}");
        }
        assert_eq!(tally(server_source(&server.url(), by_scan())), expected, "{volume} by SCAN");
    }
}

#[test]
fn other_databases_and_foreign_keys_are_counted() {
    let server = server_of("tour", &[]);
    let mut connection = server.connect();
    for key in ["i01", "whatever", "dx"] {
        connection.command(&[b"SET", key.as_bytes(), b"v"]).unwrap();
    }
    connection.command(&[b"XADD", b"stream", b"*", b"f", b"v"]).unwrap();
    super::super::server::open(&format!("{}/3", server.url()))
        .unwrap()
        .command(&[b"MSET", b"i1", b"", b"i2", b""])
        .unwrap();
    let (_folder, path) = rdb_file("tour");
    let expected = tally(file_source(&path));
    assert_eq!(tally(server_source(&server.url(), RedisOptions::default())), expected);
    let found = read(server_source(&server.url(), by_scan())).unwrap();
    assert_eq!((found.left["foreign keys"], found.left["locks"], found.left["sessions"]), (4, 5, 1));
    let found = read(server_source(&server.url(), RedisOptions::default())).unwrap();
    assert_eq!((found.left["foreign keys"], found.left["keys of other databases"]), (4, 2));
}

#[test]
fn a_cluster_is_read_by_its_prefix() {
    let server = Server::start(&["--cluster-enabled", "yes"]);
    server.become_cluster();
    let mut connection = server.connect();
    for (key, value) in
        [("{0}setting", "{\"Name\":\"v\",\"UUID\":\"u\"}"), ("{0}s2", "target"), ("{1}s2", "other"), ("s3", "x")]
    {
        // A key of another slot is written through no connection of the volume's, but all slots are here.
        connection.command(&[b"SET", key.as_bytes(), value.as_bytes()]).unwrap();
    }
    let found = read(server_source(&server.url(), RedisOptions::default())).unwrap();
    assert_eq!(found.of(Kind::Symlink), [json!({"inode": 2, "target": "target"})]);
    assert_eq!(found.left["keys of other databases"], 2);
    let scanned = read(server_source(&server.url(), by_scan())).unwrap();
    assert_eq!(scanned.of(Kind::Symlink), found.of(Kind::Symlink));
    connection.command(&[b"SAVE"]).unwrap();
    let found = read(file_source(&server.folder.path().join("dump.rdb"))).unwrap();
    // In a file of unknown origin, `s3` may be the volume's too.
    assert_eq!(found.of(Kind::Symlink).len(), 2);
}

#[test]
fn what_is_no_volume_is_refused() {
    let server = Server::start(&[]);
    server.connect().command(&[b"MSET", b"a", b"1", b"b", b"2"]).unwrap();
    let error = server_source(&server.url(), RedisOptions::default()).snapshot(1, &Stop::new()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("not a JuiceFS volume: 2 keys"), "{error}");
    server.connect().command(&[b"SAVE"]).unwrap();
    let error = read(file_source(&server.folder.path().join("dump.rdb"))).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("not a JuiceFS volume: 2 keys"), "{error}");
    let error = read(file_source(std::path::Path::new("/nowhere.rdb"))).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[test]
fn a_file_that_was_cut_or_altered_is_told() {
    let (_folder, path) = rdb_file("tour");
    let whole = std::fs::read(&path).unwrap();
    for cut in [0, 8, 100, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let error = read(file_source(&path)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{cut}: {error:?}");
    }
    let mut altered = whole.clone();
    let at = altered.len() - 4;
    altered[at] ^= 1;
    std::fs::write(&path, altered).unwrap();
    assert!(read(file_source(&path)).err().unwrap().to_string().contains("checksum"));
    std::fs::write(&path, [&whole[..], b"*1\r\n$4\r\nPING\r\n"].concat()).unwrap();
    let error = read(file_source(&path)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn damaged_values_are_named() {
    let server = server_of("empty", &[]);
    let mut connection = server.connect();
    let mut run = |args: &[&[u8]]| drop(connection.command(args).unwrap());
    run(&[b"SET", b"i5", b"short"]);
    run(&[b"HSET", b"d5", b"good", b"\x01\0\0\0\0\0\0\0\x07", b"bad", b"x"]);
    run(&[b"RPUSH", b"c5_0", b"short", &[0; 24]]);
    run(&[b"RPUSH", b"s5", b"a list"]);
    run(&[b"HSET", b"dirDataLength", b"5", b"much"]);
    run(&[b"HSET", b"dirQuota", b"5", b"x"]);
    run(&[b"ZADD", b"detachedNodes", b"1", b"five"]);
    run(&[b"XADD", b"x5", b"*", b"f", b"v"]);
    for options in [RedisOptions::default(), by_scan()] {
        let found = read(server_source(&server.url(), options)).unwrap();
        let mut damage = found.damage.clone();
        damage.sort();
        let expected = [
            "key c5_0: malformed slice",
            "key d5, field bad: malformed directory entry",
            "key detachedNodes, member five",
            "key dirDataLength, field 5: malformed number",
            "key dirQuota, field 5: malformed quota",
            "key i5: malformed attribute record",
            "key s5: malformed redis value: ",
            "key x5: malformed redis value: ",
        ];
        assert_eq!(damage.len(), expected.len(), "{damage:#?}");
        for (damage, expected) in damage.iter().zip(expected) {
            assert!(damage.starts_with(expected), "{damage} {expected}");
        }
        assert_eq!(found.of(Kind::Edge).len(), 1);
        assert!(found.of(Kind::Chunk).is_empty());
    }
}

#[test]
fn a_chunk_and_a_directory_larger_than_a_block() {
    let server = server_of("empty", &[]);
    let mut connection = server.connect();
    let mut edges = vec![b"HSET".to_vec(), b"d1".to_vec()];
    let mut slices = vec![b"RPUSH".to_vec(), b"c2_0".to_vec()];
    for number in 0..50_000_u64 {
        edges.extend([format!("file-{number}").into_bytes(), [&[1][..], &number.to_be_bytes()].concat()]);
        slices.push([&[0; 4][..], &(number + 1).to_be_bytes(), &[0; 12]].concat());
    }
    for command in [&edges, &slices] {
        connection.command(&command.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    }
    for options in [RedisOptions::default(), by_scan()] {
        let found = read(server_source(&server.url(), options)).unwrap();
        assert_eq!(found.of(Kind::Edge).len(), 50_000);
        assert!(found.largest < 4 << 20, "{} bytes in one batch", found.largest);
        let [chunk] = found.of(Kind::Chunk) else { panic!("one chunk") };
        let ids = chunk["slices"].as_array().unwrap().iter().map(|slice| slice["id"].as_u64().unwrap());
        assert!(ids.eq(1..=50_000));
    }
}

#[test]
fn a_snapshot_says_what_it_is() {
    let server = server_of("tour", &["--maxmemory-policy", "allkeys-lru"]);
    let mut connection = server.connect();
    let about = |options| server_source(&server.url(), options).snapshot(2, &Stop::new()).unwrap().about();
    let told = about(RedisOptions::default());
    assert_eq!((told.guarantee, told.live_sessions), (Guarantee::Exact, 0));
    assert!(told.notes.iter().any(|note| note.contains("allkeys-lru")), "{told:?}");
    assert!(told.notes.iter().any(|note| note.contains("disk")));
    let told = about(by_scan());
    assert!(told.guarantee == Guarantee::Fuzzy && told.notes.iter().any(|note| note.contains("SCAN")));
    connection.command(&[b"ZADD", b"allSessions", b"9999999999", b"7"]).unwrap();
    assert_eq!(about(RedisOptions::default()).live_sessions, 1);
}

#[test]
fn where_replication_is_refused_the_keys_are_scanned() {
    let server = server_of("tour", &["--user", "some", "on", ">pw", "~*", "+@all", "-sync"]);
    let (_folder, path) = rdb_file("tour");
    let url = format!("redis://some:pw@127.0.0.1:{}", server.port);
    let snapshot = server_source(&url, RedisOptions::default()).snapshot(2, &Stop::new()).unwrap();
    assert_eq!(snapshot.about().guarantee, Guarantee::Fuzzy);
    assert!(snapshot.about().notes.iter().any(|note| note.contains("NOPERM")), "{:?}", snapshot.about());
    assert_eq!(tally(server_source(&url, RedisOptions::default())), tally(file_source(&path)));
}

#[test]
fn what_scan_hands_out_twice_comes_out_once() {
    let server = server_of("plain", &[]);
    let mut connection = server.connect();
    // Tables that grow and shrink while they are scanned are what makes SCAN repeat itself.
    for round in 0..20_u64 {
        let mut edges = vec![b"HSET".to_vec(), b"d1".to_vec()];
        for number in 0..1000_u64 {
            let number = round * 1000 + number;
            edges
                .extend([format!("ours-{number}").into_bytes(), [&[1][..], &(number + 10_000).to_be_bytes()].concat()]);
            connection.command(&[b"SET", format!("s{}", number + 10_000).as_bytes(), b"target"]).unwrap();
        }
        connection.command(&edges.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    }
    let writer = std::thread::spawn({
        let mut connection = server.connect();
        move || {
            for number in 0..60_000_u64 {
                let name = format!("z{number}");
                connection.command(&[b"HSET", b"d1", name.as_bytes(), &[1, 0, 0, 0, 0, 0, 0, 0, 9]]).unwrap();
                connection.command(&[b"SET", format!("s{}", number + 100_000).as_bytes(), b"target"]).unwrap();
                if number % 3 == 0 {
                    connection.command(&[b"HDEL", b"d1", name.as_bytes()]).unwrap();
                }
            }
        }
    });
    while !writer.is_finished() {
        let found = read(server_source(&server.url(), by_scan())).unwrap();
        let distinct = |kind: Kind, field: &str| {
            let rows = found.of(kind).iter().map(|row| (row["parent"].to_string(), row[field].to_string()));
            rows.collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(distinct(Kind::Edge, "name"), found.of(Kind::Edge).len());
        assert_eq!(distinct(Kind::Symlink, "inode"), found.of(Kind::Symlink).len());
        let old = found.of(Kind::Edge).iter().filter(|row| row["name"].as_str().unwrap().starts_with("ours-")).count();
        assert_eq!(old, 20_000, "what was there all the time is there");
    }
    writer.join().unwrap();
}

/// Takes nothing until the server has sent all.
struct Slow {
    server: Connection,
    rows: usize,
}

impl Emit<JuiceFs> for Slow {
    fn emit(&mut self, batch: Batch) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.server.info("persistence")?.number("rdb_bgsave_in_progress") != Some(0) {
            assert!(Instant::now() < deadline, "the server is held up");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.rows += batch.len();
        Ok(())
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        Err(Error::from(why).at(place))
    }

    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}

#[test]
fn a_server_that_sends_without_a_file_is_not_held_up_by_a_slow_reader() {
    let args = ["--repl-diskless-sync", "yes", "--rdbcompression", "no", "--enable-debug-command", "yes"];
    let server = Server::start(&args);
    let volume = SyntheticSource::parse("synthetic://?files=20000&seed=5").unwrap();
    super::writing::load(Box::new(volume), super::writing::sink(&server.url())).unwrap();
    server.connect().command(&[b"DEBUG", b"POPULATE", b"1000", b"junk", b"65536"]).unwrap();
    for readers in [1, 2] {
        let spill = SpillDir::default();
        let options = RedisOptions { diskless: true, spill: spill.clone(), ..RedisOptions::default() };
        let snapshot = server_source(&server.url(), options).snapshot(readers, &Stop::new()).unwrap();
        let shares = snapshot.plan(&Scope::default()).unwrap();
        let read = |share| {
            let mut slow = Slow { server: server.connect(), rows: 0 };
            snapshot.scan(share, &mut slow).map(|()| slow.rows).unwrap()
        };
        let rows: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = shares.iter().map(|share| scope.spawn(|| read(share))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        snapshot.finish().unwrap();
        assert!(rows > 20_000, "{rows}");
        assert!(spill.spilled_bytes() > 10 << 20, "{} bytes were spilled", spill.spilled_bytes());
    }
}
