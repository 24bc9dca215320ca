//! The cells of SQLite's rows. It knows no statement.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::sql::rows::{Cells, Mismatch, shown};

/// The cells of a row whose first one is the row id, which is none of them.
pub(super) struct Selected<'r, 's>(pub(super) &'r Row<'s>);

impl<'r> Selected<'r, '_> {
    #[inline]
    fn value(&self, index: usize) -> ValueRef<'r> {
        self.0.get_ref(index + 1).unwrap_or(ValueRef::Null)
    }
}

impl Cells for Selected<'_, '_> {
    #[inline]
    fn integer(&self, index: usize) -> Result<Option<i64>, Mismatch> {
        match self.value(index) {
            ValueRef::Integer(integer) => Ok(Some(integer)),
            ValueRef::Null => Ok(None),
            _ => Err(Mismatch),
        }
    }

    /// Whatever the storage class is: appending turns a BLOB into TEXT.
    #[inline]
    fn bytes(&self, index: usize) -> Result<Option<&[u8]>, Mismatch> {
        match self.value(index) {
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Ok(Some(bytes)),
            ValueRef::Null => Ok(None),
            _ => Err(Mismatch),
        }
    }

    fn shown(&self, index: usize) -> String {
        match self.value(index) {
            ValueRef::Null => "NULL".to_owned(),
            ValueRef::Integer(integer) => integer.to_string(),
            ValueRef::Real(real) => real.to_string(),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => shown(bytes),
        }
    }
}
