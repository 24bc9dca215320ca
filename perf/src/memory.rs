//! The peak memory of every run on a volume and on one ten times its size: it must not grow with the volume.

use anyhow::Result;
use serde_json::Value;

use crate::Bench;
use crate::lab::Volume;
use crate::measure::Outcome;
use crate::report::{self, mebibytes, number};

/// What no run may hold, and what it may hold more for the larger volume, in MiB.
const MOST_MIB: f64 = 256.0;
const MOST_GROWTH_MIB: f64 = 48.0;

/// Runs everything of ours once on both volumes and prints what each run held.
pub(crate) fn run(bench: &Bench) -> Result<(Vec<Value>, Vec<String>)> {
    let files = bench.args.files;
    let small = bench.run(Volume { files, directories: files / 10 }, 1, false)?;
    let large = bench.run(Volume { files: 10 * files, directories: 2 * files }, 1, false)?;
    println!("{}", table([small.made.peak_kib, large.made.peak_kib], &small.outcomes, &large.outcomes));
    println!("peak MiB on {files} and on {} files; at most {MOST_MIB}, growth under {MOST_GROWTH_MIB}", 10 * files);
    let errors = [&small, &large].into_iter().flat_map(|set| report::errors(&set.outcomes)).collect();
    Ok((vec![small.json, large.json], errors))
}

fn table(made: [Option<u64>; 2], small: &[Outcome], large: &[Outcome]) -> String {
    let mut table = report::empty(&["run", "goal", "small MiB", "large MiB", "growth MiB", "small s", "large s"]);
    let mut add = |name: &str, [small, large]: [Option<u64>; 2], [fast, slow]: [Option<f64>; 2]| {
        let (small, large) = (small.map(mebibytes), large.map(mebibytes));
        let growth = small.zip(large).map(|(small, large)| large - small);
        let held = match (small, large, growth) {
            (Some(small), Some(large), Some(growth)) if small.max(large) <= MOST_MIB && growth < MOST_GROWTH_MIB => {
                "held"
            }
            (Some(_), Some(_), Some(_)) => "missed",
            _ => "unknown",
        };
        let numbers = [small, large, growth, fast, slow].map(|value| number(value, 1));
        table.add_row([name.to_owned(), held.to_owned()].into_iter().chain(numbers));
    };
    add("synthetic-to-sqlite", made, [None, None]);
    for (small, large) in small.iter().zip(large) {
        for (less, more) in small.cases.iter().zip(&large.cases) {
            add(small.name, [less.peak_kib(), more.peak_kib()], [less.median(), more.median()]);
        }
    }
    table.to_string()
}
