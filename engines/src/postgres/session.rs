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
use crate::watched::{TICK, watched};

/// How long a server may take to let us in.
pub(crate) const CONNECT: Duration = Duration::from_secs(30);
/// What is sent of a COPY at once, in bytes.
const SEND_BYTES: usize = 256 << 10;
/// What is asked of the server for a session of ours: no timeout ends what it does, nobody on the way forgets it while it says
/// nothing, and no lock is waited for without end.
const PATIENT: [&str; 5] = [
    "statement_timeout = 0",
    "idle_in_transaction_session_timeout = 0",
    "tcp_keepalives_idle = 60",
    "lock_timeout = '5s'",
    "client_min_messages = error",
];
/// The same for timeouts that only later versions of the server have. It is a query, which fixes a snapshot.
const PATIENT_LATER: &str = "SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout'";
const PATIENT_LATER_WHOLLY: &str = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('transaction_timeout', 'idle_session_timeout')";

/// One connection, in a thread of its own while it is used.
pub(crate) struct Session {
    runtime: Runtime,
    connection: PgConnection,
    shown: String,
    /// The quoted schemas that are asked for.
    schema: Option<String>,
    stop: Stop,
}

impl From<Malformed> for Error {
    fn from(_: Malformed) -> Self {
        Self::corrupt("what the server sends is no COPY in binary form")
    }
}

impl Session {
    /// Connects. Nothing is asked of the session yet: behind a pooler the next statement may be another session's.
    pub(crate) fn open(address: &PostgresAddress, stop: &Stop) -> Result<Self> {
        Self::open_within(address, CONNECT, stop)
    }

    fn open_within(address: &PostgresAddress, patience: Duration, stop: &Stop) -> Result<Self> {
        let shown = address.to_string();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|cause| Error::engine(format!("{shown}: a runtime"), cause))?;
        let connecting = async {
            let connecting = tokio::time::timeout(patience, PgConnection::connect_with(address.options()));
            watched(stop, connecting).await
        };
        let connection = runtime.block_on(connecting)?;
        let connection = connection
            .map_err(|_| Error::new(ErrorKind::Engine, format!("{shown}: no answer in {} s", patience.as_secs())))?;
        let connection = connection.map_err(|error| failure(&shown, error))?;
        let quoted = |schema: &str| format!("\"{}\"", schema.trim().trim_matches('"').replace('"', "\"\""));
        let schemas = |path: &str| path.split(',').map(quoted).collect::<Vec<_>>().join(", ");
        let schema = address.search_path().map(schemas);
        Ok(Self { runtime, connection, shown, schema, stop: stop.clone() })
    }

    /// Connects for a session whose every statement is its own, as long as it lives.
    pub(crate) fn own(address: &PostgresAddress, patience: Duration, stop: &Stop) -> Result<Self> {
        let mut session = Self::open_within(address, patience, stop)?;
        let settings = session.settings("SET");
        session.run(&settings)?;
        session.ask(PATIENT_LATER_WHOLLY)?;
        Ok(session)
    }

    /// Begins to read at one point in time: that of its first query, or of the snapshot another one exported. The tables of
    /// these quoted names can be read, and are not altered, until it ends.
    pub(crate) fn begin(&mut self, snapshot: Option<&str>, tables: &[String]) -> Result<()> {
        let mut sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ".to_owned() + &self.settings("SET LOCAL");
        if let Some(snapshot) = snapshot {
            sql += &format!("SET TRANSACTION SNAPSHOT '{}';", snapshot.replace('\'', "''"));
        }
        if !tables.is_empty() {
            sql += &format!("LOCK TABLE {} IN ACCESS SHARE MODE;", tables.join(", "));
        }
        self.run(&sql)?;
        self.ask(PATIENT_LATER).map(drop)
    }

    /// Begins to write; each statement sees what was committed before it.
    pub(crate) fn begin_writing(&mut self) -> Result<()> {
        let sql = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ".to_owned() + &self.settings("SET LOCAL");
        self.run(&sql)
    }

    /// Statements that set what is asked of every session.
    fn settings(&self, set: &str) -> String {
        let schema = self.schema.iter().map(|schema| format!("{set} search_path = {schema};"));
        PATIENT.iter().map(|setting| format!("{set} {setting};")).chain(schema).collect()
    }

    /// The server, for messages.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Runs statements that return nothing of interest. What is put into them is quoted by whoever does.
    pub(crate) fn run(&mut self, sql: &str) -> Result<()> {
        self.insert(sql).map(drop)
    }

    /// Runs statements that bring rows, and says how many the server took.
    pub(crate) fn insert(&mut self, sql: &str) -> Result<u64> {
        self.stop.check()?;
        let Self { runtime, connection, shown, stop, .. } = self;
        let work = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())));
        let done = runtime.block_on(watched(stop, work))?.map_err(|error| failure(shown, error))?;
        Ok(done.rows_affected())
    }

    /// The rows of a small answer.
    pub(crate) fn ask(&mut self, sql: &str) -> Result<Vec<PgRow>> {
        self.stop.check()?;
        let Self { runtime, connection, shown, stop, .. } = self;
        let work = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())));
        runtime.block_on(watched(stop, work))?.map_err(|error| failure(shown, error))
    }

    /// The one number of an answer.
    pub(crate) fn number(&mut self, sql: &str) -> Result<i64> {
        use sqlx::Row;
        let rows = self.ask(sql)?;
        let row = rows.first().ok_or_else(|| Error::corrupt(format!("{}: no answer to {sql}", self.shown)))?;
        row.try_get::<i64, _>(0).map_err(|error| failure(&self.shown, error))
    }

    /// Hands out the rows of `COPY … TO STDOUT (FORMAT binary)`. An error leaves the session in no state to be used.
    pub(crate) fn copy_out(&mut self, sql: &str, each: &mut dyn FnMut(&Tuple<'_>) -> Result<()>) -> Result<()> {
        self.stop.check()?;
        let Self { runtime, connection, shown, stop, .. } = self;
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
    pub(crate) fn copy_in(&mut self, sql: &str, rows: &[u8]) -> Result<u64> {
        self.stop.check()?;
        let Self { runtime, connection, shown, stop, .. } = self;
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

    /// What is done from here on no stop ends.
    pub(crate) fn go_on_regardless(&mut self) {
        self.stop = Stop::new();
    }

    /// Says good-bye; what goes wrong with that is nobody's concern.
    pub(crate) fn close(self) {
        let Self { runtime, connection, .. } = self;
        drop(runtime.block_on(async { tokio::time::timeout(TICK, connection.close()).await }));
    }
}
