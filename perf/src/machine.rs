//! What a reader must know of the machine to make sense of seconds.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::lab::Tools;
use crate::process::first_line;

/// The machine and the programs, as they are when the runs begin.
#[derive(Debug)]
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    memory: String,
    load: String,
    date: String,
    programs: Vec<(&'static str, String)>,
}

impl Machine {
    pub(crate) fn look(tools: &Tools) -> Self {
        let unknown = || "unknown".to_owned();
        let version = |name, program: Option<&Path>, argument: &str| {
            Some((name, first_line(program?, &[argument]).unwrap_or_else(unknown)))
        };
        let programs = [
            version("metaferry", Some(&tools.metaferry), "--version"),
            version("redis", Some(&tools.redis.server), "--version"),
            version("juicefs", tools.juicefs.as_deref(), "--version"),
            version("sqlite3", tools.sqlite3.as_deref(), "--version"),
        ];
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_else(|_| unknown());
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            memory: field("/proc/meminfo", "MemTotal").unwrap_or_else(unknown),
            load: load.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
            date: first_line(Path::new("date"), &["-u", "+%Y-%m-%dT%H:%M:%SZ"]).unwrap_or_else(unknown),
            programs: programs.into_iter().flatten().collect(),
        }
    }

    /// For a reader.
    pub(crate) fn lines(&self) -> String {
        let Self { cores, processor, memory, load, date, .. } = self;
        let programs: Vec<&str> = self.programs.iter().map(|(_, version)| version.as_str()).collect();
        format!("{date}, {cores} cores, {processor}, {memory}, load {load}\n{}", programs.join("; "))
    }

    pub(crate) fn json(&self) -> Value {
        let programs: Value = self.programs.iter().map(|(name, version)| (*name, version.as_str())).collect();
        json!({ "cores": self.cores, "processor": self.processor, "memory": self.memory, "load": self.load,
            "date": self.date, "programs": programs })
    }
}

/// The first value of this name in a file of `name : value` lines.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
