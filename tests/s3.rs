//! Backups in S3: moto's server, which is started on a spare port. Without `METAFERRY_MOTO` they are reported as ignored.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use metaferry_codecs::juicefs::setting;
use serde_json::Value;

use crate::kit::run::kill_all;
use crate::kit::s3::{Moto, Odd, Oddity};
use crate::kit::volume::{reset, same_tree};
use crate::kit::{Folder, expect, expect_error};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
#[cfg_attr(not(s3), ignore = "needs METAFERRY_MOTO")]
fn backups_in_s3_come_back_equal_and_what_is_there_is_not_sent_again() {
    let (folder, moto) = (Folder::new(), Moto::start());
    let (source, repository) = (folder.sqlite("volume.db"), moto.url());
    expect(0, &["load", "synthetic://?files=200000&seed=7", &source]);
    Moto::expect(0, &["backup", &source, &repository]);
    let again = Moto::expect(0, &["backup", "--json", &source, &repository]);
    assert!(again.contains("\"new_bytes\":0"), "{again}");
    assert_eq!(Moto::expect(0, &["backups", "--json", &repository]).lines().count(), 2);
    Moto::expect(0, &["verify", &repository]);
    Moto::expect(0, &["restore", "--margin", "0", "--verify", &repository, &folder.sqlite("copy.db")]);
    expect(0, &["verify", &source, &folder.sqlite("copy.db")]);
    Moto::expect(0, &["prune", "--keep-last", "1", "--grace", "0s", &repository]);
    Moto::expect(0, &["verify", &source, &repository]);
}

/// A volume whose objects are in the server's bucket.
fn volume(folder: &Folder, moto: &Moto, kind: &str, files: &str) -> String {
    let source = folder.sqlite(&format!("{kind}.db"));
    expect(0, &["load", &format!("synthetic://?files={files}&seed=7"), &source]);
    reset(&folder.path(&format!("{kind}.db")), |fields| {
        fields.insert("Name".to_owned(), kind.into());
        fields.insert("Storage".to_owned(), kind.into());
        fields.insert("Bucket".to_owned(), format!("http://127.0.0.1:{}/backups", moto.port).into());
        fields.insert("AccessKey".to_owned(), "test".into());
        let mut document = serde_json::to_vec(fields).unwrap();
        setting::put_secret(&mut document, "SecretKey", b"test").unwrap();
        *fields = serde_json::from_slice(&document).unwrap();
    });
    source
}

#[test]
#[cfg_attr(not(s3), ignore = "needs METAFERRY_MOTO")]
fn a_volume_has_its_own_backups_in_its_own_bucket() {
    let (folder, moto) = (Folder::new(), Moto::start());
    // One that goes in one piece, and one that goes in parts.
    for (kind, files, parts) in [("minio", "1000", false), ("s3", "400000", true)] {
        let source = volume(&folder, &moto, kind, files);
        let text = expect(0, &["backup", "--into-volume", "--json", &source]);
        let made: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(made["bytes"].as_u64().unwrap() > 8 << 20, parts, "{made}");
        let text = expect(0, &["backups", "--from-volume", "--json", &source]);
        let listed: Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((&listed["name"], &listed["bytes"]), (&made["name"], &made["bytes"]));
        let copy = folder.sqlite(&format!("{kind}-copy.db"));
        let restore = ["restore", "--margin", "0", "--scan-bucket", "--verify", "--from-volume"];
        expect(0, &[&restore[..], &[&source, &copy]].concat());
        // By the bucket alone, with the keys of the environment.
        let bucket = format!("s3://backups/{kind}?endpoint=http://127.0.0.1:{}", moto.port);
        let other = folder.sqlite(&format!("{kind}-other.db"));
        Moto::expect(0, &[&restore[..], &[&format!("{bucket}@latest"), &other]].concat());
        expect(0, &["verify", &copy, &other]);
        if !parts {
            same_tree(&folder, &source, &copy);
        }
        // The keys of a repository's volume were taken out: they are given anew.
        let repository = format!("repo+file://{}", folder.path(kind));
        expect(0, &["backup", &source, &repository]);
        let (secret, third) = (folder.path("secret"), folder.sqlite(&format!("{kind}-third.db")));
        let scan = ["restore", "--scan-bucket", &repository, &third];
        let refused = expect_error(1, &scan);
        assert!(refused.contains("SecretKey was taken out") && refused.contains("--secret-key-file"), "{refused}");
        std::fs::write(&secret, "test").unwrap();
        expect(0, &[&scan[..], &["--secret-key-file", &secret]].concat());
    }
}

