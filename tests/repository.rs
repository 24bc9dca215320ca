//! Backups: what goes into a repository comes out of it equal; what did not change is not sent again; what is killed, altered
//! or removed does no harm to the rest, and is named.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::kit::{Folder, archive_rows, expect, metaferry, read_data};

pub(crate) fn repository(folder: &Folder) -> String {
    format!("repo+file://{}", folder.path("repository"))
}

/// Makes a backup, and returns its name, new bytes and total bytes.
#[track_caller]
pub(crate) fn backup(source: &str, repository: &str) -> (String, u64, u64) {
    let output = metaferry(&["backup", "--json", "--keep-secrets", source, repository]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{source}: {told}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let made = lines.into_iter().find(|line| line["event"] == "backup").unwrap();
    let bytes = |name: &str| made[name].as_u64().unwrap();
    (made["name"].as_str().unwrap().to_owned(), bytes("new_bytes"), bytes("total_bytes"))
}

pub(crate) fn files(folder: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(path.to_str().unwrap()));
        } else {
            found.insert(path);
        }
    }
    found
}

pub(crate) fn bytes(files: &BTreeSet<PathBuf>) -> u64 {
    files.iter().map(|path| path.metadata().unwrap().len()).sum()
}

#[test]
fn every_fixture_comes_back_equal() {
    for volume in ["empty", "encrypted", "plain", "tour", "wideid"] {
        let folder = Folder::new();
        let store = folder.unpack(&format!("{volume}/sqlite/store.db"), "store.db");
        let (source, repository) = (format!("sqlite3://{store}"), repository(&folder));
        backup(&source, &repository);
        expect(0, &["verify", &source, &repository]);
        expect(0, &["verify", &repository]);
        let copy = folder.sqlite("copy.db");
        let restored = metaferry(&["restore", "--keep-counters", "--verify", &repository, &copy]);
        assert!(matches!(restored.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&restored.stderr));
        expect(0, &["verify", &source, &copy]);
        let (one, two) = (folder.path("one"), folder.path("two"));
        for (from, to) in [(&source, &one), (&repository, &two)] {
            let dumped = metaferry(&["dump", "--keep-secrets", from, to]);
            assert!(matches!(dumped.status.code(), Some(0 | 3)));
        }
        assert_eq!(archive_rows(&one), archive_rows(&two), "{volume}");
    }
}

#[test]
fn a_source_that_gives_rows_in_no_order_makes_the_same_blobs() {
    let folder = Folder::new();
    let repository = repository(&folder);
    let rdb = folder.unpack("tour/redis/store.rdb", "store.rdb");
    backup(&format!("rdb://{rdb}?db=0"), &repository);
    expect(0, &["verify", &format!("rdb://{rdb}?db=0"), &repository]);
    let packs = files(&folder.path("repository/packs"));
    let archive = folder.path("archive");
    assert!(matches!(metaferry(&["dump", "--keep-secrets", &repository, &archive]).status.code(), Some(0 | 3)));
    let (_, new, _) = backup(&archive, &repository);
    assert_eq!((new, files(&folder.path("repository/packs"))), (0, packs), "an archive of it adds nothing");
    assert!(!read_data("tour/redis/store.rdb").is_empty());
}

#[test]
fn a_second_backup_sends_what_changed() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), repository(&folder));
    expect(0, &["load", "synthetic://?files=200000&dirs=2000&seed=7", &source]);
    let root = folder.path("repository");
    let (first, new, total) = backup(&source, &repository);
    let there = bytes(&files(&root));
    assert!(new <= there && there < new + 100_000, "{new} new bytes, {there} are there");
    assert!(total <= new, "{total} of {new}");
    let (second, none, same) = backup(&source, &repository);
    let after = bytes(&files(&root));
    let unchanged = (after - there) as f64 / there as f64;
    println!("first backup: {there} bytes; unchanged: {} more, {:.3} %", after - there, unchanged * 100.0);
    assert!((none, same) == (0, total) && unchanged < 0.01, "{unchanged}");
    let files_touched = touch(&folder.path("volume.db"));
    let (third, ..) = backup(&source, &repository);
    let touched = (bytes(&files(&root)) - after) as f64 / there as f64;
    println!("1 % of the directories touched, {files_touched} files: {:.3} % more", touched * 100.0);
    assert!(touched < 0.06, "{touched}");
    assert_eq!(BTreeSet::from([&first, &second, &third]).len(), 3);
    let listed = metaferry(&["backups", "--json", &repository]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 3);
    // Two may be begun in one second: it is named which is meant.
    expect(0, &["verify", &source, &format!("{repository}@{third}")]);
    let id = first.rsplit_once('-').unwrap().1.to_owned();
    expect(3, &["verify", &source, &format!("{repository}@{id}")]);
    expect(0, &["verify", &format!("{repository}@{first}"), &format!("{repository}@{second}")]);
}

