//! What was measured, as a table for people and as JSON for programs.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::cases::Goal;
use crate::lab::Volume;
use crate::machine::Machine;
use crate::measure::{Measured, Outcome};

/// The number of files for which the goals are set.
const GOAL_FILES: u64 = 1_000_000;

const LEGEND: &str = "spread: slowest by fastest run. times: how many times as fast metaferry is, by the medians. cpu, server: seconds of processor time of the process, and of the servers meanwhile. peak: of the process, not of a server.";

/// The table of a report.
pub(crate) fn table(volume: Volume, outcomes: &[Outcome]) -> String {
    let with_goals = volume.files == GOAL_FILES;
    let head =
        ["run", "tool", "min s", "median s", "max s", "spread", "times", "cpu s", "server s", "peak MiB", "MB", "goal"];
    let mut table = empty(&head);
    for outcome in outcomes {
        for case in &outcome.cases {
            let spread = case.spread();
            let goal = if with_goals { goal(outcome, case) } else { String::new() };
            table.add_row([
                outcome.name.to_owned(),
                case.tool.to_owned(),
                number(spread.map(|spread| spread.min), 2),
                number(spread.map(|spread| spread.median), 2),
                number(spread.map(|spread| spread.max), 2),
                number(spread.map(|spread| spread.max / spread.min), 2),
                number(outcome.times(case), 2),
                number(case.cpu(|ran| ran.cpu), 2),
                number(case.cpu(|ran| ran.server_cpu), 2),
                number(case.peak_kib().map(mebibytes), 0),
                number(case.bytes().map(|bytes| bytes as f64 / 1e6), 1),
                goal,
            ]);
        }
    }
    format!("{table}\n{LEGEND}")
}

/// The errors of a report, a line each.
pub(crate) fn errors(outcomes: &[Outcome]) -> Vec<String> {
    let cases = outcomes.iter().flat_map(|outcome| outcome.cases.iter().map(move |case| (outcome.name, case)));
    cases.filter_map(|(name, case)| Some(format!("{name}: {}: {}", case.tool, case.error.as_ref()?))).collect()
}

/// Everything that was measured of one volume.
pub(crate) fn json(volume: Volume, rows: u64, outcomes: &[Outcome]) -> Value {
    let groups: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let cases: Vec<Value> = outcome.cases.iter().map(|case| case_json(outcome, case)).collect();
            json!({ "run": outcome.name, "cases": cases })
        })
        .collect();
    json!({ "files": volume.files, "directories": volume.directories, "rows": rows, "runs": groups })
}

/// A whole report, of one volume or more.
pub(crate) fn document(machine: &Machine, volumes: &[Value]) -> Value {
    json!({ "version": 1, "machine": machine.json(), "volumes": volumes })
}

fn case_json(outcome: &Outcome, case: &Measured) -> Value {
    json!({
        "tool": case.tool, "seconds": case.runs.iter().map(|ran| ran.seconds).collect::<Vec<_>>(),
        "median_seconds": case.median(), "cpu_seconds": case.runs.iter().map(|ran| ran.cpu).collect::<Vec<_>>(),
        "server_cpu_seconds": case.runs.iter().map(|ran| ran.server_cpu).collect::<Vec<_>>(), "times": outcome.times(case), "peak_kib": case.peak_kib(),
        "bytes": case.bytes(), "goal_holds": outcome.holds(case), "error": case.error,
    })
}

fn goal(outcome: &Outcome, case: &Measured) -> String {
    let asked = match case.goal {
        Goal::None => return String::new(),
        Goal::Seconds(most) => format!("at most {most} s"),
        Goal::Times(least) => format!("{least:.2} times"),
    };
    let held = match outcome.holds(case) {
        Some(true) => "held",
        Some(false) => "missed",
        None => "unknown",
    };
    format!("{asked}: {held}")
}

/// A plain table whose columns after the second are numbers.
pub(crate) fn empty(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    for index in 2..head.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A number with so many decimals, or a dash.
pub(crate) fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

pub(crate) fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
