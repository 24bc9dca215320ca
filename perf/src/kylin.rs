//! The table of runs with a metastore of Kylin: its backup in a folder and in an archive, and its restore, on both databases.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cases::{Case, Goal, Group, Store, Who, ours};
use crate::lab::Lab;
use crate::process::{Line, Ran};
use crate::server::Server;

/// The database of the metastore.
pub(crate) const DATABASE: &str = "kylin";

type Find = fn(&Lab) -> Result<&Server>;

const POSTGRES: Find = Lab::kylin_postgres;
const MARIADB: Find = Lab::kylin_mariadb;

const fn server(tool: &'static str, run: fn(&Lab, &Path) -> Result<Ran>) -> Case {
    Case { tool, who: Who::Server, goal: Goal::None, run }
}

/// Every group, in the order of the report.
pub(crate) static KYLIN: &[Group] = &[
    Group {
        name: "kylin-postgres-to-folder",
        stores: &[Store::KylinPostgres],
        cases: &[
            ours(Goal::Seconds(15.0), |lab, folder| backup(lab, POSTGRES, folder)),
            server("pg_dump -Fd -j2 -Z0", |lab, folder| {
                let line = POSTGRES(lab)?.program("pg_dump")?.arg("-Fd").arg("-j2").arg("-Z0");
                weighed(&line.arg("-f").arg(folder.join("dump")).arg(DATABASE), folder)
            }),
        ],
    },
    Group {
        name: "kylin-postgres-to-archive",
        stores: &[Store::KylinPostgres],
        cases: &[ours(Goal::Seconds(8.0), |lab, folder| dump(lab, POSTGRES, folder))],
    },
    Group {
        name: "kylin-folder-to-postgres",
        stores: &[Store::KylinPostgres],
        cases: &[ours(Goal::Seconds(40.0), |lab, folder| restore(lab, POSTGRES, folder))],
    },
    Group {
        name: "kylin-mariadb-to-folder",
        stores: &[Store::KylinMariaDb],
        cases: &[
            ours(Goal::Seconds(15.0), |lab, folder| backup(lab, MARIADB, folder)),
            server("mariadb-dump --quick", |lab, folder| {
                let line = MARIADB(lab)?.program("mariadb-dump")?.arg("--single-transaction").arg("--quick");
                weighed(&line.arg(format!("--result-file={}", folder.join("dump").display())).arg(DATABASE), folder)
            }),
        ],
    },
    Group {
        name: "kylin-mariadb-to-archive",
        stores: &[Store::KylinMariaDb],
        cases: &[ours(Goal::Seconds(8.0), |lab, folder| dump(lab, MARIADB, folder))],
    },
    Group {
        name: "kylin-folder-to-mariadb",
        stores: &[Store::KylinMariaDb],
        cases: &[ours(Goal::Seconds(40.0), |lab, folder| restore(lab, MARIADB, folder))],
    },
];

fn weighed(line: &Line, folder: &Path) -> Result<Ran> {
    let (ran, _) = line.run(folder)?;
    Ok(Ran { bytes: weight(&folder.join("dump"))?, ..ran })
}

/// What is in a file or a folder, in bytes.
fn weight(path: &Path) -> Result<u64> {
    let found = fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
    if !found.is_dir() {
        return Ok(found.len());
    }
    fs::read_dir(path)?.map(|entry| weight(&entry?.path())).sum()
}

fn ours_of(lab: &Lab, find: Find) -> Result<Line> {
    Ok(lab.metaferry().arg("kylin").arg("--metadata-url").arg(find(lab)?.metadata_url(DATABASE)))
}

/// Makes a backup in a folder; where that is, and what it cost.
fn made(lab: &Lab, find: Find, folder: &Path) -> Result<(PathBuf, Ran)> {
    let line = ours_of(lab, find)?.arg("backup").arg(folder).arg("--folder").arg("backup");
    let (ran, summary) = lab.summary(line, folder)?;
    lab.check_kylin(&summary)?;
    Ok((folder.join("backup"), ran))
}

fn backup(lab: &Lab, find: Find, folder: &Path) -> Result<Ran> {
    let (path, ran) = made(lab, find, folder)?;
    Ok(Ran { bytes: weight(&path)?, ..ran })
}

fn dump(lab: &Lab, find: Find, folder: &Path) -> Result<Ran> {
    let archive = folder.join("archive");
    let line = lab.metaferry().arg("dump").arg(find(lab)?.metadata_url(DATABASE)).arg(&archive);
    let (ran, summary) = lab.summary(line, folder)?;
    lab.check_kylin(&summary)?;
    Ok(Ran { bytes: weight(&archive)?, ..ran })
}

/// Everything again, with what comes before: the wait for the maintenance mode, and the backup of what is there.
fn restore(lab: &Lab, find: Find, folder: &Path) -> Result<Ran> {
    let saved = lab.folder.join(format!("kylin-{}", find(lab)?.name()));
    let path = saved.join("backup");
    if !path.exists() {
        fs::create_dir_all(&saved)?;
        made(lab, find, &saved)?;
    }
    let line = ours_of(lab, find)?.arg("restore").arg(&path).arg("--safety-dir").arg(folder);
    let (ran, said) = line.run(folder)?;
    let restored: Value = serde_json::from_str(said.lines().last().context("nothing was said")?)?;
    let replaced = restored.get("replaced").and_then(Value::as_u64).unwrap_or_default();
    // The id of the instance stays, and the setting is no resource.
    ensure!(replaced + 2 == lab.kylin_rows(), "{replaced} of {} resources were replaced", lab.kylin_rows());
    Ok(ran)
}
