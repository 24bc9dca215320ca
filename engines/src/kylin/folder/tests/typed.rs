//! The typed layout: `core_meta`, with a folder for each type.

use std::fs;

use metaferry_codecs::kylin::{Layout, Setting};
use metaferry_pipeline::ErrorKind;

use super::super::{BackupSink, BackupSource, Checked, Form, Reading, check};
use super::kit::*;
use super::made::*;

const KEYS: [&str; 9] = [
    "MODEL/1",
    "MODEL/2",
    "PROJECT/p",
    "PROJECT/q",
    "SYSTEM/UUID",
    "TABLE_EXD/p.DB.T",
    "TABLE_INFO/p.DB.T",
    "TABLE_INFO/p.DB.json",
    "USER_INFO/ADMIN",
];

#[test]
fn both_folders_can_be_named_and_configuration_is_never_read() {
    let folder = Folder::new();
    let from = folder.backup("from", &typed());
    // A pipe in its place would be waited for, if it were opened.
    put(&from.join("core_meta/kylin.properties"), b"kylin.metadata.url=secret", TIME);
    put(&from.join("_backup_status"), b"x", TIME);
    for (part, left) in [("", 2), ("core_meta", 1)] {
        let yielded = all(&from.join(part));
        assert_eq!(yielded.keys(), KEYS);
        assert_eq!(yielded.setting, Some(Setting { layout: Layout::Typed, offset: Some(9), project: Vec::new() }));
        assert_eq!(yielded.findings.left_behind.values().sum::<u64>(), left, "{:?}", yielded.findings);
        assert!(yielded.rows.iter().all(|row| !row.content.windows(6).any(|text| text == b"secret")));
    }
    let yielded = read(&from, Reading { without_table_exd: true, ..Reading::default() }).unwrap();
    assert!(!yielded.keys().contains(&"TABLE_EXD/p.DB.T".to_owned()));
}

#[test]
fn typed_backups_come_through_folders_and_zips() {
    let folder = Folder::new();
    let from = folder.backup("from", &typed());
    copy_backup(&from, &folder.path("files"), Form::Folder).unwrap();
    assert_eq!(resources(&folder.path("files")), resources(&from));
    copy_backup(&from, &folder.path("zipped"), Form::Zip).unwrap();
    assert_eq!(tree(&folder.path("zipped")).keys().collect::<Vec<_>>(), [b"core_meta/metadata.zip"]);
    for part in ["", "core_meta", "core_meta/metadata.zip"] {
        let yielded = all(&folder.path("zipped").join(part));
        assert_eq!(yielded.keys(), KEYS);
        assert_eq!(yielded.setting.unwrap().offset, Some(9));
        assert!(matches!(check(&folder.path("zipped").join(part), 2, &Default::default()).unwrap(), Checked::Whole(_)));
    }
    copy_backup(&folder.path("zipped"), &folder.path("back"), Form::Folder).unwrap();
    let bytes = |name: &str| tree(&folder.path(name)).into_iter().map(|(path, (bytes, _))| (path, bytes));
    assert!(bytes("back").eq(bytes("from")));
}

#[test]
fn one_project_is_told_by_content() {
    let folder = Folder::new();
    let from = folder.backup("from", &typed());
    let reading = Reading { project: Some(b"p".to_vec()), ..Reading::default() };
    let source = BackupSource::open(&from, reading).unwrap();
    copied(source, BackupSink::create(&folder.path("p"), Form::Folder)).unwrap();
    let there = all(&folder.path("p"));
    assert_eq!(
        there.keys(),
        ["MODEL/1", "PROJECT/p", "SYSTEM/UUID", "TABLE_EXD/p.DB.T", "TABLE_INFO/p.DB.T", "TABLE_INFO/p.DB.json"]
    );
    assert_eq!(there.setting, Some(Setting { layout: Layout::Typed, offset: Some(9), project: b"p".to_vec() }));
    assert!(folder.path("p/core_meta/SYSTEM/_image.json").exists(), "that of the typed layout is always there");
}

#[test]
fn what_belongs_to_no_type_is_refused() {
    for (stray, why) in [
        ("core_meta/CUBE/x.json", "illegal projects : \"CUBE\" (1 file)"),
        ("core_meta/p/x.json", "illegal projects : \"p\" (1 file)"),
        ("core_meta/stray.json", "illegal projects : \"stray.json\""),
        ("core_meta/core_meta/MODEL/1.json", "illegal projects : \"core_meta\""),
        ("core_meta/MODEL/x", "does not end in .json"),
        ("MODEL/3.json", "beside core_meta"),
        ("core_meta/_global/project/p.json", "in the flat layout"),
    ] {
        let folder = Folder::new();
        let from = folder.backup("from", &typed());
        put(&from.join(stray), b"{}", TIME);
        let error = refusal(&from);
        assert!(error.to_string().contains(why), "{stray}: {error}");
    }
    let folder = Folder::new();
    let from = folder.backup("from", &typed());
    put(&from.join("core_meta/TMP_REC/x.json"), b"{}", TIME);
    assert_eq!(all(&from).findings.left_behind.values().sum::<u64>(), 1);
    put(&from.join("core_meta/CUBE/x.json"), b"{}", TIME);
    assert_eq!(read(&from, unchecked()).unwrap().keys(), KEYS);
    fs::remove_dir_all(from.join("core_meta")).unwrap();
    fs::create_dir(from.join("core_meta")).unwrap();
    assert_eq!(refusal(&from).kind(), ErrorKind::Refused);
}

#[test]
fn entries_of_a_typed_zip_may_begin_with_a_slash() {
    let folder = Folder::new();
    let files = [("PROJECT/p.json", "{}"), ("/SYSTEM/_image.json", "{\"offset\":5}"), ("/USER_INFO/A.json", "{}")];
    let entries: Vec<_> = files.iter().map(|(name, content)| made(name, content.as_bytes())).collect();
    let yielded = all(&folder.zip(&zip(&entries)));
    assert_eq!(yielded.keys(), ["PROJECT/p", "USER_INFO/A"]);
    assert_eq!(yielded.setting.unwrap().offset, Some(5));
}

#[test]
fn keys_of_two_layouts_make_no_backup() {
    let folder = Folder::new();
    let mixed = vec![resource("/p/a", b""), resource("MODEL/1", b"")];
    let error = copied(store(Layout::Flat, mixed), BackupSink::create(&folder.path("to"), Form::Folder)).unwrap_err();
    assert!(error.to_string().contains("another layout"), "{error}");
    let flat = store(Layout::Typed, vec![resource("/p/a", b"")]);
    let error = copied(flat, BackupSink::create(&folder.path("to"), Form::Folder)).unwrap_err();
    assert!(error.to_string().contains("of the other"), "{error}");
    assert!(folder.names().is_empty());
}
