//! The place where runs happen: the programs, one synthetic volume in every store that a run reads, and what is known to
//! be in it. A run of ours that does not tell the same rows is an error, never a number.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::cases::Store;
use crate::kylin::{Filled, METASTORES};
use crate::process::{self, Line, Ran};
use crate::redis::{Programs, Redis};
use crate::server::{Brand, Server};
use crate::{mariadb, postgres};

/// How many of the rows another tool must have moved for its time to count: it need not carry all that we do.
const SHARE_OF_A_PEER: f64 = 0.9;

/// The programs that are run.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) metaferry: PathBuf,
    pub(crate) redis: Programs,
    pub(crate) juicefs: Option<PathBuf>,
    pub(crate) sqlite3: Option<PathBuf>,
    pub(crate) moto: Option<PathBuf>,
}

impl Tools {
    /// Finds them: metaferry beside this program, the rest on the PATH.
    pub(crate) fn find() -> Result<Self> {
        let beside = std::env::current_exe()?.with_file_name("metaferry");
        let metaferry = match std::env::var_os("METAFERRY").filter(|value| !value.is_empty()) {
            Some(path) => PathBuf::from(path),
            None if cfg!(debug_assertions) => bail!("this is a debug build; build with --release"),
            None => beside,
        };
        ensure!(metaferry.is_file(), "{}: no such program; cargo build --release makes it", metaferry.display());
        let server =
            process::find("redis-server", "METAFERRY_REDIS_SERVER").context("redis-server is not on the PATH")?;
        let redis = Programs { server, cli: process::find("redis-cli", "METAFERRY_REDIS_CLI") };
        let juicefs = process::find("juicefs", "METAFERRY_JUICEFS");
        let sqlite3 = process::find("sqlite3", "METAFERRY_SQLITE3");
        Ok(Self { metaferry, redis, juicefs, sqlite3, moto: process::find("moto_server", "METAFERRY_MOTO") })
    }
}

/// Which volume is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Volume {
    pub(crate) files: u64,
    pub(crate) directories: u64,
}

/// Which stores are to be filled besides one SQLite file and one archive.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) stores: Vec<Store>,
    pub(crate) peers: bool,
}

/// What a summary says was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) rows: u64,
    digest: String,
}

impl Moved {
    pub(crate) fn read(summary: &Value, tally: &str) -> Result<Self> {
        let tally = summary.get(tally).context("the summary has no tally")?;
        let rows = tally.get("rows").and_then(Value::as_u64).context("the tally has no rows")?;
        let digest = tally.get("digest").and_then(Value::as_str).context("the tally has no digest")?.to_owned();
        Ok(Self { rows, digest })
    }
}

/// One volume in every store that is wanted.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) tools: Tools,
    pub(crate) folder: PathBuf,
    pub(crate) moved: Moved,
    /// What it cost to make the first store.
    pub(crate) made: Ran,
    redis: Option<Redis>,
    postgres: Option<Server>,
    mariadb: Option<Server>,
    metastores: Vec<Filled>,
}

