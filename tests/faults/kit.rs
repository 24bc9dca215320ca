//! A file system of a few blocks, a shell, and whether something has begun to be written.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};

use crate::kit::Folder;
use crate::kit::redis::Redis;
pub(super) use crate::kit::run::{ENDLESS, Run, failed, no_volume, until};

/// Whether a load into a SQLite file, or a dump, has begun to write in this folder.
pub(super) fn writes(folder: &Folder) -> bool {
    let size = |name: &String| std::fs::metadata(folder.path(name)).map_or(0, |found| found.len());
    folder.names().iter().any(|name| name.starts_with('.') && size(name) > 100_000)
}

/// Whether a load into a server has begun.
pub(super) fn fills(redis: &Redis) -> bool {
    redis.cli(&["DBSIZE"]).trim().parse::<u64>().is_ok_and(|keys| keys > 1000)
}

/// A folder on a file system that has so much room. Where none can be mounted, files are kept from growing instead.
pub(super) struct Small {
    pub(super) folder: Folder,
    bytes: u64,
    is_mounted: bool,
}

impl Small {
    pub(super) fn new(bytes: u64) -> Self {
        let folder = Folder::new();
        let options = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs", &folder.path("")]).output();
        let is_mounted = mounted.is_ok_and(|mounted| mounted.status.success());
        if !is_mounted {
            eprintln!("no tmpfs can be mounted: a limit on the size of files stands in for a full disk");
        }
        Self { folder, bytes, is_mounted }
    }

    /// Makes it read-only; false where that cannot be.
    pub(super) fn seal(&self) -> bool {
        let remount = || Command::new("mount").args(["-o", "remount,ro", &self.folder.path("")]).status();
        self.is_mounted && remount().is_ok_and(|status| status.success())
    }

    /// Whether it is a file system of its own, as only whoever may mount can make.
    pub(super) fn is_mounted(&self) -> bool {
        self.is_mounted
    }

    /// Makes room for so many bytes.
    pub(super) fn grow(&self, bytes: u64) {
        let options = format!("remount,size={bytes}");
        assert!(Command::new("mount").args(["-o", &options, &self.folder.path("")]).status().unwrap().success());
    }

    /// Runs the program where it can write no more than there is room for.
    pub(super) fn metaferry(&self, args: &[&str], variable: (&str, &str)) -> Output {
        let program = env!("CARGO_BIN_EXE_metaferry");
        let mut command = if self.is_mounted {
            Command::new(program)
        } else {
            let mut shell = Command::new("sh");
            let limit = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", self.bytes / 512);
            shell.args(["-c", &limit, "sh", program]);
            shell
        };
        command.args(args).env(variable.0, variable.1).output().unwrap()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if self.is_mounted {
            drop(Command::new("umount").arg("-l").arg(self.folder.path("")).status());
        }
    }
}

/// Everything a pipe has to give.
pub(super) fn drain(mut pipe: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Runs a shell line in which `$m` is the program and `$1`, `$2` … are the words.
pub(super) fn shell(line: &str, words: &[&str]) -> Output {
    let mut command = Command::new("bash");
    command.args(["-c", line, "sh"]).args(words).env("m", Path::new(env!("CARGO_BIN_EXE_metaferry")));
    command.output().unwrap()
}
