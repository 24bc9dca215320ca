//! The stock client: its commands, its dump, a mount of its own; and what differs between two JSON documents.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kit::{Folder, metaferry};

/// What protects the keys of encrypted volumes here.
pub(super) const PASSPHRASE: &str = "of the tests";
const PATIENCE: Duration = Duration::from_secs(30);

fn client(args: &[&str]) -> Command {
    let program =
        std::env::var_os("METAFERRY_JUICEFS").expect("METAFERRY_JUICEFS must be the path of a JuiceFS client");
    let mut command = Command::new(program);
    command.arg("--no-agent").args(args).env("JFS_RSA_PASSPHRASE", PASSPHRASE).stdin(Stdio::null());
    command
}

fn finish(mut command: Command) -> (Output, String) {
    let output = command.output().unwrap();
    let text = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).join("\n");
    (output, text)
}

/// Runs the client, which must succeed; returns what it printed on standard output.
#[track_caller]
pub(super) fn juicefs(args: &[&str]) -> String {
    juicefs_with(args, &[])
}

/// As [`juicefs`], with further variables in its environment.
#[track_caller]
pub(super) fn juicefs_with(args: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = client(args);
    command.envs(variables.iter().copied());
    let (output, text) = finish(command);
    assert!(output.status.success(), "juicefs {args:?}\n{text}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the client, which must succeed; returns what it logged.
#[track_caller]
pub(super) fn juicefs_logs(args: &[&str]) -> String {
    let (output, text) = finish(client(args));
    assert!(output.status.success(), "juicefs {args:?}\n{text}");
    String::from_utf8(output.stderr).unwrap()
}

/// Runs the client, which must fail; returns everything it said.
#[track_caller]
pub(super) fn juicefs_fails(args: &[&str]) -> String {
    let (output, text) = finish(client(args));
    assert!(!output.status.success(), "juicefs {args:?}\n{text}");
    text
}

/// The volume as the client dumps it. With MySQL, its driver says something of its own before that.
#[track_caller]
pub(super) fn json(url: &str) -> Value {
    let text = juicefs(&["dump", "--keep-secret-key", url]);
    serde_json::from_str(text.trim_start_matches(|byte| byte != '{')).unwrap()
}

/// What differs between two documents: the path, and both values.
pub(super) fn differences(left: &Value, right: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", left, right, &mut found);
    found
}

fn compare(path: &str, left: &Value, right: &Value, found: &mut Vec<String>) {
    let (Value::Object(one), Value::Object(other)) = (left, right) else {
        if left != right {
            found.push(format!("{path}: {left}, {right}"));
        }
        return;
    };
    let others = other.keys().filter(|key| !one.contains_key(*key));
    for key in one.keys().chain(others) {
        let of = |object: &serde_json::Map<_, _>| object.get(key).cloned().unwrap_or_default();
        compare(&format!("{path}/{key}"), &of(one), &of(other), found);
    }
}

/// Copies an engine into an empty one. A volume that says something wrong of itself ends with 3.
#[track_caller]
pub(super) fn migrate(source: &str, target: &str, options: &[&str]) {
    let output = metaferry(&[&["migrate", source, target][..], options].concat());
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A client that keeps its cache and its blocks in a folder of the tests, and tells nobody of itself.
fn own_client(folder: &Folder, args: &[&str]) -> Command {
    let mut command = client(args);
    command.args(["--cache-dir", &folder.path("cache"), "--storage", "file", "--bucket", &folder.path("bucket/")]);
    command.args(["--metrics", "127.0.0.1:0", "--no-usage-report"]);
    if !args.contains(&"--backup-meta") {
        command.args(["--backup-meta", "0"]);
    }
    // Else it backs up no more often than every five minutes.
    command.env("SKIP_BACKUP_META_CHECK", "true");
    command
}

/// Makes folders and files with the client's own benchmark.
#[track_caller]
pub(super) fn mdtest(folder: &Folder, url: &str, path: &str) {
    let args = ["mdtest", url, path, "--dirs", "2", "--depth", "2", "--files", "5", "--write", "100"];
    let (output, text) = finish(own_client(folder, &args));
    assert!(output.status.success(), "{text}");
}

/// What the client's own check finds wrong with the tree; that blocks are missing is not looked at.
pub(super) fn complaints(url: &str) -> Vec<String> {
    let (_, text) = finish(client(&["fsck", url, "--path", "/", "--recursive", "--sync-dir-stat"]));
    assert!(text.contains("Checked ") || text.contains("check: some errors occurred"), "{text}");
    text.lines().filter(|line| line.contains("Check@") && !line.contains("<INFO>")).map(str::to_owned).collect()
}

/// A volume mounted by the client, until it is dropped.
pub(super) struct Mount {
    client: Child,
    point: PathBuf,
}

impl Mount {
    /// Mounts what is there, with blocks in a folder of the tests.
    #[track_caller]
    pub(super) fn new(folder: &Folder, url: &str) -> Self {
        Self::with(folder, url, &[], &[])
    }

    /// As [`Self::new`], with further options and variables in its environment.
    #[track_caller]
    pub(super) fn with(folder: &Folder, url: &str, options: &[&str], variables: &[(&str, &str)]) -> Self {
        let point = PathBuf::from(folder.path("mount"));
        std::fs::create_dir_all(&point).unwrap();
        let mut command = own_client(folder, &["mount", url, point.to_str().unwrap(), "--enable-xattr"]);
        command.args(options).envs(variables.iter().copied());
        let log = std::fs::File::create(folder.path("mount.log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let mut mount = Self { client: command.spawn().unwrap(), point };
        let log = || std::fs::read_to_string(folder.path("mount.log")).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !mount.is_there() {
            let is_over = mount.client.try_wait().unwrap().is_some() || Instant::now() > deadline;
            assert!(!is_over, "{url} was not mounted, which takes /dev/fuse and the right to use it:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        mount
    }

    fn is_there(&self) -> bool {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let point = self.point.to_str().unwrap();
        mounts.lines().any(|line| line.split(' ').nth(1) == Some(point)) && self.path(".config").exists()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    /// As [`Self::path`], for a command line.
    pub(super) fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Asks the client to end and waits until it has: all that it held back is written then.
    #[track_caller]
    pub(super) fn end(self) {
        drop(self);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("kill").args(["-TERM", &self.client.id().to_string()]).status());
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.client.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(self.client.kill());
        drop(Command::new("umount").arg("-l").arg(&self.point).status());
    }
}

/// Every file under a folder with its contents, by path; links are not followed.
pub(super) fn contents(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut todo) = (Vec::new(), vec![root.to_owned()]);
    while let Some(path) = todo.pop() {
        let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
        let name = path.strip_prefix(root).unwrap().to_owned();
        if kind.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if kind.is_symlink() {
            found.push((name, std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()));
        } else {
            found.push((name, if kind.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() }));
        }
    }
    found.sort();
    found
}
