//! Zips as Kylin and other tools make them.

use std::process::Command;

use metaferry_pipeline::{ErrorKind, Sink as _, Stop};

use super::super::{BackupSink, BackupSource, Form, Reading};
use super::kit::*;
use super::made::*;

#[test]
fn entries_of_all_sorts_are_read() {
    let folder = Folder::new();
    let mut entries = entries();
    entries[1].method = 0;
    entries[2].flags = 1 << 3;
    entries[3].flags = 1 << 3 | 1 << 11;
    // A time in seconds, as Java writes it of what is older than 1980.
    entries[4].extra = [b"UT\x05\x00\x01".as_slice(), &86_400_u32.to_le_bytes()].concat();
    entries.push(made("/p2/", b""));
    let yielded = all(&folder.zip(&zip(&entries)));
    assert_eq!(yielded.rows.len(), 11);
    assert_eq!(yielded.rows[4].ts, 86_400_000);
    assert_eq!(yielded.findings.left_behind["folders in the zip"], 1);
    assert_eq!(yielded.setting.unwrap().offset, Some(7));
    assert!(yielded.is_ordered, "_image and folders have no place among keys");
}

#[test]
fn entries_in_any_order_are_sorted_on_the_way() {
    let folder = Folder::new();
    let mut entries = entries();
    entries.reverse();
    let path = folder.zip(&zip(&entries));
    let yielded = all(&path);
    assert!(!yielded.is_ordered);
    assert_eq!(yielded.rows.len(), 11);
    copy_backup(&path, &folder.path("to"), Form::Zip).unwrap();
    assert!(all(&folder.path("to")).is_ordered);
}

#[test]
fn a_zip_takes_them_as_they_come_where_it_may_and_none_twice() {
    let folder = Folder::new();
    let mut entries = entries();
    entries.reverse();
    let backwards = || BackupSource::open(&folder.zip(&zip(&entries)), Reading::default()).unwrap();
    let to = |name| BackupSink::create(&folder.path(name), Form::Zip).in_any_order();
    copied(backwards(), to("to")).unwrap();
    let written = all(&folder.path("to"));
    assert!(!written.is_ordered);
    assert_eq!((written.rows.len(), written.findings.census.len()), (11, 0));

    let twice = [("/p/x", "1"), ("/p/a", ""), ("/p/x", "2")].map(|(key, content)| resource(key, content.as_bytes()));
    let mut sink = to("twice");
    sink.prepare(&about(), &Stop::new()).unwrap();
    let mut loader = sink.loader().unwrap();
    loader.load(twice.to_vec().into()).unwrap();
    assert!(loader.finish().unwrap_err().to_string().contains("a key comes twice"));
}

#[test]
fn of_entries_that_come_again_the_last_is_taken() {
    let folder = Folder::new();
    let mut entries = entries();
    entries.push(made("/p1/execute/job", b"second"));
    entries.push(made("/p2/x", b""));
    entries.push(made("/p1/execute/job", b"last"));
    let path = folder.zip(&zip(&entries));
    let yielded = all(&path);
    let found: Vec<_> = yielded.rows.iter().filter(|row| row.key == b"/p1/execute/job").collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].content, b"last");
    assert_eq!(yielded.findings.census["entry that comes again"].count, 2);
    copy_backup(&path, &folder.path("to"), Form::Zip).unwrap();
    assert_eq!(all(&folder.path("to")).rows.len(), 12);
    // Next to each other, too.
    let mut entries = self::entries();
    entries.insert(8, made("/p1/execute/job", b"first"));
    let yielded = all(&folder.zip(&zip(&entries)));
    assert!(yielded.is_ordered && yielded.findings.census["entry that comes again"].count == 1);
}

#[test]
fn a_zip_of_an_ordinary_tool_is_refused_in_words() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    let made = Command::new("python3")
        .args(["-m", "zipfile", "-c"])
        .arg(folder.path("metadata.zip"))
        .args(["UUID", "_image", "_global", "p1", "p2"].map(|name| from.join(name)))
        .status();
    assert!(made.expect("install the package python3").success());
    let error = refusal(&folder.path("metadata.zip"));
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("12 entries do not begin with a slash"), "{error}");
    assert!(error.to_string().contains("would read the zip as empty"), "{error}");
    assert!(read(&folder.path("metadata.zip"), unchecked()).is_err());
    // One is enough.
    let mut entries = entries();
    entries[9].name.remove(0);
    let error = refusal(&folder.zip(&zip(&entries)));
    assert!(error.to_string().contains("1 entries do not begin with a slash"), "{error}");
}

#[test]
fn a_zip_with_many_entries_has_its_numbers_in_64_bits() {
    let folder = Folder::new();
    let mut rows = vec![resource("/_global/project/p.json", b"{}")];
    rows.extend((0..70_000).map(|number| resource(&format!("/p/{number:05}"), b"{}")));
    let store = store(metaferry_codecs::kylin::Layout::Flat, rows);
    copied(store, BackupSink::create(&folder.path("to"), Form::Zip)).unwrap();
    let bytes = std::fs::read(folder.path("to/metadata.zip")).unwrap();
    assert!(bytes.windows(4).rev().take(200).any(|at| at == b"PK\x06\x06"));
    assert_eq!(all(&folder.path("to")).rows.len(), 70_001);
    let script = "import sys, zipfile; print(len(zipfile.ZipFile(sys.argv[1]).infolist()))";
    let output = Command::new("python3").args(["-c", script]).arg(folder.path("to/metadata.zip")).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "70002");
}

#[test]
fn keys_that_are_no_text_are_refused_for_a_zip() {
    let folder = Folder::new();
    let mut row = resource("/p/x", b"");
    row.key.push(0xff);
    let store = store(metaferry_codecs::kylin::Layout::Flat, vec![row]);
    let error = copied(store, BackupSink::create(&folder.path("to"), Form::Zip)).unwrap_err();
    assert!(error.to_string().contains("not UTF-8"), "{error}");
    let mut entries = entries();
    entries[9].name.push(0xff);
    assert!(refusal(&folder.zip(&zip(&entries))).to_string().contains("not UTF-8"));
    assert!(!folder.names().contains(&"to".to_owned()));
}

#[test]
fn zips_of_older_kylins_and_of_nothing_are_refused() {
    let folder = Folder::new();
    for (entries, why) in [
        (vec![], "an empty zip"),
        (vec![made("/cube/c.json", b"{}"), made("/project/p.json", b"{}")], "Kylin 2 to 4"),
        (vec![made("/x/y", b"{}")], "no metadata of Kylin"),
        (vec![made("/UUID", UUID)], "no resource"),
        (
            vec![made("/UUID", UUID), made("/_image", b"{\"offset\":1}"), made("/p/x", b"{}")],
            "illegal projects : \"p\"",
        ),
        (vec![made("/_global/project/p.json", b"{}"), made("/p/../../x", b"")], "leads to another folder"),
        (vec![made("/_global/project/p.json", b"{}"), made("/p//x", b"")], "is empty"),
        (vec![made("/_global/project/p.json", b"{}"), made("/_image", b"{}")], "no offset"),
    ] {
        let error = refusal(&folder.zip(&zip(&entries)));
        assert!(error.to_string().contains(why), "{error}");
    }
}