/// Touches one directory in a hundred and every file in it: times and contents change. Returns how many files that are.
pub(crate) fn touch(path: &str) -> i64 {
    let database = rusqlite::Connection::open(path).unwrap();
    let directories =
        "CREATE TEMP TABLE touched AS SELECT parent FROM jfs_edge GROUP BY parent ORDER BY (parent * 7919) % 10007
        LIMIT (SELECT max(1, count(DISTINCT parent) / 100) FROM jfs_edge)";
    database.execute_batch(directories).unwrap();
    let files = "SELECT inode FROM jfs_edge WHERE type = 1 AND parent IN touched";
    let count = database.query_row(&format!("SELECT count(*) FROM ({files})"), [], |row| row.get(0)).unwrap();
    let times = "UPDATE jfs_node SET mtime = mtime + 1000000, ctime = ctime + 1000000 WHERE inode IN";
    database.execute_batch(&format!("{times} touched; {times} ({files});")).unwrap();
    database.execute(&format!("UPDATE jfs_chunk SET slices = slices || slices WHERE inode IN ({files})"), []).unwrap();
    count
}

#[test]
fn a_moment_and_an_id_name_a_backup() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), repository(&folder));
    expect(0, &["load", "synthetic://?files=100&seed=7", &source]);
    let (name, ..) = backup(&source, &repository);
    for which in ["latest", &name, name.rsplit_once('-').unwrap().1, "2199-01-01", "2199-01-01T00:00:00Z"] {
        expect(0, &["verify", &format!("{repository}@{which}")]);
    }
    expect(1, &["verify", &format!("{repository}@2001-01-01")]);
    expect(1, &["verify", &format!("{repository}@0000000000000000")]);
    expect(2, &["verify", &format!("{repository}@yesterday")]);
    expect(1, &["backups", &format!("repo+file://{}", folder.path("nowhere"))]);
    assert!(!Path::new(&folder.path("nowhere")).exists());
    expect(4, &["restore", &repository, &source]);
    expect(0, &["ls", &repository, "/"]);
    expect(0, &["info", &repository]);
}

#[test]
fn a_byte_that_was_flipped_is_named_with_the_rows_that_are_lost() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), repository(&folder));
    expect(0, &["load", "synthetic://?files=20000&seed=7", &source]);
    let (name, ..) = backup(&source, &repository);
    let (again, ..) = backup(&source, &repository);
    let packs = files(&folder.path("repository/packs"));
    let pack = packs.iter().next().unwrap();
    let whole = std::fs::read(pack).unwrap();
    let mut altered = whole.clone();
    let place = altered.len() / 3;
    altered[place] ^= 0x10;
    std::fs::write(pack, &altered).unwrap();
    let output = metaferry(&["verify", &repository]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{told}");
    // Both were begun in one second, perhaps: either is the newest.
    let newest = [&name, &again].map(|name| told.contains(&format!("damaged: backup {name}: rows of kind ")));
    assert!(newest.contains(&true), "{told}");
    assert!([&name, &again].iter().all(|name| told.contains(&format!("hurt: backup {name}\n"))), "{told}");
    assert!(told.contains(" of packs/"), "{told}");
    let copy = folder.sqlite("copy.db");
    let output = metaferry(&["restore", &repository, &copy]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!Path::new(&folder.path("copy.db")).exists());
    expect(3, &["restore", "--salvage", &repository, &copy]);
    std::fs::remove_file(pack).unwrap();
    expect(1, &["restore", &repository, &folder.sqlite("other.db")]);
    std::fs::write(pack, &whole).unwrap();
    expect(0, &["verify", &source, &repository]);
}

