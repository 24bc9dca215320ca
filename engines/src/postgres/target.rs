//! The schema a volume is written to: claimed with a lock, marked until it is committed, given its keys and indexes when
//! the rows are there. What a dead load left behind is told by the mark, and cleared.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metaferry_codecs::juicefs::tables::{self, Table, Widths};
use metaferry_codecs::juicefs::{Setting, setting};
use metaferry_pipeline::{Error, Result, Stop, stage};
use sqlx::Row;

use super::address::PostgresAddress;
use super::loader::encode_all;
use super::lock::{self, BURIAL, OWN_BURIAL};
use super::pooled::expect_own;
use super::session::{CONNECT, Session};
use super::{DIALECT, failure};
use crate::sql::first_counters;
use crate::sql::keys::Keys;
use crate::sql::marks::{AMENDED, LINKS, MARK, in_doubt, link_count, waiting};

/// What a session of a load asks of its server, and of it alone.
const FAST: &str = "SET synchronous_commit = off; SET maintenance_work_mem = '128MB'; SET lock_timeout = '60s'";
/// How long a server that says nothing is waited for to clear what a load has left.
const SILENCE: Duration = Duration::from_secs(5);

/// What the loaders of one target share.
pub(super) struct Shared {
    pub(super) address: PostgresAddress,
    pub(super) prefix: String,
    pub(super) widths: Widths,
    pub(super) keys: Keys,
    pub(super) stop: Stop,
    /// The number of the lock that keeps two loads apart: every session of a load shares it.
    lock: i64,
}

impl Shared {
    /// The name of a table in a statement.
    pub(super) fn name(&self, table: &str) -> String {
        DIALECT.quoted(&format!("{}{table}", self.prefix))
    }

    /// A session for loading.
    pub(super) fn session(&self) -> Result<Session> {
        let mut session = Session::own(&self.address, CONNECT, &self.stop)?;
        session.run(FAST)?;
        lock::share(&mut session, self.lock)?;
        Ok(session)
    }
}

