//! Targets that are taken stay as they are; what dies or fails leaves nothing.

use metaferry_codecs::juicefs::{FileType, Kind, Node};
use metaferry_pipeline::{Error, ErrorKind};
use rusqlite::Connection;

use super::super::SqliteAddress;
use super::kit::{Folder, copy, fixture, prepared, read, seal, sql};

const SETTING: &[u8] = br#"{"Name":"new","UUID":"6f0b5f4e-0000-4000-8000-000000000000","TrashDays":1}"#;

fn refused(folder: &Folder, name: &str) -> Error {
    let before = folder.files();
    let error = prepared(&folder.path(name)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(folder.files() == before, "{:?}: {error:?}", folder.names());
    error
}

#[test]
fn a_target_with_anything_in_it_is_refused_and_named() {
    let folder = Folder::new();
    folder.put("volume.db", &fixture("tour/sqlite/store.db"));
    assert!(refused(&folder, "volume.db").to_string().contains("the volume tour is in it"));
    sql(&folder.path("songs.db"), "CREATE TABLE songs (title)");
    assert!(refused(&folder, "songs.db").to_string().contains("1 tables are in it, such as songs"));
    folder.put("letter.txt", b"dear reader, this is a letter and no database at all");
    assert!(refused(&folder, "letter.txt").to_string().contains("no database"));
    folder.put("new.db-wal", b"frames");
    assert!(refused(&folder, "new.db").to_string().contains("new.db-wal lies beside it"));
    std::fs::create_dir(folder.path("folder.db")).unwrap();
    assert_eq!(prepared(&folder.path("folder.db")).err().unwrap().kind(), ErrorKind::Refused);
    assert_eq!(prepared(&folder.path("nowhere/new.db")).err().unwrap().kind(), ErrorKind::Config);
}

#[test]
fn an_empty_database_is_replaced() {
    let folder = Folder::new();
    let from = folder.store("plain");
    folder.put("zero.db", b"");
    sql(&folder.path("dropped.db"), "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT); DROP TABLE t");
    sql(&folder.path("log.db"), "PRAGMA journal_mode = WAL; CREATE TABLE t (id); DROP TABLE t");
    for name in ["zero.db", "dropped.db", "log.db"] {
        copy(&from, &folder.path(name));
        assert_eq!(read(&folder.path(name)), read(&from), "{name}");
    }
    assert_eq!(folder.names(), ["dropped.db", "log.db", "store.db", "zero.db"]);
}

#[test]
fn what_came_into_being_meanwhile_is_not_replaced() {
    for before in [None, Some(&b""[..])] {
        let folder = Folder::new();
        if let Some(bytes) = before {
            folder.put("new.db", bytes);
        }
        let (sink, loader) = prepared(&folder.path("new.db")).unwrap();
        loader.finish().unwrap();
        sql(&folder.path("new.db"), "CREATE TABLE songs (title)");
        let error = sink.commit(seal(SETTING)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
        assert_eq!(folder.names(), ["new.db"]);
        assert!(Connection::open(folder.path("new.db")).unwrap().prepare("SELECT title FROM songs").is_ok());
    }
}

#[test]
fn two_loads_into_one_target_are_one_too_many() {
    let folder = Folder::new();
    let first = prepared(&folder.path("new.db")).unwrap();
    let error = prepared(&folder.path("new.db")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("another load into it is under way"), "{error:?}");
    drop(first);
    assert_eq!(folder.names(), Vec::<String>::new());
    let (sink, loader) = prepared(&folder.path("new.db")).unwrap();
    loader.finish().unwrap();
    sink.commit(seal(SETTING)).unwrap();
    assert_eq!(folder.names(), ["new.db"]);
}

#[test]
fn what_dead_loads_left_is_cleared_and_nothing_else() {
    let folder = Folder::new();
    for name in [".new.db.metaferry-4711", ".new.db.metaferry-4711-journal", ".new.db.metaferry.lock"] {
        folder.put(name, b"left");
    }
    folder.put(".new.db.bak.metaferry-4711", b"of another target");
    drop(prepared(&folder.path("new.db")).unwrap());
    assert_eq!(folder.names(), [".new.db.bak.metaferry-4711"]);
}

#[test]
fn what_does_not_fit_is_named_and_leaves_nothing() {
    let node = |inode: u64| Node { inode, kind: FileType::REGULAR, ..Node::default() };
    let cases = [
        (Node { length: 1 << 63, ..node(5) }, "inode 5: its length"),
        (Node { atime: i64::MAX / 1_000_000 + 1, ..node(6) }, "inode 6: its atime"),
        (node(u64::MAX), "inode 18446744073709551615: its inode"),
    ];
    for (node, part) in cases {
        let folder = Folder::new();
        let (sink, mut loader) = prepared(&folder.path("new.db")).unwrap();
        let error = loader.load(vec![node].into()).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains(part), "{error:?}");
        drop((sink, loader));
        assert_eq!(folder.names(), Vec::<String>::new());
    }
    let folder = Folder::new();
    let (_sink, mut loader) = prepared(&folder.path("new.db")).unwrap();
    let error = loader.load(vec![node(7), node(7)].into()).unwrap_err();
    assert!(error.to_string().contains("inode 7") && error.to_string().contains("same key"), "{error:?}");
}

#[test]
fn the_prefix_of_the_tables_is_that_of_the_address() {
    let folder = Folder::new();
    let url = |name: &str| format!("sqlite3://{}?cache=shared&table_prefix=vol1", folder.path(name).display());
    let address = SqliteAddress::parse(&url("store.db")).unwrap();
    assert_eq!(address.to_string(), format!("sqlite3://{}?table_prefix=vol1", folder.path("store.db").display()));
    let mut sink: Box<dyn metaferry_pipeline::Sink<_>> = Box::new(super::super::SqliteSink::new(address.clone()));
    sink.prepare(&super::kit::about(), &metaferry_pipeline::Stop::new()).unwrap();
    sink.loader().unwrap().finish().unwrap();
    sink.commit(seal(SETTING)).unwrap();
    sql(
        &folder.path("store.db"),
        "SELECT indx FROM jfs_vol1_chunk INDEXED BY UQE_jfs_vol1_chunk_chunk WHERE inode = 1",
    );
    let source: Box<dyn metaferry_pipeline::Source<_>> = Box::new(super::super::SqliteSource::new(address));
    let snapshot = source.snapshot(1, &metaferry_pipeline::Stop::new()).unwrap();
    assert_eq!(super::kit::rows(snapshot.as_ref()).of(Kind::Counter).len(), 6);
    assert_eq!(super::kit::open(&folder.path("store.db"), 1).err().unwrap().kind(), ErrorKind::Corrupt);
    assert_eq!(SqliteAddress::parse("sqlite3://").unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(SqliteAddress::parse("sqlite3://a?table_prefix=%60").unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(SqliteAddress::parse("sqlite3://a.db").unwrap(), SqliteAddress::file("a.db"));
}