#[test]
fn a_newer_repository_and_an_altered_manifest_are_refused() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), repository(&folder));
    expect(0, &["load", "synthetic://?files=100&seed=7", &source]);
    let (name, ..) = backup(&source, &repository);
    let manifest = folder.path(&format!("repository/manifests/{name}"));
    let mut object = std::fs::read(&manifest).unwrap();
    object[20] ^= 1;
    std::fs::write(&manifest, object).unwrap();
    expect(1, &["verify", &repository]);
    let config = folder.path("repository/metaferry-repository");
    let newer = std::fs::read_to_string(&config).unwrap().replace("\"format\":1", "\"format\":2");
    std::fs::write(&config, newer).unwrap();
    for args in [vec!["backup", &source, &repository], vec!["backups", &repository]] {
        let output = metaferry(&args);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("version 2"), "{output:?}");
    }
}

#[test]
fn a_backup_that_is_killed_is_gone_on_from() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), repository(&folder));
    expect(0, &["load", "synthetic://?files=1000000&seed=7", &source]);
    let mut child =
        Command::new(env!("CARGO_BIN_EXE_metaferry")).args(["backup", "-q", &source, &repository]).spawn().unwrap();
    let index = folder.path("repository/index");
    while files(&index).is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(files(&folder.path("repository/manifests")).is_empty());
    let listed = metaferry(&["backups", "--json", &repository]);
    assert!(listed.status.success() && listed.stdout.is_empty());
    let there = files(&folder.path("repository/packs"));
    let (_, new, total) = backup(&source, &repository);
    println!("killed with {} packs there; then {new} of {total} bytes were sent", there.len());
    assert!(new + 16_000_000 < total, "{new} of {total}");
    expect(0, &["verify", &source, &repository]);
}

#[test]
fn two_backups_at_once_both_hold() {
    let folder = Folder::new();
    let (one, two, repository) = (folder.sqlite("one.db"), folder.sqlite("two.db"), repository(&folder));
    expect(0, &["load", "synthetic://?files=50000&seed=7", &one]);
    expect(0, &["load", "synthetic://?files=60000&seed=7", &two]);
    let start = |source: &str| {
        Command::new(env!("CARGO_BIN_EXE_metaferry")).args(["backup", "-q", source, &repository]).spawn().unwrap()
    };
    let mut both = [start(&one), start(&two)];
    both.iter_mut().for_each(|child| assert!(child.wait().unwrap().success()));
    let listed = metaferry(&["backups", "--json", &repository]);
    let text = String::from_utf8(listed.stdout).unwrap();
    let backups: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(backups.len(), 2);
    for backup in backups {
        let source = if backup["origin"].as_str().unwrap().contains("one.db") { &one } else { &two };
        let id = backup["id"].as_str().unwrap();
        expect(0, &["verify", source, &format!("{repository}@{id}")]);
    }
}

#[test]
fn secrets_stay_out_unless_they_are_asked_for() {
    let folder = Folder::new();
    let store = folder.unpack("tour/sqlite/store.db", "store.db");
    let source = format!("sqlite3://{store}");
    let repository = repository(&folder);
    let output = metaferry(&["backup", &source, &repository]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("--keep-secrets"), "{output:?}");
}

/// Runs the built program with a passphrase in its environment.
fn with_passphrase(passphrase: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metaferry"));
    command.env("METAFERRY_PASSPHRASE", passphrase).args(args).output().unwrap()
}

