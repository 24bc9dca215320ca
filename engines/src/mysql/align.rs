//! Bringing several readers to one point in time, by the first rung of a ladder that the server and the account allow: the
//! position of the binary log compared, the tables locked, the server locked, each for a moment; or one reader alone.

use std::error::Error as _;
use std::time::{Duration, Instant};

use metaferry_pipeline::{Error, ErrorKind, Result, Stop};

use super::address::MysqlAddress;
use super::session::{Session, cell};

/// How long positions are compared.
const COMPARE: Duration = Duration::from_secs(2);
/// How long a lock is waited for, since whoever writes waits behind it.
const WAIT: &str = "SET SESSION lock_wait_timeout = 2";
const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// Readers that see one point in time.
pub(crate) struct Readers {
    pub(crate) sessions: Vec<Session>,
    /// How that came to be, and what it cost, for the user.
    pub(crate) how: String,
}

/// What is known of a server.
struct Server {
    version: String,
    /// Which one it is, where several answer at one address.
    identity: String,
    is_mariadb: bool,
    /// Whether others write to it than its own sessions.
    is_cluster: bool,
}

impl Server {
    fn of(session: &mut Session) -> Result<Self> {
        let version: String = session.value("SELECT VERSION()")?.unwrap_or_default();
        let cluster = session.ask("SHOW VARIABLES LIKE 'wsrep_on'")?;
        let is_cluster = cluster.first().and_then(|row| cell::<String>(row, 1)).is_some_and(|value| value == "ON");
        let is_mariadb = version.contains("MariaDB");
        Ok(Self { identity: identity(session)?, version, is_mariadb, is_cluster })
    }

    /// Whether a lock of a table keeps transactions from committing to it. Old servers lock less; others take locks for
    /// words.
    fn locks_tables(&self) -> bool {
        let number = self.version.split('.').map_while(|part| part.parse::<u32>().ok()).take(2).collect::<Vec<_>>();
        let least = if self.is_mariadb { [10, 5] } else { [5, 7] };
        self.locks_itself() && number.as_slice() >= least.as_slice() && !self.is_cluster
    }

    fn locks_itself(&self) -> bool {
        !["TiDB", "OceanBase", "Vitess"].iter().any(|name| self.version.contains(name))
    }
}

fn identity(session: &mut Session) -> Result<String> {
    Ok(session.value("SELECT CONCAT_WS(' ', @@hostname, @@port, @@server_id)")?.unwrap_or_default())
}

/// Opens as many readers as can be had at one point in time, at least one. `tables` are quoted names.
pub(crate) fn align(
    first: Session,
    address: &MysqlAddress,
    readers: usize,
    tables: &[String],
    stop: &Stop,
) -> Result<Readers> {
    let mut sessions = vec![first];
    let reason = match together(&mut sessions, address, readers, tables, stop) {
        Ok(how) => return Ok(Readers { sessions, how }),
        Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Stopped) => return Err(error),
        Err(error) => error,
    };
    sessions.drain(1..).for_each(Session::close);
    begin(&mut sessions)?;
    let reason = why(&reason);
    let how = format!("one reader, exact and slower, since no other can be brought to its point in time ({reason})");
    Ok(Readers { sessions, how })
}

/// Begins everywhere at once, where nobody else writes.
pub(crate) fn undisturbed(first: Session, address: &MysqlAddress, readers: usize, stop: &Stop) -> Result<Readers> {
    let mut sessions = vec![first];
    open_more(&mut sessions, address, readers, stop)?;
    begin(&mut sessions)?;
    Ok(Readers { sessions, how: "nobody else writes to it".to_owned() })
}

fn open_more(sessions: &mut Vec<Session>, address: &MysqlAddress, readers: usize, stop: &Stop) -> Result<()> {
    (1..readers.max(1)).try_for_each(|_| {
        sessions.push(Session::open(address, stop)?);
        Ok(())
    })
}

fn begin(sessions: &mut [Session]) -> Result<()> {
    sessions.iter_mut().try_for_each(|session| {
        session.run("ROLLBACK")?;
        session.run(BEGIN)
    })
}

