//! The database a metastore is written to: claimed with a lock and a mark. The tables bear names that say nothing to Kylin until
//! the commit gives them theirs; what a dead load left behind is told by its mark, and cleared.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metaferry_codecs::kylin::address::Dialect;
use metaferry_codecs::kylin::{Layout, Setting};
use metaferry_pipeline::{Error, ErrorKind, Result, Stop, stage};

use super::address::{Server, StoreAddress};
use super::cells::Encoding;
use super::session::Session;
use super::tables::{Found, Located, Role, Table, folded, locate, mark, quoted, tables};
use crate::mysql::cells::Form;
use crate::sql::marks::in_doubt;
use crate::{mysql, postgres};

/// How long a server may take to let us in, and one that says nothing to clear what a load has left.
const CONNECT: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(5);
/// What every session of a load asks for.
const FAST_POSTGRES: &str =
    "SET synchronous_commit = off; SET maintenance_work_mem = '128MB'; SET lock_timeout = '60s'";
const FAST_MYSQL: &str = "SET SESSION default_storage_engine = InnoDB, lock_wait_timeout = 60";
/// What is sent of one table at once, in bytes.
const FULL: usize = 4 << 20;
/// The same as values of a statement, which is one packet.
const FULL_VALUES: usize = 1 << 20;
/// The number of the row that the mark has once tables begin to get their names: MySQL names them all in one statement, which a
/// server that dies may have done by half.
const NAMING: i64 = 1;

/// The lock that keeps two loads apart.
enum Lock {
    Postgres(i64),
    Mysql(String),
}

/// What the loaders of one target share.
pub(super) struct Shared {
    pub(super) address: StoreAddress,
    pub(super) compresses: bool,
    pub(super) encoding: Encoding,
    /// How many bytes of rows are sent at once.
    pub(super) full: usize,
    /// How large a row may be, in bytes.
    pub(super) most: usize,
    /// The largest id that the change log was given.
    pub(super) last_id: AtomicI64,
    stop: Stop,
    lock: Lock,
    sessions: AtomicUsize,
    made: Mutex<Option<Arc<Located>>>,
}

impl Shared {
    /// A session for loading.
    pub(super) fn session(&self) -> Result<Session> {
        let mut session = Session::own(&self.address, CONNECT, &self.stop)?;
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        match (&mut session, &self.lock) {
            (Session::Postgres(session), Lock::Postgres(lock)) => postgres::lock::share(session, *lock)?,
            (Session::Mysql(session), Lock::Mysql(lock)) => mysql::lock::share(session, lock, number)?,
            _ => return Err(Error::new(ErrorKind::Bug, "a lock of another database")),
        }
        hasten(&mut session)?;
        Ok(session)
    }

    fn dialect(&self) -> Dialect {
        self.address.dialect()
    }

    /// The name that a table has until the commit.
    fn waiting(&self, layout: Layout, table: &Table) -> String {
        let number = tables(layout).iter().position(|other| other.role == table.role).unwrap_or_default();
        folded(self.dialect(), &format!("{}_{number}", mark(self.address.identifier())))
    }

    /// The tables, where they are made.
    pub(super) fn made(&self) -> Option<Arc<Located>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The tables of a layout, made by whoever asks first.
    pub(super) fn make(&self, layout: Layout, session: &mut Session) -> Result<Arc<Located>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref() {
            if made.layout == layout {
                return Ok(Arc::clone(made));
            }
            return Err(Error::unsupported(format!("{}: resources of both layouts came for one store", self.address)));
        }
        let dialect = self.dialect();
        let create: Vec<_> = tables(layout)
            .iter()
            .map(|table| table.create(dialect, &quoted(dialect, &self.waiting(layout, table))))
            .collect();
        session.run_all(&create)?;
        let name = |table: &Table| quoted(dialect, &self.waiting(layout, table));
        let collation = self.collation(layout, session)?;
        let collation = collation.as_ref().map(|(encoding, collation)| (encoding.as_str(), collation.as_str()));
        let located = Arc::new(Located::made(layout, collation, &name));
        *made = Some(Arc::clone(&located));
        Ok(located)
    }

    /// What MySQL calls that by which it compares keys.
    fn collation(&self, layout: Layout, session: &mut Session) -> Result<Option<(String, String)>> {
        let Some(first) = tables(layout).first() else { return Ok(None) };
        let name = self.waiting(layout, first);
        let catalog = session.catalog(self.address.identifier())?;
        let key = first.primary.0;
        let found = catalog.into_iter().find(|found| found.table == name && found.column.eq_ignore_ascii_case(key));
        Ok(found.and_then(|found| found.collation))
    }
}

