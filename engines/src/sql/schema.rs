//! What of the layout a database has: volumes of older versions lack some tables and columns. It asks nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use metaferry_codecs::juicefs::tables::{self, Null, Table};
use metaferry_pipeline::{Error, Result};

/// The tables and columns of one volume.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    prefix: String,
    quote: char,
    columns: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Schema {
    /// The layout of which a database has these columns, each with its table; `quote` stands around names in its dialect.
    ///
    /// # Errors
    /// Tables that are no volume, and those of a newer JuiceFS.
    pub(crate) fn new(
        origin: &dyn fmt::Display,
        prefix: &str,
        quote: char,
        found: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let mut columns = BTreeMap::<_, BTreeSet<_>>::new();
        for (table, column) in found {
            let plain = table.strip_prefix(prefix);
            if let Some(table) = tables::ALL.iter().find(|table| Some(table.name) == plain) {
                columns.entry(table.name).or_default().insert(column);
            }
        }
        let schema = Self { prefix: prefix.to_owned(), quote, columns };
        schema.expect_volume(origin)?;
        Ok(schema)
    }

    fn expect_volume(&self, origin: &dyn fmt::Display) -> Result<()> {
        let prefix = &self.prefix;
        if self.columns.is_empty() {
            let what = format!("{origin}: there is no JuiceFS volume in it: no table begins with {prefix}");
            return Err(Error::corrupt(what).hint("name another database, or the table_prefix in the address"));
        }
        for table in [tables::SETTING, tables::COUNTER, tables::NODE, tables::EDGE] {
            if !self.has(&table) {
                return Err(Error::corrupt(format!(
                    "{origin}: the volume is not whole: there is no table {prefix}{}",
                    table.name
                )));
            }
        }
        for (table, columns) in tables::ALL.iter().filter_map(|table| Some((table, self.columns.get(table.name)?))) {
            let needed = table.columns.iter().filter(|column| column.null == Null::Never);
            if let Some(column) = needed.into_iter().find(|column| !columns.contains(column.name)) {
                let what = format!("{origin}: table {prefix}{} has no column {}", table.name, column.name);
                return Err(Error::corrupt(what));
            }
            let is_known = |name: &&String| table.columns.iter().any(|column| column.name == **name);
            if let Some(name) = columns.iter().find(|name| !is_known(name)) {
                let what = format!("{origin}: table {prefix}{} has a column {name} that is not known", table.name);
                return Err(Error::unsupported(what).hint("a newer JuiceFS made it; a newer metaferry may know it"));
            }
        }
        Ok(())
    }

    /// The quoted name of a table.
    pub(crate) fn name(&self, table: &Table) -> String {
        format!("{0}{1}{2}{0}", self.quote, self.prefix, table.name)
    }

    /// The name of a table as it is.
    pub(crate) fn plain_name(&self, table: &Table) -> String {
        format!("{}{}", self.prefix, table.name)
    }

    /// The names of all its tables as they are.
    pub(crate) fn names(&self) -> Vec<String> {
        self.columns.keys().map(|table| format!("{}{table}", self.prefix)).collect()
    }

    /// The quoted names of all its tables.
    pub(crate) fn quoted_names(&self) -> Vec<String> {
        tables::ALL.iter().filter(|table| self.has(table)).map(|table| self.name(table)).collect()
    }

    /// Whether the database has a table.
    pub(crate) fn has(&self, table: &Table) -> bool {
        self.columns.contains_key(table.name)
    }

    /// Columns of a table as a list to select, NULL in place of those it lacks.
    pub(crate) fn list(&self, table: &Table, columns: &[&str]) -> String {
        let column = |column: &&str| match self.has_column(table, column) {
            true => format!("{0}{column}{0}", self.quote),
            false => "NULL".to_owned(),
        };
        columns.iter().map(column).collect::<Vec<_>>().join(", ")
    }

    fn has_column(&self, table: &Table, column: &str) -> bool {
        self.columns.get(table.name).is_some_and(|columns| columns.contains(column))
    }
}
