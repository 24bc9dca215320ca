//! MariaDB: how its servers are run, the table of runs with them, and the plans they make.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::cases::{Case, Goal, Group, Store, Who, dump, juicefs, juicefs_dump, juicefs_load, load, ours};
use crate::lab::Lab;
use crate::plans::Planned;
use crate::process::{Line, Ran};
use crate::server::{Brand, Server, as_user};

/// How long the server may take to write its memory out.
const PATIENCE: Duration = Duration::from_secs(60);

/// How servers of MariaDB are run.
pub(crate) static BRAND: Brand = Brand {
    name: "MariaDB",
    make: |folder| {
        let mut made = as_user("mysql", "mariadb-install-db")?;
        made.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        made.arg(option("datadir", &folder.join("data")));
        Ok(made)
    },
    serve: |folder, port| {
        let mut served = server_program()?;
        served.args(["--no-defaults", "--bind-address=127.0.0.1", &format!("--port={port}")]);
        served.arg(option("datadir", &folder.join("data"))).arg(option("socket", &folder.join("socket")));
        served.arg(option("tmpdir", folder));
        Ok(served)
    },
    program: |name, port| {
        let line = Line::new(name).arg("--no-defaults").arg("--host=127.0.0.1").arg("--user=root");
        Ok(line.arg(format!("--port={port}")))
    },
    ask: |port, database, sql| {
        let line = (BRAND.program)("mariadb", port)?;
        Ok(line.arg("--batch").arg("--skip-column-names").arg("--raw").arg("-e").arg(sql).arg(database))
    },
    url: |port, database| format!("mysql://root@(127.0.0.1:{port})/{database}"),
    jdbc: ("mysql", "root"),
    home: "mysql",
    settle,
};

/// The server, which Debian has on root's path alone.
fn server_program() -> Result<Command> {
    let debian = Path::new("/usr/sbin/mariadbd");
    as_user("mysql", if debian.exists() { debian } else { Path::new("mariadbd") })
}

fn option(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// Has the server write out its memory as fast as it can, which it otherwise does over minutes.
fn settle(server: &Server) -> Result<()> {
    let ask = |sql: &str| server.ask("mysql", sql);
    let settings = "@@innodb_max_dirty_pages_pct, @@innodb_io_capacity, @@innodb_io_capacity_max";
    let before = ask(&format!("SELECT CONCAT_WS(' ', {settings})"))?;
    let set = |values: &str| match values.split_whitespace().collect::<Vec<_>>().as_slice() {
        [dirty, capacity, most] => format!(
            "SET GLOBAL innodb_io_capacity_max = {most}, innodb_io_capacity = {capacity}, \
             innodb_max_dirty_pages_pct = {dirty}"
        ),
        _ => String::new(),
    };
    ask(&set("0 100000 100000"))?;
    let begun = Instant::now();
    while ask("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")?.split_whitespace().last() != Some("0") {
        ensure!(begun.elapsed() < PATIENCE, "MariaDB does not come to rest");
        std::thread::sleep(Duration::from_millis(50));
    }
    ask(&set(&before)).map(drop)
}

const fn own(tool: &'static str, goal: Goal, run: fn(&Lab, &Path) -> Result<Ran>) -> Case {
    Case { tool, who: Who::Server, goal, run }
}

/// Every group, in the order of the report.
pub(crate) static MARIADB: &[Group] = &[
    Group {
        name: "mariadb-to-archive",
        stores: &[Store::MariaDb],
        cases: &[
            ours(Goal::Seconds(5.0), |lab, folder| dump(lab, &lab.mariadb()?.url("volume").into(), folder)),
            juicefs("juicefs dump --binary", 4.0, |lab, folder| {
                juicefs_dump(lab, &lab.mariadb()?.url("volume").into(), true, folder)
            }),
            own("mariadb-dump", Goal::None, mariadb_dump),
        ],
    },
    Group {
        name: "archive-to-mariadb",
        stores: &[Store::MariaDb],
        cases: &[
            ours(Goal::Seconds(15.0), |lab, folder| load(lab, &lab.mariadb()?.empty("ours")?.into(), folder)),
            juicefs("juicefs load --binary", 3.0, |lab, folder| {
                juicefs_load(lab, &lab.mariadb()?.empty("theirs")?.into(), true, folder)
            }),
            own("mariadb < dump.sql", Goal::Times(2.0), restore),
        ],
    },
    Group {
        name: "redis-to-mariadb",
        stores: &[Store::Redis, Store::MariaDb],
        cases: &[ours(Goal::None, |lab, folder| {
            let target = lab.mariadb()?.empty("ours")?;
            lab.copy(["migrate".into(), lab.redis()?.url().into(), target.into()], folder)
        })],
    },
];

fn mariadb_dump(lab: &Lab, folder: &Path) -> Result<Ran> {
    let line = lab.mariadb()?.program("mariadb-dump")?.arg("--single-transaction").arg("--result-file=dump.sql");
    let (ran, _) = line.arg("volume").run(folder)?;
    Ok(ran)
}

fn restore(lab: &Lab, folder: &Path) -> Result<Ran> {
    mariadb_dump(lab, folder)?;
    let server = lab.mariadb()?;
    server.empty("theirs")?;
    let (ran, _) = server.program("mariadb")?.arg("theirs").input(folder.join("dump.sql")).run(folder)?;
    Ok(ran)
}

/// The plan of every query that `read` has the server run: it logs them, and is asked about each.
pub(crate) fn plans(server: &Server, read: &dyn Fn() -> Result<()>) -> Result<Vec<Planned>> {
    server.ask("mysql", "SET GLOBAL general_log_file = 'statements', GLOBAL general_log = 1")?;
    read()?;
    server.ask("mysql", "SET GLOBAL general_log = 0")?;
    let log = server.log("data/statements")?;
    let planned = log.lines().filter_map(query).map(|statement| {
        let plan = server.ask("volume", &format!("EXPLAIN {statement}"))?;
        Ok(Planned { statement: statement.to_owned(), plan: plan.lines().map(str::to_owned).collect() })
    });
    planned.collect()
}

/// The query in a line of the log, which says who ran it, and how.
fn query(line: &str) -> Option<&str> {
    let (how, statement) = line.rsplit_once('\t')?;
    let is_run = how.ends_with(" Query") || how.ends_with(" Execute");
    (is_run && statement.starts_with("SELECT") && statement.contains(" FROM ")).then_some(statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_found_in_a_log() {
        assert_eq!(query("\t\t    12 Execute\tSELECT a FROM b"), Some("SELECT a FROM b"));
        assert_eq!(query("260101  1:02:03\t    12 Query\tSELECT a FROM b"), Some("SELECT a FROM b"));
        assert_eq!(query("\t\t    12 Prepare\tSELECT a FROM b"), None);
        assert_eq!(query("\t\t    12 Query\tSELECT VERSION()"), None);
    }
}
