//! Values bound to the parameters of SQLite's statements. It runs nothing.

use rusqlite::Statement;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::sql::bind::{Put, Unfit};

/// Why a row could not be bound.
pub(super) enum Failure {
    /// A value that the column cannot hold.
    Unfit(Unfit),
    /// SQLite refused.
    Sql(rusqlite::Error),
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

/// Binds one value after the other.
pub(super) struct Parameters<'b, 's> {
    statement: &'b mut Statement<'s>,
    index: usize,
}

impl<'b, 's> Parameters<'b, 's> {
    /// Starts at the first parameter of a statement.
    pub(super) fn new(statement: &'b mut Statement<'s>) -> Self {
        Self { statement, index: 0 }
    }

    #[inline]
    fn put(&mut self, value: ValueRef<'_>) -> Result<(), Failure> {
        self.index += 1;
        self.statement.raw_bind_parameter(self.index, ToSqlOutput::Borrowed(value)).map_err(Failure::Sql)
    }
}

impl Put for Parameters<'_, '_> {
    type Error = Failure;

    #[inline]
    fn int(&mut self, value: i64) -> Result<(), Failure> {
        self.put(ValueRef::Integer(value))
    }

    #[inline]
    fn blob(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.put(ValueRef::Blob(bytes))
    }

    fn text(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.put(ValueRef::Text(bytes))
    }
}
