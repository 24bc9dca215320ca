//! PostgreSQL: JuiceFS volumes in one schema. Read by COPY in ranges of pages, all of one exported snapshot; written by COPY
//! on several connections, keys and indexes after the rows. Nothing here knows another store.

mod address;
pub(crate) mod cells;
pub(crate) mod loader;
pub(crate) mod lock;
pub(crate) mod pooled;
pub(crate) mod preflight;
mod select;
pub(crate) mod session;
mod sink;
mod source;
mod stamp;
mod target;
pub(crate) mod together;

pub use address::PostgresAddress;
pub use sink::PostgresSink;
pub use source::PostgresSource;
pub use stamp::PostgresStamp;

use std::fmt;

use metaferry_codecs::juicefs::tables::Type;
use metaferry_pipeline::{Error, ErrorKind};

use crate::sql::ddl::Dialect;

/// How PostgreSQL writes the layout.
const DIALECT: Dialect = Dialect { quote: '"', type_name, counts: "" };

fn type_name(holds: Type) -> String {
    let name = match holds {
        Type::Int => "INTEGER",
        Type::Long => "BIGINT",
        Type::Serial => "BIGSERIAL",
        Type::IntSerial => "SERIAL",
        Type::Name => "VARCHAR(255)",
        Type::Text => "TEXT",
        Type::Bytes(_) | Type::Blob | Type::LongBlob => "BYTEA",
    };
    name.to_owned()
}

/// What the server or the way to it says, as the pipeline's error.
pub(crate) fn failure(shown: &dyn fmt::Display, error: sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
    let (kind, what, hint) = match (code.as_str(), &error) {
        ("28P01" | "28000", _) => {
            (ErrorKind::Config, "the server does not let us in", Some("look at user and password"))
        }
        ("3D000", _) => (ErrorKind::Config, "there is no such database", Some("create it first, it is not done here")),
        ("3F000", _) => (ErrorKind::Config, "there is no such schema", Some("create it first, it is not done here")),
        ("42501", _) => (ErrorKind::Refused, "the user may not do that", Some("grant the user what is missing")),
        ("25006", _) => (
            ErrorKind::Refused,
            "nothing may be written there",
            Some("name the primary server, and a user who may write: default_transaction_read_only is off for one"),
        ),
        ("53100", _) => (ErrorKind::Engine, "the server's disk is full", Some("make room on the server")),
        ("53300", _) => (ErrorKind::Engine, "the server takes no more connections", Some("go on with fewer --threads")),
        ("55P03", _) => {
            (ErrorKind::Engine, "a lock could not be had", Some("see what else works on these tables, then try again"))
        }
        ("57P01", _) => (ErrorKind::Engine, "the server ended the session", None),
        ("57P02" | "57P03", _) => (ErrorKind::Engine, "the server is shutting down or starting", None),
        ("57014", _) => (ErrorKind::Engine, "the server gave the statement up", None),
        ("23505", _) => {
            let what = "two rows have the same key, which a database in SQL cannot hold";
            return Error::corrupt(format!("{shown}: {what}")).because(error);
        }
        (_, sqlx::Error::Io(_)) => (ErrorKind::Engine, "the connection failed", None),
        (_, sqlx::Error::Tls(_)) => (ErrorKind::Engine, "TLS failed", Some("look at sslmode and sslrootcert")),
        _ => (ErrorKind::Engine, "the server failed", None),
    };
    let error = Error::new(kind, format!("{shown}: {what}")).because(error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