/// A claimed schema. Dropped without [`Target::seal`], nothing of the load is left in it.
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
    /// Locks a schema, clears what a dead load has left in it, looks that it is empty, and makes the tables.
    pub(super) fn claim(address: &PostgresAddress, widths: Widths, stop: &Stop) -> Result<Self> {
        expect_own(address, stop)?;
        let mut session = Session::own(address, CONNECT, stop)?;
        let (prefix, keys) = (address.prefix(), Keys::new());
        let lock = lock::number(&mut session, &prefix)?;
        let shared = Shared { address: address.clone(), prefix, widths, keys, stop: stop.clone(), lock };
        lock::take(&mut session, lock, BURIAL)?;
        clear_or_refuse(&mut session, &shared)?;
        session.run(FAST)?;
        let shared = Arc::new(shared);
        let leftovers = Leftovers { shared: Arc::clone(&shared), is_none: false };
        let mut target = Self { shared, session, is_settled: false, leftovers };
        target.create()?;
        Ok(target)
    }

    /// Makes the mark and the tables, at once.
    fn create(&mut self) -> Result<()> {
        let shared = &self.shared;
        let mut sql = format!("BEGIN; CREATE TABLE {} (inode BIGINT);", shared.name(MARK));
        for table in tables::ALL {
            sql += &DIALECT.create_table(table, &shared.prefix, shared.widths, false);
            sql.push(';');
        }
        for table in AMENDED {
            sql += &format!("CREATE TABLE {} (LIKE {});", shared.name(&waiting(table.name)), shared.name(table.name));
        }
        let nlink = (DIALECT.type_name)(link_count(shared.widths));
        sql += &format!("CREATE TABLE {} (inode BIGINT, nlink {nlink}); COMMIT", shared.name(&waiting(LINKS)));
        self.session.run(&sql)
    }

    /// Gives the tables their keys and indexes, and amends what is to be; on several connections, once.
    pub(super) fn settle(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.is_settled, true) {
            return Ok(());
        }
        let shared = &self.shared;
        let indexes = tables::ALL.iter().rev().flat_map(|table| {
            let key = format!(
                "CREATE UNIQUE INDEX {} ON {} ({})",
                DIALECT.quoted(&key_name(&shared.prefix, table)),
                shared.name(table.name),
                DIALECT.list(table.key)
            );
            [key].into_iter().chain(DIALECT.create_indexes(table, &shared.prefix))
        });
        in_parallel(shared, &largest_first(indexes.collect()))?;
        let mut sql = String::from("BEGIN;");
        for table in tables::ALL {
            let (name, key) = (shared.name(table.name), DIALECT.quoted(&key_name(&shared.prefix, table)));
            sql += &format!("ALTER TABLE {name} ADD CONSTRAINT {key} PRIMARY KEY USING INDEX {key};");
        }
        for table in AMENDED {
            let (name, waiting) = (shared.name(table.name), shared.name(&waiting(table.name)));
            sql += &format!(
                "DELETE FROM {name} r USING {waiting} w WHERE r.inode = w.inode; \
                 INSERT INTO {name} SELECT * FROM {waiting}; DROP TABLE {waiting};"
            );
        }
        let (node, links, sustained) =
            (shared.name(tables::NODE.name), shared.name(&waiting(LINKS)), shared.name(tables::SUSTAINED.name));
        sql +=
            &format!("UPDATE {node} n SET nlink = l.nlink FROM {links} l WHERE n.inode = l.inode; DROP TABLE {links};");
        // Each session that holds a file open is written as one that has expired, so that the next client cleans it up.
        sql += &format!(
            "INSERT INTO {} (sid, expire, info) SELECT DISTINCT sid, 1, '{{}}'::bytea FROM {sustained};",
            shared.name(tables::SESSION.name)
        );
        self.session.run(&(sql + "COMMIT"))?;
        self.count_on()?;
        in_parallel(
            &self.shared,
            &tables::ALL.iter().map(|table| format!("ANALYZE {}", self.shared.name(table.name))).collect::<Vec<_>>(),
        )
    }

    /// The sequences go on behind the keys that were given.
    fn count_on(&mut self) -> Result<()> {
        let shared = &self.shared;
        for (table, last) in shared.keys.last() {
            let name = shared.name(table);
            self.session.ask(&format!("SELECT setval(pg_get_serial_sequence('{name}', 'id'), {last})"))?;
        }
        Ok(())
    }

    /// Makes what was loaded a volume, durably.
    pub(super) fn seal(&mut self, rows: &[Setting]) -> Result<()> {
        self.settle()?;
        let counter = self.shared.name(tables::COUNTER.name);
        let values: Vec<_> =
            first_counters().iter().map(|row| format!("('{}', {})", row.name.escape_ascii(), row.value)).collect();
        self.session.run(&format!(
            "BEGIN; SET LOCAL synchronous_commit = on; \
             INSERT INTO {counter} (name, value) VALUES {} ON CONFLICT DO NOTHING; DROP TABLE {}",
            values.join(", "),
            self.shared.name(MARK)
        ))?;
        let (sql, bytes) = encode_all(rows, &self.shared)?;
        self.session.copy_in(&sql, &bytes)?;
        self.session.run("COMMIT").map_err(in_doubt)?;
        self.leftovers.is_none = true;
        Ok(())
    }
}

impl Drop for Leftovers {
    /// With a session of its own, which nobody has told to stop. What that does not reach bears the mark; what bears none,
    /// since it was committed, or is somebody else's by now, stays.
    fn drop(&mut self) {
        if self.is_none {
            return;
        }
        let clear = || {
            let mut session = Session::own(&self.shared.address, SILENCE, &Stop::new())?;
            lock::take(&mut session, self.shared.lock, OWN_BURIAL)?;
            clear_or_refuse(&mut session, &self.shared)
        };
        drop(clear());
    }
}

/// What is in a schema.
pub(super) enum Found {
    /// Nothing under the prefix; tables of other names are nobody's concern here.
    Nothing { others: usize },
    /// What a load has left that was not committed.
    Leftovers,
    /// A volume, or part of one: why it is refused.
    Occupied(Error),
}

