//! Writing: what is read back is what was loaded, in the tables that JuiceFS itself would have made.

use metaferry_codecs::juicefs::{
    Counter, DirStat, FileType, Kind, Limit, Links, Node, Quota, Sustained, Token, Xattr, quota_class,
};
use rusqlite::Connection;

use super::kit::{Folder, VOLUMES, copy, number, open, prepared, read, rows, seal};

const SETTING: &[u8] = br#"{"Name":"new","UUID":"6f0b5f4e-0000-4000-8000-000000000000","TrashDays":1}"#;

#[test]
fn a_copy_of_every_fixture_has_the_same_rows() {
    for volume in VOLUMES {
        let folder = Folder::new();
        let (from, to) = (folder.store(volume), folder.path("copy.db"));
        let uncommitted = copy(&from, &to);
        let (mut before, mut after) = (read(&from), read(&to));
        before.left_behind.clear();
        after.left_behind.clear();
        assert_eq!(before, after, "{volume}");
        let mut all_but_setting = after;
        all_but_setting.lines.remove(&Kind::Setting);
        assert_eq!(uncommitted.lines, all_but_setting.lines, "{volume}");
        assert_eq!(folder.names(), ["copy.db", "store.db"], "{volume}");
        let check: String =
            Connection::open(&to).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok", "{volume}");
    }
}

