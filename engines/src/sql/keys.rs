//! Keys that a load gives rows itself, and those it was given: where a database is to count on. It knows no dialect.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use metaferry_codecs::juicefs::tables::{self, Table, Type};

/// The keys of all tables of a load; its loaders share it.
pub(crate) struct Keys {
    /// The next surrogate keys, by table.
    next: BTreeMap<&'static str, AtomicU64>,
    /// The largest keys that were given elsewhere, by table.
    given: Mutex<BTreeMap<&'static str, i64>>,
}

impl Keys {
    /// None is taken yet.
    pub(crate) fn new() -> Self {
        let own = tables::ALL.iter().filter(|table| has_surrogate(table));
        Self { next: own.map(|table| (table.name, AtomicU64::new(1))).collect(), given: Mutex::default() }
    }

    /// As many surrogate keys of a table as that: the first of them.
    pub(crate) fn take(&self, table: &Table, count: u64) -> u64 {
        self.next.get(table.name).map_or(0, |next| next.fetch_add(count, Ordering::Relaxed))
    }

    /// Keys up to this one are taken.
    pub(crate) fn give(&self, table: &Table, id: i64) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = given.entry(table.name).or_default();
        *highest = id.max(*highest);
    }

    /// The last keys that are taken, by table, where any is.
    pub(crate) fn last(&self) -> BTreeMap<&'static str, i64> {
        let own = self.next.iter().map(|(table, next)| (*table, next.load(Ordering::Relaxed).cast_signed() - 1));
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner).clone();
        own.chain(given).filter(|(_, last)| *last > 0).collect()
    }
}

/// Whether a load gives the rows of a table their keys.
pub(crate) fn has_surrogate(table: &Table) -> bool {
    table.columns.iter().any(|column| column.holds == Type::Serial)
}