/// A claimed database. Dropped without [`Target::commit`], nothing of the load is left in it.
pub(super) struct Target {
    pub(super) shared: Arc<Shared>,
    /// Holds the lock while it lives. It may be in the middle of something, and goes before that is cleared.
    session: Session,
    is_settled: bool,
    leftovers: Leftovers,
}

/// What a load that fails leaves: cleared when it is dropped, unless there is none.
struct Leftovers {
    shared: Arc<Shared>,
    is_none: bool,
}

impl Target {
    /// Locks the identifier, clears what a dead load has left under it, looks that no table is there, and makes the mark.
    pub(super) fn claim(address: &StoreAddress, compresses: bool, stop: &Stop) -> Result<Self> {
        if let Server::Postgres(server) = address.server() {
            postgres::pooled::expect_own(server, stop)?;
        }
        let mut session = Session::own(address, CONNECT, stop)?;
        let (encoding, full, most) = sending(&mut session)?;
        let lock = lock(&mut session, address.identifier())?;
        take(&mut session, &lock, postgres::lock::BURIAL)?;
        hasten(&mut session)?;
        clear_or_refuse(&mut session, address.identifier())?;
        let name = quoted(session.dialect(), &folded(session.dialect(), &mark(address.identifier())));
        session.run(&format!("CREATE TABLE {name} (id bigint PRIMARY KEY)"))?;
        let shared = Arc::new(Shared {
            address: address.clone(),
            compresses,
            encoding,
            full,
            most,
            last_id: AtomicI64::new(0),
            stop: stop.clone(),
            lock,
            sessions: AtomicUsize::new(1),
            made: Mutex::new(None),
        });
        let leftovers = Leftovers { shared: Arc::clone(&shared), is_none: false };
        Ok(Self { shared, session, is_settled: false, leftovers })
    }

