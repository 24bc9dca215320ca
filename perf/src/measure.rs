//! Runs the cases of a group by turns, so that what disturbs the machine disturbs all of them, and sums up their runs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::cases::{Case, Goal, Group, Who};
use crate::lab::Lab;
use crate::process::Ran;

/// So many files are not removed between runs.
const MANY: usize = 10_000;

/// The fastest, the middle and the slowest run, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

/// The runs of one case.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) tool: &'static str,
    pub(crate) who: Who,
    pub(crate) goal: Goal,
    pub(crate) runs: Vec<Ran>,
    /// Why it has no number.
    pub(crate) error: Option<String>,
}

impl Measured {
    fn new(case: &Case) -> Self {
        Self { tool: case.tool, who: case.who, goal: case.goal, runs: Vec::new(), error: None }
    }

    /// How long the runs took; none where one of them failed.
    pub(crate) fn spread(&self) -> Option<Spread> {
        if self.error.is_some() {
            return None;
        }
        let mut seconds: Vec<f64> = self.runs.iter().map(|ran| ran.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let (lower, upper) = (seconds.get(seconds.len().checked_sub(1)? / 2)?, seconds.get(seconds.len() / 2)?);
        Some(Spread { min: *seconds.first()?, median: f64::midpoint(*lower, *upper), max: *seconds.last()? })
    }

    pub(crate) fn median(&self) -> Option<f64> {
        self.spread().map(|spread| spread.median)
    }

    /// Seconds of processor time that the median run took, of the process and of servers.
    pub(crate) fn cpu(&self, of: fn(&Ran) -> Option<f64>) -> Option<f64> {
        let mut seconds: Vec<f64> = self.runs.iter().filter_map(of).collect();
        seconds.sort_by(f64::total_cmp);
        seconds.get(seconds.len().checked_sub(1)? / 2).copied()
    }

    pub(crate) fn peak_kib(&self) -> Option<u64> {
        self.runs.iter().filter_map(|ran| ran.peak_kib).max()
    }

    pub(crate) fn bytes(&self) -> Option<u64> {
        self.runs.last().map(|ran| ran.bytes).filter(|&bytes| bytes > 0)
    }
}

/// A group and its cases' runs.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) cases: Vec<Measured>,
}

impl Outcome {
    /// How many times as fast as this case metaferry is.
    pub(crate) fn times(&self, case: &Measured) -> Option<f64> {
        let ours = self.cases.iter().find(|case| case.who == Who::Metaferry)?.median()?;
        (case.who != Who::Metaferry).then_some(case.median()? / ours)
    }

    /// Whether what was asked of the case holds; none where nothing was asked or nothing is known.
    pub(crate) fn holds(&self, case: &Measured) -> Option<bool> {
        match case.goal {
            Goal::None => None,
            Goal::Seconds(most) => Some(case.median()? <= most),
            Goal::Times(least) => Some(self.times(case)? >= least),
        }
    }
}

/// Runs a group: every case once, then every case again. A case that fails is not run again.
pub(crate) fn measure(lab: &Lab, group: &'static Group, runs: u32, peers: bool) -> Result<Outcome> {
    let wanted = |case: &&Case| case.who == Who::Metaferry || peers && case.who.is_here(&lab.tools);
    let mut cases: Vec<(&Case, Measured)> =
        group.cases.iter().filter(wanted).map(|case| (case, Measured::new(case))).collect();
    for round in 1..=runs {
        for ((case, measured), place) in cases.iter_mut().zip(0..).filter(|((_, measured), _)| measured.error.is_none())
        {
            eprintln!("{} {round}/{runs}: {}", group.name, case.tool);
            match once(lab, case, &format!("{}-{round}-{place}", group.name)) {
                Ok(ran) => measured.runs.push(ran),
                Err(error) => measured.error = Some(format!("{error:#}")),
            }
        }
    }
    Ok(Outcome { name: group.name, cases: cases.into_iter().map(|(_, measured)| measured).collect() })
}

/// Runs a case in a fresh folder, after what the last run left has gone to disk and from the server.
///
/// What it wrote is removed, but not where it is very many files: ext4 looks at each that was deleted in the last minutes before
/// it makes another one, so that the next run of the kind would take twice as long.
fn once(lab: &Lab, case: &Case, name: &str) -> Result<Ran> {
    let folder = lab.folder.join(name);
    fs::create_dir(&folder)?;
    // Where there is no such program, the runs disturb each other a little more.
    drop(Command::new("sync").stdin(Stdio::null()).status());
    let ran = lab.settle().and_then(|()| (case.run)(lab, &folder));
    if files(&folder, MANY)? < MANY {
        fs::remove_dir_all(&folder)?;
    }
    ran
}

/// How many files there are in a folder, or `most`.
fn files(folder: &Path, most: usize) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { files(&entry.path(), most - count)? } else { 1 };
        if count >= most {
            return Ok(most);
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(who: Who, goal: Goal, seconds: &[f64]) -> Measured {
        let runs = seconds.iter().map(|&seconds| Ran::lasting(seconds)).collect();
        Measured { tool: "tool", who, goal, runs, error: None }
    }

    #[test]
    fn the_median_is_the_middle_run_or_the_mean_of_two() {
        assert_eq!(measured(Who::Metaferry, Goal::None, &[3.0, 1.0, 9.0]).median(), Some(3.0));
        assert_eq!(measured(Who::Metaferry, Goal::None, &[4.0, 1.0, 2.0, 9.0]).median(), Some(3.0));
        assert_eq!(measured(Who::Metaferry, Goal::None, &[]).median(), None);
    }

    #[test]
    fn a_case_that_failed_has_no_number_and_holds_nothing() {
        let ours = Measured { error: Some("no".to_owned()), ..measured(Who::Metaferry, Goal::Seconds(9.0), &[1.0]) };
        let theirs = measured(Who::JuiceFs, Goal::Times(2.0), &[4.0]);
        let outcome = Outcome { name: "run", cases: vec![ours, theirs] };
        let held: Vec<_> = outcome.cases.iter().map(|case| outcome.holds(case)).collect();
        assert_eq!(held, [None, None]);
    }

    #[test]
    fn goals_are_held_to_the_medians() {
        let cases = vec![
            measured(Who::Metaferry, Goal::Seconds(2.0), &[1.0, 2.0, 3.0]),
            measured(Who::JuiceFs, Goal::Times(6.0), &[12.0]),
            measured(Who::Drain, Goal::Times(0.8), &[1.0]),
        ];
        let outcome = Outcome { name: "run", cases };
        let held: Vec<_> = outcome.cases.iter().map(|case| outcome.holds(case)).collect();
        assert_eq!(held, [Some(true), Some(true), Some(false)]);
    }
}
