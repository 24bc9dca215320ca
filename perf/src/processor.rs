//! Processor time as Linux counts it, in hundredths of a second: what programs that have ended took, and what servers have
//! taken so far. Elsewhere it is not known.

use std::collections::BTreeMap;
use std::fs;

const TICKS_A_SECOND: f64 = 100.0;

/// Seconds of processor time, since whatever began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processor {
    /// Of programs that this one started, and that have ended.
    pub(crate) ended: f64,
    /// Of those that live, and of all that they started: servers.
    pub(crate) living: f64,
}

/// What Linux says of a process, in ticks.
struct Process {
    parent: u32,
    own: u64,
    /// What its children took that have ended.
    children: u64,
}

impl Processor {
    /// Looks at all processes.
    pub(crate) fn look() -> Option<Self> {
        let folders = fs::read_dir("/proc").ok()?.flatten();
        let known =
            |name: &str| Some((name.parse().ok()?, process(&fs::read_to_string(format!("/proc/{name}/stat")).ok()?)?));
        let all: BTreeMap<u32, Process> = folders.filter_map(|folder| known(folder.file_name().to_str()?)).collect();
        let this = std::process::id();
        let is_below = |process: &&Process| {
            let mut parents = std::iter::successors(Some(process.parent), |parent| Some(all.get(parent)?.parent));
            parents.any(|parent| parent == this)
        };
        let seconds = |ticks: u64| ticks as f64 / TICKS_A_SECOND;
        let living = all.values().filter(is_below).map(|process| process.own + process.children).sum();
        Some(Self { ended: seconds(all.get(&this)?.children), living: seconds(living) })
    }
}

/// Reads the line on a process; its name, in brackets, may hold anything.
fn process(line: &str) -> Option<Process> {
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Process {
        parent: u32::try_from(number(1)?).ok()?,
        own: number(11)? + number(12)?,
        children: number(13)? + number(14)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_on_a_process_is_read_whatever_its_name() {
        let read = process("12 (a) b) S 7 1 1 0 -1 4 1 2 3 4 50 6 70 8 20 0 1 0 9").unwrap();
        assert_eq!((read.parent, read.own, read.children), (7, 56, 78));
        assert!(process("12 (a) S 7").is_none());
    }

    #[test]
    fn programs_count_while_they_live_and_when_they_have_ended() {
        let look = || Processor::look().unwrap();
        let before = look();
        let mut busy = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(look().living >= before.living + 0.01);
        busy.kill().unwrap();
        busy.wait().unwrap();
        assert!(look().ended >= before.ended + 0.01);
    }
}
