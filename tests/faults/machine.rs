//! Disks that are full, and folders that cannot be written.

use super::kit::{Small, failed, no_volume};
use crate::kit::redis::Redis;
use crate::kit::{Folder, expect, metaferry};

const VOLUME: &str = "synthetic://?files=20000&seed=5";
const NOTHING: (&str, &str) = ("NOTHING", "");

#[test]
fn a_full_disk_leaves_no_archive() {
    for bytes in [4_096, 65_536, 400_000] {
        let small = Small::new(bytes);
        let target = small.folder.path("volume");
        let error = failed(1, &small.metaferry(&["dump", VOLUME, &target], NOTHING));
        assert!(error.contains("volume: write at byte") || error.contains("volume: no"), "{error}");
        assert_eq!(small.folder.names(), [""; 0]);
    }
}

#[test]
fn a_full_disk_leaves_no_database() {
    let folder = Folder::new();
    expect(0, &["load", VOLUME, &folder.sqlite("whole.db")]);
    let whole = std::fs::metadata(folder.path("whole.db")).unwrap().len();
    // Too small for a table, for the rows, for the indexes, and for the last of them.
    for bytes in [8_192, whole / 4, whole * 3 / 4, whole - 200_000] {
        let small = Small::new(bytes);
        let target = small.folder.sqlite("volume.db");
        let error = failed(1, &small.metaferry(&["load", VOLUME, &target], NOTHING));
        assert!(error.contains("full") || error.contains("volume.db"), "{error}");
        assert_eq!(small.folder.names(), [""; 0], "{bytes} of {whole} bytes");
        no_volume(&target);
    }
}

/// By what is sorted on the way, and by the indexes.
#[test]
fn a_full_folder_for_temporary_files_is_named() {
    let (folder, small, redis) = (Folder::new(), Small::new(65_536), Redis::start());
    expect(0, &["load", "synthetic://?files=300000&seed=5", &redis.url()]);
    let (spill, target, server) = (small.folder.path(""), folder.sqlite("volume.db"), redis.url());
    let tight = ["--memory", "16", "--spill-dir", &spill];
    let indexed = small.metaferry(&["load", "synthetic://?files=600000&seed=5", &target], ("SQLITE_TMPDIR", &spill));
    let error = failed(1, &indexed);
    // A limit on the size of files is met by what is sorted before an index.
    assert!(
        error.contains("free some space, also for temporary files") || error.contains("spill directory"),
        "{error}"
    );
    assert_eq!(folder.names(), [""; 0]);
    let args = [&["migrate", &server, &target][..], &tight].concat();
    let error = failed(1, &small.metaferry(&args, NOTHING));
    assert!(error.contains(&spill) && error.contains("--spill-dir"), "{error}");
    assert_eq!(folder.names(), [""; 0]);
    assert_eq!(small.folder.names(), [""; 0]);
}

#[test]
fn a_folder_that_cannot_be_written_is_said_to_be() {
    let small = Small::new(1 << 20);
    let folder = if small.seal() { small.folder.path("") } else { "/proc/self/task/".to_owned() };
    let (archive, database) = (format!("{folder}volume"), format!("sqlite3://{folder}volume.db"));
    for (code, args) in [(1, ["dump", VOLUME, &archive]), (4, ["load", VOLUME, &database])] {
        let error = failed(code, &metaferry(&args));
        assert!(error.contains("volume"), "{error}");
    }
    let absent = Folder::new();
    failed(2, &metaferry(&["dump", VOLUME, &absent.path("no/volume")]));
    failed(2, &metaferry(&["load", VOLUME, &absent.sqlite("no/volume.db")]));
    failed(2, &metaferry(&["load", VOLUME, &absent.sqlite("v.db"), "--spill-dir", &absent.path("no")]));
    assert_eq!(absent.names(), [""; 0]);
}
