//! PostgreSQL: how its servers are run, the table of runs with them, and the plans they make.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cases::{Case, Goal, Group, Store, Who, dump, juicefs, juicefs_dump, juicefs_load, load, ours};
use crate::lab::Lab;
use crate::plans::Planned;
use crate::process::{Line, Ran};
use crate::server::{Brand, Server, as_user};

/// How servers of PostgreSQL are run.
pub(crate) static BRAND: Brand = Brand {
    name: "PostgreSQL",
    make: |folder| {
        let mut made = command("initdb")?;
        made.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"]).arg(folder.join("data"));
        Ok(made)
    },
    serve: |folder, port| {
        let mut served = command("postgres")?;
        served.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string(), "-k"]).arg(folder);
        Ok(served)
    },
    program: |name, port| {
        let line = Line::new(programs()?.join(name));
        Ok(line.arg("-h").arg("127.0.0.1").arg("-U").arg("postgres").arg("-p").arg(port.to_string()))
    },
    ask: |port, database, sql| {
        let line = (BRAND.program)("psql", port)?;
        Ok(line.arg("-X").arg("-q").arg("-A").arg("-t").arg("-c").arg(sql).arg(database))
    },
    url: |port, database| format!("postgres://postgres@127.0.0.1:{port}/{database}?sslmode=disable"),
    jdbc: ("postgresql", "postgres"),
    home: "postgres",
    settle: |server| server.ask("postgres", "CHECKPOINT").map(drop),
};

/// The folder of the newest version's programs; Debian has it on nobody's PATH.
fn programs() -> Result<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed.map(|version| version.path().join("bin")).max();
    newest.filter(|folder| folder.join("initdb").exists()).context("PostgreSQL is not installed")
}

fn command(program: &str) -> Result<Command> {
    as_user("postgres", programs()?.join(program))
}

const fn pg(tool: &'static str, times: f64, run: fn(&Lab, &Path) -> Result<Ran>) -> Case {
    Case { tool, who: Who::Server, goal: Goal::Times(times), run }
}

/// Every group, in the order of the report.
pub(crate) static POSTGRES: &[Group] = &[
    Group {
        name: "postgres-to-archive",
        stores: &[Store::Postgres],
        cases: &[
            ours(Goal::Seconds(5.0), |lab, folder| dump(lab, &lab.postgres()?.url("volume").into(), folder)),
            juicefs("juicefs dump --binary", 4.0, |lab, folder| {
                juicefs_dump(lab, &lab.postgres()?.url("volume").into(), true, folder)
            }),
            pg("pg_dump -Fd -j2 -Z0", 1.0 / 1.8, pg_dump),
        ],
    },
    Group {
        name: "archive-to-postgres",
        stores: &[Store::Postgres],
        cases: &[
            ours(Goal::Seconds(12.0), |lab, folder| load(lab, &lab.postgres()?.empty("ours")?.into(), folder)),
            juicefs("juicefs load --binary", 4.5, |lab, folder| {
                juicefs_load(lab, &lab.postgres()?.empty("theirs")?.into(), true, folder)
            }),
            juicefs("juicefs load", 4.5, |lab, folder| {
                juicefs_load(lab, &lab.postgres()?.empty("theirs")?.into(), false, folder)
            }),
            pg("pg_restore -j2", 1.0 / 1.5, pg_restore),
        ],
    },
    Group {
        name: "redis-to-postgres",
        stores: &[Store::Redis, Store::Postgres],
        cases: &[ours(Goal::Seconds(25.0), |lab, folder| {
            let target = lab.postgres()?.empty("ours")?;
            lab.copy(["migrate".into(), lab.redis()?.url().into(), target.into()], folder)
        })],
    },
];

fn pg_dump(lab: &Lab, folder: &Path) -> Result<Ran> {
    let line = lab.postgres()?.program("pg_dump")?;
    let (ran, _) = line.arg("-Fd").arg("-j2").arg("-Z0").arg("-f").arg("out").arg("volume").run(folder)?;
    Ok(ran)
}

fn pg_restore(lab: &Lab, folder: &Path) -> Result<Ran> {
    pg_dump(lab, folder)?;
    let server = lab.postgres()?;
    server.empty("theirs")?;
    let (ran, _) = server.program("pg_restore")?.arg("-j2").arg("-d").arg("theirs").arg("out").run(folder)?;
    Ok(ran)
}

/// The plan of every statement that `read` has the server run, as the server logs it.
pub(crate) fn plans(server: &Server, read: &dyn Fn() -> Result<()>) -> Result<Vec<Planned>> {
    server.ask("postgres", "ALTER ROLE postgres SET session_preload_libraries = auto_explain")?;
    server.ask("postgres", "ALTER ROLE postgres SET auto_explain.log_min_duration = 0")?;
    let before = server.log("log")?.len();
    read()?;
    let log = server.log("log")?;
    Ok(logged(log.get(before..).unwrap_or_default()))
}

/// The statements and plans in a log: each begins with a line of its own, and goes on in lines that are indented.
fn logged(log: &str) -> Vec<Planned> {
    let mut planned: Vec<Planned> = Vec::new();
    let mut is_plan = false;
    for line in log.lines() {
        if let (Some(rest), Some(last)) = (line.strip_prefix('\t').filter(|_| is_plan), planned.last_mut()) {
            match rest.strip_prefix("Query Text: ") {
                Some(text) => text.clone_into(&mut last.statement),
                None => last.plan.push(rest.to_owned()),
            }
            continue;
        }
        is_plan = line.contains("LOG:  duration: ") && line.ends_with(" plan:");
        if is_plan {
            planned.push(Planned::default());
        }
    }
    planned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_found_in_a_log() {
        let log = "x LOG:  duration: 1.0 ms  plan:\n\tQuery Text: COPY (SELECT 1) TO STDOUT\n\tResult\n\t  Filter\nx LOG:  end\n\tno\n";
        let plan = vec!["Result".to_owned(), "  Filter".to_owned()];
        assert_eq!(logged(log), [Planned { statement: "COPY (SELECT 1) TO STDOUT".to_owned(), plan }]);
    }
}
