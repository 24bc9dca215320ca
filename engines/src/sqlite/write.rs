//! Filling a new file in one transaction with every safety off: whoever loses power starts again. Indexes come last. What
//! makes the file a volume is written apart from all else.

use std::path::{Path, PathBuf};

use metaferry_codecs::juicefs::tables::{self, Table, Widths};
use metaferry_codecs::juicefs::{Batch, Counter, Links, Quota, Setting, Sustained};
use metaferry_codecs::system::Batch as _;
use metaferry_codecs::system::Kind as _;
use metaferry_pipeline::{Error, ErrorKind, Result, Stop};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::bind::{Failure, Parameters};
use super::failure;
use super::schema::DIALECT;
use crate::sql::bind::{Binder, Bound, Unfit};
use crate::sql::{first_counters, quotas, serial};

const FAST: &str = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE; \
                    PRAGMA cache_size = -16384; PRAGMA temp_store = FILE; PRAGMA threads = 2;";
/// Rows that one statement inserts.
const ROWS_AT_ONCE: usize = 32;
/// A file under way.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    prefix: String,
    connection: Connection,
    buffer: Vec<u8>,
}

impl Writer {
    /// Creates a file with the tables of a volume, and nothing in them.
    pub(super) fn create(path: &Path, prefix: &str) -> Result<Self> {
        let connection = open(path, OpenFlags::SQLITE_OPEN_CREATE).map_err(|error| failure(path, error))?;
        connection.set_prepared_statement_cache_capacity(64);
        let writer = Self { path: path.to_owned(), prefix: prefix.to_owned(), connection, buffer: Vec::new() };
        writer.run("BEGIN")?;
        let create = |table| DIALECT.create_table(table, prefix, Widths::Stock, true);
        tables::ALL.iter().try_for_each(|table| writer.run(&create(table)))?;
        Ok(writer)
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.connection.execute_batch(sql).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: rusqlite::Error) -> Error {
        if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) {
            return Error::corrupt("two rows have the same key, which a database in SQL cannot hold").because(error);
        }
        failure(&self.path, error)
    }

    /// Inserts a batch.
    pub(super) fn load(&mut self, batch: Batch) -> Result<()> {
        match batch {
            Batch::Counter(rows) => self.counters(rows),
            Batch::Quota(rows) => self.quotas(rows),
            Batch::Sustained(rows) => self.sustained(&rows),
            // Parents follow from the entries.
            Batch::Parent(_) => Ok(()),
            batch => self.put("INSERT", &batch),
        }
    }

    /// Replaces rows by key.
    pub(super) fn amend(&mut self, batch: &Batch) -> Result<()> {
        match batch {
            Batch::Links(rows) => self.links(rows),
            Batch::Parent(_) => Ok(()),
            batch => self.put("INSERT OR REPLACE", batch),
        }
    }

    fn put(&mut self, verb: &str, batch: &Batch) -> Result<()> {
        match batch {
            Batch::Node(rows) => self.rows(verb, rows),
            Batch::SliceRef(rows) => self.rows(verb, rows),
            Batch::Symlink(rows) => self.rows(verb, rows),
            Batch::Acl(rows) => self.rows(verb, rows),
            Batch::DirStat(rows) => self.rows(verb, rows),
            Batch::DelFile(rows) => self.rows(verb, rows),
            Batch::DelSlices(rows) => self.rows(verb, rows),
            Batch::Detached(rows) => self.rows(verb, rows),
            Batch::Token(rows) => self.rows(verb, rows),
            Batch::Counter(rows) => self.rows(verb, rows),
            // Without their indexes, rows with surrogate keys can only be added.
            Batch::Edge(rows) if verb == "INSERT" => self.rows(verb, rows),
            Batch::Chunk(rows) if verb == "INSERT" => self.rows(verb, rows),
            Batch::Xattr(rows) if verb == "INSERT" => self.rows(verb, rows),
            _ => Err(Error::new(ErrorKind::Bug, format!("{} rows came to {verb}", batch.kind().info().name))),
        }
    }

    fn rows<R: Bound>(&mut self, verb: &str, rows: &[R]) -> Result<()> {
        let columns = R::COLUMNS.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ");
        let row = format!("({})", vec!["?"; R::COLUMNS.len()].join(", "));
        let head = format!("{verb} INTO {} ({columns}) VALUES ", self.name(&R::TABLE));
        let (many, rest) = rows.as_chunks::<ROWS_AT_ONCE>();
        self.insert(
            &(head.clone() + &vec![row.as_str(); ROWS_AT_ONCE].join(", ")),
            many.iter().map(<[R; _]>::as_slice),
        )?;
        self.insert(&(head + &row), rest.chunks(1))
    }

    /// Runs a statement once for each group of rows.
    fn insert<'r, R: Bound + 'r>(&mut self, sql: &str, groups: impl ExactSizeIterator<Item = &'r [R]>) -> Result<()> {
        if groups.len() == 0 {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| self.failed(error))?;
        for rows in groups {
            let mut parameters = Parameters::new(&mut statement);
            let mut to = Binder::new(&mut parameters, &mut buffer);
            for row in rows {
                row.bind(&mut to).map_err(|failure| self.unfit(row, failure))?;
            }
            statement.raw_execute().map_err(|error| match (rows.first(), rows.last()) {
                (Some(first), Some(last)) => self.failed(error).at(between(first, last)),
                _ => self.failed(error),
            })?;
        }
        drop(statement);
        self.buffer = buffer;
        Ok(())
    }

    fn unfit<R: Bound>(&self, row: &R, failure: Failure) -> Error {
        match failure {
            Failure::Sql(error) => self.failed(error),
            Failure::Unfit(Unfit(column)) => {
                Error::unsupported(format!("{}: its {column} does not fit a signed number of 64 bits", row.place()))
            }
        }
    }

    /// Counters are rows, but for those that SQLite counts by itself.
    fn counters(&mut self, rows: Vec<Counter>) -> Result<()> {
        let (serials, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| serial(&row.name).is_some());
        for row in serials {
            let Some(table) = serial(&row.name) else { continue };
            let name = format!("{}{}", self.prefix, table.name);
            let update = "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1";
            let insert = "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)";
            let updated = self.connection.execute(update, (&name, row.value)).map_err(|error| self.failed(error))?;
            if updated == 0 {
                self.connection.execute(insert, (&name, row.value)).map_err(|error| self.failed(error))?;
            }
        }
        self.rows("INSERT", &rows)
    }

    fn quotas(&mut self, rows: Vec<Quota>) -> Result<()> {
        let (directories, others) = quotas(rows);
        self.rows("INSERT", &directories)?;
        self.rows("INSERT", &others)
    }

    /// Each session that holds a file open is written as one that has expired, so that the next client cleans it up.
    fn sustained(&mut self, rows: &[Sustained]) -> Result<()> {
        self.rows("INSERT", rows)?;
        let sql = format!(
            "INSERT OR IGNORE INTO {} (sid, expire, info) SELECT DISTINCT sid, 1, CAST('{{}}' AS BLOB) FROM {}",
            self.name(&tables::SESSION),
            self.name(&tables::SUSTAINED)
        );
        self.run(&sql)
    }

    fn links(&mut self, rows: &[Links]) -> Result<()> {
        let sql = format!("UPDATE {} SET nlink = ?2 WHERE inode = ?1", self.name(&tables::NODE));
        let mut statement = self.connection.prepare_cached(&sql).map_err(|error| self.failed(error))?;
        for row in rows {
            let updated =
                statement.execute((row.inode.cast_signed(), row.nlink)).map_err(|error| self.failed(error))?;
            if updated != 1 {
                return Err(Error::new(ErrorKind::Bug, format!("inode {}: amended, but never loaded", row.inode)));
            }
        }
        Ok(())
    }

    fn name(&self, table: &Table) -> String {
        format!("`{}{}`", self.prefix, table.name)
    }

    /// Adds the indexes and closes the file: everything but the seal is in it then.
    pub(super) fn finish(self, stop: &Stop) -> Result<()> {
        for sql in tables::ALL.iter().flat_map(|table| DIALECT.create_indexes(table, &self.prefix)) {
            stop.check()?;
            self.run(&sql)?;
        }
        self.run("COMMIT")?;
        let path = self.path;
        self.connection.close().map_err(|(_, error)| failure(&path, error))
    }
}

/// Writes what makes a finished file a volume, and the counters that none may lack.
pub(super) fn seal(path: &Path, prefix: &str, setting: &[Setting]) -> Result<()> {
    let connection = open(path, OpenFlags::empty()).map_err(|error| failure(path, error))?;
    let mut writer = Writer { path: path.to_owned(), prefix: prefix.to_owned(), connection, buffer: Vec::new() };
    writer.run("BEGIN")?;
    writer.rows("INSERT OR IGNORE", &first_counters())?;
    writer.rows("INSERT", setting)?;
    writer.run("COMMIT")?;
    writer.connection.close().map_err(|(_, error)| failure(path, error))
}

fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch(FAST)?;
    Ok(connection)
}

fn between<R: Bound>(first: &R, last: &R) -> String {
    let (first, last) = (first.place(), last.place());
    if first == last { first } else { format!("{first} to {last}") }
}
