//! demo: a volume made in SQLite, dumped, loaded into a second file, verified, with what each step took.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use metaferry_pipeline::{Error, Result};
use serde_json::Value;

use crate::Outcome;
use crate::context::Context;
use crate::output::{print, table, tell};

/// One step, run as a process of its own so that its memory can be told.
struct Step {
    name: &'static str,
    args: Vec<String>,
    file: Option<PathBuf>,
}

/// Runs every step and prints a table.
pub(crate) fn run(context: &Context, files: u64, dir: Option<PathBuf>) -> Result<Outcome> {
    let temporary = match dir {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(|error| Error::engine("temporary folder", error))?),
    };
    let dir = dir.or_else(|| temporary.as_ref().map(|dir| dir.path().to_owned())).unwrap_or_default();
    let place = |name: &str| dir.join(name);
    let sqlite = |name: &str| format!("sqlite3://{}", place(name).display());
    let volume = format!("synthetic://?files={files}&seed=7");
    let archive = place("volume.jsonl.zst");
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let steps = [
        Step { name: "make a volume", args: words(&["load", &volume, &sqlite("one.db")]), file: Some(place("one.db")) },
        Step {
            name: "dump it",
            args: words(&["dump", &sqlite("one.db"), &archive.to_string_lossy()]),
            file: Some(archive.clone()),
        },
        Step {
            name: "load the dump",
            args: words(&["load", &archive.to_string_lossy(), &sqlite("two.db")]),
            file: Some(place("two.db")),
        },
        Step { name: "verify", args: words(&["verify", &sqlite("one.db"), &sqlite("two.db")]), file: None },
    ];
    let mut table = table(["step", "rows", "seconds", "rows/s", "peak MiB", "size MiB"]);
    for step in &steps {
        context.stop.check()?;
        if !context.common.quiet {
            tell(format_args!("{} …", step.name));
        }
        table.add_row(take(step)?);
    }
    print(table);
    print("equal: the second volume is proven to be the first");
    Ok(Outcome::Holds)
}

fn take(step: &Step) -> Result<Vec<String>> {
    let program = std::env::current_exe().map_err(|error| Error::engine("this program", error))?;
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(&step.args)
        .arg("--json")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .map_err(|error| Error::engine(step.name, error))?;
    let peak = crate::progress::watch_peak(&mut child);
    let output = child.wait_with_output().map_err(|error| Error::engine(step.name, error))?;
    let seconds = started.elapsed().as_secs_f64();
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(Error::corrupt(format!("{}: {}", step.name, text.trim_end().lines().last().unwrap_or("failed"))));
    }
    let summary: Value = serde_json::from_slice(&output.stdout).map_err(|error| Error::engine(step.name, error))?;
    let loaded = summary.get("rows").and_then(Value::as_object);
    let loaded = loaded.map(|rows| rows.values().filter_map(Value::as_u64).sum());
    let compared = summary.pointer("/left_tally/rows").and_then(Value::as_u64);
    let rows: u64 = loaded.or(compared).unwrap_or_default();
    let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
    let size = step.file.as_ref().and_then(|file| file.metadata().ok()).map(|file| mib(file.len())).unwrap_or_default();
    let rate = format!("{:.0}", rows as f64 / seconds);
    Ok(vec![step.name.to_owned(), rows.to_string(), format!("{seconds:.2}"), rate, mib(peak), size])
}