#[test]
fn an_encrypted_repository_opens_with_its_passphrase_alone_and_gives_nothing_away() {
    let folder = Folder::new();
    let store = folder.unpack("tour/sqlite/store.db", "store.db");
    let (source, repository) = (format!("sqlite3://{store}"), repository(&folder));
    let secret = "correct horse battery staple";
    let made = with_passphrase(secret, &["backup", &source, &repository]);
    assert!(matches!(made.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&made.stderr));
    let again = with_passphrase(secret, &["backup", "--json", &source, &repository]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("\"new_bytes\":0"), "{again:?}");
    let copy = folder.sqlite("copy.db");
    let restored = with_passphrase(secret, &["restore", "--keep-counters", &repository, &copy]);
    assert!(matches!(restored.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&restored.stderr));
    // The secrets of the volume are there too, which a plain repository has not.
    let (one, two) = (folder.path("one"), folder.path("two"));
    for (from, to) in [(&source, &one), (&copy, &two)] {
        assert!(matches!(metaferry(&["dump", "--keep-secrets", from, to]).status.code(), Some(0 | 3)));
    }
    assert_eq!(archive_rows(&one), archive_rows(&two));
    for args in [vec!["backups", &repository], vec!["backup", &source, &repository], vec!["verify", &repository]] {
        assert_eq!(metaferry(&args).status.code(), Some(2), "{args:?}: without a passphrase");
        assert_eq!(with_passphrase("wrong", &args).status.code(), Some(2), "{args:?}");
    }
    for path in files(&folder.path("repository")) {
        let object = std::fs::read(&path).unwrap();
        let magic = object.windows(4).any(|window| window == [0x28, 0xb5, 0x2f, 0xfd]);
        assert!(!magic, "{path:?} has a frame that anyone can read");
    }
    let plain = format!("repo+file://{}", folder.path("plain"));
    backup(&source, &plain);
    assert_eq!(with_passphrase(secret, &["backup", &source, &plain]).status.code(), Some(4));
}

#[test]
fn what_came_went_and_changed_is_told_by_its_path() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), repository(&folder));
    expect(0, &["load", "synthetic://?files=2000&dirs=100&seed=7", &source]);
    let (first, ..) = backup(&source, &repository);
    let database = rusqlite::Connection::open(folder.path("volume.db")).unwrap();
    let (parent, gone, moved, kept): (i64, Vec<u8>, Vec<u8>, Vec<u8>) = database
        .query_row(
            "SELECT parent, min(name), max(name), (SELECT name FROM jfs_edge AS one WHERE one.parent = jfs_edge.parent
             AND type = 1 ORDER BY name LIMIT 1 OFFSET 1) FROM jfs_edge WHERE type = 1 AND parent > 1
             GROUP BY parent HAVING count(*) > 3 ORDER BY parent DESC LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    let edge = "parent = ?1 AND name = ?2";
    database.execute(&format!("DELETE FROM jfs_edge WHERE {edge}"), (parent, &gone)).unwrap();
    let rename = format!("UPDATE jfs_edge SET name = CAST('a new name' AS BLOB) WHERE {edge}");
    database.execute(&rename, (parent, &moved)).unwrap();
    let touch =
        format!("UPDATE jfs_node SET mtime = mtime + 1 WHERE inode = (SELECT inode FROM jfs_edge WHERE {edge})");
    database.execute(&touch, (parent, &kept)).unwrap();
    let (second, ..) = backup(&source, &repository);
    let [left, right] = [first, second].map(|name| format!("{repository}@{name}"));
    let told = expect(3, &["diff", &left, &right]);
    let (head, entries) = told.split_once('\n').unwrap();
    assert!(head.starts_with('/') && head.ends_with(':'), "{told}");
    let [gone, moved, kept] = [gone, moved, kept].map(|name| String::from_utf8(name).unwrap());
    for line in [format!("  - {gone}\n"), format!("  - {moved}\n"), "  + a new name\n".to_owned()] {
        assert!(entries.contains(&line), "{line} in {told}");
    }
    assert!(entries.contains(&format!("  ~ {kept}: attributes\n")), "{told}");
    assert!(told.contains("1 added, 2 removed, 1 changed, in 1 directories"), "{told}");
    let told = expect(3, &["diff", "--by-directory", &left, &source]);
    assert!(told.starts_with(&format!("{} 1 added, 2 removed, 1 changed\n", head)), "{told}");
    let told = expect(3, &["diff", "--json", &right, &left]);
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let added: Vec<_> = lines.iter().filter(|line| line["change"] == "added").map(|line| &line["name"]).collect();
    assert!(added.len() == 2 && added.contains(&&Value::from(gone.as_str())), "{told}");
    assert!(expect(0, &["diff", &right, &source]).starts_with("0 added, 0 removed, 0 changed"));
}
