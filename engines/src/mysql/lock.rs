//! The locks of a load into a database: one session has the first while nobody has any, and each other one of its own. It
//! knows no table.

use std::time::{Duration, Instant};

use metaferry_codecs::tally::digest;
use metaferry_pipeline::{Error, Result};

use super::session::Session;

/// How long the locks of another load are waited for, and those of our own one that failed, and how long between two looks.
pub(crate) const BURIAL: Duration = Duration::from_secs(5);
pub(crate) const OWN_BURIAL: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
/// Sessions of a load, at most. Each holds a lock of its own, named by its number.
const SESSIONS: usize = 32;
/// What the locks of a load into a database are called, but for their numbers.
pub(crate) fn name(session: &mut Session, prefix: &str) -> Result<String> {
    let database: String = session.value("SELECT DATABASE()")?.unwrap_or_default();
    Ok(format!("metaferry {:032x}", digest(format!("{database} {prefix}").as_bytes())))
}

/// Has a database alone: takes the first lock, once no session of another load has any.
pub(crate) fn take(session: &mut Session, lock: &str, patience: Duration) -> Result<()> {
    let others: Vec<_> = (1..SESSIONS).map(|number| format!("IS_FREE_LOCK('{lock} {number}')")).collect();
    let (first, others) = (format!("SELECT GET_LOCK('{lock} 0', 0)"), format!("SELECT {}", others.join(" AND ")));
    // The sessions of a load that has just died may live on for a moment.
    let begun = Instant::now();
    while session.number(&first)? != 1 || session.number(&others)? != 1 {
        if begun.elapsed() > patience {
            return Err(under_way(session));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn under_way(session: &Session) -> Error {
    Error::refused(format!("{}: another load into it is under way", session.shown()))
        .hint("wait for it, or end its sessions on the server")
}

/// Has a lock of the same load, by the number of the session in it.
pub(crate) fn share(session: &mut Session, lock: &str, number: usize) -> Result<()> {
    match session.number(&format!("SELECT GET_LOCK('{lock} {number}', 0)"))? {
        1 => Ok(()),
        _ => Err(under_way(session)),
    }
}
