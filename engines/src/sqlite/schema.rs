//! SQLite's dialect of the SQL layout: the DDL, to the letter of JuiceFS's, and what tables and columns a file has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use metaferry_codecs::juicefs::tables::{self, Column, Null, Table, Type};
use metaferry_pipeline::{Error, Result};
use rusqlite::Connection;

use super::failure;

/// The statement that creates a table.
pub(super) fn create_table(table: &Table, prefix: &str) -> String {
    let mut sql = format!("CREATE TABLE `{prefix}{}` (", table.name);
    for (index, column) in table.columns.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let key = if table.key == [column.name] { " PRIMARY KEY" } else { "" };
        sql += &format!("{comma}`{}` {}{key}{}", column.name, type_name(column), constraint(column));
    }
    if table.key.len() > 1 {
        sql += &format!(", PRIMARY KEY ( {} )", quoted(table.key));
    }
    sql.push(')');
    sql
}

/// The statements that create the indexes of a table.
pub(super) fn create_indexes(table: &Table, prefix: &str) -> Vec<String> {
    let on = format!("`{prefix}{}`", table.name);
    let unique = table.unique_index(prefix);
    let unique = unique.map(|(name, columns)| format!("CREATE UNIQUE INDEX `{name}` ON {on} ({})", quoted(columns)));
    let plain = table.plain_index(prefix).map(|(name, column)| format!("CREATE INDEX `{name}` ON {on} (`{column}`)"));
    unique.into_iter().chain(plain).collect()
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(",")
}

fn type_name(column: &Column) -> &'static str {
    match column.holds {
        Type::Int | Type::Long | Type::Serial | Type::IntSerial => "INTEGER",
        Type::Name | Type::Text => "TEXT",
        Type::Bytes(_) | Type::Blob => "BLOB",
    }
}

fn constraint(column: &Column) -> &'static str {
    match (column.holds, column.null) {
        (Type::Serial | Type::IntSerial, _) => " AUTOINCREMENT NOT NULL",
        (_, Null::Never) => " NOT NULL",
        (_, Null::ZeroBefore) => " DEFAULT 0 NOT NULL",
        (_, Null::Allowed) => " NULL",
    }
}

/// What of the layout a file has: volumes of older versions lack some.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    prefix: String,
    columns: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Schema {
    /// Reads what a file has.
    ///
    /// # Errors
    /// A file without the tables of a volume.
    pub(super) fn read(connection: &Connection, path: &Path, prefix: &str) -> Result<Self> {
        let failed = |error| failure(path, error);
        let mut columns = BTreeMap::new();
        for table in tables::ALL {
            let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)").map_err(failed)?;
            let names = statement.query_map([format!("{prefix}{}", table.name)], |row| row.get(0)).map_err(failed)?;
            let names: BTreeSet<String> = names.collect::<rusqlite::Result<_>>().map_err(failed)?;
            if !names.is_empty() {
                columns.insert(table.name, names);
            }
        }
        let schema = Self { prefix: prefix.to_owned(), columns };
        schema.expect_volume(path)?;
        Ok(schema)
    }

    fn expect_volume(&self, path: &Path) -> Result<()> {
        let (path, prefix) = (path.display(), &self.prefix);
        if self.columns.is_empty() {
            let what = format!("{path}: there is no JuiceFS volume in it: no table begins with {prefix}");
            return Err(Error::corrupt(what).hint("name another file, or the table_prefix in the address"));
        }
        for table in [tables::SETTING, tables::COUNTER, tables::NODE, tables::EDGE] {
            if !self.has(&table) {
                return Err(Error::corrupt(format!(
                    "{path}: the volume is not whole: there is no table {prefix}{}",
                    table.name
                )));
            }
        }
        for table in tables::ALL.iter().filter(|table| self.has(table)) {
            let needed = table.columns.iter().filter(|column| column.null == Null::Never);
            if let Some(column) = needed.into_iter().find(|column| !self.has_column(table, column.name)) {
                let what = format!("{path}: table {prefix}{} has no column {}", table.name, column.name);
                return Err(Error::corrupt(what));
            }
        }
        Ok(())
    }

    /// The quoted name of a table.
    pub(super) fn name(&self, table: &Table) -> String {
        format!("`{}{}`", self.prefix, table.name)
    }

    /// The name of a table as it is.
    pub(super) fn plain_name(&self, table: &Table) -> String {
        format!("{}{}", self.prefix, table.name)
    }

    /// Whether the file has a table.
    pub(super) fn has(&self, table: &Table) -> bool {
        self.columns.contains_key(table.name)
    }

    /// Columns of a table as a list to select, NULL in place of those it lacks.
    pub(super) fn list(&self, table: &Table, columns: &[&str]) -> String {
        let column = |column: &&str| match self.has_column(table, column) {
            true => format!("`{column}`"),
            false => "NULL".to_owned(),
        };
        columns.iter().map(column).collect::<Vec<_>>().join(", ")
    }

    fn has_column(&self, table: &Table, column: &str) -> bool {
        self.columns.get(table.name).is_some_and(|columns| columns.contains(column))
    }
}
