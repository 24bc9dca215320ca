//! Repositories that have no room, and prunes that are killed or meet agents: every backup that is listed holds.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::kit::{Small, failed};
use crate::agent::{Agent, listed};
use crate::kit::{Folder, expect, metaferry};

fn all_hold(repository: &str) -> usize {
    let backups = listed(repository);
    for backup in &backups {
        expect(0, &["verify", &format!("{repository}@{}", backup["name"].as_str().unwrap())]);
    }
    backups.len()
}

fn touch(folder: &Folder, step: u32) {
    let database = rusqlite::Connection::open(folder.path("volume.db")).unwrap();
    database.busy_timeout(Duration::from_secs(60)).unwrap();
    database.execute("UPDATE jfs_node SET mtime = mtime + 1 WHERE inode % 7 = ?1", [step % 7]).unwrap();
}

#[test]
fn a_full_disk_ends_a_backup_and_hurts_no_earlier_one() {
    let small = Small::new(1 << 30);
    if !small.is_mounted() {
        return;
    }
    let folder = Folder::new();
    let (first, second) = (folder.sqlite("first.db"), folder.sqlite("second.db"));
    expect(0, &["load", "synthetic://?files=5000&seed=5", &first]);
    expect(0, &["load", "synthetic://?files=100000&seed=6", &second]);
    let repository = format!("repo+file://{}", small.folder.path("repository"));
    expect(0, &["backup", &first, &repository]);
    // No room for a pack, and for some.
    for megabytes in [2, 3, 6] {
        small.grow(megabytes << 20);
        let error = failed(1, &metaferry(&["backup", &second, &repository]));
        assert!(error.contains("No space left on device") || error.contains("StorageFull"), "{megabytes}: {error}");
        assert_eq!(all_hold(&repository), 1, "{megabytes}");
    }
    small.grow(1 << 30);
    expect(0, &["backup", &second, &repository]);
    assert_eq!(all_hold(&repository), 2);
    expect(0, &["verify", &second, &repository]);
}

#[test]
fn a_prune_that_is_killed_anywhere_leaves_backups_that_hold() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), format!("repo+file://{}", folder.path("repository")));
    expect(0, &["load", "synthetic://?files=20000&seed=7", &source]);
    for round in 0..12 {
        touch(&folder, round);
        expect(0, &["backup", "-q", &source, &repository]);
        std::thread::sleep(Duration::from_millis(1000));
        let args = ["prune", "--keep-last", "2", "--grace", "0s", "--trust-clock", &repository];
        let mut prune = Command::new(env!("CARGO_BIN_EXE_metaferry"))
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A whole one takes some twenty milliseconds.
        std::thread::sleep(Duration::from_millis(2 + 2 * u64::from(round)));
        drop(prune.kill());
        prune.wait().unwrap();
        assert!(all_hold(&repository) >= 1);
    }
    for _ in 0..2 {
        expect(0, &["prune", "--keep-last", "2", "--grace", "0s", &repository]);
    }
    assert_eq!(all_hold(&repository), 2);
    expect(0, &["verify", &source, &repository]);
}

#[test]
fn agents_and_prunes_at_once_leave_backups_that_hold() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), format!("repo+file://{}", folder.path("repository")));
    expect(0, &["load", "synthetic://?files=20000&seed=7", &source]);
    let start = |name| {
        let args = [&source, &repository, "--every", "1s", "--keep-last", "4", "--verify-every", "3s"];
        Agent::start(&folder, name, &args)
    };
    let (agents, begun, mut prunes) = ([start("one"), start("two")], Instant::now(), 0);
    for step in 0.. {
        touch(&folder, step);
        let pruned = metaferry(&["prune", "--keep-last", "3", "--grace", "3s", &repository]);
        prunes += usize::from(pruned.status.success());
        let told = String::from_utf8_lossy(&pruned.stderr).into_owned();
        assert!(pruned.status.success() || told.contains("there is no"), "{told}");
        if begun.elapsed() > Duration::from_secs(12) {
            break;
        }
    }
    for agent in agents {
        agent.end();
    }
    let backups = all_hold(&repository);
    println!("{prunes} prunes; {backups} backups are there");
    assert!(backups >= 3 && prunes > 5, "{backups} backups, {prunes} prunes");
}
