//! Who owns a lock: the words that name a process on it, and whether that process is known to be dead. It knows no server.

use std::fs;
use std::io::ErrorKind;
use std::time::{SystemTime, UNIX_EPOCH};

/// What stands before the process in the words of an owner.
const PROCESS: &str = "process ";

/// The owner that this process is, for a copy of `origin`: unlike any other, and telling to a person.
pub(super) fn words(origin: &str) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".to_owned());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (host, process, seconds, nanos) = (host.trim(), this_process(), now.as_secs(), now.subsec_nanos());
    format!("host {host}, {PROCESS}{process}, begun {seconds}.{nanos:09}, source {origin}")
}

/// What the connections of this process are called, so that those of a dead one can be told.
pub(super) fn connection_name() -> String {
    name_of(&this_process())
}

/// The name that the connections of a dead owner have; `None` unless it is known to be dead, and that is known only of
/// processes that this one would see.
pub(super) fn dead(words: &str) -> Option<String> {
    let process = words.split(", ").find_map(|word| word.strip_prefix(PROCESS))?;
    let (pid, life) = process.split_once('@')?;
    let (world, started) = life.rsplit_once('.')?;
    // Where others' processes are hidden, so is the first.
    if world != self::world()? || !matches!(started_at("1"), Started::At(_)) {
        return None;
    }
    let is_dead = match started_at(pid) {
        Started::At(ticks) => ticks != started,
        Started::Never => pid.bytes().all(|byte| byte.is_ascii_digit()),
        Started::Unknown => false,
    };
    is_dead.then(|| name_of(process))
}

fn name_of(process: &str) -> String {
    format!("metaferry:{process}")
}

/// The number of this process and, where the system tells, what no other process of this number has had or will have.
fn this_process() -> String {
    let pid = std::process::id().to_string();
    match (world(), started_at(&pid)) {
        (Some(world), Started::At(ticks)) => format!("{pid}@{world}.{ticks}"),
        _ => pid,
    }
}

/// Where a number means one process: one run of one machine, and one space of processes on it.
fn world() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = fs::read_link("/proc/self/ns/pid").ok()?;
    let space: String = space.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    Some(format!("{}.{space}", boot.trim().replace('-', "")))
}

/// When a process began, in ticks since the machine did.
enum Started {
    At(String),
    Never,
    Unknown,
}

fn started_at(pid: &str) -> Started {
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) if error.kind() == ErrorKind::NotFound => return Started::Never,
        Err(_) => return Started::Unknown,
    };
    // What follows the name, which may have anything in it: state, 18 other fields, start (proc_pid_stat(5)).
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    match (fields.next(), fields.nth(18)) {
        (Some("Z" | "X"), _) => Started::Never,
        (_, Some(ticks)) => Started::At(ticks.to_owned()),
        _ => Started::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_dead_are_told_from_the_living_and_the_unknown() {
        let ours = words("a source, process 1@2.3");
        assert_eq!(dead(&ours), None);
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let pid = child.id().to_string();
        let Started::At(ticks) = started_at(&pid) else { panic!("{pid} is not seen") };
        let world = world().unwrap();
        let theirs = |ticks: &str| format!("host h, process {pid}@{world}.{ticks}, begun 1, source s");
        assert_eq!(dead(&theirs(&ticks)), None);
        // Another process had the number before.
        assert_eq!(dead(&theirs("1")), Some(format!("metaferry:{pid}@{world}.1")));
        assert_eq!(dead(&theirs(&ticks).replace(&world, "elsewhere.1")), None);
        child.kill().unwrap();
        while !matches!(started_at(&pid), Started::Never) {}
        assert!(dead(&theirs(&ticks)).is_some(), "killed, and not waited for");
        child.wait().unwrap();
        assert!(dead(&theirs(&ticks)).is_some());
        for odd in ["", "process 12", "host h, process 12, begun 1, source s", "process @.", "else"] {
            assert_eq!(dead(odd), None, "{odd}");
        }
    }
}
