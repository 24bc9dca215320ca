//! Times whole commands on real servers, against a peer where one is on the PATH, and prints a table. Links nothing of
//! metaferry: what it runs is the program that users run.

mod cases;
mod formats;
mod kylin;
mod lab;
mod machine;
mod mariadb;
mod measure;
mod memory;
mod plans;
mod postgres;
mod process;
mod processor;
mod redis;
mod report;
mod repository;
mod s3;
mod server;
mod svg;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use serde_json::Value;
use tempfile::TempDir;

use cases::{GROUPS, Group};
use formats::FORMATS;
use kylin::KYLIN;
use lab::{Lab, Tools, Volume, Wanted};
use machine::Machine;
use mariadb::MARIADB;
use measure::Outcome;
use postgres::POSTGRES;
use process::Ran;
use repository::REPOSITORY;
use s3::S3;

/// Times metaferry's commands on real servers, beside juicefs, sqlite3 and redis-cli where they are on the PATH.
///
/// METAFERRY and METAFERRY_JUICEFS name programs that are elsewhere.
#[derive(Debug, Parser)]
#[command(name = "metaferry-perf", max_term_width = 110)]
struct Args {
    /// What is measured
    #[arg(value_enum, default_value_t = Mode::Speed)]
    mode: Mode,
    /// The number of names in the volume, and five times as many as resources in a metastore of Kylin; memory runs on ten times as
    /// many too
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    files: u64,
    /// How often everything is run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Only this run, such as sqlite-to-archive; may be given again
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Write the report to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the report into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Where to work [default: the system's temporary folder]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Leave the volume and its stores behind
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Seconds of every run, and of its peers
    Speed,
    /// Peak memory of every run, on a volume and on one ten times as large
    Memory,
    /// How PostgreSQL and MariaDB plan the queries by which a volume is read; nothing is timed
    Plans,
}

/// What is to be run.
#[derive(Debug)]
struct Bench {
    args: Args,
    groups: Vec<&'static Group>,
}

/// What came of one volume.
#[derive(Debug)]
struct Set {
    made: Ran,
    outcomes: Vec<Outcome>,
    json: Value,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<()> {
    let bench = Bench::new(args)?;
    let machine = Machine::look(&Tools::find()?);
    println!("{}", machine.lines());
    let (volumes, errors) = match bench.args.mode {
        Mode::Speed => bench.speed()?,
        Mode::Memory => memory::run(&bench)?,
        Mode::Plans => return plans::run(&bench),
    };
    if let Some(path) = &bench.args.json {
        let text = serde_json::to_string_pretty(&report::document(&machine, &volumes))?;
        fs::write(path, text + "\n").with_context(|| path.display().to_string())?;
    }
    errors.iter().for_each(|error| eprintln!("error: {error}"));
    ensure!(errors.is_empty(), "{} runs failed", errors.len());
    Ok(())
}

impl Bench {
    fn new(args: Args) -> Result<Self> {
        let has_s3 = Tools::find()?.moto.is_some();
        let all = || {
            let tables = [GROUPS, FORMATS, POSTGRES, MARIADB, REPOSITORY, KYLIN];
            // Nothing else would be run where there is no such server.
            tables.into_iter().flatten().chain(if has_s3 { S3 } else { &[] })
        };
        if let Some(name) = args.only.iter().find(|name| !all().any(|group| group.name == **name)) {
            let names: Vec<&str> = all().map(|group| group.name).collect();
            bail!("there is no run {name}; there are {}", names.join(", "));
        }
        if args.svg.is_some() && args.mode != Mode::Speed {
            bail!("only speed can be drawn");
        }
        let wanted = |group: &&Group| args.only.is_empty() || args.only.iter().any(|name| name == group.name);
        let groups = all().filter(wanted).collect();
        Ok(Self { args, groups })
    }

    fn speed(&self) -> Result<(Vec<Value>, Vec<String>)> {
        let Args { files, runs, .. } = self.args;
        let volume = self.volume();
        let set = self.run(volume, runs, true)?;
        println!("{}", report::table(volume, &set.outcomes));
        if let Some(path) = &self.args.svg {
            let picture = svg::draw(&format!("Seconds for a volume of {files} names"), &set.outcomes);
            fs::write(path, picture).with_context(|| path.display().to_string())?;
        }
        Ok((vec![set.json], report::errors(&set.outcomes)))
    }

    /// The volume that is asked for.
    fn volume(&self) -> Volume {
        let files = self.args.files;
        Volume { files, directories: files / 10 }
    }

    /// Where it is made.
    fn folder(&self) -> Result<TempDir> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("metaferry-perf-").disable_cleanup(self.args.keep);
        Ok(match &self.args.dir {
            Some(dir) => builder.tempdir_in(dir)?,
            None => builder.tempdir()?,
        })
    }

    /// Makes a volume and runs every group on it.
    fn run(&self, volume: Volume, runs: u32, peers: bool) -> Result<Set> {
        let folder = self.folder()?;
        let wanted = Wanted { stores: self.groups.iter().flat_map(|group| group.stores).copied().collect(), peers };
        let lab = Lab::new(Tools::find()?, folder.path(), volume, wanted)?;
        println!("{} files, {} rows, SQLite file with a {}", volume.files, lab.moved.rows, lab.journal()?);
        let outcomes =
            self.groups.iter().map(|group| measure::measure(&lab, group, runs, peers)).collect::<Result<Vec<_>>>()?;
        if self.args.keep {
            println!("kept: {}", folder.path().display());
        }
        let json = report::json(volume, lab.moved.rows, &outcomes);
        Ok(Set { made: lab.made.clone(), outcomes, json })
    }
}
