//! Dumps that were cut, altered, or never were any: one clear error, nothing that could be taken for a volume.

use std::path::Path;

use serde_json::{Value, json};

use crate::kit::{Folder, expect, expect_error, metaferry};

const VOLUME: &str = "synthetic://?files=60&seed=3";

/// Loads a file that is no whole dump: it must fail, and leave nothing.
#[track_caller]
fn fails(folder: &Folder, bytes: &[u8]) -> String {
    let (dump, target) = (folder.path("broken"), folder.sqlite("no.db"));
    std::fs::write(&dump, bytes).unwrap();
    let error = expect_error(1, &["load", &dump, &target]);
    assert!(!Path::new(&folder.path("no.db")).exists());
    error
}

#[test]
fn a_dump_that_was_cut_is_never_loaded() {
    let folder = Folder::new();
    for name in ["whole.json", "whole.bin", "whole.json.gz", "whole.bin.zst"] {
        let path = folder.path(name);
        expect(0, &["dump", VOLUME, &path]);
        let whole = std::fs::read(&path).unwrap();
        let end = whole.len() - if name.ends_with("json") { 2 } else { 1 };
        for cut in (0..end).step_by(end / 25).chain([end]) {
            let error = fails(&folder, &whole[..cut]);
            assert!(error.contains("broken"), "{name} cut at {cut}: {error}");
        }
    }
}

#[test]
fn a_flipped_byte_is_an_error_or_a_difference_and_never_a_panic() {
    let folder = Folder::new();
    // A binary dump has nothing that a changed number would contradict.
    for (name, least) in [("whole.json", 15), ("whole.bin", 6)] {
        let path = folder.path(name);
        expect(0, &["dump", VOLUME, &path]);
        let whole = std::fs::read(&path).unwrap();
        let mut errors = 0;
        for at in (0..whole.len()).step_by(whole.len() / 60) {
            let mut broken = whole.clone();
            broken[at] ^= 1 << (at % 7);
            let (dump, target) = (folder.path("broken"), folder.path("maybe.db"));
            std::fs::write(&dump, &broken).unwrap();
            let output = metaferry(&["load", &dump, &format!("sqlite3://{target}"), "--quiet"]);
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(
                matches!(output.status.code(), Some(0 | 1 | 3)) && !told.contains("panicked"),
                "{name} at {at}: {told}"
            );
            errors += usize::from(output.status.code() != Some(0));
            drop(std::fs::remove_file(target));
        }
        assert!(errors > least, "{name}: only {errors} were noticed");
    }
}

/// A dump of a tree of files.
fn dump(tree: &Value) -> Value {
    json!({
        "Setting": { "Name": "v", "UUID": "u", "TrashDays": 0, "DirStats": true },
        "Counters": { "usedSpace": 0, "usedInodes": 0, "nextInodes": 100, "nextChunk": 1, "nextSession": 0, "nextTrash": 0 },
        "Sustained": [], "DelFiles": [], "FSTree": tree,
    })
}

fn entry(inode: u64, kind: &str, more: &Value) -> Value {
    let mut entry = json!({ "attr": { "inode": inode, "type": kind, "mode": 420, "uid": 0, "gid": 0, "atime": 1, "mtime": 1,
        "ctime": 1, "nlink": 1, "length": 0 } });
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entry
}

