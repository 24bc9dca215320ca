//! Streams that servers wrote.

use super::*;

fn same(rdb: &str, list: &str) {
    let (stream, expected) = (data(rdb), listing(list));
    for (chunk, block_bytes) in [(usize::MAX / 2, 1 << 20), (1000, 1 << 20), (7, 100), (1, 1), (4096, 1)] {
        let found = load(&stream, chunk, block_bytes).unwrap();
        assert_eq!(found.len(), expected.len());
        for (key, value) in &expected {
            assert_eq!(
                found.get(key),
                Some(value),
                "{key:?} in {rdb}, read in parts of {chunk}, blocks of {block_bytes}"
            );
        }
    }
}

/// A JuiceFS volume with everything in it, from Redis 7.0.
#[test]
fn juicefs_volume() {
    same("tour/redis/store.rdb", "tour/redis/keys.jsonl.zst");
}

/// Every encoding that Redis 7.0 writes as it comes, in three databases, with expiries, streams and a function.
#[test]
fn default_configuration() {
    same("rdb/default.rdb", "rdb/default.jsonl.zst");
}

/// The same where nothing is packed, compressed or checked, and keys carry how often they are used.
#[test]
fn nothing_packed() {
    same("rdb/plain.rdb", "rdb/plain.jsonl.zst");
}

/// The same where as much as possible is packed, and keys carry how long they were idle.
#[test]
fn everything_packed() {
    same("rdb/packed.rdb", "rdb/packed.jsonl.zst");
}

#[test]
fn checksum_is_reported() {
    for (path, verified) in [("rdb/default.rdb", true), ("rdb/plain.rdb", false)] {
        let mut splitter = Splitter::new();
        split(&data(path), 1 << 20, &mut splitter).unwrap();
        assert_eq!((splitter.is_verified(), splitter.version()), (verified, 10));
    }
}

/// What is not wanted is passed over and counted; what is behind it is still found.
#[test]
fn foreign_keys() {
    let stream = data("rdb/default.rdb");
    let expected = listing("rdb/default.jsonl.zst");
    for db in [0, 2, 9] {
        let (mut splitter, mut input) = (Splitter::new(), stream.as_slice());
        let block = splitter.split(&mut input, &|found, _| found == db).unwrap().unwrap();
        let keys: Vec<_> = block.pieces().map(|piece| (piece.db, piece.key.to_vec())).collect();
        let wanted = expected.keys().filter(|key| key.0 == db).count();
        assert!(splitter.is_end() && keys.iter().all(|key| key.0 == db && expected.contains_key(key)));
        assert_eq!((keys.len(), splitter.kept()), (wanted, wanted as u64));
        assert_eq!(splitter.skipped(), (expected.len() - wanted) as u64);
    }
}
