//! Backups in a volume's own bucket: what is put there is what the client would have put there, and what lies there comes
//! back, with the next inode and slice past what the bucket may hold.

use std::path::Path;
use std::process::Command;

use metaferry_codecs::juicefs::setting;
use serde_json::{Value, json};

use crate::kit::redis::Redis;
use crate::kit::volume::{PASSPHRASE, counters, gunzip, gzip, moved, names, put, same, with_passphrase};
use crate::kit::{Folder, expect, expect_error, read_data};

const LEAST: i64 = 1 << 20;

/// The next inode and the next slice.
fn next(folder: &Folder, source: &str) -> (i64, i64) {
    let counters = counters(folder, source);
    (counters["nextInode"], counters["nextChunk"])
}

#[track_caller]
fn restored(args: &[&str]) -> String {
    let output = with_passphrase(&[&["restore", "--verify"][..], args].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{args:?}: {told}");
    told
}

#[test]
fn what_is_put_into_the_volumes_bucket_is_what_the_client_writes() {
    for fixture in ["plain", "tour"] {
        let folder = Folder::new();
        let source = moved(&folder, fixture, |_| {});
        let name = put(&source, &[]);
        assert_eq!(name.len(), 30);
        assert!(name.starts_with("dump-20") && name.ends_with(".json.gz"), "{name}");
        let meta = folder.path(&format!("bucket/{fixture}/meta"));
        assert_eq!(names(&meta), [name.as_str()], "and nothing beside it");
        assert_eq!(names(&folder.path(&format!("bucket/{fixture}"))), ["meta"]);
        let ours = std::fs::read(format!("{meta}/{name}")).unwrap();
        assert_eq!(ours[..2], [0x1f, 0x8b]);
        let parts = |text: &str| {
            let (head, tree) = text.split_once("\"FSTree\"").unwrap();
            (
                serde_json::from_str::<Value>(&format!("{}}}", head.trim_end().trim_end_matches(','))).unwrap(),
                tree.to_owned(),
            )
        };
        let (ours, theirs) =
            (gunzip(&ours), String::from_utf8(read_data(&format!("{fixture}/sqlite/dump.json"))).unwrap());
        let ((ours, tree), (mut theirs, their_tree)) = (parts(&ours), parts(&theirs));
        theirs["Setting"]["Storage"] = "file".into();
        theirs["Setting"]["Bucket"] = folder.path("bucket/").into();
        for secret in ["SecretKey", "SessionToken"] {
            assert!([Value::Null, json!("removed")].contains(&ours["Setting"][secret]), "{secret}");
        }
        assert_eq!(ours["Setting"], theirs["Setting"], "{fixture}");
        assert_eq!(ours["Counters"]["nextChunk"], theirs["Counters"]["nextChunk"]);
        assert!(tree.is_ascii());
        // The others have names that are not, which are written otherwise here.
        assert!(fixture != "plain" || tree == their_tree);
    }
}

#[test]
fn backups_are_listed_and_restored_by_the_engine_and_by_the_bucket() {
    let folder = Folder::new();
    let source = moved(&folder, "plain", |_| {});
    let bucket = folder.path("bucket/plain");
    let name = put(&source, &[]);
    for (number, other) in ["dump-2020-01-31-120000.json.gz", "dump-2021-01-31-120000.json.gz"].iter().enumerate() {
        let dump = String::from_utf8(read_data("plain/sqlite/dump.json")).unwrap();
        gzip(
            dump.replace("\"TrashDays\": 0", &format!("\"TrashDays\": {}", number + 1)).as_bytes(),
            &format!("{bucket}/meta/{other}"),
        );
    }
    for strange in ["note.txt", "dump-2020-13-31-120000.json.gz", ".jfs.dump-x.tmp.1", "dump-2020-01-31-120000.json"] {
        std::fs::write(format!("{bucket}/meta/{strange}"), "mine").unwrap();
    }
    for from in [&source, &bucket, &format!("file://{bucket}")] {
        let text = expect(0, &["backups", "--from-volume", "--json", from]);
        let listed: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let listed: Vec<_> = listed.iter().map(|line| line["name"].as_str().unwrap()).collect();
        assert_eq!(listed, ["dump-2020-01-31-120000.json.gz", "dump-2021-01-31-120000.json.gz", &name]);
    }
    assert!(expect(0, &["backups", "--from-volume", &source]).contains("2021-01-31T12:00:00Z"));
    let days = |target: &str| {
        let text = expect(0, &["info", "--json", target]);
        serde_json::from_str::<Value>(text.trim()).unwrap()["volume"]["trash_days"].as_i64().unwrap()
    };
    let ways = [
        (source.clone(), 0),
        (bucket.clone(), 0),
        (format!("{source}@latest"), 0),
        (format!("{bucket}@2020-12-31"), 1),
        (format!("{bucket}@2021-01-31"), 2),
        (format!("{source}@dump-2020-01-31-120000.json.gz"), 1),
    ];
    for (number, (from, expected)) in ways.iter().enumerate() {
        let target = folder.sqlite(&format!("copy-{number}.db"));
        restored(&["--margin", "0", "--from-volume", from, &target]);
        assert_eq!(days(&target), *expected, "{from}");
    }
    same(&source, &folder.sqlite("copy-0.db"));
    expect(2, &["restore", "--from-volume", &format!("{bucket}@yesterday"), &folder.sqlite("no.db")]);
    expect(1, &["restore", "--from-volume", &format!("{bucket}@2019-12-31"), &folder.sqlite("no.db")]);
    expect(4, &["restore", "--from-volume", &bucket, &source]);
}

/// A key in a file, protected by the passphrase.
fn key(folder: &Folder, name: &str) -> String {
    let path = folder.path(name);
    let generate = ["genrsa", "-aes256", "-passout", &format!("pass:{PASSPHRASE}"), "-out", &path, "2048"];
    assert!(Command::new("openssl").args(generate).output().unwrap().status.success());
    path
}

/// The encrypted fixture with a key that is known.
fn encrypted(folder: &Folder, key: &str) -> String {
    let pem = std::fs::read(key).unwrap();
    moved(folder, "encrypted", |fields| {
        let mut document = serde_json::to_vec(fields).unwrap();
        setting::put_secret(&mut document, "EncryptKey", &pem).unwrap();
        *fields = serde_json::from_slice(&document).unwrap();
    })
}

#[test]
fn a_backup_of_an_encrypted_volume_is_encrypted() {
    let folder = Folder::new();
    let key = key(&folder, "key.pem");
    let source = encrypted(&folder, &key);
    let refused = expect_error(2, &["backup", "--into-volume", &source]);
    assert!(refused.contains("JFS_RSA_PASSPHRASE"), "{refused}");
    assert_eq!(names(&folder.path("bucket/encrypted/meta")), [""; 0]);
    let name = put(&source, &[]);
    let bucket = folder.path("bucket/encrypted");
    let object = format!("{bucket}/meta/{name}");
    let whole = std::fs::read(&object).unwrap();
    assert_eq!(whole[..3], [1, 0, 12], "an envelope for a key of 2048 bits");
    let copy = folder.sqlite("copy.db");
    restored(&["--margin", "0", "--from-volume", &source, &copy]);
    same(&source, &copy);
    // The key for the data came along; what opens the object storage did not.
    let text = expect(0, &["info", "--json", &copy]);
    let info: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(info["volume"]["secrets_removed"], json!(["SecretKey"]));
    // Where the engine is lost, its key is named.
    expect_error(2, &["restore", "--from-volume", &bucket, &folder.sqlite("no.db")]);
    restored(&[
        "--from-volume",
        &bucket,
        &folder.sqlite("other.db"),
        "--encrypt-rsa-key",
        &key,
        "--encrypt-algo",
        "chacha20-rsa",
    ]);
    // What was altered or cut is no volume.
    let altered = |at: usize| {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        altered
    };
    for broken in
        [altered(200), altered(300), altered(whole.len() - 1), whole[..whole.len() - 5].to_vec(), whole[..100].to_vec()]
    {
        std::fs::write(&object, broken).unwrap();
        let output = with_passphrase(&["restore", "--from-volume", &source, &folder.sqlite("no.db")]);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!Path::new(&folder.path("no.db")).exists());
    }
    // What the client puts there in parts it does not encrypt: that needs no key.
    gzip(&read_data("encrypted/sqlite/dump.json"), &object);
    expect(0, &["restore", "--from-volume", &bucket, &folder.sqlite("plain.db")]);
    expect(0, &["restore", "--from-volume", &source, &folder.sqlite("again.db")]);
}

