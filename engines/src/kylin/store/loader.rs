//! A loader: encodes batches, one stretch of rows a table, and sends a stretch once it is long. What the server says it took is
//! held against what was sent.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use metaferry_codecs::kylin::content::Storer;
use metaferry_codecs::kylin::{Audit, Batch, Kylin, Layout, Resource, key};
use metaferry_pipeline::{Error, ErrorKind, Loader, Result};

use super::cells::{Cell, Encoding, Unfit, check, filled, put};
use super::session::Session;
use super::tables::{Column, Holds, Located, Placed, Role};
use super::target::Shared;
use crate::mysql::cells::Form;
use crate::{mysql, postgres};

/// What one loader holds back at most, in stretches that are full.
const HELD: usize = 3;

/// A worker's hand on a target.
pub(super) struct KylinLoader {
    storer: Storer,
    outgoing: Outgoing,
}

/// Rows on their way to a target's tables.
struct Outgoing {
    session: Session,
    shared: Arc<Shared>,
    made: Option<Arc<Located>>,
    /// By what is behind the identifier in the name of their table.
    stretches: BTreeMap<&'static str, Stretch>,
    held: usize,
}

/// Rows of one table that wait to be sent.
struct Stretch {
    /// The columns that are written: those of all first, then those that content fills.
    columns: Vec<&'static Column>,
    /// The statement, but for the rows.
    sql: String,
    bytes: Vec<u8>,
    rows: u64,
}

impl Stretch {
    fn new(encoding: Encoding, placed: &Placed) -> Self {
        let columns = written(placed);
        let names = columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        let sql = match encoding {
            Encoding::Copy => format!("COPY {} ({names}) FROM STDIN (FORMAT binary)", placed.name),
            Encoding::Mysql(Form::Values) => format!("INSERT INTO {} ({names}) VALUES ", placed.name),
            Encoding::Mysql(Form::File) => load_data(&placed.name, &columns),
        };
        Self { columns, sql, bytes: Vec::new(), rows: 0 }
    }

    /// Sends what there is, and sees that all of it arrived.
    fn send(&mut self, encoding: Encoding, session: &mut Session) -> Result<()> {
        let (bytes, rows) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.rows));
        match session {
            Session::Postgres(session) => {
                let taken = session.copy_in(&self.sql, &bytes)?;
                postgres::loader::expect(session, rows, taken)
            }
            Session::Mysql(session) => {
                let taken = match encoding {
                    Encoding::Mysql(Form::File) => session.send(self.sql.as_str(), Some(bytes.into()))?,
                    _ => session.send([self.sql.as_bytes(), &bytes].concat(), None)?,
                };
                mysql::loader::expect(session, rows, &taken)
            }
        }
    }
}

/// The columns of a table that are written. The number of a typed row is the database's own.
fn written(placed: &Placed) -> Vec<&'static Column> {
    let columns = &placed.table.columns;
    match placed.table.role {
        Role::Log => columns.iter().collect(),
        _ => {
            let named = placed.resource_columns().map(|name| columns.iter().find(|column| column.name == name));
            named.into_iter().flatten().chain(placed.table.filled()).collect()
        }
    }
}

/// A statement that reads a file. Its bytes are no text to the server, but for those of columns that are.
fn load_data(name: &str, columns: &[&Column]) -> String {
    let (mut places, mut texts) = (Vec::new(), Vec::new());
    for (index, column) in columns.iter().enumerate() {
        if matches!(column.holds, Holds::Bytes | Holds::Long | Holds::Serial | Holds::Count | Holds::Flag) {
            places.push(column.name.to_owned());
        } else {
            texts.push(format!("{} = CONVERT(@v{index} USING utf8mb4)", column.name));
            places.push(format!("@v{index}"));
        }
    }
    let set = if texts.is_empty() { String::new() } else { format!(" SET {}", texts.join(", ")) };
    format!(
        "LOAD DATA LOCAL INFILE 'metaferry' INTO TABLE {name} CHARACTER SET binary \
         FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({}){set}",
        places.join(", ")
    )
}

/// Text that may be absent, which is empty here.
fn text_or_null(bytes: &[u8]) -> Cell<'_> {
    if bytes.is_empty() { Cell::Null } else { Cell::Text(Cow::Borrowed(bytes)) }
}

impl KylinLoader {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self> {
        let (session, shared) = (shared.session()?, Arc::clone(shared));
        let outgoing = Outgoing { session, shared, made: None, stretches: BTreeMap::new(), held: 0 };
        Ok(Self { storer: Storer::default(), outgoing })
    }

    fn resource(&mut self, row: &Resource) -> Result<()> {
        let Self { storer, outgoing } = self;
        let layout = Layout::of_key(&row.key);
        let at = || String::from_utf8_lossy(&row.key).into_owned();
        key::check(layout, &row.key).map_err(|error| Error::unsupported(error.to_string()))?;
        let (role, name) = match layout {
            Layout::Flat => (Role::Resources, row.key.as_slice()),
            Layout::Typed => {
                let found = key::metadata_type(&row.key).map_err(|error| Error::from(error).at(at()))?;
                (Role::Typed(found), row.key.get(found.name.len() + 1..).unwrap_or_default())
            }
        };
        let stored = storer.store(&row.content, outgoing.shared.compresses);
        let cells = vec![
            Cell::Text(Cow::Borrowed(name)),
            Cell::Bytes(Cow::Borrowed(stored)),
            Cell::Long(row.ts),
            Cell::Long(row.mvcc),
        ];
        let made = outgoing.made(layout)?;
        outgoing.add(&made, role, (cells, &row.content), &at)
    }

