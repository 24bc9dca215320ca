//! What the tests share: the built program, fixtures, servers. A server that is missing fails the test by name.

pub(crate) mod engine;
pub(crate) mod mariadb;
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod run;
pub(crate) mod s3;
pub(crate) mod sql;
pub(crate) mod tree;
pub(crate) mod volume;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Runs the built program.
pub(crate) fn metaferry<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_metaferry")).args(args).output().unwrap()
}

/// Runs the built program and expects this exit code; returns what it printed on standard output.
#[track_caller]
pub(crate) fn expect(code: i32, args: &[&str]) -> String {
    let output = metaferry(args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "metaferry {args:?}\n{out}\n{err}");
    out.into_owned()
}

/// As [`expect`], but returns standard error.
#[track_caller]
pub(crate) fn expect_error(code: i32, args: &[&str]) -> String {
    let output = metaferry(args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "metaferry {args:?}\n{out}\n{err}");
    assert_eq!(err.matches("error:").count(), usize::from(code != 0 && code != 3), "one clear error: {err}");
    assert!(!err.contains("panicked"), "{err}");
    err.into_owned()
}

/// A file under `tests/data`.
pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// A file under `tests/data`, decompressed where it is stored compressed.
pub(crate) fn read_data(name: &str) -> Vec<u8> {
    match std::fs::read(data(name)) {
        Ok(bytes) => bytes,
        Err(_) => zstd::decode_all(std::fs::File::open(data(&format!("{name}.zst"))).unwrap()).unwrap(),
    }
}

/// Whether a file is there, compressed or not.
pub(crate) fn has_data(name: &str) -> bool {
    data(name).exists() || data(&format!("{name}.zst")).exists()
}

/// A temporary folder with names in it.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn sqlite(&self, name: &str) -> String {
        format!("sqlite3://{}", self.path(name))
    }

    /// A fixture's store, ready to be read.
    pub(crate) fn unpack(&self, fixture: &str, name: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, read_data(fixture)).unwrap();
        path
    }

    /// What lies in the folder, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Bytes that memory has to have room for before servers' data lies there.
const ROOM: u64 = 4 << 30;

/// A folder for a server's data, in memory where there is much of it, that whoever the server runs as may write to.
pub(crate) fn server_folder() -> tempfile::TempDir {
    let room = Command::new("df").args(["--output=avail", "-B1", "/dev/shm"]).output();
    let room =
        room.ok().and_then(|room| String::from_utf8(room.stdout).ok()?.lines().nth(1)?.trim().parse::<u64>().ok());
    let place = if room.is_some_and(|room| room > ROOM) { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    let folder = tempfile::tempdir_in(place).unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    folder
}

/// What many share, there as long as any of them has it.
pub(crate) fn shared<T>(place: &Mutex<Weak<T>>, start: impl FnOnce() -> T) -> Arc<T> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    place.upgrade().unwrap_or_else(|| {
        let server = Arc::new(start());
        *place = Arc::downgrade(&server);
        server
    })
}

/// The lines of an archive but for what describes it: header, segment lines and manifest.
pub(crate) fn archive_rows(path: &str) -> Vec<String> {
    let text = String::from_utf8(zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap()).unwrap();
    let mut kind = String::new();
    let mut rows = Vec::new();
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(segment) = value.get("segment") {
            segment["kind"].as_str().unwrap().clone_into(&mut kind);
        } else if value.get("manifest").is_some() {
            break;
        } else if value.get("metaferry").is_none() {
            rows.push(format!("{kind} {line}"));
        }
    }
    rows.sort();
    rows
}
