//! The database a volume is written to: claimed with a lock, marked until it is committed, given its indexes when the rows
//! are there. What a dead load left behind is told by the mark, and cleared.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metaferry_codecs::juicefs::tables::{self, Table, Widths};
use metaferry_codecs::juicefs::{Setting, setting};
use metaferry_pipeline::{Error, Result, Stop, stage};

use super::address::MysqlAddress;
use super::cells::Form;
use super::loader::Stretch;
use super::lock::{self, BURIAL, OWN_BURIAL};
use super::session::{Session, cell};
use super::{DIALECT, type_name};
use crate::sql::first_counters;
use crate::sql::keys::Keys;
use crate::sql::marks::{AMENDED, LINKS, MARK, in_doubt, link_count, waiting};

/// What every session of a target asks for; tables of others would know no transactions.
const SETTINGS: &str = "SET SESSION default_storage_engine = InnoDB, lock_wait_timeout = 60";
/// How long a server that says nothing is waited for to clear what a load has left.
const SILENCE: Duration = Duration::from_secs(5);
/// What is sent of one table at once as a file, in bytes.
const FILE_BYTES: usize = 4 << 20;
/// The same as values of a statement, which is one packet.
const VALUES_BYTES: usize = 1 << 20;

/// What the loaders of one target share.
pub(super) struct Shared {
    address: MysqlAddress,
    prefix: String,
    pub(super) widths: Widths,
    pub(super) keys: Keys,
    /// How rows are sent.
    pub(super) form: Form,
    /// How many bytes of them at once.
    pub(super) full: usize,
    stop: Stop,
    /// What the locks of a load into this database are called, and how many sessions have one.
    lock: String,
    sessions: AtomicUsize,
}

impl Shared {
    /// The name of a table in a statement.
    pub(super) fn name(&self, table: &str) -> String {
        DIALECT.quoted(&format!("{}{table}", self.prefix))
    }

    /// A session for loading. What would speed it up, unchecked keys, makes MariaDB look at them only when it commits.
    pub(super) fn session(&self) -> Result<Session> {
        let mut session = Session::open(&self.address, &self.stop)?;
        session.run(SETTINGS)?;
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        lock::share(&mut session, &self.lock, number)?;
        Ok(session)
    }
}

