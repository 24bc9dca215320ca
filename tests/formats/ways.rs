//! Every format through every wrapping and through pipes, and converted into every other.

use std::collections::{HashMap, HashSet};
use std::process::{Command, Stdio};

use metaferry_codecs::juicefs::TRASH_INODE;
use metaferry_codecs::juicefs::envelope::{Algorithm, PrivateKey, Sealer};
use serde_json::Value;

use crate::kit::{Folder, archive_rows, expect, expect_error, metaferry};

const VOLUME: &str = "synthetic://?files=3000&seed=12";
const FORMATS: [&str; 7] = ["archive", "json", "json.gz", "json.zst", "binary", "binary.gz", "binary.zst"];

/// Rows of what can be told from any dump of a volume; rules stand where their ids would, which a JSON dump does not have.
fn carried(folder: &Folder, source: &str, name: &str) -> Vec<String> {
    let archive = folder.path(name);
    expect(0, &["dump", source, &archive]);
    let kinds = ["setting", "node", "edge", "chunk", "symlink", "xattr", "quota", "dirStat", "parent", "sliceRef"];
    let rows: Vec<(String, Value)> = archive_rows(&archive)
        .iter()
        .map(|row| row.split_once(' ').unwrap())
        .map(|(kind, row)| (kind.to_owned(), serde_json::from_str(row).unwrap()))
        .collect();
    let rules: HashMap<u64, Value> = rows
        .iter()
        .filter(|(kind, _)| kind == "acl")
        .map(|(_, row)| {
            let mut rule = row.clone();
            let id = rule["id"].take().as_u64().unwrap();
            (id, rule)
        })
        .collect();
    let row = |(kind, mut row): (String, Value)| {
        for field in ["accessACL", "defaultACL"] {
            if let Some(id) = row.get_mut(field) {
                *id = rules[&id.as_u64().unwrap()].clone();
            }
        }
        format!("{kind} {row}")
    };
    // What is open and has no name is in no tree.
    let inode = |row: &Value| row["inode"].as_u64();
    let named: HashSet<_> = rows.iter().filter(|(kind, _)| kind == "edge").filter_map(|(_, row)| inode(row)).collect();
    let has_name =
        |row: &Value| inode(row).is_none_or(|inode| inode == 1 || inode >= TRASH_INODE || named.contains(&inode));
    let carried = rows.into_iter().filter(|(kind, row)| kinds.contains(&kind.as_str()) && has_name(row));
    let mut carried: Vec<_> = carried.map(row).collect();
    carried.sort();
    carried
}

/// Where two lists differ first.
fn difference<'a>(left: &'a [String], right: &'a [String]) -> Option<(&'a String, &'a String)> {
    let last = left.iter().zip(right).find(|(one, other)| one != other);
    last.or_else(|| (left.len() != right.len()).then(|| (left.last().unwrap(), right.last().unwrap())))
}

