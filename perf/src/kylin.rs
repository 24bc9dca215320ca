//! The table of runs with a metastore of Kylin: its backup in a folder and in an archive, and its restore, on both databases.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cases::{Case, Goal, Group, Store, Who, ours};
use crate::lab::{Lab, Moved};
use crate::process::{Line, Ran};
use crate::server::{Brand, Server};
use crate::{mariadb, postgres};

/// What a metastore is kept in.
#[derive(Debug)]
pub(crate) struct Metastore {
    brand: &'static Brand,
    /// Its database is called so too.
    layout: &'static str,
}

/// All there are.
pub(crate) static METASTORES: [Metastore; 4] = [
    Metastore { brand: &postgres::BRAND, layout: "flat" },
    Metastore { brand: &mariadb::BRAND, layout: "flat" },
    Metastore { brand: &postgres::BRAND, layout: "typed" },
    Metastore { brand: &mariadb::BRAND, layout: "typed" },
];

const POSTGRES: usize = 0;
const MARIADB: usize = 1;
const TYPED_POSTGRES: usize = 2;
const TYPED_MARIADB: usize = 3;

/// A metastore in a server of its own, and what is known of it.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) server: Server,
    /// Its place among all.
    pub(crate) at: usize,
    layout: &'static str,
    moved: Moved,
}

impl Filled {
    /// Makes the one at a place, of so many resources of 10 KB each.
    pub(crate) fn new(lab: &Lab, at: usize, resources: u64) -> Result<Self> {
        let Metastore { brand, layout } = METASTORES.get(at).context("there is no such metastore")?;
        let server = Server::start(brand, &lab.folder.join(format!("kylin-{layout}-{}", brand.name)))?;
        server.empty(layout)?;
        let synthetic = format!("synthetic-kylin://?resources={resources}&bytes=10000&layout={layout}&seed=7");
        eprintln!("making {synthetic} in {}", brand.name);
        let line = lab.metaferry().arg("load").arg(synthetic).arg(server.metadata_url(layout));
        let (_, summary) = lab.summary(line, &lab.folder)?;
        Ok(Self { server, at, layout, moved: Moved::read(&summary, "tally")? })
    }

    /// Refuses another one of the same layout in which other rows are.
    pub(crate) fn check_twin(&self, other: &Self) -> Result<()> {
        let is_same = self.layout != other.layout || self.moved == other.moved;
        ensure!(is_same, "{:?}, where the metastore is {:?}", other.moved, self.moved);
        Ok(())
    }

    fn url(&self) -> String {
        self.server.metadata_url(self.layout)
    }

    /// How many of its rows a restore replaces: the setting is no resource, and in the flat layout the id of the instance stays.
    fn replaced(&self) -> u64 {
        self.moved.rows.saturating_sub(if self.layout == "flat" { 2 } else { 1 })
    }

    /// Refuses a summary that does not tell its rows.
    fn check(&self, summary: &Value) -> Result<()> {
        let moved = Moved::read(summary, "tally")?;
        ensure!(moved == self.moved, "{moved:?}, where the metastore is {:?}", self.moved);
        Ok(())
    }
}

const fn server(tool: &'static str, run: fn(&Lab, &Path) -> Result<Ran>) -> Case {
    Case { tool, who: Who::Server, goal: Goal::None, run }
}

/// What is asked of every metastore.
const fn to_folder<const AT: usize>() -> Case {
    ours(Goal::Seconds(15.0), backup::<AT>)
}

const fn to_archive<const AT: usize>() -> Case {
    ours(Goal::Seconds(8.0), dump::<AT>)
}

const fn from_folder<const AT: usize>() -> Case {
    ours(Goal::Seconds(40.0), restore::<AT>)
}

