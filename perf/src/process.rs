//! Runs one whole process and tells how long it took, on the wall and on the processor, and the most memory it held. What it
//! prints goes to files, so that no pipe of ours slows it down.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::processor::Processor;

const TIME: &str = "/usr/bin/time";
/// How often the memory of a process is looked at where nothing else tells it.
const LOOK: Duration = Duration::from_millis(5);

/// What one run came to.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    /// Wall time.
    pub(crate) seconds: f64,
    /// Seconds of processor time, its own and that of servers meanwhile; none where there was no process of its own.
    pub(crate) cpu: Option<f64>,
    pub(crate) server_cpu: Option<f64>,
    /// The most memory that was resident; none where there was no process of its own.
    pub(crate) peak_kib: Option<u64>,
    /// Bytes of what it made.
    pub(crate) bytes: u64,
}

impl Ran {
    /// What is known of nothing but its duration.
    pub(crate) fn lasting(seconds: f64) -> Self {
        Self { seconds, cpu: None, server_cpu: None, peak_kib: None, bytes: 0 }
    }
}

/// A command line.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(&'static str, &'static str)>,
    input: Option<PathBuf>,
    accepted: i32,
}

impl Line {
    pub(crate) fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), variables: Vec::new(), input: None, accepted: 0 }
    }

    pub(crate) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets variables of its environment.
    pub(crate) fn envs(mut self, variables: &[(&'static str, &'static str)]) -> Self {
        self.variables.extend_from_slice(variables);
        self
    }

    /// Reads this file as its standard input.
    pub(crate) fn input(mut self, path: PathBuf) -> Self {
        self.input = Some(path);
        self
    }

    /// Takes this exit code for success too.
    pub(crate) fn accept(mut self, code: i32) -> Self {
        self.accepted = code;
        self
    }

    /// The program and what it is told, for a reader.
    fn shown(&self) -> String {
        let arguments = self.arguments.iter().map(|argument| format!(" {}", argument.display()));
        std::iter::once(self.program.display().to_string()).chain(arguments).collect()
    }

    /// Runs it in `folder`, and returns what it cost and its standard output.
    ///
    /// # Errors
    /// An exit code that is not accepted, with the end of what it said.
    pub(crate) fn run(&self, folder: &Path) -> Result<(Ran, String)> {
        let (output, errors, memory) = (folder.join("stdout"), folder.join("stderr"), folder.join("peak"));
        let mut command = if has_gnu_time() {
            let mut command = Command::new(TIME);
            command.args(["-f", "%M", "-o"]).arg(&memory).arg("--").arg(&self.program);
            command
        } else {
            Command::new(&self.program)
        };
        let input = self.input.as_ref().map_or_else(|| Ok(Stdio::null()), |path| File::open(path).map(Stdio::from))?;
        command.args(&self.arguments).envs(self.variables.iter().copied()).current_dir(folder).stdin(input);
        command.stdout(File::create(&output)?).stderr(File::create(&errors)?);
        let before = Processor::look();
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| self.shown())?;
        let (status, peak_kib) = if has_gnu_time() {
            let status = child.wait()?;
            (status, fs::read_to_string(&memory).ok().and_then(|text| text.lines().last()?.trim().parse().ok()))
        } else {
            watch(&mut child)?
        };
        let seconds = started.elapsed().as_secs_f64();
        let said = fs::read_to_string(&output).unwrap_or_default();
        if !status.success() && status.code() != Some(self.accepted) {
            let complaint = fs::read_to_string(&errors).unwrap_or_default();
            bail!("{}: {status}: {}", self.shown(), tail(&complaint));
        }
        let (cpu, server_cpu) = before.zip(Processor::look()).map_or((None, None), |(before, after)| {
            (Some(after.ended - before.ended), Some(after.living - before.living))
        });
        Ok((Ran { cpu, server_cpu, peak_kib, ..Ran::lasting(seconds) }, said))
    }

    /// Runs it for what it says.
    pub(crate) fn say(&self) -> Result<String> {
        let mut command = Command::new(&self.program);
        let output = command.args(&self.arguments).stdin(Stdio::null()).output().with_context(|| self.shown())?;
        ensure!(output.status.success(), "{}: {}", self.shown(), tail(&String::from_utf8_lossy(&output.stderr)));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Whether there is a `time` that tells the peak memory of a process.
fn has_gnu_time() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let tried = Command::new(TIME).args(["-f", "%M", "--", "true"]).stdin(Stdio::null()).output();
        tried.is_ok_and(|output| {
            output.status.success() && String::from_utf8_lossy(&output.stderr).trim().parse::<u64>().is_ok()
        })
    })
}

/// Waits for a process, and looks at its high-water mark until it is gone.
fn watch(child: &mut Child) -> Result<(ExitStatus, Option<u64>)> {
    let path = format!("/proc/{}/status", child.id());
    let mut peak = None;
    loop {
        peak = high_water(&path).max(peak);
        if let Some(status) = child.try_wait()? {
            return Ok((status, peak));
        }
        std::thread::sleep(LOOK);
    }
}

fn high_water(path: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The last lines of what a command complained of, as one.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join(" / ")
}

/// A program on the PATH, or where a variable says it is.
pub(crate) fn find(name: &str, variable: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable).filter(|value| !value.is_empty()) {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// What a short command prints first, such as its version.
pub(crate) fn first_line(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_told_with_and_without_the_time_program() {
        let mut child = Command::new("sleep").arg("0.1").spawn().unwrap();
        let (status, peak) = watch(&mut child).unwrap();
        assert!(status.success());
        assert!(peak.unwrap() > 100, "{peak:?} KiB");

        let folder = tempfile::tempdir().unwrap();
        let (ran, said) = Line::new("sh").arg("-c").arg("sleep 0.1; echo done").run(folder.path()).unwrap();
        assert_eq!(said, "done\n");
        assert!(ran.peak_kib.unwrap() > 100 && ran.seconds >= 0.1, "{ran:?}");
    }

    #[test]
    fn a_command_that_fails_tells_what_it_complained_of() {
        let folder = tempfile::tempdir().unwrap();
        let line = Line::new("sh").arg("-c").arg("echo broken >&2; exit 3");
        let error = line.run(folder.path()).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("broken"), "{error}");
        line.accept(3).run(folder.path()).unwrap();
    }
}
