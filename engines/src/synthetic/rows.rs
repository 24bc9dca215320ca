//! Rows on their way out, a batch at a time.

use metaferry_codecs::juicefs::{Batch, JuiceFs};
use metaferry_pipeline::{Emit, Result};

/// Rows in a batch.
const BATCH_ROWS: usize = 4096;

/// Collects rows of one kind and emits them as batches.
pub(super) struct Rows<'a, R> {
    out: &'a mut dyn Emit<JuiceFs>,
    rows: Vec<R>,
}

impl<'a, R> Rows<'a, R>
where
    Batch: From<Vec<R>>,
{
    /// Lets `make` push rows, and emits them all.
    pub(super) fn emit(out: &'a mut dyn Emit<JuiceFs>, make: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let mut rows = Self { out, rows: Vec::new() };
        make(&mut rows)?;
        rows.flush()
    }

    /// Takes one row.
    #[inline]
    pub(super) fn push(&mut self, row: R) -> Result<()> {
        if self.rows.capacity() == 0 {
            self.rows.reserve_exact(BATCH_ROWS);
        }
        self.rows.push(row);
        if self.rows.len() >= BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.out.emit(std::mem::take(&mut self.rows).into())
    }
}