#[test]
#[cfg_attr(not(s3), ignore = "needs METAFERRY_MOTO")]
fn a_bucket_that_is_not_there_is_told() {
    let (folder, moto) = (Folder::new(), Moto::start());
    let source = folder.sqlite("volume.db");
    expect(0, &["load", "synthetic://?files=100&seed=7", &source]);
    let nowhere = moto.url().replace("//backups/", "//nowhere/");
    Moto::expect(1, &["backup", &source, &nowhere]);
    Moto::expect(1, &["backups", &nowhere]);
    let volume = volume(&folder, &moto, "s3", "100");
    reset(&folder.path("s3.db"), |fields| {
        fields.insert("Bucket".to_owned(), format!("http://127.0.0.1:{}/nowhere", moto.port).into());
    });
    let refused = expect_error(1, &["backup", "--into-volume", &volume]);
    assert!(refused.contains("NoSuchBucket"), "{refused}");
}

#[test]
#[cfg_attr(not(s3), ignore = "needs METAFERRY_MOTO")]
fn one_agent_works_at_a_time_and_what_a_dead_one_has_begun_is_made() {
    let (folder, moto) = (Folder::new(), Moto::start());
    let (source, repository) = (folder.sqlite("volume.db"), moto.url());
    expect(0, &["load", "synthetic://?files=50000&seed=7", &source]);
    let args = ["agent", "--once", "--keep-secrets", "--log", "json", "--verify-every", "0s", &source, &repository];
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metaferry"));
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").args(args);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // Of those that begin at one moment one makes the backup, and none is told that the store guards nothing.
    let agents: Vec<_> = (0..4).map(|_| start()).collect();
    let said: Vec<String> = agents.into_iter().map(|agent| finished(agent.wait_with_output().unwrap())).collect();
    let of = |event: &str| said.iter().filter(|said| said.contains(&format!("\"event\":\"{event}\""))).count();
    assert_eq!((of("backup"), of("unguarded"), of("waiting") + of("busy")), (1, 0, 3), "{said:?}");
    assert_eq!(Moto::expect(0, &["backups", "--json", &repository]).lines().count(), 1);
    // The holder died, and its lease has not run out.
    let now = |seconds: i64| {
        (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).strftime("%FT%TZ").to_string()
    };
    let stamp = stamp(&source);
    let lease = |until: &str| {
        format!("{{\"lease\":{{\"format\":1,\"holder\":\"dead\",\"until\":\"{until}\",\"turn\":\"{stamp}\"}}}}\n")
    };
    moto.put("some/volume/lease", &lease(&now(100)));
    assert!(Moto::expect(0, &["status", &repository]).contains("lease: dead"));
    let said = finished(start().wait_with_output().unwrap());
    assert!(said.contains("\"event\":\"busy\"") && said.contains("dead"), "{said}");
    // Now it has: what was begun is made, though the volume says that it is not time.
    moto.put("some/volume/lease", &lease(&now(-10)));
    let said = finished(start().wait_with_output().unwrap());
    assert!(said.contains("\"event\":\"backup\""), "{said}");
    assert_eq!(Moto::expect(0, &["backups", "--json", &repository]).lines().count(), 2);
    assert!(Moto::expect(0, &["status", &repository]).contains("lease: free"));
    let said = finished(start().wait_with_output().unwrap());
    assert!(said.contains("\"event\":\"waiting\""), "{said}");
}