impl Lab {
    /// Makes the volume and fills the stores.
    pub(crate) fn new(tools: Tools, folder: &Path, volume: Volume, wanted: Wanted) -> Result<Self> {
        let Volume { files, directories } = volume;
        let moved = Moved { rows: 0, digest: String::new() };
        let (folder_of, made) = (folder.to_owned(), Ran::lasting(0.0));
        let mut lab = Self {
            tools,
            folder: folder_of,
            moved,
            made,
            redis: None,
            postgres: None,
            mariadb: None,
            metastores: Vec::new(),
        };
        let synthetic = format!("synthetic://?files={files}&dirs={directories}&seed=7");
        eprintln!("making {synthetic}");
        let line = lab.metaferry().arg("load").arg(synthetic).arg(url(&lab.sqlite()));
        let (made, summary) = lab.summary(line, folder)?;
        lab.moved = Moved::read(&summary, "tally")?;
        ensure!(lab.moved.rows >= files, "{} rows for {files} names", lab.moved.rows);
        lab.made = Ran { bytes: size(&lab.sqlite())?, ..made };
        lab.copy(["dump".into(), url(&lab.sqlite()), lab.archive().into()], folder)?;
        if wanted.stores.contains(&Store::Second) {
            lab.copy(["load".into(), lab.archive().into(), url(&lab.second())], folder)?;
        }
        if wanted.stores.contains(&Store::Redis) {
            let server = Redis::start(&lab.tools.redis.server, &folder.join("redis"))?;
            lab.copy(["load".into(), lab.archive().into(), server.url().into()], folder)?;
            lab.redis = Some(server);
        }
        if wanted.stores.contains(&Store::Postgres) {
            lab.postgres = Some(lab.filled(&postgres::BRAND, "postgres")?);
        }
        if wanted.stores.contains(&Store::MariaDb) {
            lab.mariadb = Some(lab.filled(&mariadb::BRAND, "mariadb")?);
        }
        for at in (0..METASTORES.len()).filter(|at| wanted.stores.contains(&Store::Kylin(*at))) {
            let filled = Filled::new(&lab, at, files / 5)?;
            lab.metastores.iter().try_for_each(|other| other.check_twin(&filled))?;
            lab.metastores.push(filled);
        }
        if wanted.peers {
            lab.prepare_peers()?;
        }
        Ok(lab)
    }

    /// A server with the volume in its database `volume`.
    fn filled(&self, brand: &'static Brand, folder: &str) -> Result<Server> {
        let server = Server::start(brand, &self.folder.join(folder))?;
        self.copy(["load".into(), self.archive().into(), server.empty("volume")?.into()], &self.folder)?;
        Ok(server)
    }

    /// Gives the peers files of their own: JuiceFS leaves its journal mode in a database that it opens.
    fn prepare_peers(&self) -> Result<()> {
        fs::copy(self.sqlite(), self.peer("db"))?;
        if let Some(juicefs) = &self.tools.juicefs {
            eprintln!("letting JuiceFS dump the volume");
            let dump = Line::new(juicefs).arg("dump").arg(url(&self.peer("db")));
            dump.clone().arg("--binary").arg(self.peer("bin")).run(&self.folder)?;
            dump.arg(self.peer("json")).run(&self.folder)?;
        }
        Ok(())
    }

    pub(crate) fn sqlite(&self) -> PathBuf {
        self.folder.join("volume.db")
    }

    /// Another SQLite file with the same volume.
    pub(crate) fn second(&self) -> PathBuf {
        self.folder.join("second.db")
    }

    pub(crate) fn archive(&self) -> PathBuf {
        self.folder.join("volume.jsonl.zst")
    }

    /// What a peer reads.
    pub(crate) fn peer(&self, extension: &str) -> PathBuf {
        self.folder.join("peer").with_extension(extension)
    }

    /// The server that holds the volume.
    pub(crate) fn redis(&self) -> Result<&Redis> {
        self.redis.as_ref().context("no Redis server was wanted")
    }

    /// The server that holds the volume in the database `volume`.
    pub(crate) fn postgres(&self) -> Result<&Server> {
        self.postgres.as_ref().context("no PostgreSQL server was wanted")
    }

    /// The same of MariaDB.
    pub(crate) fn mariadb(&self) -> Result<&Server> {
        self.mariadb.as_ref().context("no MariaDB server was wanted")
    }

    /// A metastore of Kylin, by its place among all that there are.
    pub(crate) fn metastore(&self, at: usize) -> Result<&Filled> {
        self.metastores.iter().find(|filled| filled.at == at).context("no such metastore was wanted")
    }

    /// Waits until no server is busy with what the last run left it.
    pub(crate) fn settle(&self) -> Result<()> {
        self.redis.as_ref().map_or(Ok(()), Redis::settle)?;
        let metastores = self.metastores.iter().map(|filled| &filled.server);
        [&self.postgres, &self.mariadb].into_iter().flatten().chain(metastores).try_for_each(Server::settle)
    }