/// FNV-1a of 32 bits, as its authors describe it.
fn fnv(key: &str) -> u32 {
    key.bytes().fold(2_166_136_261, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619))
}

#[test]
fn a_volume_in_several_buckets_has_its_backups_where_their_keys_belong() {
    let folder = Folder::new();
    let source = moved(&folder, "plain", |fields| {
        fields.insert("Shards".to_owned(), 3.into());
        fields.insert("Bucket".to_owned(), folder.path("b-%02d/").into());
    });
    let missing = expect_error(2, &["backup", "--into-volume", &source]);
    assert!(missing.contains("there is no folder") && !Path::new(&folder.path("b-00")).exists(), "{missing}");
    (0..3).for_each(|number| std::fs::create_dir_all(folder.path(&format!("b-{number:02}/plain"))).unwrap());
    let name = put(&source, &[]);
    let shard = fnv(&format!("plain/meta/{name}")) % 3;
    for number in 0..3 {
        let found = names(&folder.path(&format!("b-{number:02}/plain/meta")));
        assert_eq!(found.len(), usize::from(number == shard), "{found:?}");
        let blocks = folder.path(&format!("b-{number:02}/plain/chunks/0/7"));
        std::fs::create_dir_all(&blocks).unwrap();
        std::fs::write(format!("{blocks}/{}_0_1", 7000 + number), "x").unwrap();
    }
    assert_eq!(expect(0, &["backups", "--from-volume", "--json", &source]).lines().count(), 1);
    restored(&["--scan-bucket", "--margin", "0", "--from-volume", &source, &folder.sqlite("copy.db")]);
    assert_eq!(next(&folder, &folder.sqlite("copy.db")), (3074, 7003));
}

