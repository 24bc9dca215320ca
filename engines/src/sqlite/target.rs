//! The file a volume is written to: claimed with a lock beside it, filled under another name, and put in its place at
//! once. What is there is never replaced, unless it is an empty database. It knows no row.

use std::fs::{self, File};
use std::io::ErrorKind as IoKind;
use std::path::Path;

use metaferry_codecs::juicefs::{setting, tables};
use metaferry_pipeline::{Error, ErrorKind, Result, Stop};

use super::address::SqliteAddress;
use super::database::Database;
use super::failure;
use super::traces::beside;
use crate::claimed::Claimed;

/// A claimed target. Dropped without [`Target::publish`], it leaves nothing.
#[derive(Debug)]
pub(super) struct Target {
    address: SqliteAddress,
    claimed: Claimed,
    /// An empty database is there.
    replaces: bool,
}

impl Target {
    /// Locks a target, clears what dead loads into it have left, and looks that it is empty.
    pub(super) fn claim(address: &SqliteAddress) -> Result<Self> {
        let claimed = Claimed::take(address.path())?;
        let replaces = inspect(address)?;
        Ok(Self { address: address.clone(), claimed, replaces })
    }

    /// The file to fill.
    pub(super) fn temporary(&self) -> &Path {
        self.claimed.temporary()
    }

    /// Puts the filled file in its place, durably.
    pub(super) fn publish(self) -> Result<()> {
        let (path, temporary) = (self.address.path(), self.temporary());
        let failed = |what: &str, error| Error::engine(format!("{}: {what}", path.display()), error);
        let synced = File::open(temporary).and_then(|file| file.sync_all());
        synced.map_err(|error| failed("it could not be written to the disk", error))?;
        if inspect(&self.address)? != self.replaces {
            return Err(Error::refused(format!("{}: it was changed by another program meanwhile", path.display())));
        }
        if self.replaces {
            fs::rename(temporary, path).map_err(|error| failed("it could not be put in its place", error))?;
        } else {
            // Unlike a rename, a link never replaces what has come there since.
            fs::hard_link(temporary, path).map_err(|error| match error.kind() {
                IoKind::AlreadyExists => Error::refused(format!("{}: it exists by now", path.display())),
                _ => failed("it could not be put in its place", error),
            })?;
            fs::remove_file(temporary).map_err(|error| failed("its other name could not be removed", error))?;
        }
        let synced = self.claimed.sync_folder();
        synced.map_err(|error| failed("its folder could not be written to the disk", error))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            drop(fs::remove_file(beside(self.temporary(), suffix)));
        }
    }
}

/// Looks that nothing is where a volume shall be; true where an empty database is.
pub(super) fn inspect(address: &SqliteAddress) -> Result<bool> {
    let path = address.path();
    let refused = |what: String| Error::refused(format!("{}: {what}", path.display()));
    let log = ["-wal", "-journal", "-shm"].into_iter().map(|suffix| beside(path, suffix)).find(|file| file.exists());
    if let Some(log) = log {
        let error = refused(format!("{} lies beside it", log.display()));
        return Err(error.hint("a client has it open, or has left it; a new file would be read together with it"));
    }
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == IoKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::engine(format!("{}: it cannot be looked at", path.display()), error)),
    };
    if !metadata.is_file() {
        return Err(refused("it exists, and is no plain file".to_owned()));
    }
    if metadata.len() == 0 {
        return Ok(true);
    }
    let found = match contents(address) {
        Err(error) if error.kind() == ErrorKind::Corrupt => "it exists, and is no database that can be read".to_owned(),
        Err(error) => return Err(error),
        Ok(None) => return Ok(true),
        Ok(Some(found)) => found,
    };
    Err(refused(found).hint("a volume is loaded into a new file, which nothing else is in; name another one"))
}

/// What an existing database holds; `None` where that is nothing.
fn contents(address: &SqliteAddress) -> Result<Option<String>> {
    let path = address.path();
    let database = Database::open(path, 1, &Stop::new())?;
    database.with(|connection| {
        let failed = |error| failure(path, error);
        let sql = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name <> 'sqlite_sequence'";
        let mut statement = connection.prepare(sql).map_err(failed)?;
        let names = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
        let names: Vec<String> = names.collect::<rusqlite::Result<_>>().map_err(failed)?;
        let Some(first) = names.first() else { return Ok(None) };
        let setting = format!("{}{}", address.prefix(), tables::SETTING.name);
        if names.contains(&setting) {
            let sql = format!("SELECT CAST(value AS BLOB) FROM `{setting}` WHERE name = 'format'");
            let document = connection.query_row(&sql, [], |row| row.get::<_, Vec<u8>>(0));
            let volume = document.ok().and_then(|document| setting::read(&document).ok());
            return Ok(Some(match volume {
                Some(volume) => format!("the volume {} is in it", volume.name),
                None => "an unfinished volume is in it".to_owned(),
            }));
        }
        Ok(Some(format!("{} tables are in it, such as {first}", names.len())))
    })
}
