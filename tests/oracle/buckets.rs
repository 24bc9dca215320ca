//! Backups in the bucket of a volume: the client loads those that metaferry puts there, and metaferry restores those that the
//! client puts there; the client goes on with what was restored, and writes over nothing.

use std::process::Command;
use std::time::{Duration, Instant};

use super::kit::{Mount, PASSPHRASE, differences, json, juicefs};
use crate::kit::volume::{counters, files, names, put, reset, same_tree, with_passphrase};
use crate::kit::{Folder, expect};

const PATIENCE: Duration = Duration::from_secs(60);

/// A private key in a file.
fn key(folder: &Folder) -> String {
    let path = folder.path("key.pem");
    let generate = ["genrsa", "-aes256", "-passout", &format!("pass:{PASSPHRASE}"), "-out", &path, "2048"];
    assert!(Command::new("openssl").args(generate).output().unwrap().status.success());
    path
}

/// A volume that the client makes, and a file in it.
fn made(folder: &Folder, options: &[&str]) -> String {
    let url = folder.sqlite("made.db");
    juicefs(&[&["format", &url, "made", "--bucket", &folder.path("bucket/")][..], options].concat());
    let mount = Mount::new(folder, &url);
    std::fs::create_dir(mount.path("dir")).unwrap();
    std::fs::write(mount.path("dir/file"), "before").unwrap();
    std::fs::remove_file(mount.path("dir/file")).unwrap();
    std::fs::write(mount.path("dir/kept"), "before").unwrap();
    mount.end();
    url
}

/// The client loads what was put into the bucket of the volume at `url`, and has the same volume.
fn loaded(folder: &Folder, url: &str, key: &[&str]) {
    let name = put(url, &[]);
    let object = folder.path(&format!("bucket/made/meta/{name}"));
    let copy = folder.sqlite("loaded.db");
    juicefs(&[&["load", &copy, &object][..], key].concat());
    // The client works counters out of the tree, and so goes back with them: a restore of ours does not.
    let mut found = differences(&json(url), &json(&copy));
    found.retain(|difference| !difference.starts_with("/Counters/next"));
    assert_eq!(found, [""; 0], "{object}");
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_client_loads_what_is_put_into_its_bucket() {
    let folder = Folder::new();
    let url = made(&folder, &[]);
    loaded(&folder, &url, &[]);
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_client_loads_what_is_put_there_encrypted() {
    let folder = Folder::new();
    let key = key(&folder);
    let url = made(&folder, &["--encrypt-rsa-key", &key]);
    loaded(&folder, &url, &["--encrypt-rsa-key", &key]);
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn the_client_loads_what_is_put_there_encrypted_and_large() {
    let folder = Folder::new();
    let key = key(&folder);
    // The setting is that of a volume which the client encrypts; the tree is a large one.
    let (small, url) = (made(&folder, &["--encrypt-rsa-key", &key]), folder.sqlite("large.db"));
    expect(0, &["load", "synthetic://?files=300000&seed=7", &url]);
    let database = rusqlite::Connection::open(folder.path("made.db")).unwrap();
    let select = "SELECT value FROM jfs_setting WHERE name = 'format'";
    let text: String = database.query_row(select, [], |row| row.get(0)).unwrap();
    reset(&folder.path("large.db"), |fields| *fields = serde_json::from_str(&text).unwrap());
    assert!(!small.is_empty());
    let name = put(&url, &[]);
    let object = folder.path(&format!("bucket/made/meta/{name}"));
    let bytes = std::fs::read(&object).unwrap();
    assert!(bytes.len() > 10 << 20 && bytes[..3] == [1, 0, 12], "{} bytes", bytes.len());
    let copy = folder.sqlite("loaded.db");
    juicefs(&["load", &copy, &object, "--encrypt-rsa-key", &key]);
    same_tree(&folder, &url, &copy);
}

/// Waits for a backup of the client's own in the bucket.
fn backed_up(folder: &Folder) -> String {
    let meta = folder.path("bucket/made/meta");
    let begun = Instant::now();
    loop {
        let is_whole = |name: &String| name.starts_with("dump-");
        if let Some(name) = names(&meta).into_iter().find(is_whole) {
            return name;
        }
        assert!(begun.elapsed() < PATIENCE, "the client makes no backup");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The largest slice that any file has.
fn largest_slice(url: &str) -> i64 {
    let path = url.strip_prefix("sqlite3://").unwrap();
    let database = rusqlite::Connection::open(path).unwrap();
    let mut statement = database.prepare("SELECT slices FROM jfs_chunk").unwrap();
    let chunks = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let of = |chunk: Vec<u8>| {
        let ids = chunk.chunks(24).map(|slice| i64::from_be_bytes(slice[4..12].try_into().unwrap()));
        ids.max().unwrap_or_default()
    };
    chunks.map(|chunk| of(chunk.unwrap())).max().unwrap_or_default()
}

fn restored_and_gone_on(options: &[&str]) {
    let folder = Folder::new();
    let key = key(&folder);
    let options: Vec<_> = options.iter().map(|option| if *option == "KEY" { key.as_str() } else { option }).collect();
    let url = made(&folder, &options);
    let mount = Mount::with(&folder, &url, &["--backup-meta", "10s"], &[("SKIP_BACKUP_META_CHECK", "true")]);
    let name = backed_up(&folder);
    // Written after the backup: the restored volume knows nothing of it.
    std::fs::write(mount.path("dir/later"), vec![b'l'; 100_000]).unwrap();
    mount.end();
    let (later, before) = (largest_slice(&url), counters(&folder, &url)["nextChunk"]);
    for (number, how) in [&[][..], &["--scan-bucket"], &["--scan-bucket", "--margin", "0"]].iter().enumerate() {
        let copy = folder.sqlite(&format!("copy-{number}.db"));
        let from = format!("{}@{name}", folder.path("bucket/made"));
        let named = ["--encrypt-rsa-key", &key];
        let named = if options.is_empty() { &named[..0] } else { &named };
        let output = with_passphrase(&[&["restore", "--verify", "--from-volume", &from, &copy], *how, named].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let there = files(&folder.path("bucket/made/chunks"));
        let again = Mount::new(&folder, &copy);
        assert_eq!(std::fs::read_to_string(again.path("dir/kept")).unwrap(), "before");
        assert!(!again.path("dir/later").exists());
        std::fs::write(again.path("dir/new"), vec![b'n'; 100_000]).unwrap();
        again.end();
        assert!(largest_slice(&copy) > later, "{} after {later}, of {before} at the most", largest_slice(&copy));
        for (path, bytes) in there {
            assert!(std::fs::read(&path).unwrap() == bytes, "{path:?} was written over");
        }
    }
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn what_the_client_backs_up_is_restored_and_the_client_goes_on() {
    restored_and_gone_on(&[]);
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn what_the_client_backs_up_encrypted_is_restored_and_the_client_goes_on() {
    restored_and_gone_on(&["--encrypt-rsa-key", "KEY", "--hash-prefix"]);
}
