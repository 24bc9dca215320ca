//! The table of runs: what is copied from where to where, by us and by whoever else can, and what is asked of each.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, Tools, size, url};
use crate::process::{Line, Ran};
use crate::redis::Redis;

/// Who runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Metaferry,
    JuiceFs,
    Sqlite3,
    RedisCli,
    /// The server's own programs.
    Server,
    /// This program, reading what the server sends.
    Drain,
}

/// A store that is filled before a group runs, besides one SQLite file and one archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// Another SQLite file.
    Second,
    Redis,
    Postgres,
    MariaDb,
    /// A metastore of Kylin, by its place among all that there are.
    Kylin(usize),
}

impl Who {
    pub(crate) fn is_here(self, tools: &Tools) -> bool {
        match self {
            // Where a server is not installed, none of its groups can be run.
            Self::Metaferry | Self::Drain | Self::Server => true,
            Self::JuiceFs => tools.juicefs.is_some(),
            Self::Sqlite3 => tools.sqlite3.is_some(),
            Self::RedisCli => tools.redis.cli.is_some(),
        }
    }
}

/// What is asked of a run, for a million files on two cores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    None,
    /// At most so many seconds.
    Seconds(f64),
    /// Metaferry at least so many times as fast.
    Times(f64),
}

/// One tool's way of doing what a group is about.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) tool: &'static str,
    pub(crate) who: Who,
    pub(crate) goal: Goal,
    /// Runs it once, in a folder of its own.
    pub(crate) run: fn(&Lab, &Path) -> Result<Ran>,
}

/// Cases that are run by turns and compared; the first is metaferry's.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) stores: &'static [Store],
    pub(crate) cases: &'static [Case],
}

pub(crate) const fn ours(goal: Goal, run: fn(&Lab, &Path) -> Result<Ran>) -> Case {
    Case { tool: "metaferry", who: Who::Metaferry, goal, run }
}

pub(crate) const fn juicefs(tool: &'static str, times: f64, run: fn(&Lab, &Path) -> Result<Ran>) -> Case {
    Case { tool, who: Who::JuiceFs, goal: Goal::Times(times), run }
}

/// Every group, in the order of the report.
pub(crate) static GROUPS: &[Group] = &[
    Group {
        name: "sqlite-to-archive",
        stores: &[],
        cases: &[
            ours(Goal::Seconds(4.0), |lab, folder| dump(lab, &url(&lab.sqlite()), folder)),
            juicefs("juicefs dump --binary", 6.0, |lab, folder| juicefs_dump(lab, &url(&lab.peer("db")), true, folder)),
            juicefs("juicefs dump", 6.0, |lab, folder| juicefs_dump(lab, &url(&lab.peer("db")), false, folder)),
            Case { tool: "sqlite3 .backup", who: Who::Sqlite3, goal: Goal::None, run: backup },
        ],
    },
    Group {
        name: "archive-to-sqlite",
        stores: &[],
        cases: &[
            ours(Goal::Seconds(9.0), |lab, folder| {
                let ran = load(lab, &url(&folder.join("new.db")), folder)?;
                Ok(Ran { bytes: size(&folder.join("new.db"))?, ..ran })
            }),
            juicefs("juicefs load --binary", 5.0, |lab, folder| {
                juicefs_load(lab, &url(&folder.join("new.db")), true, folder)
            }),
            juicefs("juicefs load", 5.0, |lab, folder| juicefs_load(lab, &url(&folder.join("new.db")), false, folder)),
        ],
    },
    Group {
        name: "redis-to-archive",
        stores: &[Store::Redis],
        cases: &[
            ours(Goal::Seconds(5.0), |lab, folder| dump(lab, &lab.redis()?.url().into(), folder)),
            juicefs("juicefs dump --binary", 1.3, |lab, folder| {
                juicefs_dump(lab, &lab.redis()?.url().into(), true, folder)
            }),
            juicefs("juicefs dump", 1.3, |lab, folder| juicefs_dump(lab, &lab.redis()?.url().into(), false, folder)),
            Case { tool: "redis-cli --rdb", who: Who::RedisCli, goal: Goal::None, run: redis_cli },
            Case {
                tool: "server alone (SYNC)",
                who: Who::Drain,
                goal: Goal::Times(1.0 / 1.3),
                run: |lab, _| lab.redis()?.drain(),
            },
        ],
    },
    Group {
        name: "archive-to-redis",
        stores: &[],
        cases: &[
            ours(Goal::Seconds(5.0), |lab, folder| {
                let server = empty(lab, folder)?;
                load(lab, &server.url().into(), folder)
            }),
            juicefs("juicefs load --binary", 1.4, |lab, folder| {
                let server = empty(lab, folder)?;
                juicefs_load(lab, &server.url().into(), true, folder)
            }),
            juicefs("juicefs load", 1.4, |lab, folder| {
                let server = empty(lab, folder)?;
                juicefs_load(lab, &server.url().into(), false, folder)
            }),
        ],
    },
    Group { name: "verify-sqlite", stores: &[Store::Second], cases: &[ours(Goal::Seconds(5.0), verify)] },
    Group {
        name: "sqlite-to-redis",
        stores: &[],
        cases: &[ours(Goal::None, |lab, folder| {
            let server = empty(lab, folder)?;
            lab.copy(["migrate".into(), url(&lab.sqlite()), server.url().into()], folder)
        })],
    },
    Group {
        name: "redis-to-sqlite",
        stores: &[Store::Redis],
        cases: &[ours(Goal::None, |lab, folder| {
            let target = folder.join("new.db");
            let ran = lab.copy(["migrate".into(), lab.redis()?.url().into(), url(&target)], folder)?;
            Ok(Ran { bytes: size(&target)?, ..ran })
        })],
    },
];