/// Looks what is in a schema.
pub(super) fn look(session: &mut Session, prefix: &str) -> Result<Found> {
    let rows = session.ask(
        "SELECT c.relname::text FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') \
         AND c.relnamespace = to_regnamespace(quote_ident(current_schema()))",
    )?;
    let names = rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<Vec<String>>>();
    let names = names.map_err(|error| failure(&session.shown(), error))?;
    let is_ours = |name: &String| {
        let plain = name.strip_prefix(prefix);
        tables::ALL.iter().any(|table| plain == Some(table.name))
    };
    let is_marked = names.contains(&format!("{prefix}{MARK}"));
    if is_marked && volume_name(session, prefix)?.is_none() {
        return Ok(Found::Leftovers);
    }
    let Some(first) = names.iter().find(|name| is_ours(name)) else {
        return Ok(Found::Nothing { others: names.len() });
    };
    let setting = format!("{prefix}{}", tables::SETTING.name);
    let found = match volume_name(session, prefix).ok().flatten().filter(|_| names.contains(&setting)) {
        Some(name) => format!("the volume {name} is in it"),
        None => format!("it has tables of JuiceFS, such as {first}"),
    };
    let error = Error::refused(format!("{}: {found}", session.shown()));
    let elsewhere = "a volume is loaded where no table of JuiceFS is; name another database, schema or table_prefix";
    Ok(Found::Occupied(error.hint(elsewhere)))
}

/// Looks that no volume is there, and clears what a dead load has left.
fn clear_or_refuse(session: &mut Session, shared: &Shared) -> Result<()> {
    match look(session, &shared.prefix)? {
        Found::Nothing { .. } => Ok(()),
        Found::Leftovers => session.run(&drop_all(shared)),
        Found::Occupied(error) => Err(error),
    }
}

/// The name of the volume that is there.
fn volume_name(session: &mut Session, prefix: &str) -> Result<Option<String>> {
    let name = DIALECT.quoted(&format!("{prefix}{}", tables::SETTING.name));
    let rows = session.ask(&format!("SELECT value FROM {name} WHERE name = 'format'"))?;
    let Some(row) = rows.first() else { return Ok(None) };
    let document: String = row.try_get(0).map_err(|error| failure(&session.shown(), error))?;
    let name = setting::read(document.as_bytes()).map_or_else(|_| "?".to_owned(), |setting| setting.name.to_string());
    Ok(Some(name))
}

fn drop_all(shared: &Shared) -> String {
    let waiting = AMENDED.iter().map(|table| waiting(table.name)).chain([waiting(LINKS)]);
    let all = tables::ALL.iter().map(|table| table.name.to_owned()).chain(waiting).chain([MARK.to_owned()]);
    let names: Vec<_> = all.map(|table| shared.name(&table)).collect();
    format!("DROP TABLE IF EXISTS {}", names.join(", "))
}

/// The name that PostgreSQL gives a primary key.
fn key_name(prefix: &str, table: &Table) -> String {
    format!("{prefix}{}_pkey", table.name)
}

/// Indexes of large tables first: they are what is waited for.
fn largest_first(mut indexes: Vec<String>) -> Vec<String> {
    let large = [tables::EDGE, tables::NODE, tables::CHUNK, tables::CHUNK_REF];
    indexes.sort_by_key(|sql| {
        large.iter().position(|table| sql.contains(&format!("{}\" (", table.name))).unwrap_or(large.len())
    });
    indexes
}

/// Runs statements on as many sessions as there are cores.
fn in_parallel(shared: &Shared, statements: &[String]) -> Result<()> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let next = &AtomicUsize::new(0);
    let worker = |_| {
        move || {
            let mut session = shared.session()?;
            while let Some(sql) = statements.get(next.fetch_add(1, Ordering::Relaxed)) {
                session.run(sql)?;
            }
            session.close();
            Ok(())
        }
    };
    stage::run_alone(&shared.stop, (0..workers).map(worker).collect()).map(drop)
}
