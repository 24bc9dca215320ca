//! A database server of our own, with default settings but for its place, that ends when it is dropped. How one of a brand
//! is made and spoken to is said by a [`Brand`].

use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process::Line;

const PATIENCE: Duration = Duration::from_secs(60);

/// What servers of one brand have of their own.
#[derive(Debug)]
pub(crate) struct Brand {
    pub(crate) name: &'static str,
    /// Makes the files of a new server in a folder.
    pub(crate) make: fn(&Path) -> Result<Command>,
    /// Serves them, on a port.
    pub(crate) serve: fn(&Path, u16) -> Result<Command>,
    /// The beginning of a command line of one of its programs, for a port.
    pub(crate) program: fn(&str, u16) -> Result<Line>,
    /// Runs a statement in a database.
    pub(crate) ask: fn(u16, &str, &str) -> Result<Line>,
    /// The address of a database, as JuiceFS and metaferry spell it.
    pub(crate) url: fn(u16, &str) -> String,
    /// What JDBC calls it, and its user.
    pub(crate) jdbc: (&'static str, &'static str),
    /// A database that is always there.
    pub(crate) home: &'static str,
    /// Writes out what is in memory alone.
    pub(crate) settle: fn(&Server) -> Result<()>,
}

/// A server that listens on this machine alone.
#[derive(Debug)]
pub(crate) struct Server {
    brand: &'static Brand,
    child: Child,
    port: u16,
    folder: PathBuf,
}

/// A program not run as root but as that user: servers refuse to be root.
pub(crate) fn as_user(user: &str, program: impl AsRef<Path>) -> Result<Command> {
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(Command::new(program.as_ref()));
    }
    let mut command = Command::new("setpriv");
    command
        .args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups", "--"])
        .arg(program.as_ref());
    Ok(command)
}

impl Server {
    /// Starts a server that keeps its files in `folder`.
    pub(crate) fn start(brand: &'static Brand, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o777))?;
        // Whoever the server runs as must get there.
        folder.parent().map_or(Ok(()), |above| fs::set_permissions(above, Permissions::from_mode(0o755)))?;
        let output = (brand.make)(folder)?.output().with_context(|| format!("{} is not installed", brand.name))?;
        ensure!(output.status.success(), "{}: {}", brand.name, String::from_utf8_lossy(&output.stderr));
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let log = File::create(folder.join("log"))?;
        let mut served = (brand.serve)(folder, port)?;
        let child = served.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let server = Self { brand, child, port, folder: folder.to_owned() };
        let started = Instant::now();
        while server.ask(brand.home, "SELECT 1").is_err() {
            if started.elapsed() > PATIENCE {
                bail!("{} does not answer; its log is in {}", brand.name, folder.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// The address of a database, as JuiceFS and metaferry spell it.
    pub(crate) fn url(&self, database: &str) -> String {
        (self.brand.url)(self.port, database)
    }

    /// The metadata URL of a database, as Kylin spells it.
    pub(crate) fn metadata_url(&self, database: &str) -> String {
        let (driver, user) = self.brand.jdbc;
        format!("kylin_metadata@jdbc,url=jdbc:{driver}://127.0.0.1:{}/{database},username={user},password=", self.port)
    }

    /// A new empty database in place of one of that name.
    pub(crate) fn empty(&self, database: &str) -> Result<String> {
        self.ask(self.brand.home, &format!("DROP DATABASE IF EXISTS {database}"))?;
        self.ask(self.brand.home, &format!("CREATE DATABASE {database}"))?;
        self.settle()?;
        Ok(self.url(database))
    }

    /// Writes out what earlier runs left in memory.
    pub(crate) fn settle(&self) -> Result<()> {
        (self.brand.settle)(self)
    }

    /// The beginning of a command line of a program of the brand's.
    pub(crate) fn program(&self, name: &str) -> Result<Line> {
        (self.brand.program)(name, self.port)
    }

    /// Runs a statement in a database, and returns what the server says.
    pub(crate) fn ask(&self, database: &str, sql: &str) -> Result<String> {
        (self.brand.ask)(self.port, database, sql)?.say()
    }

    /// What the server wrote into a file of its folder.
    pub(crate) fn log(&self, name: &str) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.folder.join(name))?).into_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that is gone already is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