/// A claimed database. Dropped without [`Target::seal`], nothing of the load is left in it.
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
    /// Locks a database, clears what a dead load has left in it, looks that no volume is there, and makes the tables.
    pub(super) fn claim(address: &MysqlAddress, widths: Widths, stop: &Stop) -> Result<Self> {
        let mut session = Session::open(address, stop)?;
        let (form, full) = match session.number("SELECT @@local_infile")? {
            0 => (Form::Values, VALUES_BYTES.min(session.packet()? / 2)),
            _ => (Form::File, FILE_BYTES),
        };
        let (address, prefix, stop) = (address.clone(), address.prefix(), stop.clone());
        let (lock, sessions) = (lock::name(&mut session, &prefix)?, AtomicUsize::new(1));
        let shared = Shared { address, prefix, widths, keys: Keys::new(), form, full, stop, lock, sessions };
        lock::take(&mut session, &shared.lock, BURIAL)?;
        clear_or_refuse(&mut session, &shared)?;
        session.run(SETTINGS)?;
        let shared = Arc::new(shared);
        let leftovers = Leftovers { shared: Arc::clone(&shared), is_none: false };
        let mut target = Self { shared, session, is_settled: false, leftovers };
        target.create()?;
        Ok(target)
    }

    fn create(&mut self) -> Result<()> {
        let Self { shared, session, .. } = self;
        session.run(&format!("CREATE TABLE {} (inode BIGINT PRIMARY KEY)", shared.name(MARK)))?;
        for table in tables::ALL {
            session.run(&DIALECT.create_table(table, &shared.prefix, shared.widths, true))?;
        }
        for table in AMENDED {
            let (name, waiting) = (shared.name(table.name), shared.name(&waiting(table.name)));
            session.run(&format!("CREATE TABLE {waiting} LIKE {name}"))?;
        }
        let (links, nlink) = (shared.name(&waiting(LINKS)), type_name(link_count(shared.widths)));
        session.run(&format!("CREATE TABLE {links} (inode BIGINT PRIMARY KEY, nlink {nlink})"))
    }

    /// Amends what is to be, and gives the tables their indexes, on several connections; once.
    pub(super) fn settle(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.is_settled, true) {
            return Ok(());
        }
        let Self { shared, session, .. } = self;
        for table in AMENDED {
            let (name, waiting) = (shared.name(table.name), shared.name(&waiting(table.name)));
            session.run(&format!("REPLACE INTO {name} SELECT * FROM {waiting}"))?;
            session.run(&format!("DROP TABLE {waiting}"))?;
        }
        let (node, links) = (shared.name(tables::NODE.name), shared.name(&waiting(LINKS)));
        session.run(&format!("UPDATE {node} n JOIN {links} l ON n.inode = l.inode SET n.nlink = l.nlink"))?;
        session.run(&format!("DROP TABLE {links}"))?;
        // Each session that holds a file open is written as one that has expired, so that the next client cleans it up.
        session.run(&format!(
            "INSERT INTO {} (sid, expire, info) SELECT DISTINCT sid, 1, '{{}}' FROM {}",
            shared.name(tables::SESSION.name),
            shared.name(tables::SUSTAINED.name)
        ))?;
        finish_tables(shared)
    }

    /// Makes what was loaded a volume.
    pub(super) fn seal(&mut self, rows: &[Setting]) -> Result<()> {
        self.settle()?;
        let Self { shared, session, leftovers, .. } = self;
        let value =
            |row: &metaferry_codecs::juicefs::Counter| format!("('{}', {})", row.name.escape_ascii(), row.value);
        let values: Vec<_> = first_counters().iter().map(value).collect();
        let counter = shared.name(tables::COUNTER.name);
        let mut setting = Stretch::new::<Setting>(Form::Values, &shared.name(tables::SETTING.name), shared.widths);
        rows.iter().try_for_each(|row| setting.add(row, None, &mut Vec::new()))?;
        session.run("START TRANSACTION")?;
        session.run(&format!("INSERT IGNORE INTO {counter} (name, value) VALUES {}", values.join(", ")))?;
        setting.send(session)?;
        session.run("COMMIT").map_err(in_doubt)?;
        leftovers.is_none = true;
        // A volume with a mark is one: whoever does not come to remove it has done no harm.
        drop(session.run(&format!("DROP TABLE {}", shared.name(MARK))));
        Ok(())
    }
}

impl Drop for Leftovers {
    /// With a session of its own, which nobody has told to stop. What that does not reach bears the mark; a volume, since it
    /// was committed, or is somebody else's by now, stays.
    fn drop(&mut self) {
        if self.is_none {
            return;
        }
        let clear = || {
            let mut session = Session::open_within(&self.shared.address, SILENCE, &Stop::new())?;
            lock::take(&mut session, &self.shared.lock, OWN_BURIAL)?;
            clear_or_refuse(&mut session, &self.shared)
        };
        drop(clear());
    }
}

/// What is in a database.
pub(super) enum Found {
    /// Nothing under the prefix; tables of other names are nobody's concern here.
    Nothing { others: usize },
    /// What a load has left that was not committed.
    Leftovers,
    /// A volume, or part of one: why it is refused.
    Occupied(Error),
}

/// Looks what is in a database.
pub(super) fn look(session: &mut Session, prefix: &str) -> Result<Found> {
    let rows = session.ask("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()")?;
    let names: Vec<String> = rows.iter().filter_map(|row| cell(row, 0)).collect();
    let is_there = |table: &str| names.contains(&format!("{prefix}{table}"));
    let volume = if is_there(tables::SETTING.name) { volume_name(session, prefix) } else { Ok(None) };
    if is_there(MARK) && volume.as_ref().is_ok_and(Option::is_none) {
        return Ok(Found::Leftovers);
    }
    let Some(table) = tables::ALL.iter().find(|table| is_there(table.name)) else {
        return Ok(Found::Nothing { others: names.len() });
    };
    let found = match volume.ok().flatten() {
        Some(name) => format!("the volume {name} is in it"),
        None => format!("it has tables of JuiceFS, such as {prefix}{}", table.name),
    };
    let elsewhere = "a volume is loaded where no table of JuiceFS is; name another database or table_prefix";
    Ok(Found::Occupied(Error::refused(format!("{}: {found}", session.shown())).hint(elsewhere)))
}