    fn entry(&mut self, row: &Audit) -> Result<()> {
        let Self { storer, outgoing } = self;
        let at = || format!("change log id {}", row.id);
        let made = match outgoing.shared.made() {
            Some(made) => made,
            None => outgoing.made(Layout::of_key(&row.key))?,
        };
        let id = i64::try_from(row.id).map_err(|_| Error::unsupported(format!("{}: it is too large", at())))?;
        outgoing.shared.last_id.fetch_max(id, Ordering::Relaxed);
        let stored = row.content.as_ref().map(|plain| storer.store(plain, outgoing.shared.compresses));
        let mut cells = vec![
            Cell::Long(id),
            Cell::Text(Cow::Borrowed(&row.key)),
            stored.map_or(Cell::Null, |stored| Cell::Bytes(Cow::Borrowed(stored))),
            Cell::Long(row.ts),
            row.mvcc.map_or(Cell::Null, Cell::Long),
            text_or_null(&row.unit),
            row.operator.as_ref().map_or(Cell::Null, |operator| Cell::Text(Cow::Borrowed(operator))),
            text_or_null(&row.instance),
        ];
        if made.layout == Layout::Typed {
            cells.extend([text_or_null(&row.model), text_or_null(&row.project), Cell::Flag(row.patch != 0)]);
        }
        outgoing.add(&made, Role::Log, (cells, b""), &at)
    }
}

impl Outgoing {
    /// The tables of a layout; those of another one are refused.
    fn made(&mut self, layout: Layout) -> Result<Arc<Located>> {
        match &self.made {
            Some(made) if made.layout == layout => Ok(Arc::clone(made)),
            _ => Ok(Arc::clone(self.made.insert(self.shared.make(layout, &mut self.session)?))),
        }
    }

    /// Adds a row to those of its table, behind its first cells those that its content fills.
    fn add(
        &mut self,
        made: &Located,
        role: Role,
        (mut cells, content): (Vec<Cell<'_>>, &[u8]),
        at: &dyn Fn() -> String,
    ) -> Result<()> {
        let none = || Error::new(ErrorKind::Bug, "a table that was not made");
        let placed = made.get(role).ok_or_else(none)?;
        let Shared { encoding, full, most, .. } = *self.shared;
        let dialect = self.session.dialect();
        let stretch =
            self.stretches.entry(placed.table.suffix.as_str()).or_insert_with(|| Stretch::new(encoding, placed));
        let unfit = |Unfit(why)| Error::unsupported(format!("{}: {why}", at())).hint("nothing was loaded");
        for (column, cell) in stretch.columns.iter().zip(&cells) {
            check(column, cell, dialect).map_err(unfit)?;
        }
        let others = stretch.columns.get(cells.len()..).unwrap_or_default();
        if !others.is_empty() {
            cells.extend(filled(others, content, dialect).map_err(unfit)?);
        }
        let before = stretch.bytes.len();
        put(encoding, &cells, &mut stretch.bytes).map_err(unfit)?;
        stretch.rows += 1;
        let length = stretch.bytes.len() - before;
        if length > most {
            let what = format!("{}: {length} bytes, and the server takes {most} in a row", at());
            return Err(Error::unsupported(what).hint("raise max_allowed_packet on the server, up to 1G"));
        }
        self.held += length;
        if stretch.bytes.len() >= full {
            self.held -= stretch.bytes.len();
            stretch.send(encoding, &mut self.session)?;
        }
        if self.held >= HELD * full { self.send_longest() } else { Ok(()) }
    }

    fn send_longest(&mut self) -> Result<()> {
        let longest = self.stretches.values_mut().max_by_key(|stretch| stretch.bytes.len());
        longest.map_or(Ok(()), |stretch| {
            self.held -= stretch.bytes.len();
            stretch.send(self.shared.encoding, &mut self.session)
        })
    }
}

impl Loader<Kylin> for KylinLoader {
    fn load(&mut self, batch: Batch) -> Result<()> {
        match batch {
            Batch::Resource(rows) => rows.into_iter().try_for_each(|row| self.resource(&row)),
            Batch::Audit(rows) => rows.into_iter().try_for_each(|row| self.entry(&row)),
            Batch::Setting(_) => Err(Error::new(ErrorKind::Bug, "a setting is written by the commit")),
        }
    }

    fn amend(&mut self, _batch: Batch) -> Result<()> {
        Err(Error::new(ErrorKind::Bug, "there is nothing to amend in a metastore"))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let Outgoing { stretches, session, shared, .. } = &mut self.outgoing;
        let left = stretches.values_mut().filter(|stretch| stretch.rows > 0);
        left.into_iter().try_for_each(|stretch| stretch.send(shared.encoding, session))?;
        self.outgoing.session.close();
        Ok(())
    }
}
