//! Pipes at either end, differences, and what a program reads instead of a person.

use serde_json::Value;

use super::kit::{ENDLESS, drain, failed, shell};
use crate::kit::{Folder, expect, metaferry};

const VOLUME: &str = "synthetic://?files=3000&seed=5";

#[test]
fn a_dump_goes_through_a_pipe_into_a_load() {
    let folder = Folder::new();
    let target = folder.sqlite("volume.db");
    let done = shell("set -o pipefail; \"$m\" dump \"$1\" - | \"$m\" load - \"$2\"", &[VOLUME, &target]);
    assert!(done.status.success(), "{done:?}");
    expect(0, &["verify", VOLUME, &target]);
    let cut = shell("\"$m\" dump \"$1\" - | head -c 20000 | \"$m\" load - \"$2\"", &[VOLUME, &folder.sqlite("cut.db")]);
    assert_eq!(cut.status.code(), Some(1), "{cut:?}");
    assert_eq!(folder.names(), ["volume.db"]);
}

#[test]
fn a_reader_that_goes_away_is_an_error_of_a_dump() {
    let gone = shell("\"$m\" dump \"$1\" - | head -c 100 > /dev/null; exit ${PIPESTATUS[0]}", &[ENDLESS]);
    let error = failed(1, &gone);
    assert!(error.contains("standard output") && error.contains("reader"), "{error}");
    let full = shell("\"$m\" dump \"$1\" - > /dev/full", &[VOLUME]);
    failed(1, &full);
    failed(1, &metaferry(&["dump", ENDLESS, "/dev/full"]));
}

#[test]
fn a_reader_that_goes_away_is_none_of_what_is_only_told() {
    for args in ["info \"$1\"", "info \"$1\" --json", "verify \"$1\" \"$1\"", "completions bash", "man", "--help"] {
        let line = format!("exec 3> >(exec sleep 0); sleep 0.2; \"$m\" {args} >&3 2>&3");
        let output = shell(&line, &["synthetic://?files=50"]);
        assert_eq!(output.status.code(), Some(0), "{args}: {output:?}");
    }
    let folder = Folder::new();
    let line = "exec 3> >(exec sleep 0); sleep 0.2; \"$m\" load \"$1\" \"$2\" >&3 2>&3";
    let output = shell(line, &[VOLUME, &folder.sqlite("volume.db")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    expect(0, &["info", &folder.sqlite("volume.db")]);
}

#[test]
fn differences_are_told() {
    let folder = Folder::new();
    let url = folder.sqlite("volume.db");
    expect(0, &["load", VOLUME, &url]);
    let database = rusqlite::Connection::open(folder.path("volume.db")).unwrap();
    let changed = database.execute("UPDATE jfs_node SET uid = uid + 1 WHERE inode BETWEEN 100 AND 149", []).unwrap();
    assert_eq!(changed, 50);
    drop(database);
    let told = expect(3, &["verify", VOLUME, &url, "--limit", "7"]);
    assert_eq!(told.matches("differs: node").count(), 7, "{told}");
    assert!(told.contains("not equal: 50 rows differ, 43 of them not shown"), "{told}");
    let told: Value = serde_json::from_str(&expect(3, &["verify", VOLUME, &url, "--json"])).unwrap();
    assert_eq!((&told["equal"], &told["rows_differing"]), (&Value::Bool(false), &Value::from(50)));
    assert_eq!(told["rows"].as_array().unwrap().len(), 20);
    let none: Value = serde_json::from_str(&expect(3, &["verify", VOLUME, &url, "--json", "--limit", "0"])).unwrap();
    assert_eq!(none["rows"].as_array().unwrap().len(), 0);
    let told = expect(3, &["verify", VOLUME, &url, "--limit", "0"]);
    assert!(told.contains("buckets differ in what the volume is"), "{told}");
}

#[test]
fn what_a_load_mended_is_told_from_what_was_lost() {
    let folder = Folder::new();
    let (wrong, archive, right) = (folder.sqlite("wrong.db"), folder.path("volume"), folder.sqlite("right.db"));
    expect(0, &["load", VOLUME, &wrong]);
    let change = |name: &str, sql: &str| {
        let database = rusqlite::Connection::open(folder.path(name)).unwrap();
        assert!(database.execute(sql, []).unwrap() > 0, "{sql}");
    };
    change("wrong.db", "UPDATE jfs_counter SET value = 7 WHERE name = 'usedSpace'");
    change("wrong.db", "UPDATE jfs_node SET nlink = 9 WHERE inode = (SELECT max(inode) FROM jfs_edge WHERE type = 1)");
    change("wrong.db", "UPDATE jfs_dir_stats SET used_space = 5 WHERE inode = 1");
    change("wrong.db", "UPDATE jfs_chunk_ref SET refs = 4 WHERE chunkid = (SELECT max(chunkid) FROM jfs_chunk_ref)");
    expect(3, &["dump", &wrong, &archive]);
    expect(0, &["load", &archive, &right, "--mend"]);
    for (memory, source) in [("16", &wrong), ("64", &archive)] {
        let told = expect(3, &["verify", source, &right, "--memory", memory]);
        assert!(told.contains("not equal: 4 rows differ, all of them mended by the load"), "{told}");
        assert_eq!(told.matches("(mended)").count(), 4, "{told}");
    }
    // The other way round, what is right is what differs.
    let told = expect(3, &["verify", &right, &wrong]);
    assert!(told.contains("not equal: 4 rows differ: 4 in what can be worked out"), "{told}");
    change("right.db", "UPDATE jfs_node SET uid = uid + 1 WHERE inode = 1");
    change("right.db", "DELETE FROM jfs_edge WHERE id = (SELECT max(id) FROM jfs_edge)");
    change("right.db", "UPDATE jfs_dir_stats SET used_space = 6 WHERE inode = 1");
    let told: Value =
        serde_json::from_str(&expect(3, &["verify", &archive, &right, "--json", "--limit", "4"])).unwrap();
    let counts = ["primary_rows", "derived_rows", "mended_rows", "rows_differing"].map(|name| told[name].as_u64());
    assert_eq!(counts, [2, 1, 3, 6].map(Some));
    let classes: Vec<_> = told["rows"].as_array().unwrap().iter().map(|row| row["class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["primary", "primary", "derived", "mended"], "what was lost comes first");
}

#[test]
fn json_can_be_read_by_a_program() {
    let folder = Folder::new();
    let (archive, target) = (folder.path("volume"), folder.sqlite("volume.db"));
    let cases = [
        (0, "done", vec!["dump", VOLUME, &archive]),
        (0, "done", vec!["load", &archive, &target]),
        (0, "verdict", vec!["verify", &archive, &target]),
        (0, "info", vec!["info", &target]),
        (4, "error", vec!["load", &archive, &target]),
        (1, "error", vec!["info", "/dev/null/nothing"]),
        (2, "error", vec!["info", "gopher://h"]),
    ];
    for (code, event, args) in cases {
        let output = metaferry(&[args, vec!["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let lines = [drain(output.stdout.as_slice()), drain(output.stderr.as_slice())].concat();
        let lines: Vec<Value> =
            String::from_utf8(lines).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.iter().all(|line| line["version"] == 1), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line["event"] == event).count(), 1, "{lines:?}");
    }
}
