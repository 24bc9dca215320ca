//! Statements that make the tables of a metastore, as Kylin has them. Keys and indexes can be made after the rows.

use metaferry_codecs::kylin::address::Dialect;

use super::{Column, Holds, Role, Table};

/// The longest name of an index in MySQL; where one is longer, Kylin goes without that index.
const MOST_MYSQL: usize = 64;

/// A name as a statement has it.
pub(crate) fn quoted(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
        Dialect::Mysql => format!("`{}`", name.replace('`', "``")),
    }
}

/// A name as the database has it that Kylin writes without quotes: PostgreSQL makes it lower case.
pub(crate) fn folded(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::Postgres => name.to_ascii_lowercase(),
        Dialect::Mysql => name.to_owned(),
    }
}

impl Table {
    /// The statement that makes it under this quoted name. In MySQL it has its primary key, in PostgreSQL none yet.
    pub(crate) fn create(&self, dialect: Dialect, name: &str) -> String {
        let columns = self.columns.iter().map(|column| {
            let required = if column.is_required { " NOT NULL" } else { "" };
            format!("{} {}{required}", self.column_name(dialect, column), type_name(dialect, column.holds))
        });
        let columns: Vec<_> = columns.collect();
        match dialect {
            Dialect::Postgres => format!("CREATE TABLE {name} ({})", columns.join(", ")),
            Dialect::Mysql => {
                // The tables of both layouts that come as one have the database's own encoding but for their keys.
                let options = match self.role {
                    Role::Resources | Role::Log => "ENGINE=InnoDB",
                    Role::Epoch => "ENGINE=InnoDB DEFAULT CHARSET=utf8",
                    Role::Typed(_) => "ENGINE=InnoDB DEFAULT CHARSET=utf8 ROW_FORMAT=DYNAMIC",
                };
                format!("CREATE TABLE {name} ({}, PRIMARY KEY ({})) {options}", columns.join(", "), self.primary.0)
            }
        }
    }

    /// The statements that give it, once it is filled, what [`Table::create`] has not: keys and indexes, under the names that
    /// they have in a store of this identifier.
    pub(crate) fn finish(&self, dialect: Dialect, name: &str, identifier: &str) -> Vec<String> {
        let index = |suffix: &str| format!("{identifier}{suffix}");
        match dialect {
            Dialect::Postgres => {
                let key = cut(&folded(dialect, &index(&self.primary.1)));
                let key = format!(
                    "ALTER TABLE {name} ADD CONSTRAINT {} PRIMARY KEY ({})",
                    quoted(dialect, &key),
                    self.primary.0
                );
                let others = self.indexes.iter().map(|found| {
                    let (columns, index) = (found.columns.join(", "), cut(&folded(dialect, &index(&found.suffix))));
                    let index = quoted(dialect, &index);
                    if found.is_unique {
                        format!("ALTER TABLE {name} ADD CONSTRAINT {index} UNIQUE ({columns})")
                    } else {
                        format!("CREATE INDEX {index} ON {name} ({columns})")
                    }
                });
                [key].into_iter().chain(others).collect()
            }
            Dialect::Mysql => {
                let added = self.indexes.iter().filter_map(|found| {
                    let index = index(&found.suffix);
                    let unique = if found.is_unique { "UNIQUE " } else { "" };
                    let has_room = index.chars().count() <= MOST_MYSQL;
                    has_room.then(|| {
                        format!("ADD {unique}INDEX {} ({})", quoted(dialect, &index), found.columns.join(", "))
                    })
                });
                let added: Vec<_> = added.collect();
                (!added.is_empty()).then(|| format!("ALTER TABLE {name} {}", added.join(", "))).into_iter().collect()
            }
        }
    }

    /// The name of a column. Only in one table does Kylin write them in upper case.
    fn column_name(&self, dialect: Dialect, column: &Column) -> String {
        match (self.role, dialect) {
            (Role::Resources, Dialect::Mysql) => column.name.to_ascii_uppercase(),
            _ => column.name.to_owned(),
        }
    }
}

/// A name of PostgreSQL's as it cuts one that is too long, 63 bytes.
fn cut(name: &str) -> String {
    let most = name.char_indices().map(|(place, found)| place + found.len_utf8()).take_while(|end| *end <= 63).last();
    name.get(..most.unwrap_or_default()).unwrap_or(name).to_owned()
}

fn type_name(dialect: Dialect, holds: Holds) -> String {
    let (exact, bytes) = match dialect {
        Dialect::Postgres => (" COLLATE \"C\"", "bytea"),
        Dialect::Mysql => (" COLLATE utf8_bin", "longblob"),
    };
    match (holds, dialect) {
        (Holds::Serial | Holds::Unsigned, Dialect::Postgres) => "bigserial".to_owned(),
        (Holds::Serial, Dialect::Mysql) => "bigint AUTO_INCREMENT".to_owned(),
        (Holds::Unsigned, Dialect::Mysql) => "bigint unsigned AUTO_INCREMENT".to_owned(),
        (Holds::Long, _) => "bigint".to_owned(),
        (Holds::Int, _) => "int".to_owned(),
        (Holds::Count, _) => "int DEFAULT 0".to_owned(),
        (Holds::Flag, Dialect::Postgres) => "boolean DEFAULT false".to_owned(),
        (Holds::Flag, Dialect::Mysql) => "tinyint(1) DEFAULT 0".to_owned(),
        (Holds::Text(most), _) => format!("varchar({most})"),
        (Holds::Exact(most), _) => format!("varchar({most}){exact}"),
        (Holds::Padded(most), _) | (Holds::Reference(most), Dialect::Postgres) => format!("char({most})"),
        (Holds::ExactPadded(most), _) | (Holds::Reference(most), Dialect::Mysql) => format!("char({most}){exact}"),
        (Holds::LongText, _) => "text".to_owned(),
        (Holds::Bytes, _) => bytes.to_owned(),
    }
}
