//! The stamp in MySQL: a row that is set only where it still is what was read, in a short transaction of its own.

use metaferry_codecs::juicefs::{counter, tables};
use metaferry_codecs::repository::hex;
use metaferry_pipeline::{Result, Stop};

use super::DIALECT;
use super::address::MysqlAddress;
use super::session::{Session, cell};
use crate::stamp::{Decide, INODE, NAME, Stamp, TRIES, contended};

/// The stamp of the volume at an address.
#[derive(Debug)]
pub struct MysqlStamp {
    address: MysqlAddress,
}

impl MysqlStamp {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(address: MysqlAddress) -> Self {
        Self { address }
    }

    fn table(&self, table: &tables::Table) -> String {
        DIALECT.quoted(&(self.address.prefix() + table.name))
    }

    /// One try, in a transaction; false where another came between.
    fn exchanged(&self, session: &mut Session, decide: &mut Decide<'_>) -> Result<bool> {
        let (table, row) = (self.table(&tables::XATTR), format!("inode = {INODE} AND name = '{NAME}'"));
        let found = session.ask(&format!("SELECT value FROM {table} WHERE {row}"))?;
        let found: Option<Vec<u8>> = found.first().map(|row| cell(row, 0).unwrap_or_default());
        let Some(set) = decide(found.as_deref()) else { return Ok(true) };
        let set = hex(&set);
        // A row that is there stays as it is, and is not counted.
        let sql = match found {
            Some(was) => format!("UPDATE {table} SET value = x'{set}' WHERE {row} AND value = x'{}'", hex(&was)),
            None => format!(
                "INSERT INTO {table} (inode, name, value) VALUES ({INODE}, '{NAME}', x'{set}') \
                 ON DUPLICATE KEY UPDATE inode = {INODE}"
            ),
        };
        Ok(session.send(sql, None)?.rows == 1)
    }
}

impl Stamp for MysqlStamp {
    fn exchange(&self, mut decide: Decide<'_>, stop: &Stop) -> Result<()> {
        let mut session = Session::open(&self.address, stop)?;
        for _ in 0..TRIES {
            session.run("START TRANSACTION")?;
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
        let name = String::from_utf8_lossy(counter::TOTAL_INODES);
        let table = self.table(&tables::COUNTER);
        let count = session.number(&format!("SELECT coalesce(max(value), 0) FROM {table} WHERE name = '{name}'"))?;
        session.close();
        Ok(u64::try_from(count).unwrap_or(0))
    }
}
