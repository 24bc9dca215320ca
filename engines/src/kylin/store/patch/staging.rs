//! The staging table: what a patch changes, sent to the server while it is worked out. It is the session's own, nobody else sees
//! it, and it is gone with the session.

use std::sync::Arc;

use metaferry_codecs::kylin::Layout;
use metaferry_codecs::kylin::address::Dialect;
use metaferry_pipeline::stage::Crew;
use metaferry_pipeline::{Error, ErrorKind, Result, Stop};

use super::super::cells::Encoding;
use super::super::session::Session;
use super::encode::{Encoded, FIXED, Model, Row, Rules, TooLarge, filled_name, worker};
use super::targets::Targets;
use crate::mysql;
use crate::mysql::cells::Form;

/// What is sent at once, in bytes; of values, which are one packet.
const FULL: usize = 4 << 20;
const VALUES: u64 = 1 << 20;
/// What is put at once is large above this, in bytes, and no worker has anything beside it.
const LARGE: usize = 8 << 20;
/// Workers that encode. The server works beside them.
const WORKERS: usize = 2;

/// What a patch is encoded by.
pub(super) struct Way {
    pub(super) targets: Targets,
    pub(super) project: Option<Vec<u8>>,
    pub(super) is_compressed: bool,
}

/// A session in which a patch is staged, and applied.
pub(super) struct Staging {
    pub(super) session: Session,
    crew: Crew<Vec<Row>, Encoded>,
    pub(super) rules: Arc<Rules>,
    /// The statement that takes rows.
    into: String,
    full: usize,
    /// Rows that wait to be sent.
    waiting: Encoded,
    pub(super) too_large: TooLarge,
    pub(super) models: Vec<Model>,
}

impl Staging {
    /// Begins: makes the table. In PostgreSQL it is one transaction from here to the end.
    pub(super) fn begin(mut session: Session, way: Way, stop: &Stop) -> Result<Self> {
        let Way { targets, project, is_compressed } = way;
        let columns = names(&targets);
        let (name, encoding, most) = match &mut session {
            Session::Postgres(session) => {
                session.begin_writing()?;
                session.run(&postgres_table(&columns))?;
                (POSTGRES, Encoding::Copy, None)
            }
            Session::Mysql(session) => {
                make_mysql_table(session, &columns, &targets)?;
                let form = if session.number("SELECT @@local_infile")? == 0 { Form::Values } else { Form::File };
                (MYSQL, Encoding::Mysql(form), Some(most_packet(session)?))
            }
        };
        let rules = Arc::new(Rules { encoding, targets, project, is_compressed, most });
        let crew = Crew::start("encode", WORKERS, stop, || worker(&rules))?;
        let full = match encoding {
            Encoding::Mysql(Form::Values) => usize::try_from(VALUES.min(most.unwrap_or(VALUES) / 2)).unwrap_or(FULL),
            _ => FULL,
        };
        let (waiting, too_large) = (Encoded::default(), TooLarge::default());
        let into = into(name, encoding, &columns);
        Ok(Self { session, crew, rules, into, full, waiting, too_large, models: Vec::new() })
    }

