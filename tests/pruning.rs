//! What becomes of packs: pruned, doomed, lost, damaged; and that every backup that stays holds.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::kit::{Folder, expect, expect_error};
use crate::repository::{backup, bytes, files, repository, touch};

#[test]
fn what_was_found_damaged_is_sent_again_and_heals_the_backups_before() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), repository(&folder));
    expect(0, &["load", "synthetic://?files=20000&seed=7", &source]);
    let (first, ..) = backup(&source, &repository);
    let packs = files(&folder.path("repository/packs")).into_iter();
    let pack = packs.max_by_key(|pack| std::fs::metadata(pack).unwrap().len()).unwrap();
    let mut altered = std::fs::read(&pack).unwrap();
    for place in [altered.len() / 3, altered.len() / 2] {
        altered[place] ^= 0x10;
    }
    std::fs::write(&pack, &altered).unwrap();
    // Nobody has looked yet: what is there is not sent again.
    let (_, unseen, _) = backup(&source, &repository);
    let deep = expect_error(1, &["verify", "--deep", &repository]);
    assert!(deep.contains("hurt: ") && deep.contains(&first), "{deep}");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let (_, sent, total) = backup(&source, &repository);
    assert!(sent > 10 * unseen && sent > total / 2, "{unseen}, then {sent} of {total}");
    for backup in expect(0, &["backups", "--json", &repository]).lines() {
        let name = serde_json::from_str::<Value>(backup).unwrap()["name"].as_str().unwrap().to_owned();
        expect(0, &["verify", &format!("{repository}@{name}")]);
    }
    for _ in 0..3 {
        expect(0, &["prune", "--grace", "0s", &repository]);
    }
    assert!(!pack.exists() && files(&folder.path("repository/damaged")).is_empty());
    expect(0, &["verify", "--deep", &format!("{repository}@{first}")]);
}

/// Makes backups of one volume that changes, and tells their names.
fn three_backups(folder: &Folder, repository: &str) -> Vec<String> {
    let source = folder.sqlite("volume.db");
    expect(0, &["load", "synthetic://?files=20000&seed=7", &source]);
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(backup(&source, repository).0);
        touch(&folder.path("volume.db"));
        // Names differ by their seconds.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    names
}

#[test]
fn pruning_removes_what_no_rule_keeps_and_what_only_that_held() {
    let folder = Folder::new();
    let repository = repository(&folder);
    let names = three_backups(&folder, &repository);
    let told = expect(0, &["prune", "--dry-run", "--keep-last", "1", &repository]);
    assert!(told.contains(&format!("{} removed: no rule keeps it", names[0])), "{told}");
    assert!(told.contains(&format!("{} kept: one of the last 1", names[2])), "{told}");
    let all = files(&folder.path("repository"));
    assert_eq!(files(&folder.path("repository")), all, "nothing was changed");
    expect(0, &["pin", &format!("{repository}@{}", names[1])]);
    expect(0, &["prune", "--keep-last", "1", "--grace", "0s", &repository]);
    let listed = expect(0, &["backups", &repository]);
    assert!(!listed.contains(names[0].rsplit_once('-').unwrap().1) && listed.contains("pinned"), "{listed}");
    let packs = files(&folder.path("repository/packs"));
    assert!(!files(&folder.path("repository/doomed")).is_empty() || packs.len() <= 3, "{packs:?}");
    expect(0, &["unpin", &format!("{repository}@{}", names[1])]);
    // What is packed anew in one run is removed in the next.
    for _ in 0..3 {
        expect(0, &["prune", "--keep-last", "1", "--grace", "0s", &repository]);
    }
    assert!(files(&folder.path("repository/doomed")).is_empty());
    expect(0, &["verify", &repository]);
    expect(1, &["verify", &format!("{repository}@{}", names[1])]);
    let left = bytes(&files(&folder.path("repository")));
    let text = expect(0, &["backups", "--json", &repository]);
    let total = serde_json::from_str::<Value>(text.trim()).unwrap()["total_bytes"].as_u64().unwrap();
    println!("{left} bytes are left, of which the one backup takes {total}");
    assert!(left < 2 * total + 200_000, "{left} bytes are left of {total}");
    expect(0, &["restore", "--verify", &repository, &folder.sqlite("copy.db")]);
}

