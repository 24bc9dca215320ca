//! A session with a server: statements, and COPY both ways, each given up once the work is to end. It knows no table.

use std::time::Duration;

use futures_util::TryStreamExt;
use metaferry_pipeline::{Error, ErrorKind, Result, Stop};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::runtime::{Builder, Runtime};

use super::address::PostgresAddress;
use super::cells::{HEADER, Malformed, Rows, TRAILER, Tuple};
use super::failure;
use crate::sql::watched::{TICK, watched};

/// How long a server may take to let us in.
const CONNECT: Duration = Duration::from_secs(30);
/// What is sent of a COPY at once, in bytes.
const SEND_BYTES: usize = 256 << 10;

/// One connection, in a thread of its own while it is used.
pub(super) struct Session {
    runtime: Runtime,
    connection: PgConnection,
    shown: String,
    stop: Stop,
}

impl From<Malformed> for Error {
    fn from(_: Malformed) -> Self {
        Self::corrupt("what the server sends is no COPY in binary form")
    }
}

impl Session {
    /// Connects. No timeout of the server's ends what a session of ours does.
    pub(super) fn open(address: &PostgresAddress, stop: &Stop) -> Result<Self> {
        let shown = address.to_string();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|cause| Error::engine(format!("{shown}: a runtime"), cause))?;
        let connecting = async {
            let connecting = tokio::time::timeout(CONNECT, PgConnection::connect_with(address.options()));
            watched(stop, connecting).await
        };
        let connection = runtime.block_on(connecting)?;
        let connection = connection
            .map_err(|_| Error::new(ErrorKind::Engine, format!("{shown}: no answer in {} s", CONNECT.as_secs())))?;
        let connection = connection.map_err(|error| failure(&shown, error))?;
        let mut session = Self { runtime, connection, shown, stop: stop.clone() };
        session.run(
            "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
             SET client_min_messages = error",
        )?;
        if let Some(schema) = address.search_path() {
            let schema = schema.trim_matches('"').replace('"', "\"\"");
            session.run(&format!("SET search_path = \"{schema}\""))?;
        }
        Ok(session)
    }

    /// The server, for messages.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Runs statements that return nothing of interest. What is put into them is quoted by whoever does.
    pub(super) fn run(&mut self, sql: &str) -> Result<()> {
        self.insert(sql).map(drop)
    }

    /// Runs statements that bring rows, and says how many the server took.
    pub(super) fn insert(&mut self, sql: &str) -> Result<u64> {
        self.stop.check()?;
        let Self { runtime, connection, shown, stop } = self;
        let work = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())));
        let done = runtime.block_on(watched(stop, work))?.map_err(|error| failure(shown, error))?;
        Ok(done.rows_affected())
    }

    /// The rows of a small answer.
    pub(super) fn ask(&mut self, sql: &str) -> Result<Vec<PgRow>> {
        self.stop.check()?;
        let Self { runtime, connection, shown, stop } = self;
        let work = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())));
        runtime.block_on(watched(stop, work))?.map_err(|error| failure(shown, error))
    }

    /// The one number of an answer.
    pub(super) fn number(&mut self, sql: &str) -> Result<i64> {
        use sqlx::Row;
        let rows = self.ask(sql)?;
        let row = rows.first().ok_or_else(|| Error::corrupt(format!("{}: no answer to {sql}", self.shown)))?;
        row.try_get::<i64, _>(0).map_err(|error| failure(&self.shown, error))
    }

    /// Hands out the rows of `COPY … TO STDOUT (FORMAT binary)`. An error leaves the session in no state to be used.
    pub(super) fn copy_out(&mut self, sql: &str, each: &mut dyn FnMut(&Tuple<'_>) -> Result<()>) -> Result<()> {
        self.stop.check()?;
        let Self { runtime, connection, shown, stop } = self;
        // Watched as a whole: a server sends each row by itself, and a watch of its own costs more than that.
        let work = async {
            let failed = |error| failure(shown, error);
            let mut parts = connection.copy_out_raw(sql).await.map_err(failed)?;
            let mut rows = Rows::default();
            while let Some(part) = parts.try_next().await.map_err(failed)? {
                rows.feed(&part, each)?;
            }
            Ok(())
        };
        runtime.block_on(watched(stop, work))?
    }

    /// Sends rows, encoded one behind the other, to `COPY … FROM STDIN (FORMAT binary)`, and says how many the server took.
    pub(super) fn copy_in(&mut self, sql: &str, rows: &[u8]) -> Result<u64> {
        self.stop.check()?;
        let Self { runtime, connection, shown, stop } = self;
        runtime.block_on(async {
            let work = async {
                let mut copy = connection.copy_in_raw(sql).await?;
                copy.send(HEADER.as_slice()).await?;
                for part in rows.chunks(SEND_BYTES) {
                    copy.send(part).await?;
                }
                copy.send(TRAILER.as_slice()).await?;
                copy.finish().await
            };
            watched(stop, work).await?.map_err(|error| failure(shown, error))
        })
    }

    /// Says good-bye; what goes wrong with that is nobody's concern.
    pub(super) fn close(self) {
        let Self { runtime, connection, .. } = self;
        drop(runtime.block_on(async { tokio::time::timeout(TICK, connection.close()).await }));
    }
}