    /// The name of the table in a statement.
    pub(super) fn name(&self) -> &'static str {
        match self.session.dialect() {
            Dialect::Postgres => POSTGRES,
            Dialect::Mysql => MYSQL,
        }
    }

    /// Takes rows; they come ascending by key.
    pub(super) fn put(&mut self, rows: Vec<Row>) -> Result<()> {
        let bytes: usize = rows.iter().map(|row| row.content.as_ref().map_or(0, Vec::len)).sum();
        if bytes > LARGE {
            self.drain()?;
            return self.take(self.rules.encode(rows)?);
        }
        let done = self.crew.put(rows)?;
        done.map_or(Ok(()), |done| self.take(done))
    }

    /// Sends all that was put, and makes the table fit to be joined.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.drain()?;
        if self.waiting.rows > 0 {
            self.send()?;
        }
        match &mut self.session {
            // The sizes of contents, which it has to know to join well, are part of what it looks at.
            Session::Postgres(session) => {
                session.run(&format!("CREATE UNIQUE INDEX ON {POSTGRES} (part, k); ANALYZE {POSTGRES};"))
            }
            Session::Mysql(_) => Ok(()),
        }
    }

    fn drain(&mut self) -> Result<()> {
        while let Some(done) = self.crew.take()? {
            self.take(done)?;
        }
        Ok(())
    }

    fn take(&mut self, mut done: Encoded) -> Result<()> {
        self.too_large.merge(std::mem::take(&mut done.too_large));
        self.models.append(&mut done.models);
        // Values of several rows need a comma, which the first of them has not.
        if self.rules.encoding == Encoding::Mysql(Form::Values)
            && !self.waiting.bytes.is_empty()
            && !done.bytes.is_empty()
        {
            self.waiting.bytes.push(b',');
        }
        self.waiting.rows += done.rows;
        if self.waiting.bytes.is_empty() {
            self.waiting.bytes = done.bytes;
        } else {
            self.waiting.bytes.extend_from_slice(&done.bytes);
        }
        if self.waiting.bytes.len() >= self.full { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<()> {
        let Encoded { bytes, rows, .. } = std::mem::take(&mut self.waiting);
        let (taken, warnings) = match (&mut self.session, self.rules.encoding) {
            (Session::Postgres(session), _) => (session.copy_in(&self.into, &bytes)?, 0),
            (Session::Mysql(session), Encoding::Mysql(Form::Values)) => {
                let taken = session.send([self.into.as_bytes(), &bytes].concat(), None)?;
                (taken.rows, taken.warnings)
            }
            (Session::Mysql(session), _) => {
                let taken = session.send(self.into.as_str(), Some(bytes.into()))?;
                (taken.rows, taken.warnings)
            }
        };
        if taken == rows && warnings == 0 { Ok(()) } else { Err(self.lost(rows, taken)) }
    }

    /// Why rows did not arrive as they were sent.
    fn lost(&mut self, sent: u64, taken: u64) -> Error {
        let warnings = match &mut self.session {
            Session::Mysql(_) => self.session.ask("SHOW WARNINGS LIMIT 1").unwrap_or_default(),
            Session::Postgres(_) => Vec::new(),
        };
        let what = format!("{}: {sent} rows were sent to it, and it took {taken}", self.session.shown());
        let why = warnings.into_iter().next().and_then(|cells| cells.into_iter().nth(2).flatten());
        let error = Error::new(ErrorKind::Unsupported, what);
        why.into_iter().fold(error, |error, why| error.because(String::from_utf8_lossy(&why).into_owned()))
    }
}

const POSTGRES: &str = "pg_temp.metaferry_patch";
const MYSQL: &str = "metaferry_patch";

/// The columns of the table.
fn names(targets: &Targets) -> Vec<String> {
    FIXED.map(str::to_owned).into_iter().chain((0..targets.most_filled()).map(filled_name)).collect()
}

/// Content is not compressed once more on its way.
fn postgres_table(columns: &[String]) -> String {
    let filled = columns.iter().skip(FIXED.len()).map(|name| format!(", {name} text")).collect::<String>();
    format!(
        "CREATE TEMP TABLE metaferry_patch (part bigint NOT NULL, k varchar(255) COLLATE \"C\" NOT NULL, op bigint NOT NULL, \
         mvcc bigint, n bigint NOT NULL, content bytea{filled}) ON COMMIT DROP; \
         ALTER TABLE {POSTGRES} ALTER content SET STORAGE EXTERNAL;"
    )
}

/// MyISAM has it in files of its own, where InnoDB would push the store out of its memory for it: a restore takes half as long
/// again there. It is nobody's to keep, and gone with the session either way. Not every server has MyISAM, nor does it take keys
/// so long in every encoding; and MySQL may not let it change beside tables with transactions, as that of the typed layout does.
fn make_mysql_table(session: &mut mysql::session::Session, columns: &[String], targets: &Targets) -> Result<()> {
    let stays = targets.layout == Layout::Flat || session.number("SELECT version() LIKE '%MariaDB%'")? == 1;
    if stays && session.run(&mysql_table(columns, targets, "MyISAM")).is_ok() {
        return Ok(());
    }
    session.run(&mysql_table(columns, targets, "InnoDB"))
}

/// Keys are compared as the store compares its own, so that its index serves; one that it takes for another one may come where
/// that one goes. Whoever looks for keys and versions alone has an index without content.
fn mysql_table(columns: &[String], targets: &Targets, engine: &str) -> String {
    let collation = targets.all.iter().find_map(|target| target.placed.collation.as_ref());
    let collation = collation.map(|(encoding, collation)| format!(" CHARACTER SET {encoding} COLLATE {collation}"));
    let filled = columns.iter().skip(FIXED.len()).map(|name| format!(", {name} longtext CHARACTER SET utf8mb4"));
    format!(
        "CREATE TEMPORARY TABLE {MYSQL} (part bigint NOT NULL, k varchar(255){} NOT NULL, op bigint NOT NULL, mvcc bigint, \
         n bigint NOT NULL, content longblob{}, PRIMARY KEY (part, k, op), KEY narrow (part, k, op, mvcc)) ENGINE={engine}",
        collation.unwrap_or_default(),
        filled.collect::<String>()
    )
}

fn into(name: &str, encoding: Encoding, columns: &[String]) -> String {
    let is_text = |column: &str| column == "k" || !FIXED.contains(&column);
    match encoding {
        Encoding::Copy => format!("COPY {name} ({}) FROM STDIN (FORMAT binary)", columns.join(", ")),
        Encoding::Mysql(Form::Values) => format!("INSERT INTO {name} ({}) VALUES ", columns.join(", ")),
        Encoding::Mysql(Form::File) => {
            let places =
                columns.iter().map(|column| if is_text(column) { format!("@{column}") } else { column.clone() });
            let texts = columns.iter().filter(|column| is_text(column));
            let set = texts.map(|column| format!("{column} = CONVERT(@{column} USING utf8mb4)")).collect::<Vec<_>>();
            format!(
                "LOAD DATA LOCAL INFILE 'metaferry' INTO TABLE {name} CHARACTER SET binary \
                 FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({}) SET {}",
                places.collect::<Vec<_>>().join(", "),
                set.join(", ")
            )
        }
    }
}

/// The largest packet that the server takes, in bytes.
fn most_packet(session: &mut mysql::session::Session) -> Result<u64> {
    Ok(u64::try_from(session.number("SELECT @@max_allowed_packet")?).unwrap_or(u64::MAX))
}
