//! Restores that end elsewhere than in an engine: in a file, whole or a directory alone.

use crate::kit::{Folder, expect, expect_error, metaferry};

fn backed_up(folder: &Folder) -> (String, String) {
    let (source, repository) = (folder.sqlite("volume.db"), format!("repo+file://{}", folder.path("repository")));
    expect(0, &["load", "synthetic://?files=2000&dirs=100&seed=7", &source]);
    expect(0, &["backup", "--keep-secrets", &source, &repository]);
    (source, repository)
}

#[test]
fn a_backup_is_restored_into_a_file_as_the_volume_would_be_dumped() {
    let folder = Folder::new();
    let (source, repository) = backed_up(&folder);
    for name in ["one.jsonl.zst", "one.json", "one.json.gz", "one.bin"] {
        let (restored, dumped) = (folder.path(name), folder.path(&format!("dumped-{name}")));
        expect(0, &["restore", "--keep-secrets", &repository, &restored]);
        expect(0, &["dump", "--keep-secrets", &source, &dumped]);
        expect(0, &["verify", &restored, &dumped]);
    }
    expect(0, &["verify", &repository, &folder.path("one.jsonl.zst")]);
    let read = |name: &str| std::fs::read(folder.path(name)).unwrap();
    assert!(read("one.json") == read("dumped-one.json"), "JSON is the same, byte by byte");
    let piped = metaferry(&["restore", "--keep-secrets", "--format", "json", &repository, "-"]);
    assert!(piped.stdout == read("one.json"));
}

#[test]
fn a_directory_of_a_backup_is_restored_into_a_file_or_an_engine() {
    let folder = Folder::new();
    let (source, repository) = backed_up(&folder);
    let listed = expect(0, &["ls", &source, "/"]);
    let words = |line: &'_ str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let directory = listed.lines().map(words).find(|words| words.len() == 8 && words[1].starts_with('d')).unwrap();
    let path = format!("/{}", directory[7]);
    let (from_backup, from_source) = (folder.path("one.json"), folder.path("two.json"));
    expect(0, &["restore", "--keep-secrets", "--subdir", &path, &repository, &from_backup]);
    expect(0, &["dump", "--keep-secrets", "--subdir", &path, &source, &from_source]);
    assert!(std::fs::read(&from_backup).unwrap() == std::fs::read(&from_source).unwrap());
    let engine = folder.sqlite("part.db");
    expect(0, &["restore", "--keep-secrets", "--subdir", &path, "--margin", "0", "--verify", &repository, &engine]);
    assert_eq!(expect(0, &["ls", &engine, "/"]), expect(0, &["ls", &source, &path]));
}

#[test]
fn what_only_an_engine_has_is_refused_for_a_file_and_a_database_that_is_not_said_to_be_one_too() {
    let folder = Folder::new();
    let (_, repository) = backed_up(&folder);
    let target = folder.path("one.json");
    for option in [&["--margin", "5"][..], &["--scan-bucket"], &["--mend"], &["--verify"], &["--widen"]] {
        let told = expect_error(2, &[&["restore", &repository, &target][..], option].concat());
        assert!(told.contains(option[0]), "{told}");
    }
    expect_error(2, &["restore", "--format", "json", &repository, &folder.sqlite("other.db")]);
    let told = expect_error(2, &["restore", &repository, &folder.path("other.db")]);
    assert!(told.contains("sqlite3://"), "{told}");
    assert!(!std::path::Path::new(&target).exists() && !std::path::Path::new(&folder.path("other.db")).exists());
}

#[test]
fn what_a_restore_moves_on_is_told_by_verify_and_no_difference() {
    let folder = Folder::new();
    let (_, repository) = backed_up(&folder);
    let engine = folder.sqlite("restored.db");
    expect(0, &["restore", "--keep-secrets", "--margin", "5000", &repository, &engine]);
    let told = expect(0, &["verify", &repository, &engine]);
    assert!(told.contains("nextChunk is 5000 ahead") && told.contains("nextInode is 5000 ahead"), "{told}");
    expect(3, &["verify", &engine, &repository]);
    let database = rusqlite::Connection::open(folder.path("restored.db")).unwrap();
    database.execute("UPDATE jfs_node SET uid = uid + 1 WHERE inode = 2", []).unwrap();
    let told = expect(3, &["verify", &repository, &engine]);
    assert!(told.contains("differs: counter") && told.contains("differs: node"), "{told}");
}
