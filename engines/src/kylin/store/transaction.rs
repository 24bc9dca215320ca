//! What a session does in small: transactions that write, answers of a few rows, and how many rows a statement changed. It knows
//! no table.

use std::time::Duration;

use metaferry_codecs::kylin::address::Dialect;
use metaferry_codecs::repository::hex;
use metaferry_pipeline::{Error, ErrorKind, Result, Stop};
use mysql_async::Value;
use sqlx::postgres::PgRow;
use sqlx::{Row, ValueRef};

use super::StoreAddress;
use super::session::Session;
use super::tables::{Located, locate};

/// A row of a small answer: its cells as text; none where there is NULL.
pub(crate) type Answer = Vec<Option<Vec<u8>>>;

/// How long a server may take to let us in.
const CONNECT: Duration = Duration::from_secs(30);
/// How long locks of rows are waited for; PostgreSQL's sessions wait no longer for any.
const PATIENT: &str = "SET SESSION innodb_lock_wait_timeout = 5";

impl Session {
    /// Connects, to write in transactions.
    pub(crate) fn open(address: &StoreAddress, stop: &Stop) -> Result<Self> {
        let mut session = Self::own(address, CONNECT, stop)?;
        if let Self::Mysql(session) = &mut session {
            session.run(PATIENT)?;
        }
        Ok(session)
    }

    /// Finds the tables of a metastore.
    pub(crate) fn locate(&mut self, identifier: &str) -> Result<Located> {
        let found = self.catalog(identifier)?;
        locate(self.dialect(), identifier, &found).map_err(|error| error.at(self.shown()))
    }

    /// Begins to write.
    pub(crate) fn begin(&mut self) -> Result<()> {
        match self {
            Self::Postgres(session) => session.begin_writing(),
            Self::Mysql(session) => session.run("START TRANSACTION"),
        }
    }

    /// Begins to read at one point in time.
    pub(crate) fn begin_reading(&mut self) -> Result<()> {
        match self {
            Self::Postgres(session) => session.begin(None, &[]),
            Self::Mysql(session) => session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"),
        }
    }

    pub(crate) fn rollback(&mut self) -> Result<()> {
        self.run("ROLLBACK")
    }

    /// Commits, whatever stop is set meanwhile: so it is known whether it was done, unless the server fails just then.
    pub(crate) fn commit(&mut self) -> Result<()> {
        match self {
            Self::Postgres(session) => session.go_on_regardless(),
            Self::Mysql(session) => session.go_on_regardless(),
        }
        self.run("COMMIT").map_err(|error| {
            let what = format!("the changes may have been made, and may not: {error}");
            Error::new(ErrorKind::Engine, what)
                .because(error)
                .hint("see whether they were before anything else is done")
        })
    }

    /// Runs a statement, and says how many rows it changed.
    pub(crate) fn change(&mut self, sql: &str) -> Result<u64> {
        match self {
            Self::Postgres(session) => session.insert(sql),
            Self::Mysql(session) => session.send(sql, None).map(|taken| taken.rows),
        }
    }

    /// The rows of a small answer.
    pub(crate) fn ask(&mut self, sql: &str) -> Result<Vec<Answer>> {
        match self {
            Self::Postgres(session) => {
                let rows = session.ask(sql)?;
                let read = rows.iter().map(answer).collect::<std::result::Result<_, _>>();
                read.map_err(|cause| Error::engine(format!("{}: an answer", session.shown()), cause))
            }
            Self::Mysql(session) => {
                let cell = |value: Value| match value {
                    Value::NULL => None,
                    Value::Bytes(bytes) => Some(bytes),
                    value => Some(value.as_sql(true).into_bytes()),
                };
                let rows = session.ask(sql)?.into_iter();
                Ok(rows.map(|row| row.unwrap_raw().into_iter().map(|value| value.and_then(cell)).collect()).collect())
            }
        }
    }

    /// Text as a literal of SQL. No setting of a server's makes anything else of it, and it takes the collation of the column
    /// that it is compared with.
    pub(crate) fn literal(&self, text: &[u8]) -> String {
        match self.dialect() {
            Dialect::Postgres => format!("convert_from(decode('{}', 'hex'), 'UTF8')", hex(text)),
            Dialect::Mysql => format!("_utf8mb4 X'{}'", hex(text)),
        }
    }
}

/// A row in the form of text, which PostgreSQL answers a statement without parameters in.
fn answer(row: &PgRow) -> std::result::Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let cell = |at| {
        let value = row.try_get_raw(at)?;
        if value.is_null() { Ok(None) } else { value.as_bytes().map(|cell| Some(cell.to_vec())) }
    };
    (0..row.len()).map(cell).collect()
}