/// Looks that no volume is there, and clears what a dead load has left.
fn clear_or_refuse(session: &mut Session, shared: &Shared) -> Result<()> {
    if let Found::Occupied(error) = look(session, &shared.prefix)? {
        return Err(error);
    }
    // Where there is nothing to drop or to look at: whoever may not could not clear up after a load that fails.
    session.is_there(&format!("SELECT 1 FROM {} LIMIT 0", shared.name(MARK)))?;
    session.run_all(&drop_all(shared))
}

/// The name of the volume that is there.
fn volume_name(session: &mut Session, prefix: &str) -> Result<Option<String>> {
    let name = DIALECT.quoted(&format!("{prefix}{}", tables::SETTING.name));
    let document: Option<Vec<u8>> = session.value(&format!("SELECT value FROM {name} WHERE name = 'format'"))?;
    Ok(document
        .map(|document| setting::read(&document).map_or_else(|_| "?".to_owned(), |setting| setting.name.to_string())))
}

/// The statements that clear a database; the mark goes last.
fn drop_all(shared: &Shared) -> [String; 2] {
    let waiting = AMENDED.iter().map(|table| waiting(table.name)).chain([waiting(LINKS)]);
    let all = tables::ALL.iter().map(|table| table.name.to_owned()).chain(waiting);
    let names: Vec<_> = all.map(|table| shared.name(&table)).collect();
    [names.join(", "), shared.name(MARK)].map(|names| format!("DROP TABLE IF EXISTS {names}"))
}

/// Builds indexes, lets the database count on behind the keys that were given, and has it look at what it holds: a table a
/// worker, on as many sessions as there are cores.
fn finish_tables(shared: &Shared) -> Result<()> {
    // Large tables first: they are what is waited for.
    let large = [tables::EDGE, tables::CHUNK, tables::CHUNK_REF, tables::NODE];
    let mut order: Vec<_> = tables::ALL.to_vec();
    order.sort_by_key(|table| large.iter().position(|large| large.name == table.name).unwrap_or(large.len()));
    let (last, next, order) = (&shared.keys.last(), &AtomicUsize::new(0), &order);
    let worker = |_| {
        move || {
            let mut session = shared.session()?;
            while let Some(table) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                session.run_all(&finishing(table, shared, last.get(table.name).copied()))?;
            }
            session.close();
            Ok(())
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    stage::run_alone(&shared.stop, (0..workers).map(worker).collect()).map(drop)
}

/// The statements that finish a table. All its indexes are built in one, so that its rows are read once.
fn finishing(table: &Table, shared: &Shared, last: Option<i64>) -> Vec<String> {
    let name = shared.name(table.name);
    let unique = table
        .unique_index(&shared.prefix)
        .map(|(index, columns)| format!("ADD UNIQUE INDEX {} ({})", DIALECT.quoted(&index), DIALECT.list(columns)));
    let plain = table.plain_index(&shared.prefix);
    let plain =
        plain.map(|(index, column)| format!("ADD INDEX {} ({})", DIALECT.quoted(&index), DIALECT.quoted(column)));
    let indexes: Vec<_> = unique.into_iter().chain(plain).collect();
    let indexes = (!indexes.is_empty()).then(|| format!("ALTER TABLE {name} {}", indexes.join(", ")));
    let counting = last.map(|last| format!("ALTER TABLE {name} AUTO_INCREMENT = {}", last.saturating_add(1)));
    indexes.into_iter().chain(counting).chain([format!("ANALYZE TABLE {name}")]).collect()
}
