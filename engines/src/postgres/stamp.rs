//! The stamp in PostgreSQL: a row that is set only where it still is what was read, in a short transaction of its own, which a
//! pooler leaves to one session too.

use metaferry_codecs::juicefs::{counter, tables};
use metaferry_pipeline::{Result, Stop};
use sqlx::Row as _;

use super::address::PostgresAddress;
use super::session::Session;
use super::{DIALECT, failure};
use crate::stamp::{Decide, INODE, NAME, Stamp, TRIES, contended};

/// The stamp of the volume at an address.
#[derive(Debug)]
pub struct PostgresStamp {
    address: PostgresAddress,
}

impl PostgresStamp {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(address: PostgresAddress) -> Self {
        Self { address }
    }

    fn table(&self, table: &tables::Table) -> String {
        DIALECT.quoted(&(self.address.prefix() + table.name))
    }

    /// One try, in a transaction; false where another came between.
    fn exchanged(&self, session: &mut Session, decide: &mut Decide<'_>) -> Result<bool> {
        let (table, row) = (self.table(&tables::XATTR), format!("inode = {INODE} AND name = '{NAME}'"));
        let found = session.ask(&format!("SELECT value FROM {table} WHERE {row}"))?;
        let found = found.first().map(|row| row.try_get::<Option<Vec<u8>>, _>(0)).transpose();
        let found = found.map_err(|error| failure(&session.shown(), error))?.map(Option::unwrap_or_default);
        let Some(set) = decide(found.as_deref()) else { return Ok(true) };
        let set = bytes(&set);
        let sql = match found {
            Some(was) => format!("UPDATE {table} SET value = {set} WHERE {row} AND value = {}", bytes(&was)),
            None => format!(
                "INSERT INTO {table} (inode, name, value) VALUES ({INODE}, '{NAME}', {set}) ON CONFLICT DO NOTHING"
            ),
        };
        Ok(session.insert(&sql)? == 1)
    }
}

/// Bytes as they stand in a statement.
fn bytes(value: &[u8]) -> String {
    format!("'\\x{}'::bytea", metaferry_codecs::repository::hex(value))
}

impl Stamp for PostgresStamp {
    fn exchange(&self, mut decide: Decide<'_>, stop: &Stop) -> Result<()> {
        let mut session = Session::open(&self.address, stop)?;
        for _ in 0..TRIES {
            session.begin_writing()?;
            if self.exchanged(&mut session, &mut decide)? {
                session.run("COMMIT")?;
                session.close();
                return Ok(());
            }
            session.run("ROLLBACK")?;
        }
        Err(contended(session.shown()))
    }

    fn inodes(&self, stop: &Stop) -> Result<u64> {
        let mut session = Session::open(&self.address, stop)?;
        session.begin(None, &[])?;
        let name = String::from_utf8_lossy(counter::TOTAL_INODES);
        let table = self.table(&tables::COUNTER);
        let count = session.number(&format!("SELECT coalesce(max(value), 0) FROM {table} WHERE name = '{name}'"))?;
        session.close();
        Ok(u64::try_from(count).unwrap_or(0))
    }
}