    /// Gives the tables their keys and indexes, on several connections; once.
    pub(super) fn settle(&mut self) -> Result<()> {
        let Some(made) = self.shared.made() else { return Ok(()) };
        if std::mem::replace(&mut self.is_settled, true) {
            return Ok(());
        }
        let (dialect, shared, next) = (self.shared.dialect(), &self.shared, &AtomicUsize::new(0));
        let made = &made;
        let worker = |_| {
            move || {
                let mut session = shared.session()?;
                while let Some(placed) = made.all().get(next.fetch_add(1, Ordering::Relaxed)) {
                    session.run_all(&placed.table.finish(dialect, &placed.name, shared.address.identifier()))?;
                    session.run(&match dialect {
                        Dialect::Postgres => format!("ANALYZE {}", placed.name),
                        Dialect::Mysql => format!("ANALYZE TABLE {}", placed.name),
                    })?;
                }
                session.close();
                Ok(())
            }
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        stage::run_alone(&self.shared.stop, (0..workers).map(worker).collect()).map(drop)
    }

    /// Makes what was loaded a metastore, durably: the change log goes on behind every id that was given, here or where the
    /// resources come from, and the tables get their names.
    pub(super) fn commit(&mut self, setting: &Setting) -> Result<()> {
        let made = self.shared.make(setting.layout, &mut self.session)?;
        self.settle()?;
        let last = setting.offset.and_then(|offset| i64::try_from(offset).ok()).unwrap_or_default();
        let last = last.max(self.shared.last_id.load(Ordering::Relaxed));
        match self.shared.dialect() {
            Dialect::Postgres => self.commit_postgres(&made, last)?,
            Dialect::Mysql => self.commit_mysql(&made, last)?,
        }
        self.leftovers.is_none = true;
        if self.shared.dialect() == Dialect::Mysql {
            // A metastore with a mark is one: whoever does not come to remove it has done no harm.
            drop(self.session.run(&format!("DROP TABLE {}", self.mark())));
        }
        Ok(())
    }

    fn mark(&self) -> String {
        let dialect = self.shared.dialect();
        quoted(dialect, &folded(dialect, &mark(self.shared.address.identifier())))
    }

    /// The name of a table that Kylin looks for.
    fn name(&self, table: &Table) -> String {
        folded(self.shared.dialect(), &table.name(self.shared.address.identifier()))
    }

    /// All in one transaction.
    fn commit_postgres(&mut self, made: &Located, last: i64) -> Result<()> {
        let dialect = Dialect::Postgres;
        let mut sql = "BEGIN; SET LOCAL synchronous_commit = on;".to_owned();
        for placed in made.all() {
            let name = self.name(placed.table);
            if placed.table.counts() {
                let before = format!("{}_id_seq", self.shared.waiting(made.layout, placed.table));
                if placed.table.role == Role::Log && last > 0 {
                    sql += &format!("SELECT setval('{}', {last});", quoted(dialect, &before));
                }
                let (before, after) = (quoted(dialect, &before), quoted(dialect, &format!("{name}_id_seq")));
                sql += &format!("ALTER SEQUENCE {before} RENAME TO {after};");
            }
            sql += &format!("ALTER TABLE {} RENAME TO {};", placed.name, quoted(dialect, &name));
        }
        self.session.run(&format!("{sql} DROP TABLE {}", self.mark()))?;
        self.session.run("COMMIT").map_err(in_doubt)
    }

    /// In one statement, which names last what Kylin knows a metastore by.
    fn commit_mysql(&mut self, made: &Located, last: i64) -> Result<()> {
        if let Some(log) = made.get(Role::Log).filter(|_| last > 0) {
            self.session.run(&format!("ALTER TABLE {} AUTO_INCREMENT = {}", log.name, last.saturating_add(1)))?;
        }
        self.session.run(&format!("INSERT INTO {} VALUES ({NAMING})", self.mark()))?;
        let is_telling = |table: &Table| match table.role {
            Role::Resources => true,
            Role::Typed(found) => matches!(found.name, "PROJECT" | "SYSTEM"),
            Role::Log | Role::Epoch => false,
        };
        let (telling, others): (Vec<_>, Vec<_>) = made.all().iter().partition(|placed| is_telling(placed.table));
        let renamed = others
            .into_iter()
            .chain(telling)
            .map(|placed| format!("{} TO {}", placed.name, quoted(Dialect::Mysql, &self.name(placed.table))));
        let renamed = renamed.collect::<Vec<_>>().join(", ");
        self.session.run(&format!("RENAME TABLE {renamed}")).map_err(in_doubt)
    }
}

impl Drop for Leftovers {
    /// With a session of its own, which nobody has told to stop. What that does not reach bears the mark; a metastore, since it
    /// was committed, or is somebody else's by now, stays.
    fn drop(&mut self) {
        if self.is_none {
            return;
        }
        let clear = || {
            let mut session = Session::own(&self.shared.address, SILENCE, &Stop::new())?;
            take(&mut session, &self.shared.lock, postgres::lock::OWN_BURIAL)?;
            clear_or_refuse(&mut session, self.shared.address.identifier())
        };
        drop(clear());
    }
}

fn lock(session: &mut Session, identifier: &str) -> Result<Lock> {
    let prefix = format!("kylin {identifier}");
    Ok(match session {
        Session::Postgres(session) => Lock::Postgres(postgres::lock::number(session, &prefix)?),
        Session::Mysql(session) => Lock::Mysql(mysql::lock::name(session, &prefix)?),
    })
}

fn take(session: &mut Session, lock: &Lock, patience: Duration) -> Result<()> {
    match (session, lock) {
        (Session::Postgres(session), Lock::Postgres(lock)) => postgres::lock::take(session, *lock, patience),
        (Session::Mysql(session), Lock::Mysql(lock)) => mysql::lock::take(session, lock, patience),
        _ => Err(Error::new(ErrorKind::Bug, "a lock of another database")),
    }
}

fn hasten(session: &mut Session) -> Result<()> {
    let sql = if session.dialect() == Dialect::Postgres { FAST_POSTGRES } else { FAST_MYSQL };
    session.run(sql)
}

/// How rows are sent, how many bytes of them at once, and how large one may be.
fn sending(session: &mut Session) -> Result<(Encoding, usize, usize)> {
    match session {
        // A gigabyte is the most that a value of PostgreSQL's holds.
        Session::Postgres(_) => Ok((Encoding::Copy, FULL, 1 << 30)),
        Session::Mysql(session) => {
            let packet = session.packet()?;
            // A row that no packet holds could not be read again either.
            Ok(match session.number("SELECT @@local_infile")? {
                0 => (Encoding::Mysql(Form::Values), FULL_VALUES.min(packet / 2), packet - packet / 16),
                _ => (Encoding::Mysql(Form::File), FULL, packet - packet / 16),
            })
        }
    }
}

/// What is under an identifier.
pub(super) enum Standing {
    /// No table of Kylin's.
    Nothing,
    /// What a load has left that was not committed: its tables, the mark last.
    Leftovers(Vec<String>),
    /// A metastore, or part of one: why it is refused.
    Occupied(Error),
}

/// Looks what is under an identifier.
pub(super) fn look(session: &mut Session, identifier: &str) -> Result<Standing> {
    let dialect = session.dialect();
    let catalog = session.catalog(identifier)?;
    let elsewhere = "a metastore is loaded where the identifier has no table: name another one, or another database";
    let occupied = |what: String| Ok(Standing::Occupied(Error::refused(what).hint(elsewhere)));
    match locate(dialect, identifier, &catalog) {
        Ok(located) => {
            let layout = located.layout.name();
            return occupied(format!(
                "{}: the metastore {identifier} is in it, of the {layout} layout",
                session.shown()
            ));
        }
        Err(error) if error.kind() != ErrorKind::Config => return occupied(format!("{}: {error}", session.shown())),
        Err(_) => {}
    }
    let mark = folded(dialect, &mark(identifier));
    let quoted_mark = quoted(dialect, &mark);
    let is_marked = catalog.iter().any(|found| found.table == mark);
    let named = named(dialect, identifier, &catalog);
    let is_naming = is_marked && session.number(&format!("SELECT COUNT(*) FROM {quoted_mark}"))? == NAMING;
    if let Some(table) = named.first().filter(|_| !is_naming) {
        return occupied(format!("{}: it has tables of Kylin, such as {table}", session.shown()));
    }
    if !is_marked {
        return Ok(Standing::Nothing);
    }
    let is_waiting = |found: &&Found| {
        let number = found.table.strip_prefix(&format!("{mark}_"));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut left: Vec<_> = catalog.iter().filter(is_waiting).map(|found| found.table.clone()).collect();
    left.extend(named);
    left.sort();
    left.dedup();
    let left = left.iter().map(|name| quoted(dialect, name)).chain([quoted_mark]);
    Ok(Standing::Leftovers(left.collect()))
}

/// The tables of a catalog that have a name of Kylin's, of either layout, in whatever case.
fn named(dialect: Dialect, identifier: &str, catalog: &[Found]) -> Vec<String> {
    let all = || [Layout::Flat, Layout::Typed].into_iter().flat_map(tables);
    let is_kylins = |found: &&Found| {
        let name = |table: &Table| folded(dialect, &table.name(identifier));
        all().any(|table| found.table.eq_ignore_ascii_case(&name(table)))
    };
    let mut names: Vec<_> = catalog.iter().filter(is_kylins).map(|found| found.table.clone()).collect();
    names.dedup();
    names
}

/// Looks that no metastore is there, and clears what a dead load has left.
fn clear_or_refuse(session: &mut Session, identifier: &str) -> Result<()> {
    match look(session, identifier)? {
        Standing::Nothing => Ok(()),
        Standing::Leftovers(tables) => tables.iter().try_for_each(|table| session.run(&format!("DROP TABLE {table}"))),
        Standing::Occupied(error) => Err(error),
    }
}
