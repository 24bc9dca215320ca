//! The statements that create the tables and indexes of a volume, to the letter of JuiceFS's. They differ between dialects
//! only in how names are quoted and types are called.

use metaferry_codecs::juicefs::tables::{Column, Null, Table, Type, Widths};

/// How a dialect writes the layout.
pub(crate) struct Dialect {
    /// What stands around names.
    pub(crate) quote: char,
    /// What it calls a type.
    pub(crate) type_name: fn(Type) -> String,
    /// What makes a key count by itself, where its type does not.
    pub(crate) counts: &'static str,
}

impl Dialect {
    /// The statement that creates a table; without its primary key where that is to follow the rows.
    pub(crate) fn create_table(&self, table: &Table, prefix: &str, widths: Widths, with_key: bool) -> String {
        let mut sql = format!("CREATE TABLE {} (", self.quoted(&format!("{prefix}{}", table.name)));
        for (index, column) in table.columns.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let key = if with_key && table.key == [column.name] { " PRIMARY KEY" } else { "" };
            let (name, type_name) = (self.quoted(column.name), (self.type_name)(widths.of(table, column)));
            sql += &format!("{comma}{name} {type_name}{key}{}", self.constraint(column));
        }
        if with_key && table.key.len() > 1 {
            sql += &format!(", PRIMARY KEY ( {} )", self.list(table.key));
        }
        sql.push(')');
        sql
    }

    /// The statements that create the indexes of a table.
    pub(crate) fn create_indexes(&self, table: &Table, prefix: &str) -> Vec<String> {
        let on = self.quoted(&format!("{prefix}{}", table.name));
        let unique = table.unique_index(prefix).map(|(name, columns)| {
            format!("CREATE UNIQUE INDEX {} ON {on} ({})", self.quoted(&name), self.list(columns))
        });
        let plain = table.plain_index(prefix);
        let plain = plain
            .map(|(name, column)| format!("CREATE INDEX {} ON {on} ({})", self.quoted(&name), self.quoted(column)));
        unique.into_iter().chain(plain).collect()
    }

    /// A name as it stands in a statement; names of JuiceFS hold no quotes, and a prefix may hold none.
    pub(crate) fn quoted(&self, name: &str) -> String {
        format!("{0}{name}{0}", self.quote)
    }

    /// Names of columns, one behind the other.
    pub(crate) fn list(&self, names: &[&str]) -> String {
        names.iter().map(|name| self.quoted(name)).collect::<Vec<_>>().join(",")
    }

    fn constraint(&self, column: &Column) -> String {
        match (column.holds, column.null) {
            (Type::Serial | Type::IntSerial, _) => format!("{} NOT NULL", self.counts),
            (_, Null::Never) => " NOT NULL".to_owned(),
            (_, Null::ZeroBefore) => " DEFAULT 0 NOT NULL".to_owned(),
            (_, Null::Allowed) => " NULL".to_owned(),
        }
    }
}