/// Every group, in the order of the report.
pub(crate) static KYLIN: &[Group] = &[
    Group {
        name: "kylin-postgres-to-folder",
        stores: &[Store::Kylin(POSTGRES)],
        cases: &[to_folder::<POSTGRES>(), server("pg_dump -Fd -j2 -Z0", pg_dump)],
    },
    Group { name: "kylin-postgres-to-archive", stores: &[Store::Kylin(POSTGRES)], cases: &[to_archive::<POSTGRES>()] },
    Group { name: "kylin-folder-to-postgres", stores: &[Store::Kylin(POSTGRES)], cases: &[from_folder::<POSTGRES>()] },
    Group {
        name: "kylin-mariadb-to-folder",
        stores: &[Store::Kylin(MARIADB)],
        cases: &[to_folder::<MARIADB>(), server("mariadb-dump --quick", mariadb_dump)],
    },
    Group { name: "kylin-mariadb-to-archive", stores: &[Store::Kylin(MARIADB)], cases: &[to_archive::<MARIADB>()] },
    Group { name: "kylin-folder-to-mariadb", stores: &[Store::Kylin(MARIADB)], cases: &[from_folder::<MARIADB>()] },
    Group {
        name: "kylin-typed-postgres-to-folder",
        stores: &[Store::Kylin(TYPED_POSTGRES)],
        cases: &[to_folder::<TYPED_POSTGRES>()],
    },
    Group {
        name: "kylin-typed-postgres-to-archive",
        stores: &[Store::Kylin(TYPED_POSTGRES)],
        cases: &[to_archive::<TYPED_POSTGRES>()],
    },
    Group {
        name: "kylin-typed-folder-to-postgres",
        stores: &[Store::Kylin(TYPED_POSTGRES)],
        cases: &[from_folder::<TYPED_POSTGRES>()],
    },
    Group {
        name: "kylin-typed-mariadb-to-folder",
        stores: &[Store::Kylin(TYPED_MARIADB)],
        cases: &[to_folder::<TYPED_MARIADB>()],
    },
    Group {
        name: "kylin-typed-mariadb-to-archive",
        stores: &[Store::Kylin(TYPED_MARIADB)],
        cases: &[to_archive::<TYPED_MARIADB>()],
    },
    Group {
        name: "kylin-typed-folder-to-mariadb",
        stores: &[Store::Kylin(TYPED_MARIADB)],
        cases: &[from_folder::<TYPED_MARIADB>()],
    },
];

fn pg_dump(lab: &Lab, folder: &Path) -> Result<Ran> {
    let line = lab.metastore(POSTGRES)?.server.program("pg_dump")?.arg("-Fd").arg("-j2").arg("-Z0");
    weighed(&line.arg("-f").arg(folder.join("dump")).arg("flat"), folder)
}

fn mariadb_dump(lab: &Lab, folder: &Path) -> Result<Ran> {
    let line = lab.metastore(MARIADB)?.server.program("mariadb-dump")?.arg("--single-transaction").arg("--quick");
    let to = format!("--result-file={}", folder.join("dump").display());
    weighed(&line.arg(to).arg("flat"), folder)
}

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

fn ours_of(lab: &Lab, at: usize) -> Result<Line> {
    Ok(lab.metaferry().arg("kylin").arg("--metadata-url").arg(lab.metastore(at)?.url()))
}

/// Makes a backup in a folder; where that is, and what it cost.
fn made(lab: &Lab, at: usize, folder: &Path) -> Result<(PathBuf, Ran)> {
    let line = ours_of(lab, at)?.arg("backup").arg(folder).arg("--folder").arg("backup");
    let (ran, summary) = lab.summary(line, folder)?;
    lab.metastore(at)?.check(&summary)?;
    Ok((folder.join("backup"), ran))
}

fn backup<const AT: usize>(lab: &Lab, folder: &Path) -> Result<Ran> {
    let (path, ran) = made(lab, AT, folder)?;
    Ok(Ran { bytes: weight(&path)?, ..ran })
}

fn dump<const AT: usize>(lab: &Lab, folder: &Path) -> Result<Ran> {
    let (archive, store) = (folder.join("archive"), lab.metastore(AT)?);
    let line = lab.metaferry().arg("dump").arg(store.url()).arg(&archive);
    let (ran, summary) = lab.summary(line, folder)?;
    store.check(&summary)?;
    Ok(Ran { bytes: weight(&archive)?, ..ran })
}

/// Everything again, with what comes before: the wait for the maintenance mode, and the backup of what is there.
fn restore<const AT: usize>(lab: &Lab, folder: &Path) -> Result<Ran> {
    let (store, saved) = (lab.metastore(AT)?, lab.folder.join(format!("kylin-{AT}")));
    let path = saved.join("backup");
    if !path.exists() {
        fs::create_dir_all(&saved)?;
        made(lab, AT, &saved)?;
    }
    let line = ours_of(lab, AT)?.arg("restore").arg(&path).arg("--safety-dir").arg(folder);
    let (ran, said) = line.run(folder)?;
    let restored: Value = serde_json::from_str(said.lines().last().context("nothing was said")?)?;
    let replaced = restored.get("replaced").and_then(Value::as_u64).unwrap_or_default();
    ensure!(replaced == store.replaced(), "{replaced} of {} resources were replaced", store.replaced());
    Ok(ran)
}
