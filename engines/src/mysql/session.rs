//! A session with a server: statements, prepared reads, and LOAD DATA from memory, each given up once the work is to end.
//! It knows no table.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use metaferry_pipeline::{Error, ErrorKind, Result, Stop};
use mysql_async::prelude::{AsQuery, FromValue, Queryable};
use mysql_async::{Conn, DriverError, InfileData, Params, Row};
use tokio::runtime::{Builder, Runtime};

use super::address::MysqlAddress;
use super::failure;
use crate::watched::{TICK, watched};

/// How long a server may take to let us in.
const CONNECT: Duration = Duration::from_secs(30);
/// What is sent of a file at once, in bytes.
const SEND_BYTES: usize = 256 << 10;
/// What each session asks of its server, and of it alone: no timeout ends what it does, no lock is waited for without end,
/// nothing is cut to fit.
const SETTINGS: [&str; 3] = [
    "SET NAMES utf8mb4",
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', \
     wait_timeout = 31536000, lock_wait_timeout = 5, net_write_timeout = 31536000, net_read_timeout = 31536000 \
     /*M!100301 , max_statement_time = 0, idle_transaction_timeout = 0, idle_readonly_transaction_timeout = 0 */ \
     /*!80003 , max_execution_time = 0, information_schema_stats_expiry = 0 */",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
];

/// What a server says of a column and of a table that are not there.
const NO_COLUMN: u16 = 1054;
const NO_TABLE: u16 = 1146;

/// One connection, in a thread of its own while it is used.
pub(crate) struct Session {
    runtime: Runtime,
    connection: Conn,
    shown: String,
    stop: Stop,
}

/// What a server made of the rows it was sent.
pub(crate) struct Taken {
    pub(crate) rows: u64,
    pub(crate) warnings: u16,
}

impl Session {
    /// Connects.
    pub(crate) fn open(address: &MysqlAddress, stop: &Stop) -> Result<Self> {
        Self::open_within(address, CONNECT, stop)
    }

