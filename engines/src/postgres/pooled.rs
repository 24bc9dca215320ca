//! Poolers in front of a server. Whoever reads does so in one transaction, which keeps its session behind any of them; a load
//! holds a lock and settings for as long as it lives, and cannot do that where each transaction is another session's.

use metaferry_pipeline::{Error, Result, Stop};

use super::address::PostgresAddress;
use super::session::Session;

/// How often two sessions are held against each other: others may come between.
const ROUNDS: usize = 3;

/// Refuses a pooler that hands sessions out by transaction: there two of ours are seen to share one.
pub(crate) fn expect_own(address: &PostgresAddress, stop: &Stop) -> Result<()> {
    let (mut one, mut other) = (Session::open(address, stop)?, Session::open(address, stop)?);
    let which = "SELECT pg_backend_pid()::bigint";
    for _ in 0..ROUNDS {
        let first = one.number(which)?;
        other.run("BEGIN")?;
        let is_shared = other.number(which)? == first || one.number(which)? != first;
        other.run("ROLLBACK")?;
        if is_shared {
            let what = format!("{address}: a pooler stands before it that gives each transaction another session");
            return Err(Error::refused(what).hint(
                "a load holds a lock and settings on its sessions: name the server itself, or a pooler of sessions \
                 (pool_mode = session)",
            ));
        }
    }
    one.close();
    other.close();
    Ok(())
}
