//! A loader: encodes batches, one stretch of rows a table, and sends a stretch once it is long, as a file or as values. What
//! the server says it took is held against what was sent, since LOAD DATA passes over rows in silence.

use std::collections::BTreeMap;
use std::sync::Arc;

use metaferry_codecs::juicefs::tables::{Column, Widths};
use metaferry_pipeline::{Error, Result};
use mysql_async::ServerError;

use super::cells::{Encoder, Form, is_text};
use super::session::{Session, Taken, cell};
use super::target::Shared;
use super::{DIALECT, DUPLICATE, failure};
use crate::sql::bind::{Binder, Bound, Put, Unfit, columns};
use crate::sql::keys::{Keys, has_surrogate};
use crate::sql::loader::Tables;

/// What one loader holds back at most, in stretches that are full.
const HELD: usize = 3;

/// A worker's hand on a target.
pub(super) struct MysqlLoader {
    session: Session,
    shared: Arc<Shared>,
    stretches: BTreeMap<String, Stretch>,
    held: usize,
    buffer: Vec<u8>,
}

/// Rows of one table that wait to be sent.
pub(super) struct Stretch {
    form: Form,
    /// The statement, but for the values.
    sql: String,
    columns: Vec<Column>,
    bytes: Vec<u8>,
    rows: u64,
}

impl Stretch {
    /// For rows of a kind, into a table of this quoted name.
    pub(super) fn new<R: Bound>(form: Form, name: &str, widths: Widths) -> Self {
        let columns = columns::<R>(widths);
        let sql = match form {
            Form::File => load_data(name, &columns),
            Form::Values => {
                let names: Vec<_> = columns.iter().map(|column| column.name).collect();
                format!("INSERT INTO {name} ({}) VALUES ", DIALECT.list(&names))
            }
        };
        Self { form, sql, columns, bytes: Vec::new(), rows: 0 }
    }

    /// Adds a row; `id` is its surrogate key.
    pub(super) fn add<R: Bound>(&mut self, row: &R, id: Option<u64>, buffer: &mut Vec<u8>) -> Result<()> {
        let mut encoder = Encoder::new(self.form, &self.columns, &mut self.bytes);
        let put = id.map_or(Ok(()), |id| encoder.int(id.cast_signed()));
        let put = put.and_then(|()| row.bind(&mut Binder::new(&mut encoder, buffer)));
        encoder.end();
        self.rows += 1;
        put.map_err(|Unfit(column)| {
            let place = row.place();
            Error::unsupported(format!("{place}: MySQL's column {column} cannot hold it"))
                .hint("numbers there are signed, of 32 or 64 bits; names have 255, values 65535 bytes; text is UTF-8; --widen makes columns wider")
        })
    }

    /// Sends what there is, and sees that all of it arrived.
    pub(super) fn send(&mut self, session: &mut Session) -> Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        let rows = std::mem::take(&mut self.rows);
        let taken = match self.form {
            Form::File => session.send(self.sql.as_str(), Some(bytes.into()))?,
            Form::Values => session.send([self.sql.as_bytes(), &bytes].concat(), None)?,
        };
        expect(session, rows, &taken)
    }
}

/// A statement that reads a file. Its bytes are no text to the server, but for those of columns that are.
fn load_data(name: &str, columns: &[Column]) -> String {
    let (mut places, mut texts) = (Vec::new(), Vec::new());
    for (index, column) in columns.iter().enumerate() {
        let quoted = DIALECT.quoted(column.name);
        if is_text(column) {
            texts.push(format!("{quoted} = CONVERT(@v{index} USING utf8mb4)"));
            places.push(format!("@v{index}"));
        } else {
            places.push(quoted);
        }
    }
    let set = if texts.is_empty() { String::new() } else { format!(" SET {}", texts.join(", ")) };
    format!(
        "LOAD DATA LOCAL INFILE 'metaferry' INTO TABLE {name} CHARACTER SET binary \
         FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({}){set}",
        places.join(", ")
    )
}

/// Sees that all rows arrived as they were sent.
pub(crate) fn expect(session: &mut Session, sent: u64, taken: &Taken) -> Result<()> {
    if taken.rows == sent && taken.warnings == 0 { Ok(()) } else { Err(lost(session, sent, taken)) }
}

/// Why rows did not arrive as they were sent.
fn lost(session: &mut Session, sent: u64, taken: &Taken) -> Error {
    let warnings = session.ask("SHOW WARNINGS LIMIT 1").unwrap_or_default();
    let warning = warnings.first().map(|row| ServerError {
        code: cell(row, 1).unwrap_or_default(),
        message: cell(row, 2).unwrap_or_default(),
        state: "HY000".to_owned(),
    });
    let shown = session.shown();
    match warning {
        Some(warning) if warning.code == DUPLICATE => failure(&shown, warning.into()),
        warning => {
            let error = Error::corrupt(format!("{shown}: {sent} rows were sent to it, and it took {}", taken.rows));
            warning.into_iter().fold(error, Error::because)
        }
    }
}

impl MysqlLoader {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self> {
        let (session, shared) = (shared.session()?, Arc::clone(shared));
        Ok(Self { session, shared, stretches: BTreeMap::new(), held: 0, buffer: Vec::new() })
    }

    fn send_longest(&mut self) -> Result<()> {
        let longest = self.stretches.values_mut().max_by_key(|stretch| stretch.bytes.len());
        longest.map_or(Ok(()), |stretch| {
            self.held -= stretch.bytes.len();
            stretch.send(&mut self.session)
        })
    }
}

impl Tables for MysqlLoader {
    fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    fn put<R: Bound>(&mut self, table: &str, rows: &[R]) -> Result<()> {
        let has_surrogate = has_surrogate(&R::TABLE);
        let first = if has_surrogate { self.shared.keys.take(&R::TABLE, rows.len() as u64) } else { 0 };
        if !self.stretches.contains_key(table) {
            let stretch = Stretch::new::<R>(self.shared.form, &self.shared.name(table), self.shared.widths);
            self.stretches.insert(table.to_owned(), stretch);
        }
        let Some(stretch) = self.stretches.get_mut(table) else { return Ok(()) };
        for (row, id) in rows.iter().zip(first..) {
            let before = stretch.bytes.len();
            stretch.add(row, has_surrogate.then_some(id), &mut self.buffer)?;
            self.held += stretch.bytes.len() - before;
            if stretch.bytes.len() >= self.shared.full {
                self.held -= stretch.bytes.len();
                stretch.send(&mut self.session)?;
            }
        }
        if self.held >= HELD * self.shared.full { self.send_longest() } else { Ok(()) }
    }

    fn finish(mut self) -> Result<()> {
        let Self { stretches, session, .. } = &mut self;
        stretches.values_mut().filter(|stretch| stretch.rows > 0).try_for_each(|stretch| stretch.send(session))?;
        self.session.close();
        Ok(())
    }
}