#[test]
fn the_next_numbers_are_moved_past_what_the_bucket_may_hold() {
    let (folder, redis) = (Folder::new(), Redis::start());
    let (source, repository) = (moved(&folder, "plain", |_| {}), format!("repo+file://{}", folder.path("repository")));
    assert_eq!(next(&folder, &source), (3074, 4097));
    expect(0, &["backup", &source, &repository]);
    // By default by more than a backup of this moment could need.
    let told = restored(&[&repository, &folder.sqlite("default.db")]);
    assert!(told.contains("counter nextInode: moved on from 3074 to") && told.contains("--margin"), "{told}");
    let (inode, slice) = next(&folder, &folder.sqlite("default.db"));
    assert!((LEAST..LEAST + 100_000).contains(&(inode - 3074)), "{inode}");
    assert!((LEAST..LEAST + 1_000_000).contains(&(slice - 4097)), "{slice}");
    // As it was asked for; Redis counts both one lower.
    restored(&["--margin", "7", &repository, &redis.url()]);
    assert_eq!(next(&folder, &redis.url()), (3081, 4104));
    assert_eq!(redis.cli(&["GET", "nextinode"]).trim(), "3080");
    restored(&["--margin", "0", &repository, &folder.sqlite("zero.db")]);
    expect(0, &["verify", &source, &folder.sqlite("zero.db")]);
    let told = restored(&["--keep-counters", &repository, &folder.sqlite("kept.db")]);
    assert!(told.contains("may be written over"), "{told}");
    assert_eq!(next(&folder, &folder.sqlite("kept.db")), (3074, 4097));
    expect(2, &["restore", "--keep-counters", "--margin", "1", &repository, &folder.sqlite("no.db")]);
    expect(2, &["restore", "--keep-counters", "--scan-bucket", &repository, &folder.sqlite("no.db")]);
    // A part of a volume has the same bucket.
    restored(&["--skip-trash", "--margin", "9", &repository, &folder.sqlite("part.db")]);
    assert_eq!(next(&folder, &folder.sqlite("part.db")), (3083, 4106));
    // Past the largest that is there.
    let block = |path: &str| {
        let path = folder.path(&format!("bucket/plain/chunks/{path}"));
        std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    };
    let mut number = 0;
    let mut scanned = |options: &[&str]| {
        number += 1;
        let target = folder.sqlite(&format!("scanned-{number}.db"));
        restored(&[&["--scan-bucket", &repository, &target][..], options].concat());
        next(&folder, &target)
    };
    assert_eq!(scanned(&["--margin", "0"]), (3074, 4097));
    for path in ["0/2/2999_0_4096", "0/9/9001_0_4096", "0/10/note", "0/x/99999999_0_1", "1/1000/.jfs.1000001_0_1.tmp.3"]
    {
        block(path);
    }
    assert_eq!(scanned(&["--margin", "0"]), (3074, 9002));
    assert_eq!(scanned(&["--margin", "5"]).1, 9007);
    assert_eq!(scanned(&[]).1, 9002 + LEAST);
    block("FE/7/7000254_0_1");
    assert_eq!(scanned(&["--margin", "0"]).1, 7_000_255);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let folder = Folder::new();
    let source = moved(&folder, "plain", |fields| {
        fields.insert("Storage".to_owned(), "sftp".into());
    });
    let refused = expect_error(1, &["backup", "--into-volume", &source]);
    assert!(refused.contains("the storage sftp of the volume plain is not known"), "{refused}");
    let refused = expect_error(1, &["backups", "--from-volume", &source]);
    assert!(refused.contains("sftp"), "{refused}");
    let archive = folder.path("archive");
    expect(0, &["dump", &source, &archive]);
    let other = Folder::new();
    let source_of_other = moved(&other, "plain", |_| {});
    std::fs::write(other.path("bucket/plain/juicefs_uuid"), "00000000-0001-4002-8003-a0b0c0d0e0f0").unwrap();
    let refused = expect_error(4, &["backup", "--into-volume", &source_of_other]);
    assert!(refused.contains("belongs to the volume 00000000"), "{refused}");
    for args in [
        &["backup", "--into-volume", &archive][..],
        &["backup", "--into-volume", &source, "--subdir", "/"],
        &["backup", "--into-volume", &source, "repo+file:///x"],
        &["backup", &source],
        &["backups", "--from-volume", &archive],
        &["restore", "--from-volume", &archive, &folder.sqlite("no.db")],
        &["restore", &archive, &folder.sqlite("no.db")],
        &["backups", "--from-volume", "s3://key:secret@bucket/name"],
    ] {
        let refused = expect_error(2, args);
        assert!(!refused.contains("secret@"), "{refused}");
    }
}

#[test]
fn what_is_only_in_the_trash_is_left_out_where_asked() {
    let folder = Folder::new();
    let source = moved(&folder, "tour", |_| {});
    let (whole, meta) = (put(&source, &[]), folder.path("bucket/tour/meta"));
    let text = gunzip(&std::fs::read(format!("{meta}/{whole}")).unwrap());
    assert!(text.contains("\"Trash\""));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let without = put(&source, &["--skip-trash"]);
    let text = gunzip(&std::fs::read(format!("{meta}/{without}")).unwrap());
    assert!(!text.contains("\"Trash\""));
    assert_eq!(names(&meta).len(), 2);
}