    pub(crate) fn metaferry(&self) -> Line {
        Line::new(&self.tools.metaferry).arg("--json")
    }

    /// Runs a copy of ours, and refuses it where it did not move the volume.
    pub(crate) fn copy(&self, arguments: [OsString; 3], folder: &Path) -> Result<Ran> {
        let line = arguments.into_iter().fold(self.metaferry(), Line::arg);
        let (ran, summary) = self.summary(line, folder)?;
        self.check(&summary, "tally")?;
        Ok(ran)
    }

    /// As [`Lab::copy`], from or into a format that does not hold every row.
    pub(crate) fn copy_most(&self, arguments: [OsString; 3]) -> Result<Ran> {
        let line = arguments.into_iter().fold(self.metaferry(), Line::arg);
        let (ran, summary) = self.summary(line, &self.folder)?;
        self.check_most(&Moved::read(&summary, "tally")?)?;
        Ok(ran)
    }

    /// A dump in one of JuiceFS's formats, by its extension: JuiceFS's own where it is here.
    pub(crate) fn dumped(&self, extension: &str) -> Result<PathBuf> {
        let (theirs, ours) = (self.peer(extension), self.folder.join("ours").with_extension(extension));
        if theirs.exists() {
            return Ok(theirs);
        }
        if !ours.exists() {
            self.copy_most(["dump".into(), self.archive().into(), ours.clone().into()])?;
        }
        Ok(ours)
    }

    /// Runs a command of ours, and returns what it cost and its summary.
    pub(crate) fn summary(&self, line: Line, folder: &Path) -> Result<(Ran, Value)> {
        let (ran, said) = line.run(folder)?;
        let ends = |value: &Value| matches!(value.get("event").and_then(Value::as_str), Some("done" | "verdict"));
        let objects = said.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let summary = objects.into_iter().find(ends).context("metaferry printed no summary")?;
        Ok((ran, summary))
    }

    /// Refuses a summary that does not tell the rows of the volume.
    pub(crate) fn check(&self, summary: &Value, tally: &str) -> Result<()> {
        let moved = Moved::read(summary, tally)?;
        ensure!(moved == self.moved, "{tally}: {moved:?}, where the volume is {:?}", self.moved);
        Ok(())
    }

    /// Refuses what another tool loaded where too much of it is missing.
    pub(crate) fn check_peer(&self, target: &OsString, folder: &Path) -> Result<()> {
        let line = self.metaferry().arg("verify").arg("--limit").arg("0").arg(url(&self.sqlite())).arg(target);
        let (_, summary) = self.summary(line.accept(3), folder)?;
        self.check_most(&Moved::read(&summary, "right_tally")?)
    }

    fn check_most(&self, moved: &Moved) -> Result<()> {
        let share = moved.rows as f64 / self.moved.rows as f64;
        ensure!(share >= SHARE_OF_A_PEER, "only {} of {} rows arrived", moved.rows, self.moved.rows);
        Ok(())
    }

    /// Whether clients left the SQLite file with a write-ahead log, which lets several readers in.
    pub(crate) fn journal(&self) -> Result<&'static str> {
        use std::io::Read as _;
        let mut head = [0; 20];
        fs::File::open(self.sqlite())?.read_exact(&mut head)?;
        let [.., read_version] = head;
        Ok(if read_version == 2 { "write-ahead log" } else { "rollback journal" })
    }
}

/// The address of a SQLite file.
pub(crate) fn url(path: &Path) -> OsString {
    let mut url = OsString::from("sqlite3://");
    url.push(path);
    url
}

/// The size of a file that must have something in it.
pub(crate) fn size(path: &Path) -> Result<u64> {
    let bytes = fs::metadata(path).with_context(|| path.display().to_string())?.len();
    ensure!(bytes > 0, "{} is empty", path.display());
    Ok(bytes)
}