/// Climbs the ladder; an error where no rung holds.
fn together(
    sessions: &mut Vec<Session>,
    address: &MysqlAddress,
    readers: usize,
    tables: &[String],
    stop: &Stop,
) -> Result<String> {
    if readers <= 1 {
        begin(sessions)?;
        return Ok("one reader; clients are not held up".to_owned());
    }
    open_more(sessions, address, readers, stop)?;
    let mut control = Session::open(address, stop)?;
    let server = Server::of(&mut control)?;
    for session in sessions.iter_mut() {
        if identity(session)? != server.identity {
            return Err(Error::config("several servers answer at this address"));
        }
    }
    let count = sessions.len();
    if server.is_mariadb && !server.is_cluster && is_all_logged(&mut control) && by_position(sessions)? {
        control.close();
        let how = "see one point in time, which their position in the binary log proves; clients are not held up";
        return Ok(format!("{count} readers {how}"));
    }
    let mut reasons = Vec::new();
    let tables = format!("LOCK TABLES {} READ", tables.join(" READ, "));
    let server_lock = "FLUSH TABLES WITH READ LOCK".to_owned();
    let rungs = [
        (server.locks_tables(), tables, "the tables were", "; what deadlocked with that, clients do again"),
        (server.locks_itself(), server_lock, "the whole server was", ""),
    ];
    for (_, lock, what, besides) in rungs.iter().filter(|(is_known, ..)| *is_known) {
        match under_lock(&mut control, lock, sessions) {
            Ok(held) => {
                control.close();
                let held = held.as_secs_f64() * 1000.0;
                let how = format!("{what} locked for that, and writers held up, for {held:.1} ms{besides}");
                return Ok(format!("{count} readers see one point in time; {how}"));
            }
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Stopped) => return Err(error),
            Err(error) => reasons.push(why(&error)),
        }
    }
    if reasons.is_empty() {
        reasons.push("the server is none whose locks are known".to_owned());
    }
    Err(Error::unsupported(reasons.join("; ")))
}

/// What the server said, or else what went wrong.
fn why(error: &Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Whether whatever is committed here moves the position of the binary log: it leaves no database out, and nobody else's
/// changes go by it. Whoever may not look does not know.
fn is_all_logged(control: &mut Session) -> bool {
    let log = control.ask("SHOW MASTER STATUS").unwrap_or_default();
    let is_unfiltered =
        log.first().is_some_and(|row| (2..4).all(|filter| cell::<String>(row, filter).unwrap_or_default().is_empty()));
    is_unfiltered && control.ask("SHOW ALL SLAVES STATUS").is_ok_and(|masters| masters.is_empty())
}

/// Begins everywhere until the position in the binary log is the same.
fn by_position(sessions: &mut [Session]) -> Result<bool> {
    let start = Instant::now();
    while start.elapsed() < COMPARE {
        begin(sessions)?;
        let positions = sessions.iter_mut().map(position).collect::<Result<Vec<_>>>()?;
        let first = positions.first().cloned().unwrap_or_default();
        if first.is_empty() || first.iter().any(String::is_empty) {
            return Ok(false);
        }
        if positions.iter().all(|position| *position == first) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The file and the position that a session's snapshot was taken at.
fn position(session: &mut Session) -> Result<Vec<String>> {
    let rows =
        session.ask("SHOW STATUS WHERE Variable_name IN ('binlog_snapshot_file', 'binlog_snapshot_position')")?;
    Ok(rows.iter().filter_map(|row| cell(row, 1)).collect())
}

/// Begins everywhere while nobody can commit; says for how long that was.
fn under_lock(control: &mut Session, lock: &str, sessions: &mut [Session]) -> Result<Duration> {
    control.run(WAIT)?;
    // What was begun for another rung would keep nobody from locking, but the locks it may hold are not needed.
    sessions.iter_mut().try_for_each(|session| session.run("ROLLBACK"))?;
    let start = Instant::now();
    control.run(lock)?;
    let begun = begin(sessions);
    control.run("UNLOCK TABLES")?;
    begun.map(|()| start.elapsed())
}
