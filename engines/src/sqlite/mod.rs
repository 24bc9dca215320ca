//! SQLite: JuiceFS volumes in one file. Read by ranges of row ids on several connections that see the same point in time;
//! written in one transaction into a new file that is renamed into place. Nothing here knows another store.

mod address;
mod bind;
mod database;
mod page;
mod plan;
mod rows;
mod schema;
mod select;
mod sink;
mod source;
mod stamp;
mod target;
mod traces;
mod write;

pub use address::SqliteAddress;
pub use sink::SqliteSink;
pub use source::SqliteSource;
pub use stamp::SqliteStamp;

use std::path::Path;

use metaferry_pipeline::{Error, ErrorKind};
use rusqlite::ErrorCode;

/// What SQLite says, as the pipeline's error: what is wrong with the file is told from what is wrong with the machine.
fn failure(path: &Path, error: rusqlite::Error) -> Error {
    let code = error.sqlite_error().map(|error| (error.code, error.extended_code));
    let path = path.display();
    let (kind, what, hint) = match code {
        Some((ErrorCode::NotADatabase, _)) => (ErrorKind::Corrupt, format!("{path}: it is no SQLite database"), None),
        Some((ErrorCode::DatabaseCorrupt, _)) => (ErrorKind::Corrupt, format!("{path}: the database is damaged"), None),
        Some((ErrorCode::ReadOnly | ErrorCode::CannotOpen, READONLY_ROLLBACK)) => (
            ErrorKind::Engine,
            format!("{path}: a transaction was cut off and must be rolled back first"),
            Some("open it once with a client or with sqlite3, which does that; it is not done here"),
        ),
        Some((ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _)) => {
            (ErrorKind::Engine, format!("{path}: it stayed locked"), Some("try again when the other program is done"))
        }
        Some((ErrorCode::DiskFull, _)) => {
            (ErrorKind::Engine, format!("{path}: the disk is full"), Some("free some space, also for temporary files"))
        }
        _ => (ErrorKind::Engine, format!("{path}: the database failed"), None),
    };
    let error = Error::new(kind, what).because(error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// `SQLITE_READONLY_ROLLBACK`.
const READONLY_ROLLBACK: i32 = 8 | 3 << 8;

#[cfg(test)]
mod tests;