#[test]
fn what_is_doomed_and_needed_again_is_spared_and_what_is_not_ours_is_left_alone() {
    let folder = Folder::new();
    let repository = repository(&folder);
    let names = three_backups(&folder, &repository);
    let note = folder.path("repository/manifests/note.txt");
    std::fs::write(&note, "mine").unwrap();
    std::fs::write(folder.path("repository/packs/zz.txt"), "mine").unwrap();
    let pack = files(&folder.path("repository/packs")).into_iter().find(|path| path.extension().is_none()).unwrap();
    let name = pack.file_name().unwrap().to_str().unwrap().to_owned();
    std::fs::create_dir_all(folder.path("repository/doomed")).unwrap();
    let long_ago = "{\"mark\":{\"format\":1,\"since\":\"2001-01-01T00:00:00Z\"}}\n";
    std::fs::write(folder.path(&format!("repository/doomed/{name}")), long_ago).unwrap();
    expect(0, &["prune", "--keep-last", "3", "--grace", "0s", &repository]);
    assert!(pack.exists() && Path::new(&note).exists() && Path::new(&folder.path("repository/packs/zz.txt")).exists());
    assert!(files(&folder.path("repository/doomed")).is_empty());
    for name in &names {
        expect(0, &["verify", &format!("{repository}@{name}")]);
    }
    // The last that was verified stays.
    let told = expect(0, &["prune", "--dry-run", "--keep-last", "1", &repository]);
    assert!(told.contains(&format!("{} kept", names[2])), "{told}");
    expect(0, &["verify", &format!("{repository}@{}", names[0])]);
    let told = expect(0, &["prune", "--dry-run", "--keep-last", "1", &repository]);
    assert!(told.contains("kept: it is the last that was verified"), "{told}");
}

/// Feeds an archive to a backup, and does something when half of it is read.
fn backup_meanwhile(archive: &str, repository: &str, meanwhile: impl FnOnce()) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metaferry"));
    command
        .args(["backup", "--json", "-", repository])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let text = std::fs::read(archive).unwrap();
    // A pipe holds 64 KiB: what is behind them was read.
    assert!(text.len() > 400_000, "{}", text.len());
    let (head, tail) = text.split_at(text.len() / 2);
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(head).unwrap();
    meanwhile();
    pipe.write_all(tail).unwrap();
    drop(pipe);
    child.wait_with_output().unwrap()
}

#[test]
fn what_is_doomed_while_a_backup_uses_it_is_sent_again_and_what_is_lost_is_healed() {
    let folder = Folder::new();
    let (source, repository, archive) = (folder.sqlite("volume.db"), repository(&folder), folder.path("archive"));
    expect(0, &["load", "synthetic://?files=20000&seed=7", &source]);
    expect(0, &["dump", &source, &archive]);
    backup(&archive, &repository);
    let packs = files(&folder.path("repository/packs"));
    let mark = |since: &str| {
        std::fs::create_dir_all(folder.path("repository/doomed")).unwrap();
        for pack in &packs {
            let name = pack.file_name().unwrap().to_str().unwrap();
            let text = format!("{{\"mark\":{{\"format\":1,\"since\":\"{since}\"}}}}\n");
            std::fs::write(folder.path(&format!("repository/doomed/{name}")), text).unwrap();
        }
    };
    let output = backup_meanwhile(&archive, &repository, || mark("2001-01-01T00:00:00Z"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    // Whoever had doomed them removes them now.
    packs.iter().for_each(|pack| std::fs::remove_file(pack).unwrap());
    expect(0, &["verify", &source, &repository]);
    // What is lost while it is used is told; the next backup puts it there anew.
    std::fs::remove_dir_all(folder.path("repository/doomed")).unwrap();
    let output = backup_meanwhile(&archive, &repository, || {
        std::fs::remove_dir_all(folder.path("repository/packs")).unwrap();
    });
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("was removed while it was used"), "{told}");
    expect(1, &["verify", &repository]);
    backup(&archive, &repository);
    expect(0, &["verify", &source, &repository]);
}
