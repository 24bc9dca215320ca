//! MySQL and MariaDB: JuiceFS volumes in one database. Read by ranges of keys on several sessions that see one point in
//! time; written by LOAD DATA on several sessions, secondary indexes after the rows. Nothing here knows another store.

mod address;
pub(crate) mod align;
pub(crate) mod cells;
pub(crate) mod loader;
pub(crate) mod lock;
pub(crate) mod preflight;
mod select;
pub(crate) mod session;
mod sink;
mod source;
mod stamp;
mod target;

pub use address::MysqlAddress;
pub use sink::MysqlSink;
pub use source::MysqlSource;
pub use stamp::MysqlStamp;

use std::fmt;

use metaferry_codecs::juicefs::tables::Type;
use metaferry_pipeline::{Error, ErrorKind};
use mysql_async::{DriverError, IoError, ServerError};

use crate::sql::ddl::Dialect;

/// How MySQL writes the layout.
const DIALECT: Dialect = Dialect { quote: '`', type_name, counts: " AUTO_INCREMENT" };

fn type_name(holds: Type) -> String {
    match holds {
        Type::Int | Type::IntSerial => "INT".to_owned(),
        Type::Long | Type::Serial => "BIGINT(20)".to_owned(),
        Type::Name => "VARCHAR(255)".to_owned(),
        Type::Text => "TEXT".to_owned(),
        Type::Bytes(most) => format!("VARBINARY({most})"),
        Type::Blob => "BLOB".to_owned(),
        Type::LongBlob => "MEDIUMBLOB".to_owned(),
    }
}

/// The code of "duplicate entry".
const DUPLICATE: u16 = 1062;

/// What the server or the way to it says, as the pipeline's error.
pub(crate) fn failure(shown: &dyn fmt::Display, error: mysql_async::Error) -> Error {
    let (kind, what, hint) = meaning(&error);
    let failed = Error::new(kind, format!("{shown}: {what}"));
    let failed = if hint.is_empty() { failed } else { failed.hint(hint) };
    match error {
        mysql_async::Error::Server(cause) => failed.because(cause),
        mysql_async::Error::Driver(cause) => failed.because(cause),
        mysql_async::Error::Io(IoError::Io(cause)) => failed.because(cause),
        mysql_async::Error::Io(IoError::Tls(cause)) => failed.because(cause),
        cause => failed.because(cause),
    }
}

/// What an error means, and what to do.
fn meaning(error: &mysql_async::Error) -> (ErrorKind, &'static str, &'static str) {
    use ErrorKind::{Config, Engine, Unsupported};
    match error {
        mysql_async::Error::Server(error) => said(error),
        mysql_async::Error::Io(error) if is_tls(error) => (Engine, "TLS failed", "look at tls and tls-ca"),
        mysql_async::Error::Io(_) | mysql_async::Error::Driver(DriverError::ConnectionClosed) => {
            (Engine, "the connection failed", "")
        }
        mysql_async::Error::Driver(
            DriverError::UnknownAuthPlugin { .. }
            | DriverError::MysqlOldPasswordDisabled
            | DriverError::CleartextPluginDisabled,
        ) => (Unsupported, "the account logs in by a way that is not known here", "use an account with a password"),
        mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => {
            (Config, "the server speaks no TLS", "leave out tls")
        }
        _ => (Engine, "the server failed", ""),
    }
}

/// Whether it is about encryption, and not about the way to the server.
fn is_tls(error: &IoError) -> bool {
    match error {
        IoError::Tls(_) => true,
        IoError::Io(error) => error.get_ref().is_some_and(|cause| cause.is::<rustls::Error>()),
    }
}

/// What an error of the server's means, and what to do.
fn said(error: &ServerError) -> (ErrorKind, &'static str, &'static str) {
    use ErrorKind::{Config, Corrupt, Engine, Refused};
    match error.code {
        1044 | 1045 | 1698 => (Config, "the server does not let us in", "look at user, password and database"),
        1049 => (Config, "there is no such database", "create it first, it is not done here"),
        1142 | 1143 | 1227 | 1370 => (Refused, "the user may not do that", "grant the user what is missing"),
        1290 | 1792 | 1836 => (Refused, "nothing may be written there", "name the primary server"),
        1021 | 1114 => (Engine, "the server's disk is full", "make room on the server"),
        1040 | 1203 | 1226 => (Engine, "the server takes no more connections", "go on with fewer --threads"),
        1153 => (Engine, "a row is larger than max_allowed_packet", "raise it on the server"),
        1205 | 1213 => (Engine, "a lock could not be had", "see what else works on these tables, then try again"),
        1412 => (Engine, "a table was altered while it was read", "try again when the client is done with that"),
        1053 | 1317 | 1927 | 2006 | 2013 => (Engine, "the server gave the statement or the connection up", ""),
        DUPLICATE => (
            Corrupt,
            "two rows have the same key, which a database in SQL cannot hold",
            "where names differ in case alone, make the database with a collation that ends in _bin",
        ),
        _ => (Engine, "the server failed", ""),
    }
}
