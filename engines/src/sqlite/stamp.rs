//! The stamp in SQLite: read and set in one transaction that has the right to write from its beginning. It makes no file.

use std::time::Duration;

use metaferry_codecs::juicefs::{counter, tables};
use metaferry_pipeline::{Result, Stop};
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use super::address::SqliteAddress;
use super::failure;
use super::schema::DIALECT;
use crate::stamp::{Decide, INODE, NAME, Stamp};

/// How long a lock of others is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The stamp of the volume at an address.
#[derive(Debug)]
pub struct SqliteStamp {
    address: SqliteAddress,
}

impl SqliteStamp {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(address: SqliteAddress) -> Self {
        Self { address }
    }

    fn open(&self, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(self.address.path(), flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(PATIENCE)?;
        Ok(connection)
    }

    fn table(&self, table: &tables::Table) -> String {
        DIALECT.quoted(&(self.address.prefix() + table.name))
    }

    fn exchanged(&self, decide: Decide<'_>) -> rusqlite::Result<()> {
        let mut connection = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let table = self.table(&tables::XATTR);
        let select = format!("SELECT value FROM {table} WHERE inode = ?1 AND name = ?2");
        // A program of its own may have stored it as text.
        let cell = |row: &rusqlite::Row<'_>| row.get_ref(0)?.as_bytes_or_null().map_err(Into::into).map(owned);
        let found = transaction.query_row(&select, (INODE, NAME), cell).optional()?;
        let Some(set) = decide(found.as_ref().map(|found| found.as_deref().unwrap_or_default())) else {
            return Ok(());
        };
        let sql = match found {
            Some(_) => format!("UPDATE {table} SET value = ?3 WHERE inode = ?1 AND name = ?2"),
            None => format!("INSERT INTO {table} (inode, name, value) VALUES (?1, ?2, ?3)"),
        };
        transaction.execute(&sql, (INODE, NAME, set))?;
        transaction.commit()
    }
}

fn owned(bytes: Option<&[u8]>) -> Option<Vec<u8>> {
    bytes.map(<[u8]>::to_vec)
}

impl Stamp for SqliteStamp {
    fn exchange(&self, decide: Decide<'_>, stop: &Stop) -> Result<()> {
        stop.check()?;
        self.exchanged(decide).map_err(|error| failure(self.address.path(), error))
    }

    fn inodes(&self, stop: &Stop) -> Result<u64> {
        stop.check()?;
        let name = String::from_utf8_lossy(counter::TOTAL_INODES);
        let sql = format!("SELECT value FROM {} WHERE name = ?1", self.table(&tables::COUNTER));
        let count = self.open(OpenFlags::SQLITE_OPEN_READ_ONLY);
        let count = count
            .and_then(|connection| connection.query_row(&sql, [name.as_ref()], |row| row.get::<_, i64>(0)).optional());
        let count = count.map_err(|error| failure(self.address.path(), error))?;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    }
}
