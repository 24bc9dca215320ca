//! The lock of a load into a schema: one session has it alone, then shares it with the load's others. It knows no table.

use std::time::{Duration, Instant};

use metaferry_codecs::tally::digest;
use metaferry_pipeline::{Error, Result};
use sqlx::Row as _;

use super::session::Session;

/// How long the lock of another load is waited for, and that of our own one that failed, and how long between two looks.
pub(crate) const BURIAL: Duration = Duration::from_secs(5);
pub(crate) const OWN_BURIAL: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// The schema that the session works in.
pub(crate) fn schema(session: &mut Session) -> Result<String> {
    let schema = session.ask("SELECT current_schema()::text")?;
    let schema = schema.first().and_then(|row| row.try_get::<Option<String>, _>(0).ok().flatten());
    let none = || {
        Error::config(format!("{}: there is no such schema, or none that the user may use", session.shown()))
            .hint("create it first and grant USAGE on it; that is not done here")
    };
    schema.ok_or_else(none)
}

/// What the lock of a load into a schema is called.
pub(crate) fn number(session: &mut Session, prefix: &str) -> Result<i64> {
    let schema = schema(session)?;
    Ok(digest(format!("metaferry {schema} {prefix}").as_bytes()) as i64)
}

/// Has a schema alone, then shares it with the load's other sessions: while any of them lives, nobody else has it.
pub(crate) fn take(session: &mut Session, lock: i64, patience: Duration) -> Result<()> {
    // The sessions of a load that has just died may live on for a moment.
    let begun = Instant::now();
    while session.number(&format!("SELECT pg_try_advisory_lock({lock})::int::bigint"))? != 1 {
        if begun.elapsed() > patience {
            return Err(under_way(session));
        }
        std::thread::sleep(PAUSE);
    }
    session.ask(&format!("SELECT pg_advisory_lock_shared({lock})"))?;
    session.ask(&format!("SELECT pg_advisory_unlock({lock})")).map(drop)
}

fn under_way(session: &Session) -> Error {
    Error::refused(format!("{}: another load into it is under way", session.shown()))
        .hint("wait for it, or end its sessions on the server")
}

/// Has the lock that another session of the same load has.
pub(crate) fn share(session: &mut Session, lock: i64) -> Result<()> {
    match session.number(&format!("SELECT pg_try_advisory_lock_shared({lock})::int::bigint"))? {
        1 => Ok(()),
        _ => Err(under_way(session)),
    }
}
