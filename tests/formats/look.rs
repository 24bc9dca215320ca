//! Looks before loading: ls, cat, info; parts of a volume; and secrets that a dump came without.

use serde_json::Value;

use crate::kit::{Folder, expect, expect_error, read_data};

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.rsplit(' ').next().unwrap()).collect()
}

#[test]
fn directories_are_listed_and_entries_shown_alike_of_every_source() {
    let folder = Folder::new();
    let store = folder.unpack("tour/sqlite/store.db", "tour.db");
    let (json, binary, archive) = (folder.path("t.json"), folder.path("t.bin.gz"), folder.path("t"));
    for file in [&json, &binary, &archive] {
        expect(3, &["dump", &store, file, "--quiet"]);
    }
    let listed = expect(0, &["ls", &store, "/links"]);
    assert!(lines(&listed).contains(&"c-was-linked"), "{listed}");
    let root: Value = serde_json::from_str(expect(0, &["ls", &store, "--json"]).lines().next().unwrap()).unwrap();
    assert!(root["name"].is_string() && root["node"]["inode"].is_u64(), "{root}");
    let shown = expect(0, &["cat", &store, "/links/c-was-linked"]);
    let shown_as: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown_as["attr"]["type"], "regular", "{shown}");
    for file in [&json, &binary, &archive] {
        assert_eq!(expect(0, &["ls", file, "/links/"]).lines().count(), listed.lines().count());
        assert_eq!(lines(&expect(0, &["ls", file, "/links"])), lines(&listed));
        let cat: Value = serde_json::from_str(&expect(0, &["cat", file, "/links/c-was-linked"])).unwrap();
        assert_eq!(cat["chunks"], shown_as["chunks"]);
    }
    assert_eq!(expect(0, &["ls", &store, "/.trash"]).lines().count(), 5);
    let error = expect_error(1, &["ls", &json, "/links/nothing"]);
    assert!(error.contains("/links/nothing: there is nothing of this name"), "{error}");
}

#[test]
fn a_part_of_a_volume_becomes_a_volume() {
    let folder = Folder::new();
    let store = folder.unpack("plain/sqlite/store.db", "plain.db");
    let (part, theirs) = (folder.path("part.json"), folder.path("theirs.json"));
    expect(0, &["dump", &store, &part, "--subdir", "/dir03"]);
    std::fs::write(&theirs, read_data("plain/sqlite/dump-subdir.json")).unwrap();
    // The client prints the inode that was the root, and the counters of the whole.
    let trees = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap();
        let tree: Value = serde_json::from_str::<Value>(&text).unwrap()["FSTree"].take();
        tree["entries"].clone()
    };
    assert!(trees(&part) == trees(&theirs));
    let (one, other) = (folder.sqlite("one.db"), folder.sqlite("other.db"));
    expect(0, &["load", &part, &one, "--verify"]);
    expect(0, &["load", &theirs, &other, "--verify"]);
    let direct = folder.path("direct");
    expect(0, &["dump", &store, &direct, "--subdir", "dir03"]);
    expect(0, &["load", &direct, &folder.sqlite("third.db"), "--verify"]);
    // This volume keeps no statistics: those of a JSON dump are worked out.
    let told = expect(3, &["verify", &folder.sqlite("third.db"), &one]);
    assert!(told.ends_with(" in what can be worked out\n") && !told.contains("in what the volume is"), "{told}");
    let error = expect_error(1, &["dump", &store, &folder.path("no.json"), "--subdir", "/dir99"]);
    assert!(error.contains("/dir99: there is nothing of this name"), "{error}");
    assert!(!folder.names().contains(&"no.json".to_owned()));
}

#[test]
fn info_tells_what_is_in_a_dump() {
    let folder = Folder::new();
    for (name, kinds) in [("tour/sqlite/dump.json", 9), ("tour/sqlite/dump.bin", 9)] {
        let dump = folder.unpack(name, "dump");
        let info: Value = serde_json::from_str(&expect(0, &["info", &dump, "--json"])).unwrap();
        assert_eq!(info["volume"]["name"], "tour", "{info}");
        assert!(info["rows"].as_object().unwrap().len() >= kinds, "{info}");
    }
}

#[test]
fn a_secret_that_a_dump_came_without_is_asked_for_or_put_back() {
    let folder = Folder::new();
    let dump = folder.unpack("tour/sqlite/dump.json", "dump.json");
    let target = folder.sqlite("one.db");
    let told = expect_error(0, &["load", &dump, &target]);
    let command = format!("juicefs config '{target}' --secret-key … --session-token …");
    assert!(told.contains(&command), "{told}");
    let key = folder.path("key");
    std::fs::write(&key, "a new secret\n").unwrap();
    let target = folder.sqlite("two.db");
    let told = expect_error(0, &["load", &dump, &target, "--secret-key-file", &key]);
    assert!(!told.contains("--secret-key …") && !told.contains("a new secret"), "{told}");
    let database = rusqlite::Connection::open(folder.path("two.db")).unwrap();
    let setting: String =
        database.query_row("select value from jfs_setting where name = 'format'", [], |row| row.get(0)).unwrap();
    let setting: Value = serde_json::from_str(&setting).unwrap();
    let stored = setting["SecretKey"].as_str().unwrap();
    let opened = metaferry_codecs::juicefs::secret::open(stored, setting["UUID"].as_str().unwrap(), "").unwrap();
    assert_eq!(opened.as_slice(), b"a new secret");
}
