//! Rows of a metastore as they come, made resources and entries of the change log: content plain, in batches of bounded size.

use metaferry_codecs::Error;
use metaferry_codecs::kylin::content::{BOUND, Opener};
use metaferry_codecs::kylin::{Audit, Batch, Kylin, Resource};
use metaferry_pipeline::{Emit, Result};

use super::session::Fetched;
use crate::sql::rows::{Cells, Mismatch};

/// Bytes in a batch, about at most, unless one row has more.
const BATCH_BYTES: usize = 1 << 20;
/// Rows in a batch, at most.
const BATCH_ROWS: usize = 1024;

/// Rows of one kind on their way out.
pub(super) struct Rows<'o, R> {
    rows: Vec<R>,
    bytes: usize,
    opener: Opener,
    out: &'o mut dyn Emit<Kylin>,
}

impl<'o, R> Rows<'o, R>
where
    Batch: From<Vec<R>>,
{
    pub(super) fn new(out: &'o mut dyn Emit<Kylin>) -> Self {
        Self { rows: Vec::new(), bytes: 0, opener: Opener::default(), out }
    }

    fn add(&mut self, row: R, bytes: usize) -> Result<()> {
        // What is there goes first, so that a large row is in no batch but its own.
        if self.bytes > 0 && self.bytes + bytes > BATCH_BYTES || self.rows.len() >= BATCH_ROWS {
            self.emit()?;
        }
        self.bytes += bytes;
        self.rows.push(row);
        Ok(())
    }

    fn emit(&mut self) -> Result<()> {
        self.bytes = 0;
        let full = std::mem::take(&mut self.rows);
        self.out.emit(full.into())
    }

    /// Emits what is left.
    pub(super) fn finish(mut self) -> Result<()> {
        if self.rows.is_empty() { Ok(()) } else { self.emit() }
    }
}

impl Rows<'_, Resource> {
    /// Takes a row of [`super::select::resources`]; `before` is what its key has in front in Kylin's own words.
    pub(super) fn resource(&mut self, before: &[u8], cells: &Fetched<'_>) -> Result<()> {
        self.read(before, cells)?.map_or(Ok(()), |row| self.take(row))
    }

    /// Reads such a row, to be taken later; none where it is damaged, which is told.
    pub(super) fn read(&mut self, before: &[u8], cells: &Fetched<'_>) -> Result<Option<Resource>> {
        match resource(&mut self.opener, before, cells) {
            Ok(row) => Ok(Some(row)),
            Err(why) => self.out.damaged(place(before, cells), why).map(|()| None),
        }
    }

    /// Takes a resource.
    pub(super) fn take(&mut self, row: Resource) -> Result<()> {
        let bytes = size_of::<Resource>() + row.key.len() + row.content.len();
        self.add(row, bytes)
    }
}

impl Rows<'_, Audit> {
    /// Takes a row of [`super::select::entries`].
    pub(super) fn entry(&mut self, cells: &Fetched<'_>) -> Result<()> {
        match entry(&mut self.opener, cells) {
            Ok(row) => {
                let bytes = size_of::<Audit>() + row.key.len() + row.content.as_ref().map_or(0, Vec::len);
                self.add(row, bytes)
            }
            Err(why) => self.out.damaged(format!("change log id {}", cells.shown(0)), why),
        }
    }
}

fn place(before: &[u8], cells: &Fetched<'_>) -> String {
    let key = cells.bytes(0).ok().flatten().unwrap_or_default();
    format!("{}{}", String::from_utf8_lossy(before), String::from_utf8_lossy(key))
}

fn resource(opener: &mut Opener, before: &[u8], cells: &Fetched<'_>) -> Result<Resource, Error> {
    let key = bytes(cells, 0)?.ok_or_else(|| Error::malformed("key", "it is NULL"))?;
    let stored = bytes(cells, 1)?.ok_or_else(|| Error::malformed("content", "it is NULL, which Kylin cannot read"))?;
    Ok(Resource {
        key: [before, key].concat(),
        content: opener.plain(stored, BOUND)?.to_vec(),
        // As Kylin reads a number that is NULL.
        ts: integer(cells, 2)?.unwrap_or_default(),
        mvcc: integer(cells, 3)?.unwrap_or_default(),
    })
}

fn entry(opener: &mut Opener, cells: &Fetched<'_>) -> Result<Audit, Error> {
    let text = |index| Ok::<_, Error>(bytes(cells, index)?.unwrap_or_default().to_vec());
    let stored = bytes(cells, 2)?;
    let id = integer(cells, 0)?.and_then(|id| u64::try_from(id).ok());
    Ok(Audit {
        id: id.ok_or_else(|| Error::malformed("id", "it is no number from 0 on"))?,
        key: text(1)?,
        content: stored.map(|stored| opener.plain(stored, BOUND).map(<[u8]>::to_vec)).transpose()?,
        ts: integer(cells, 3)?.unwrap_or_default(),
        mvcc: integer(cells, 4)?,
        unit: text(5)?,
        operator: bytes(cells, 6)?.map(<[u8]>::to_vec),
        instance: text(7)?,
        project: text(8)?,
        // PostgreSQL fills it up with blanks.
        model: text(9)?.trim_ascii_end().to_vec(),
        patch: u8::from(integer(cells, 10)?.unwrap_or_default() != 0),
    })
}

fn bytes<'c>(cells: &'c Fetched<'_>, index: usize) -> Result<Option<&'c [u8]>, Error> {
    cells.bytes(index).map_err(|Mismatch| wrong(cells, index))
}

fn integer(cells: &Fetched<'_>, index: usize) -> Result<Option<i64>, Error> {
    cells.integer(index).map_err(|Mismatch| wrong(cells, index))
}

#[cold]
fn wrong(cells: &Fetched<'_>, index: usize) -> Error {
    Error::malformed("column", format!("number {index} of what is selected cannot be {}", cells.shown(index)))
}
