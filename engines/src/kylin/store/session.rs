//! A session with a metastore's database, whichever it speaks: what both have in common. It knows no table.

use std::time::Duration;

use metaferry_codecs::kylin::address::Dialect;
use metaferry_pipeline::{Result, Stop};

use super::address::{Server, StoreAddress};
use super::tables::{Found, catalog_of_mysql, catalog_of_postgres};
use crate::mysql::session::cell;
use crate::sql::rows::{Cells, Mismatch};
use crate::{mysql, postgres};

/// One connection.
pub(crate) enum Session {
    Postgres(postgres::session::Session),
    Mysql(mysql::session::Session),
}

/// The cells of a row of either.
pub(crate) enum Fetched<'r> {
    Postgres(&'r postgres::cells::Tuple<'r>),
    Mysql(&'r mysql_async::Row),
}

impl Cells for Fetched<'_> {
    #[inline]
    fn integer(&self, index: usize) -> Result<Option<i64>, Mismatch> {
        match self {
            Self::Postgres(row) => row.integer(index),
            Self::Mysql(row) => row.integer(index),
        }
    }

    #[inline]
    fn bytes(&self, index: usize) -> Result<Option<&[u8]>, Mismatch> {
        match self {
            Self::Postgres(row) => row.bytes(index),
            Self::Mysql(row) => row.bytes(index),
        }
    }

    fn shown(&self, index: usize) -> String {
        match self {
            Self::Postgres(row) => row.shown(index),
            Self::Mysql(row) => row.shown(index),
        }
    }
}

impl Session {
    /// Connects for as long as it lives.
    pub(crate) fn own(address: &StoreAddress, patience: Duration, stop: &Stop) -> Result<Self> {
        Ok(match address.server() {
            Server::Postgres(address) => Self::Postgres(postgres::session::Session::own(address, patience, stop)?),
            Server::Mysql(address) => Self::Mysql(mysql::session::Session::open_within(address, patience, stop)?),
        })
    }

    /// What it speaks.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Postgres(_) => Dialect::Postgres,
            Self::Mysql(_) => Dialect::Mysql,
        }
    }

    /// The server, for messages.
    pub(crate) fn shown(&self) -> &str {
        match self {
            Self::Postgres(session) => session.shown(),
            Self::Mysql(session) => session.shown(),
        }
    }

    /// The columns of all tables whose names begin with an identifier, in whatever case.
    pub(crate) fn catalog(&mut self, identifier: &str) -> Result<Vec<Found>> {
        match self {
            Self::Postgres(session) => catalog_of_postgres(session, identifier),
            Self::Mysql(session) => catalog_of_mysql(session, identifier),
        }
    }

    /// Runs one statement after the other.
    pub(crate) fn run_all<S: AsRef<str>>(&mut self, statements: &[S]) -> Result<()> {
        statements.iter().try_for_each(|sql| self.run(sql.as_ref()))
    }

    /// Runs a statement that returns nothing of interest; PostgreSQL takes several.
    pub(crate) fn run(&mut self, sql: &str) -> Result<()> {
        match self {
            Self::Postgres(session) => session.run(sql),
            Self::Mysql(session) => session.run(sql),
        }
    }

    /// The one number of an answer, 64 bits wide.
    pub(crate) fn number(&mut self, sql: &str) -> Result<i64> {
        match self {
            Self::Postgres(session) => session.number(sql),
            Self::Mysql(session) => session.number(sql),
        }
    }

    /// About how many rows a query of one table goes through, where the server says so.
    pub(crate) fn estimate(&mut self, sql: &str) -> Result<Option<u64>> {
        let Self::Mysql(session) = self else { return Ok(None) };
        let plan = session.ask(&format!("EXPLAIN {sql}"))?;
        // What else it says depends on the server.
        Ok(plan.first().and_then(|row| {
            let place = row.columns_ref().iter().position(|column| column.name_str().eq_ignore_ascii_case("rows"))?;
            cell(row, place)
        }))
    }

    /// Hands out the rows of a query as they come. An error leaves the session in no state to be used.
    pub(crate) fn rows(&mut self, sql: &str, each: &mut dyn FnMut(&Fetched<'_>) -> Result<()>) -> Result<()> {
        match self {
            Self::Postgres(session) => {
                let sql = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
                session.copy_out(&sql, &mut |row| each(&Fetched::Postgres(row)))
            }
            Self::Mysql(session) => session.read(sql, None, &mut |row| each(&Fetched::Mysql(row))),
        }
    }

    /// Says good-bye; what goes wrong with that is nobody's concern.
    pub(crate) fn close(self) {
        match self {
            Self::Postgres(session) => session.close(),
            Self::Mysql(session) => session.close(),
        }
    }
}