    /// Connects, if that takes no longer.
    pub(crate) fn open_within(address: &MysqlAddress, patience: Duration, stop: &Stop) -> Result<Self> {
        stop.check()?;
        let shown = address.to_string();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|cause| Error::engine(format!("{shown}: a runtime"), cause))?;
        let connecting = async { watched(stop, tokio::time::timeout(patience, connect(address))).await };
        let connection = runtime
            .block_on(connecting)?
            .map_err(|_| Error::new(ErrorKind::Engine, format!("{shown}: no answer in {} s", patience.as_secs())))?
            .map_err(|error| failure(&shown, error))?;
        let mut session = Self { runtime, connection, shown, stop: stop.clone() };
        session.run_all(&SETTINGS)?;
        Ok(session)
    }

    /// The server, for messages.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Runs a statement that returns nothing of interest. What is put into it is quoted by whoever does.
    pub(crate) fn run(&mut self, sql: &str) -> Result<()> {
        self.stop.check()?;
        let Self { runtime, connection, shown, stop } = self;
        runtime.block_on(watched(stop, connection.query_drop(sql)))?.map_err(|error| failure(shown, error))
    }

    /// Runs one statement after the other.
    pub(crate) fn run_all<S: AsRef<str>>(&mut self, statements: &[S]) -> Result<()> {
        statements.iter().try_for_each(|sql| self.run(sql.as_ref()))
    }

    /// Whether what a statement names is there; an error where the account may not know.
    pub(crate) fn is_there(&mut self, sql: &str) -> Result<bool> {
        self.stop.check()?;
        let Self { runtime, connection, shown, stop } = self;
        match runtime.block_on(watched(stop, connection.query_drop(sql)))? {
            Ok(()) => Ok(true),
            Err(mysql_async::Error::Server(error)) if matches!(error.code, NO_COLUMN | NO_TABLE) => Ok(false),
            Err(error) => Err(failure(shown, error)),
        }
    }

    /// The rows of a small answer.
    pub(crate) fn ask(&mut self, sql: &str) -> Result<Vec<Row>> {
        self.stop.check()?;
        let Self { runtime, connection, shown, stop } = self;
        runtime.block_on(watched(stop, connection.query(sql)))?.map_err(|error| failure(shown, error))
    }

    /// The one value of an answer, if there is one.
    pub(crate) fn value<T: FromValue>(&mut self, sql: &str) -> Result<Option<T>> {
        Ok(self.ask(sql)?.first().and_then(|row| cell(row, 0)))
    }

    /// The one number of an answer.
    pub(crate) fn number(&mut self, sql: &str) -> Result<i64> {
        self.value(sql)?.ok_or_else(|| Error::corrupt(format!("{}: no answer to {sql}", self.shown)))
    }

    /// How large a packet may be, in bytes.
    pub(crate) fn packet(&mut self) -> Result<usize> {
        self.number("SELECT @@max_allowed_packet").map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Hands out the rows between two keys as they come. An error leaves the session in no state to be used.
    pub(crate) fn read(
        &mut self,
        sql: &str,
        keys: Option<(i64, i64)>,
        each: &mut dyn FnMut(&Row) -> Result<()>,
    ) -> Result<()> {
        self.stop.check()?;
        let Self { runtime, connection, shown, stop } = self;
        let keys = keys.map_or(Params::Empty, Params::from);
        let work = async {
            let failed = |error| failure(shown, error);
            let mut rows = connection.exec_iter(sql, keys).await.map_err(failed)?;
            while let Some(row) = rows.next().await.map_err(failed)? {
                each(&row)?;
            }
            Ok(())
        };
        runtime.block_on(watched(stop, work))?
    }

    /// Sends a statement that brings rows; `file` is what a `LOAD DATA LOCAL INFILE` reads.
    pub(crate) fn send(&mut self, sql: impl AsQuery, file: Option<Bytes>) -> Result<Taken> {
        self.stop.check()?;
        let Self { runtime, connection, shown, stop } = self;
        if let Some(file) = file {
            connection.set_infile_handler(async move { Ok(in_parts(file)) });
        }
        runtime.block_on(watched(stop, connection.query_drop(sql)))?.map_err(|error| failure(shown, error))?;
        Ok(Taken { rows: connection.affected_rows(), warnings: connection.get_warnings() })
    }

    /// What is done from here on no stop ends.
    pub(crate) fn go_on_regardless(&mut self) {
        self.stop = Stop::new();
    }

    /// Says good-bye; what goes wrong with that is nobody's concern.
    pub(crate) fn close(self) {
        let Self { runtime, connection, .. } = self;
        drop(runtime.block_on(async { tokio::time::timeout(TICK, connection.disconnect()).await }));
    }
}

/// The server does not let somebody in (`ER_ACCESS_DENIED_ERROR`).
const DENIED: u16 = 1045;

/// Connects; whoever is not let in tries once more. The driver takes the last byte of a nonce for its end where that is zero, as it
/// is for one login by ed25519 or PARSEC in 256, and then signs what the server has not said.
async fn connect(address: &MysqlAddress) -> mysql_async::Result<Conn> {
    match log_in(address).await {
        Err(mysql_async::Error::Server(error)) if error.code == DENIED => log_in(address).await,
        done => done,
    }
}

/// Connects by the first way that the server knows.
async fn log_in(address: &MysqlAddress) -> mysql_async::Result<Conn> {
    let mut ways = address.options().into_iter();
    let mut last = Err(DriverError::NoClientSslFlagFromServer.into());
    while let (Err(mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer)), Some(way)) =
        (&last, ways.next())
    {
        last = Conn::new(way).await;
    }
    last
}

fn in_parts(mut file: Bytes) -> InfileData {
    let parts = std::iter::from_fn(move || {
        let part = file.split_to(SEND_BYTES.min(file.len()));
        (!part.is_empty()).then_some(Ok(part))
    });
    Box::pin(stream::iter(parts))
}

/// A cell of a small answer; `None` where there is NULL, or something of another sort.
pub(crate) fn cell<T: FromValue>(row: &Row, index: usize) -> Option<T> {
    row.get_opt::<Option<T>, _>(index)?.ok().flatten()
}
