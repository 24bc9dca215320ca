//! Rows that cannot be decoded: told by their key, and passed over only where that is asked for.

use super::kit::failed;
use crate::kit::engine::{engines, loaded};
use crate::kit::redis::Redis;
use crate::kit::{Folder, expect, expect_error, metaferry};

const VOLUME: &str = "synthetic://?files=300&seed=5";

/// Without being asked to, nothing goes on; then everything else is carried, and what was damaged is counted.
fn carried_but_for(source: &str, key: &str, damaged: u64) {
    let folder = Folder::new();
    let redis = Redis::start();
    for target in [folder.path("volume"), folder.sqlite("volume.db"), redis.url()] {
        let verb = if target.contains("://") { "migrate" } else { "dump" };
        let error = failed(1, &metaferry(&[verb, source, &target]));
        assert!(error.contains(key) && error.contains("--skip-damaged"), "{key}: {error}");
        assert_eq!(folder.names(), [""; 0]);
        assert_eq!(redis.cli(&["DBSIZE"]).trim(), "0");
    }
    for target in [folder.path("volume"), folder.sqlite("volume.db"), redis.url()] {
        let verb = if target.contains("://") { "migrate" } else { "dump" };
        let told = expect_error(3, &[verb, source, &target, "--skip-damaged"]);
        assert!(told.contains(&format!("skipped: {damaged} damaged rows")) && told.contains(key), "{key}: {told}");
        expect(0, &["info", &target]);
    }
    let info = expect(3, &["info", source, "--json"]);
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["damaged"], damaged);
}

/// A volume in SQLite in which one statement has done harm.
fn sqlite(folder: &Folder, name: &str, sql: &str) -> String {
    let url = folder.sqlite(name);
    expect(0, &["load", VOLUME, &url]);
    let database = rusqlite::Connection::open(folder.path(name)).unwrap();
    assert_eq!(database.execute(sql, []).unwrap(), 1);
    url
}

#[test]
fn a_chunk_that_is_cut_is_told_by_its_key_in_every_engine() {
    for engine in engines() {
        let source = loaded(engine.as_ref(), VOLUME);
        carried_but_for(&source, &engine.cut_a_chunk(&source), 1);
    }
}

#[test]
fn a_node_of_no_type_is_told_by_its_key_in_sqlite() {
    let folder = Folder::new();
    let url =
        sqlite(&folder, "typeless.db", "UPDATE jfs_node SET type = 0 WHERE inode = (SELECT min(inode) FROM jfs_chunk)");
    let database = rusqlite::Connection::open(folder.path("typeless.db")).unwrap();
    let inode =
        database.query_row("SELECT inode FROM jfs_node WHERE type = 0", [], |row| row.get::<_, i64>(0)).unwrap();
    carried_but_for(&url, &inode.to_string(), 1);
}

#[test]
fn damaged_rows_of_redis() {
    let redis = Redis::start();
    expect(0, &["load", VOLUME, &redis.url()]);
    let inode = file_with_two_names(&redis);
    redis.cli(&["SET", &format!("i{inode}"), &"x".repeat(50)]);
    // Its parent rows are carried to where there are any.
    carried_but_for(&redis.url(), &format!("i{inode}"), 1);
    let redis = Redis::start();
    expect(0, &["load", VOLUME, &redis.url()]);
    redis.cli(&["HSET", "d1", "crooked", "abc"]);
    carried_but_for(&redis.url(), "d1", 1);
}

fn file_with_two_names(redis: &Redis) -> String {
    let parents = redis.cli(&["--raw", "--scan", "--pattern", "p*"]);
    parents.lines().next().unwrap().trim_start_matches('p').to_owned()
}

/// SQLite has no parent rows: there they follow from the entries, whatever the source says of them.
#[test]
fn parent_rows_that_follow_from_nothing() {
    let (redis, folder) = (Redis::start(), Folder::new());
    expect(0, &["load", VOLUME, &redis.url()]);
    redis.cli(&["HINCRBY", &format!("p{}", file_with_two_names(&redis)), "1", "5"]);
    redis.cli(&["HSET", "p999999", "1", "2"]);
    let told = expect_error(3, &["migrate", &redis.url(), &folder.sqlite("volume.db")]);
    assert!(told.contains("parent rows count") && told.contains("rows that do not follow from the others"), "{told}");
    expect(0, &["info", &folder.sqlite("volume.db")]);
}