fn schema(path: &std::path::Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement =
        connection.prepare("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn classes(path: &std::path::Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let sql = "SELECT DISTINCT 'edge', typeof(name), typeof(type) FROM jfs_edge
        UNION ALL SELECT DISTINCT 'xattr', typeof(name), typeof(value) FROM jfs_xattr
        UNION ALL SELECT DISTINCT 'symlink', typeof(target), '' FROM jfs_symlink
        UNION ALL SELECT DISTINCT 'setting', typeof(name), typeof(value) FROM jfs_setting
        UNION ALL SELECT DISTINCT 'counter', typeof(name), typeof(value) FROM jfs_counter
        UNION ALL SELECT DISTINCT 'delslices', typeof(slices), '' FROM jfs_delslices
        UNION ALL SELECT DISTINCT 'acl', typeof(named_users), typeof(named_groups) FROM jfs_acl
        UNION ALL SELECT DISTINCT 'token', typeof(token), '' FROM jfs_delegation_token
        UNION ALL SELECT 'value', hex(name), hex(value) FROM jfs_xattr
        UNION ALL SELECT 'sequence', name, seq FROM sqlite_sequence WHERE name LIKE 'jfs_acl' OR name LIKE '%token'";
    let mut statement = connection.prepare(sql).unwrap();
    let cell = |row: &rusqlite::Row<'_>, index| format!("{:?}", row.get_ref(index).unwrap());
    let line = |row: &rusqlite::Row<'_>| Ok(cell(row, 0) + &cell(row, 1) + &cell(row, 2));
    let mut lines: Vec<String> = statement.query_map([], line).unwrap().map(Result::unwrap).collect();
    lines.sort();
    lines
}

#[test]
fn tables_indexes_and_storage_classes_are_those_of_juicefs() {
    for volume in ["tour", "wideid"] {
        let folder = Folder::new();
        let (from, to) = (folder.store(volume), folder.path("copy.db"));
        copy(&from, &to);
        let own = |path: &std::path::Path| schema(path).iter().map(|sql| sql.trim().to_owned()).collect::<Vec<_>>();
        assert_eq!(own(&from), own(&to), "{volume}");
        assert_eq!(classes(&from), classes(&to), "{volume}");
    }
}

/// A volume of these batches, and nothing else.
macro_rules! volume {
    ($folder:expr, $($rows:expr),*) => {{
        let path = $folder.path("new.db");
        let (sink, mut loader) = prepared(&path).unwrap();
        $(loader.load($rows.into()).unwrap();)*
        loader.finish().unwrap();
        sink.commit(seal(SETTING)).unwrap();
        path
    }};
}

fn counter(name: &[u8], value: i64) -> Counter {
    Counter { name: name.to_vec(), value }
}

#[test]
fn counters_that_a_client_needs_are_there_and_serials_go_on_where_they_were() {
    let folder = Folder::new();
    let counters = vec![counter(b"nextInode", 77), counter(b"aclMaxId", 9), counter(b"krbTokenMaxId", 4)];
    let path = volume!(folder, counters);
    let rows = read(&path);
    let expected = [
        ("aclMaxId", 9),
        ("krbTokenMaxId", 4),
        ("nextChunk", 1),
        ("nextCleanupSlices", 0),
        ("nextInode", 77),
        ("nextSession", 0),
        ("totalInodes", 0),
        ("usedSpace", 0),
    ];
    let line = |(name, value): &(&str, i64)| match value {
        0 => format!("{{\"name\":\"{name}\"}}"),
        _ => format!("{{\"name\":\"{name}\",\"value\":{value}}}"),
    };
    let mut expected: Vec<_> = expected.iter().map(line).collect();
    expected.sort();
    assert_eq!(rows.of(Kind::Counter), expected);
    super::kit::sql(&path, "INSERT INTO jfs_acl (owner) VALUES (7)");
    assert_eq!(number(&path, "SELECT max(id) FROM jfs_acl"), 10);
}

#[test]
fn a_sustained_file_gets_a_session_that_has_expired() {
    let folder = Folder::new();
    let held = |sid, inode| Sustained { sid, inode };
    let path = volume!(folder, vec![held(3, 5), held(3, 6), held(4, 5)]);
    let stale = "SELECT count(*) FROM jfs_session2 WHERE expire < unixepoch() AND CAST(info AS TEXT) = '{}'";
    assert_eq!(number(&path, stale), 2);
    assert_eq!(read(&path).of(Kind::Sustained).len(), 3);
    assert_eq!(open(&path, 1).unwrap().about().live_sessions, 0);
}

#[test]
fn times_of_every_sign_come_back() {
    let folder = Folder::new();
    let times = [
        (0, 0),
        (1_700_000_000, 999_999_999),
        (-1, 999_999_999),
        (-1, 1),
        (-62_135_596_800, 500),
        (9_000_000_000_000, 7),
    ];
    let node = |(inode, &(atime, atimensec)): (usize, &(i64, u32))| Node {
        inode: inode as u64 + 1,
        kind: FileType::REGULAR,
        atime,
        atimensec,
        ..Node::default()
    };
    let nodes: Vec<_> = times.iter().enumerate().map(node).collect();
    let mut expected = super::kit::Rows::default();
    metaferry_pipeline::Emit::emit(&mut expected, nodes.clone().into()).unwrap();
    let path = volume!(folder, nodes);
    assert_eq!(read(&path).of(Kind::Node), expected.of(Kind::Node));
    assert_eq!(number(&path, "SELECT atime * 1000 + atimensec FROM jfs_node WHERE inode = 4"), -999_999_999);
}

#[test]
fn rows_are_amended_by_key() {
    let folder = Folder::new();
    let path = folder.path("new.db");
    let (mut sink, mut loader) = prepared(&path).unwrap();
    let node = |inode| Node { inode, kind: FileType::DIRECTORY, nlink: 2, ..Node::default() };
    loader.load((1..=100).map(node).collect::<Vec<_>>().into()).unwrap();
    loader.load(vec![DirStat { inode: 1, length: 5, space: 5, inodes: 5 }].into()).unwrap();
    loader.amend(vec![Links { inode: 40, nlink: 7 }].into()).unwrap();
    loader
        .amend(
            vec![DirStat { inode: 1, length: 6, space: 7, inodes: 8 }, DirStat { inode: 2, ..DirStat::default() }]
                .into(),
        )
        .unwrap();
    assert!(loader.amend(vec![Links { inode: 400, nlink: 7 }].into()).is_err());
    loader.finish().unwrap();
    let rows = rows(sink.uncommitted().unwrap().as_ref());
    assert_eq!(rows.of(Kind::Node).iter().filter(|line| line.contains("\"nlink\":7")).count(), 1);
    assert_eq!(rows.of(Kind::DirStat).len(), 2);
    assert!(rows.of(Kind::DirStat)[0].contains("\"dataLength\":6"));
    sink.commit(seal(SETTING)).unwrap();
    assert_eq!(read(&path).of(Kind::Node), rows.of(Kind::Node));
}

#[test]
fn quotas_go_where_their_class_is_and_tokens_without_bytes_keep_their_id() {
    let folder = Folder::new();
    let quota = |class, id| Quota { class, id, max_space: Limit(-1), max_inodes: Limit(5), ..Quota::default() };
    let quotas = vec![quota(quota_class::USER, 0), quota(quota_class::DIRECTORY, 9), quota(quota_class::GROUP, 0)];
    let xattr = Xattr { inode: 1, name: b"user.\xff\x00".to_vec(), value: Vec::new() };
    let token = Token { id: 6, token: Vec::new() };
    let path = volume!(folder, quotas, vec![xattr], vec![token]);
    assert_eq!(number(&path, "SELECT count(*) FROM jfs_dir_quota WHERE inode = 9"), 1);
    assert_eq!(number(&path, "SELECT count(*) FROM jfs_user_group_quota WHERE qtype IN (1, 2)"), 2);
    let rows = read(&path);
    assert_eq!(rows.of(Kind::Quota).len(), 3);
    assert_eq!((rows.of(Kind::Xattr).len(), rows.of(Kind::Token).len()), (1, 1));
}
