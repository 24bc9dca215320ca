//! Volumes whose objects are in a folder of the tests, what is in there, and what two volumes have in common.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Map, Value};

use super::{Folder, archive_rows, metaferry};

/// What protects the keys of encrypted volumes here.
pub(crate) const PASSPHRASE: &str = "of the tests";

/// A fixture in a file, its setting changed: objects go to a folder of the tests.
pub(crate) fn moved(folder: &Folder, fixture: &str, change: impl Fn(&mut Map<String, Value>)) -> String {
    let store = folder.unpack(&format!("{fixture}/sqlite/store.db"), "store.db");
    std::fs::create_dir_all(folder.path(&format!("bucket/{fixture}"))).unwrap();
    reset(&store, |fields| {
        fields.insert("Storage".to_owned(), "file".into());
        fields.insert("Bucket".to_owned(), folder.path("bucket/").into());
        change(fields);
    });
    format!("sqlite3://{store}")
}

/// Changes the setting of a volume in a SQLite file.
pub(crate) fn reset(path: &str, change: impl Fn(&mut Map<String, Value>)) {
    let database = rusqlite::Connection::open(path).unwrap();
    let select = "SELECT value FROM jfs_setting WHERE name = 'format'";
    let text: String = database.query_row(select, [], |row| row.get(0)).unwrap();
    let mut fields = serde_json::from_str(&text).unwrap();
    change(&mut fields);
    let text = serde_json::to_string(&fields).unwrap();
    database.execute("UPDATE jfs_setting SET value = ?1 WHERE name = 'format'", [text]).unwrap();
}

/// Runs the built program with the passphrase of a volume's key in its environment.
pub(crate) fn with_passphrase(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metaferry"));
    command.env("JFS_RSA_PASSPHRASE", PASSPHRASE).args(args).output().unwrap()
}

/// Puts a backup into the bucket of the volume at `source`, and tells its name. What is wrong with a volume is no matter here.
#[track_caller]
pub(crate) fn put(source: &str, options: &[&str]) -> String {
    let output = with_passphrase(&[&["backup", "--into-volume", "--json", source][..], options].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{told}");
    let text = String::from_utf8(output.stdout).unwrap();
    let made = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    made.into_iter().find(|line| line["event"] == "backup").unwrap()["name"].as_str().unwrap().to_owned()
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every file under a folder, with its bytes.
pub(crate) fn files(folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(path.to_str().unwrap()));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// The text in a gzip.
pub(crate) fn gunzip(bytes: &[u8]) -> String {
    let mut child = Command::new("gzip");
    let mut child = child.arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, bytes) = (child.stdin.take().unwrap(), bytes.to_vec());
    let writer = std::thread::spawn(move || drop(input.write_all(&bytes)));
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    text
}

/// Writes bytes into a file, compressed.
pub(crate) fn gzip(bytes: &[u8], path: &str) {
    std::fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
    let plain = format!("{path}.plain");
    std::fs::write(&plain, bytes).unwrap();
    let output = Command::new("gzip").args(["-1c", &plain]).output().unwrap();
    std::fs::remove_file(plain).unwrap();
    std::fs::write(path, output.stdout).unwrap();
}

/// Two volumes are the same, but for what can be worked out: a JSON dump has no statistics.
#[track_caller]
pub(crate) fn same(left: &str, right: &str) {
    let text = String::from_utf8(metaferry(&["verify", "--json", left, right]).stdout).unwrap();
    let verdict: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(verdict["primary_buckets"], 0, "{verdict}");
}

/// Two volumes have the same tree, as a JSON dump prints it: rules of access control have no numbers there.
#[track_caller]
pub(crate) fn same_tree(folder: &Folder, left: &str, right: &str) {
    let tree = |source: &str, name: &str| {
        let path = folder.path(name);
        let output = metaferry(&["dump", source, &path]);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        text.split_once("\"FSTree\"").unwrap().1.to_owned()
    };
    assert!(tree(left, "left.json") == tree(right, "right.json"), "the trees of {left} and {right} are not equal");
}

/// The counters of a volume, as an archive has them.
pub(crate) fn counters(folder: &Folder, source: &str) -> BTreeMap<String, i64> {
    let archive = folder.path(&format!("counters-{}", folder.names().len()));
    assert!(matches!(metaferry(&["dump", source, &archive]).status.code(), Some(0 | 3)));
    let rows = archive_rows(&archive);
    let rows = rows.iter().filter_map(|row| row.strip_prefix("counter "));
    let rows = rows.map(|row| serde_json::from_str::<Value>(row).unwrap());
    rows.map(|row| (row["name"].as_str().unwrap().to_owned(), row["value"].as_i64().unwrap())).collect()
}