#[test]
fn every_format_goes_through_a_pipe() {
    let folder = Folder::new();
    let expected = carried(&folder, VOLUME, "expected");
    for format in FORMATS {
        let target = folder.sqlite(&format!("{format}.db"));
        let program = env!("CARGO_BIN_EXE_metaferry");
        let mut dump = Command::new(program)
            .args(["dump", VOLUME, "-", "--format", format, "--quiet"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let load = Command::new(program)
            .args(["load", "-", &target, "--verify", "--quiet"])
            .stdin(dump.stdout.take().unwrap())
            .output()
            .unwrap();
        assert!(dump.wait().unwrap().success(), "{format}");
        assert_eq!(load.status.code(), Some(0), "{format}: {}", String::from_utf8_lossy(&load.stderr));
        assert_eq!(difference(&carried(&folder, &target, &format!("{format}.again")), &expected), None, "{format}");
    }
}

#[test]
fn names_of_files_say_how_they_are_written() {
    let folder = Folder::new();
    for (name, begins) in [
        ("dump.json", &b"{\n  \"Setting\""[..]),
        ("dump.json.gz", &[0x1f, 0x8b, 8]),
        ("dump.gz", &[0x1f, 0x8b, 8]),
        ("dump.json.zst", &[0x28, 0xb5, 0x2f, 0xfd]),
        ("dump.json.zstd", &[0x28, 0xb5, 0x2f, 0xfd]),
        ("dump.bin.gz", &[0x1f, 0x8b, 8]),
        ("dump.jsonl.zst", &[0x28, 0xb5, 0x2f, 0xfd]),
    ] {
        let path = folder.path(name);
        expect(0, &["dump", VOLUME, &path]);
        assert!(std::fs::read(&path).unwrap().starts_with(begins), "{name}");
    }
    let plain = std::fs::read(folder.path("dump.json")).unwrap();
    for name in ["dump.json.gz", "dump.gz"] {
        let output = Command::new("gzip").args(["-dc", &folder.path(name)]).output().unwrap();
        assert!(output.stdout == plain, "{name}");
    }
    assert!(zstd::decode_all(std::fs::File::open(folder.path("dump.json.zst")).unwrap()).unwrap() == plain);
    // What is wrapped twice is told by what it is, whatever it is called.
    let twice = folder.path("twice.dat");
    let gzip = Command::new("gzip").args(["-c", &folder.path("dump.jsonl.zst")]).output().unwrap();
    std::fs::write(&twice, gzip.stdout).unwrap();
    expect(0, &["verify", &twice, VOLUME]);
}

#[test]
fn files_are_converted_into_each_other() {
    let folder = Folder::new();
    let (archive, json, binary) = (folder.path("a"), folder.path("b.json"), folder.path("c.bin"));
    expect(0, &["dump", VOLUME, &archive]);
    expect(0, &["convert", &archive, &json]);
    expect(0, &["convert", &archive, &binary]);
    let (one, other) = (carried(&folder, &binary, "one"), carried(&folder, &archive, "other"));
    assert_eq!(difference(&one, &other), None);
    let (from_json, from_binary) = (folder.path("d.json"), folder.path("e.json"));
    expect(0, &["convert", &json, &from_json]);
    expect(0, &["convert", &binary, &from_binary]);
    let read = |path: &str| std::fs::read(path).unwrap();
    assert!(read(&json) == read(&from_json));
    assert!(read(&json) == read(&from_binary));
    let again = folder.path("f");
    expect(0, &["convert", &json, &again]);
    expect(0, &["load", &again, &folder.sqlite("loaded.db"), "--verify"]);
    let error = expect_error(2, &["convert", &archive, &folder.sqlite("x.db")]);
    assert!(error.contains("convert goes from a file to a file"), "{error}");
}

/// Its text is longer than what is held in memory of it.
#[test]
fn a_file_of_very_many_chunks_is_printed() {
    let folder = Folder::new();
    let volume = folder.sqlite("volume.db");
    expect(0, &["load", "synthetic://?files=300&seed=5", &volume]);
    let database = rusqlite::Connection::open(folder.path("volume.db")).unwrap();
    let many = "WITH RECURSIVE each(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM each WHERE n < 299999) \
        INSERT OR REPLACE INTO jfs_chunk (inode, indx, slices) SELECT (SELECT min(inode) FROM jfs_chunk), n, \
        (SELECT slices FROM jfs_chunk LIMIT 1) FROM each";
    database.execute(many, []).unwrap();
    let grown = "UPDATE jfs_node SET length = 300000 * (64 << 20) WHERE inode = (SELECT min(inode) FROM jfs_chunk)";
    database.execute(grown, []).unwrap();
    let dump = folder.path("dump.json");
    let text = |path: &str| std::fs::read_to_string(path).unwrap();
    metaferry(&["dump", &volume, &dump, "--threads", "2"]);
    let bytes = text(&dump).len();
    assert!(bytes > 16 << 20, "{bytes} bytes");
    metaferry(&["load", &dump, &folder.sqlite("loaded.db")]);
    expect(0, &["dump", &folder.sqlite("loaded.db"), &folder.path("again.json")]);
    let tree = |path: &str| text(path).split_once("\"FSTree\"").unwrap().1.to_owned();
    assert!(tree(&dump) == tree(&folder.path("again.json")), "the trees are not equal");
}

/// The bytes as a client encrypts its objects.
fn encrypted(bytes: &[u8], key: &str) -> Vec<u8> {
    let key = PrivateKey::read(&std::fs::read(key).unwrap(), None).unwrap();
    let mut out = Vec::new();
    let mut sealer = Sealer::begin(&key, Algorithm::named("aes256gcm-rsa").unwrap(), &mut out).unwrap();
    sealer.seal(bytes, &mut out).unwrap();
    sealer.finish(&mut out).unwrap();
    out
}

#[test]
fn an_encrypted_dump_needs_its_key() {
    let folder = Folder::new();
    let (key, other) = (folder.path("key.pem"), folder.path("other.pem"));
    for key in [&key, &other] {
        let made = Command::new("openssl").args(["genrsa", "-traditional", "-out", key, "2048"]).output().unwrap();
        assert!(made.status.success());
    }
    let plain = folder.path("dump.json.gz");
    expect(0, &["dump", VOLUME, &plain]);
    let sealed = folder.path("dump-encrypted");
    std::fs::write(&sealed, encrypted(&std::fs::read(&plain).unwrap(), &key)).unwrap();
    expect(0, &["load", &sealed, &folder.sqlite("loaded.db"), "--encrypt-rsa-key", &key, "--verify"]);
    let (loaded, made) = (carried(&folder, &folder.sqlite("loaded.db"), "one"), carried(&folder, VOLUME, "other"));
    assert_eq!(difference(&loaded, &made), None);
    let error = expect_error(2, &["load", &sealed, &folder.sqlite("no.db")]);
    assert!(error.contains("encrypted") && error.contains("--encrypt-rsa-key"), "{error}");
    let error = expect_error(1, &["load", &sealed, &folder.sqlite("no.db"), "--encrypt-rsa-key", &other]);
    assert!(error.contains("key"), "{error}");
    let error = expect_error(2, &["load", &sealed, &folder.sqlite("no.db"), "--encrypt-rsa-key", &plain]);
    assert!(error.contains("PEM") || error.contains("key"), "{error}");
    // A single flipped bit anywhere is found before anything becomes usable.
    let whole = std::fs::read(&sealed).unwrap();
    for at in [0, 1, 2, 100, 300, whole.len() / 2, whole.len() - 1] {
        let mut broken = whole.clone();
        broken[at] ^= 4;
        std::fs::write(&sealed, broken).unwrap();
        let code = metaferry(&["load", &sealed, &folder.sqlite("no.db"), "--encrypt-rsa-key", &key]).status.code();
        assert!(matches!(code, Some(1 | 2)), "byte {at}: {code:?}");
        assert!(!std::path::Path::new(&folder.path("no.db")).exists(), "byte {at}");
    }
}
