//! Several sessions that see one point in time: one exports its snapshot, the others take it on. It knows no table.

use metaferry_pipeline::{ErrorKind, Result, Stop};
use sqlx::Row as _;

use super::address::PostgresAddress;
use super::failure;
use super::session::Session;

/// Readers that see one point in time.
pub(crate) struct Readers {
    /// All but the first go on with the snapshot of the first.
    pub(crate) sessions: Vec<Session>,
    /// Why there is but one.
    pub(crate) alone: Option<String>,
}

/// Opens as many readers as can be had at the point in time of the first, which has begun. `tables` are quoted names.
pub(crate) fn together(
    first: Session,
    address: &PostgresAddress,
    readers: usize,
    tables: &[String],
    stop: &Stop,
) -> Result<Readers> {
    let mut sessions = vec![first];
    let joined = (1..readers.max(1)).try_for_each(|_| join(&mut sessions, address, tables, stop));
    let alone = match joined {
        Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Stopped) => return Err(error),
        Err(error) => {
            sessions.truncate(1);
            Some(format!("one reader, since no other can take on its snapshot ({error:?})"))
        }
        Ok(()) => None,
    };
    Ok(Readers { sessions, alone })
}

/// Opens one more session, at the point in time of the first.
fn join(sessions: &mut Vec<Session>, address: &PostgresAddress, tables: &[String], stop: &Stop) -> Result<()> {
    let Some(first) = sessions.first_mut() else { return Ok(()) };
    let exported = first.ask("SELECT pg_export_snapshot()")?;
    let exported = exported.first().map(|row| row.try_get::<String, _>(0)).transpose();
    let exported = exported.map_err(|error| failure(&address, error))?.unwrap_or_default();
    let mut session = Session::open(address, stop)?;
    session.begin(Some(&exported), tables)?;
    sessions.push(session);
    Ok(())
}