/// A fresh server, for one load: every run finds the same.
pub(crate) fn empty(lab: &Lab, folder: &Path) -> Result<Redis> {
    Redis::start(&lab.tools.redis.server, &folder.join("redis"))
}

pub(crate) fn dump(lab: &Lab, source: &OsString, folder: &Path) -> Result<Ran> {
    let target = folder.join("out.jsonl.zst");
    let ran = lab.copy(["dump".into(), source.clone(), target.clone().into()], folder)?;
    Ok(Ran { bytes: size(&target)?, ..ran })
}

pub(crate) fn load(lab: &Lab, target: &OsString, folder: &Path) -> Result<Ran> {
    lab.copy(["load".into(), lab.archive().into(), target.clone()], folder)
}

fn verify(lab: &Lab, folder: &Path) -> Result<Ran> {
    let line = lab.metaferry().arg("verify").arg(url(&lab.sqlite())).arg(url(&lab.second()));
    let (ran, summary) = lab.summary(line, folder)?;
    ensure!(summary.get("equal").and_then(serde_json::Value::as_bool) == Some(true), "the two are not equal");
    lab.check(&summary, "left_tally")?;
    lab.check(&summary, "right_tally")?;
    Ok(ran)
}

fn juicefs_line(lab: &Lab, verb: &str, binary: bool) -> Result<Line> {
    let line = Line::new(lab.tools.juicefs.as_ref().context("juicefs is not on the PATH")?).arg(verb);
    Ok(if binary { line.arg("--binary") } else { line })
}

pub(crate) fn juicefs_dump(lab: &Lab, source: &OsString, binary: bool, folder: &Path) -> Result<Ran> {
    let target = folder.join(if binary { "out.bin" } else { "out.json" });
    let (ran, _) = juicefs_line(lab, "dump", binary)?.arg(source).arg(&target).run(folder)?;
    Ok(Ran { bytes: size(&target)?, ..ran })
}

pub(crate) fn juicefs_load(lab: &Lab, target: &OsString, binary: bool, folder: &Path) -> Result<Ran> {
    let source = lab.peer(if binary { "bin" } else { "json" });
    let (ran, _) = juicefs_line(lab, "load", binary)?.arg(target).arg(source).run(folder)?;
    lab.check_peer(target, folder)?;
    Ok(ran)
}

fn backup(lab: &Lab, folder: &Path) -> Result<Ran> {
    let program = lab.tools.sqlite3.as_ref().context("sqlite3 is not on the PATH")?;
    let (ran, _) = Line::new(program).arg(lab.peer("db")).arg(".backup out.db").run(folder)?;
    let bytes = size(&folder.join("out.db"))?;
    let whole = size(&lab.peer("db"))?;
    ensure!(bytes >= whole, "a copy of {bytes} bytes, of {whole}");
    Ok(Ran { bytes, ..ran })
}

fn redis_cli(lab: &Lab, folder: &Path) -> Result<Ran> {
    let program = lab.tools.redis.cli.as_ref().context("redis-cli is not on the PATH")?;
    let target = folder.join("out.rdb");
    let (ran, _) = Line::new(program).arg("-p").arg(lab.redis()?.port()).arg("--rdb").arg(&target).run(folder)?;
    Ok(Ran { bytes: size(&target)?, ..ran })
}