#[test]
fn what_makes_no_sense_is_named() {
    let folder = Folder::new();
    let file = |inode| entry(inode, "regular", &json!({}));
    let directory = |inode, entries: Value| entry(inode, "directory", &json!({ "entries": entries }));
    let root = |entries: Value| dump(&directory(1, entries)).to_string();
    for (text, expected) in [
        (root(json!({ "a": directory(2, json!({ "b": directory(2, json!({})) })) })), "directory 2 is inside itself"),
        (root(json!({ "a": directory(1, json!({})) })), "directory 1 is inside itself"),
        (root(json!({ "a": file(2) })).replace("\"a\":{", "\"a\":5,\"b\":{"), "at /"),
        (root(json!({ "a": entry(2, "sponge", &json!({})) })), "sponge"),
        (
            root(json!({ "a": file(2) })).replace("\"length\":0", "\"length\":99999999999999999999"),
            "number out of range",
        ),
        (root(json!({ "a": file(2) })).replace("\"inode\":2", "\"inode\":-2"), "at /a"),
        (root(json!({ "": file(2) })), "without a name"),
        (root(json!({ "x".repeat(256): file(2) })), "256"),
        (root(json!({ "a": { "entries": {} } })), "before its attributes"),
        (root(json!({ "a": {} })), "without attributes"),
        (dump(&file(1)).to_string(), "no directory"),
        (json!({ "Setting": { "Name": "v", "UUID": "u" } }).to_string(), "FSTree"),
        (json!({ "hello": "world" }).to_string(), "no dump of JuiceFS"),
        (root(json!({})).replace("\"Name\"", "\"MetaVersion\": 9, \"Name\""), "metadata version 9"),
        (root(json!({})) + "x", "follows the end"),
        ("{".repeat(100_000), "JSON"),
    ] {
        let error = fails(&folder, text.as_bytes());
        assert!(
            error.contains(expected),
            "{expected} is not in {error}\n{}",
            text.chars().take(300).collect::<String>()
        );
    }
    // The same name twice, which no JSON value can hold, and not side by side.
    let twice = root(json!({ "a": file(2), "b": file(3), "c": file(4) })).replace("\"c\":{\"attr\"", "\"a\":{\"attr\"");
    let error = fails(&folder, twice.as_bytes());
    assert!(error.contains("\"a\" is there twice"), "{error}");
}

#[test]
fn a_chain_of_ten_thousand_directories_and_a_name_of_255_bytes_are_loaded() {
    let folder = Folder::new();
    let (depth, name) = (10_000_u64, "é".repeat(127) + "x");
    let mut text = dump(&json!(null)).to_string().replace("\"FSTree\":null", "");
    text.truncate(text.trim_end_matches(['}', ',']).len());
    text.push_str(",\"FSTree\":");
    for inode in 1..=depth {
        let mut attr = entry(inode, "directory", &json!({})).to_string();
        attr.pop();
        text.push_str(&format!("{attr},\"entries\":{{\"{}\":", if inode == depth { &name } else { "d" }));
    }
    text.push_str(&entry(depth + 1, "regular", &json!({})).to_string());
    text.push_str(&"}}".repeat(usize::try_from(depth).unwrap()));
    text.push('}');
    let (dump, again) = (folder.path("deep.json"), folder.path("again.json"));
    std::fs::write(&dump, text).unwrap();
    expect(0, &["load", &dump, &folder.sqlite("deep.db"), "--verify"]);
    expect(0, &["dump", &folder.sqlite("deep.db"), &again]);
    expect(0, &["load", &again, &folder.sqlite("more.db"), "--verify"]);
    expect(0, &["verify", &folder.sqlite("deep.db"), &folder.sqlite("more.db")]);
}

#[test]
fn a_dump_that_holds_less_than_it_promises_is_told_and_refused_when_asked() {
    let folder = Folder::new();
    let whole = folder.path("whole.json");
    expect(0, &["dump", VOLUME, &whole]);
    let text = std::fs::read_to_string(&whole).unwrap();
    let counter = text.lines().find(|line| line.contains("usedInodes")).unwrap();
    let short = folder.path("short.json");
    std::fs::write(&short, text.replace(counter, "    \"usedInodes\": 1000,")).unwrap();
    let error = expect_error(1, &["load", &short, &folder.sqlite("no.db"), "--strict"]);
    assert!(error.contains("promise 1000 inodes"), "{error}");
    assert!(!Path::new(&folder.path("no.db")).exists());
    let told = expect_error(3, &["load", &short, &folder.sqlite("short.db")]);
    assert!(told.contains("promise 1000 inodes"), "{told}");
    // A part of a volume has the counters of the whole.
    let trash = text.find(",\n  \"Trash\"").unwrap();
    std::fs::write(&short, format!("{}\n}}\n", text[..trash].replace(counter, "    \"usedInodes\": 1000,"))).unwrap();
    expect(0, &["load", &short, &folder.sqlite("part.db")]);
}