#[track_caller]
fn finished(output: Output) -> String {
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

/// The stamp of a volume in SQLite.
fn stamp(source: &str) -> String {
    let database = rusqlite::Connection::open(source.strip_prefix("sqlite3://").unwrap()).unwrap();
    let select = "SELECT CAST(value AS TEXT) FROM jfs_xattr WHERE inode = 1 AND name = 'lastBackup'";
    database.query_row(select, [], |row| row.get(0)).unwrap()
}

#[test]
#[cfg_attr(not(s3), ignore = "needs METAFERRY_MOTO")]
fn a_store_without_conditional_puts_is_told_and_backed_up_to_all_the_same() {
    let (folder, moto) = (Folder::new(), Moto::start());
    let source = folder.sqlite("volume.db");
    expect(0, &["load", "synthetic://?files=100&seed=7", &source]);
    for oddity in [Oddity::Refuses, Oddity::Ignores] {
        let port = Odd::before(moto.port, oddity).port;
        let repository = moto.url().replace(&format!(":{}&", moto.port), &format!(":{port}&"));
        let repository = repository.replace("some/volume", if oddity == Oddity::Refuses { "one" } else { "two" });
        let args = ["agent", "--once", "--log", "json", "--no-shared-timestamp", "--every", "1s", &source, &repository];
        for _ in 0..2 {
            let said = finished(Moto::metaferry(&args));
            let of = |event: &str| said.matches(&format!("\"event\":\"{event}\"")).count();
            assert_eq!((of("unguarded"), of("backup")), (1, 1), "{said}");
            std::thread::sleep(Duration::from_millis(1100));
        }
        assert_eq!(Moto::expect(0, &["backups", "--json", &repository]).lines().count(), 2);
    }
}

#[test]
#[cfg_attr(not(s3), ignore = "needs METAFERRY_MOTO")]
fn a_token_that_has_expired_is_told_and_answers_that_are_torn_are_asked_for_again() {
    let (folder, moto) = (Folder::new(), Moto::start());
    let source = folder.sqlite("volume.db");
    expect(0, &["load", "synthetic://?files=20000&seed=7", &source]);
    let before = |oddity| {
        let odd = Odd::before(moto.port, oddity);
        moto.url().replace(&format!(":{}&", moto.port), &format!(":{}&", odd.port))
    };
    let (expired, torn) = (before(Oddity::Expired), before(Oddity::Torn));
    for args in [&["backup", &source, &expired][..], &["backups", &expired], &["restore", &expired, &source]] {
        let output = Moto::metaferry(args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && told.contains("expired"), "{args:?}: {told}");
    }
    Moto::expect(0, &["backup", &source, &torn]);
    let copy = folder.sqlite("copy.db");
    Moto::expect(0, &["restore", "--margin", "0", &torn, &copy]);
    Moto::expect(0, &["verify", &moto.url(), &copy]);
}

#[test]
#[cfg_attr(not(s3), ignore = "needs METAFERRY_MOTO")]
fn agents_killed_at_random_before_a_store_that_fails_leave_backups_that_restore() {
    let folder = Folder::new();
    let source = folder.sqlite("volume.db");
    expect(0, &["load", "synthetic://?files=20000&seed=7", &source]);
    let database = rusqlite::Connection::open(folder.path("volume.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    let touched = |step: u64| {
        let touch = "UPDATE jfs_node SET mtime = mtime + 1 WHERE inode % 97 = ?1";
        database.execute(touch, [i64::try_from(step % 97).unwrap()]).unwrap();
    };
    let backups = agents_killed_at_random(&source, Duration::from_secs(25), touched);
    assert!(backups >= 3, "{backups} backups");
}

/// Two agents with a period of a second back a volume up into a store that fails one call in twenty, and are killed over and
/// over, while something writes. Every backup restores and is proven; how many there are.
pub(crate) fn agents_killed_at_random(source: &str, length: Duration, mut write: impl FnMut(u64)) -> usize {
    let moto = Moto::start();
    let failing = Odd::before(moto.port, Oddity::Fails);
    let repository = moto.url().replace(&format!(":{}&", moto.port), &format!(":{}&", failing.port));
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metaferry"));
        command.args(["agent", source, &repository, "--every", "1s", "--keep-last", "60", "--verify-every", "5s"]);
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let begun = Instant::now();
    let (mut agents, mut killed) = ((0..2).map(|_| (start(), Duration::ZERO)).collect::<Vec<_>>(), 0);
    for step in 0_u64.. {
        write(step);
        std::thread::sleep(Duration::from_millis(50));
        for (number, (agent, since)) in (0_u64..).zip(&mut agents) {
            // They live for some seconds, and never as long as before.
            if begun.elapsed() > *since + Duration::from_millis(2500 + (step * 7919 + number * 1237) % 1500) {
                kill_all(agent);
                // As if the lease of the dead had run out.
                moto.put(
                    "some/volume/lease",
                    "{\"lease\":{\"format\":1,\"holder\":\"dead\",\"until\":\"2001-01-31T12:00:00Z\",\"turn\":\"\"}}\n",
                );
                (*agent, *since, killed) = (start(), begun.elapsed(), killed + 1);
            }
        }
        if begun.elapsed() > length {
            break;
        }
    }
    agents.iter_mut().for_each(|(agent, _)| kill_all(agent));
    let listed = Moto::expect(0, &["backups", "--json", &moto.url()]);
    let names = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["name"].clone());
    let names: Vec<String> = names.map(|name| name.as_str().unwrap().to_owned()).collect();
    for name in &names {
        // In a URL with parameters, the moment comes last.
        let output = Moto::metaferry(&["verify", "--deep", &format!("{}@{name}", moto.url())]);
        let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 3)) && told.contains("proven: "), "{name}: {told}");
        // A client writes statistics of directories some time after what they count.
        let mut found = told.lines().filter(|line| line.starts_with("found: "));
        assert!(found.all(|line| line.ends_with(" of directory statistics")), "{name}: {told}");
    }
    println!("{killed} agents were killed, {} backups are there, and all of them restore", names.len());
    names.len()
}
