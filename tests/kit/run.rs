//! A run under way that can be watched and ended, and what must be true after a failure.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::metaferry;

/// A volume that no test waits for to the end.
pub(crate) const ENDLESS: &str = "synthetic://?files=5000000&seed=5";

/// The program under way.
pub(crate) struct Run(Option<Child>);

impl Run {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::reading(Stdio::null(), args)
    }

    /// The same with a standard input that says nothing and does not end.
    pub(crate) fn awaiting(args: &[&str]) -> Self {
        Self::reading(Stdio::piped(), args)
    }

    /// What its standard input is to say.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.0.as_mut().unwrap().stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn reading(input: Stdio, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metaferry"));
        command.args(args).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(command.spawn().unwrap()))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// As Ctrl-C does, once the program listens for it.
    pub(crate) fn interrupt(&self) {
        let status = format!("/proc/{}/status", self.id());
        until("it listens for signals, or has ended", || {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            status.contains("\tZ (zombie)")
                || caught.is_none_or(|caught| u64::from_str_radix(caught.trim(), 16).unwrap() & 2 != 0)
        });
        assert!(Command::new("kill").args(["-INT", &self.id().to_string()]).status().unwrap().success());
    }

    /// Ends it in the middle; it may have been done before.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        let mut child = self.0.take().unwrap();
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(matches!(output.status.code(), None | Some(0)), "it ended by itself: {output:?}");
    }

    /// Waits until standard error, of a run with `--json`, tells of a phase.
    pub(crate) fn await_phase(&mut self, phase: &str) {
        let stderr = self.0.as_mut().unwrap().stderr.as_mut().unwrap();
        let sought = format!("\"phase\":\"{phase}\"");
        let mut lines = BufReader::with_capacity(1, stderr).lines();
        let found = lines.find(|line| line.as_ref().unwrap().contains(&sought));
        assert!(found.is_some(), "there was no phase {phase}");
    }

    /// Waits for the end, for a while.
    #[track_caller]
    pub(crate) fn end(mut self, patience: Duration) -> Output {
        let (mut child, deadline) = (self.0.take().unwrap(), Instant::now() + patience);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                child.kill().unwrap();
                unreachable!("it did not end: {:?}", child.wait_with_output().unwrap());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.wait_with_output().unwrap()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The processes that another one has begun.
pub(crate) fn children(id: u32) -> Vec<String> {
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    children.split_whitespace().map(str::to_owned).collect()
}

/// Kills a process; whether there was one.
pub(crate) fn kill(process: &str) -> bool {
    Command::new("kill").args(["-KILL", process]).stderr(Stdio::null()).status().unwrap().success()
}

/// Kills a process and those that it has begun.
pub(crate) fn kill_all(child: &mut Child) {
    let children = children(child.id());
    child.kill().unwrap();
    // One that has ended by itself is as well.
    for id in children {
        kill(&id);
    }
    child.wait().unwrap();
}

/// One clear error, and this exit code.
#[track_caller]
pub(crate) fn failed(code: i32, output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    let errors = err.lines().filter(|line| line.starts_with("error:") || line.contains("\"event\":\"error\"")).count();
    assert_eq!(errors, 1, "one clear error: {err}");
    assert!(!err.contains("panicked"), "{err}");
    err.into_owned()
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What is there is no volume, and is said to be none.
#[track_caller]
pub(crate) fn no_volume(target: &str) {
    let output = metaferry(&["info", target]);
    assert_ne!(output.status.code(), Some(3), "{output:?}");
    failed(1, &output);
}
