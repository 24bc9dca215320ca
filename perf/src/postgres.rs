//! A PostgreSQL server of our own, with default settings but for its place, that ends when it is dropped; and the table of
//! runs with it.

use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cases::{Case, Goal, Group, Store, Who, dump, juicefs, juicefs_dump, juicefs_load, load, ours};
use crate::lab::Lab;
use crate::process::{Line, Ran};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server that listens on this machine alone.
#[derive(Debug)]
pub(crate) struct Postgres {
    child: Child,
    port: u16,
}

/// The folder of the newest version's programs; Debian has it on nobody's PATH.
fn programs() -> Result<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed.map(|version| version.path().join("bin")).max();
    newest.filter(|folder| folder.join("initdb").exists()).context("PostgreSQL is not installed")
}

/// A program of the server's, not run as root: it refuses that.
fn command(program: &str) -> Result<Command> {
    let program = programs()?.join(program);
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    Ok(command)
}

impl Postgres {
    /// Starts a server that keeps its files in `folder`.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o777))?;
        // Whoever the server runs as must get there.
        folder.parent().map_or(Ok(()), |above| fs::set_permissions(above, Permissions::from_mode(0o755)))?;
        let data = folder.join("data");
        let mut made = command("initdb")?;
        made.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"]).arg(&data);
        let output = made.output()?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let log = File::create(folder.join("log"))?;
        let child = command("postgres")?
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-k"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let server = Self { child, port };
        let started = Instant::now();
        while server.sql("postgres", "SELECT 1").is_err() {
            if started.elapsed() > PATIENCE {
                bail!("PostgreSQL does not answer; its log is in {}", folder.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// The address of a database, as JuiceFS and metaferry spell it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// A new empty database in place of one of that name.
    pub(crate) fn empty(&self, database: &str) -> Result<String> {
        self.sql("postgres", &format!("DROP DATABASE IF EXISTS {database}"))?;
        self.sql("postgres", &format!("CREATE DATABASE {database}"))?;
        self.settle()?;
        Ok(self.url(database))
    }

    /// Writes out what earlier runs left in memory.
    pub(crate) fn settle(&self) -> Result<()> {
        self.sql("postgres", "CHECKPOINT")
    }

    fn at(&self, program: &str) -> Result<Line> {
        let line = Line::new(programs()?.join(program));
        Ok(line.arg("-h").arg("127.0.0.1").arg("-U").arg("postgres").arg("-p").arg(self.port.to_string()))
    }

    fn sql(&self, database: &str, sql: &str) -> Result<()> {
        let mut psql = Command::new(programs()?.join("psql"));
        psql.args(["-X", "-q", "-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string(), "-c", sql, database]);
        let output = psql.output()?;
        ensure!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A server that is gone already is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const fn pg(tool: &'static str, times: f64, run: fn(&Lab, &Path) -> Result<Ran>) -> Case {
    Case { tool, who: Who::Postgres, goal: Goal::Times(times), run }
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
    let line = lab.postgres()?.at("pg_dump")?;
    let (ran, _) = line.arg("-Fd").arg("-j2").arg("-Z0").arg("-f").arg("out").arg("volume").run(folder)?;
    Ok(ran)
}

fn pg_restore(lab: &Lab, folder: &Path) -> Result<Ran> {
    pg_dump(lab, folder)?;
    let server = lab.postgres()?;
    server.empty("theirs")?;
    let (ran, _) = server.at("pg_restore")?.arg("-j2").arg("-d").arg("theirs").arg("out").run(folder)?;
    Ok(ran)
}
