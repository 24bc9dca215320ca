//! Finding the tables of a metastore in a database: which layout they are of, and what they are really called. What is no
//! metastore of Kylin 5 is refused in words.

use metaferry_codecs::kylin::Layout;
use metaferry_codecs::kylin::address::Dialect;
use metaferry_codecs::kylin::types::MetadataType;
use metaferry_pipeline::{Error, Result};
use sqlx::Row as _;

use super::ddl::{folded, quoted};
use super::{FLAT_COLUMNS, Role, TYPED_COLUMNS, Table, mark, tables};
use crate::mysql::session::cell;
use crate::postgres::failure;
use crate::{mysql, postgres};

/// The tables that a metastore has in a database.
#[derive(Debug, Clone)]
pub(crate) struct Located {
    pub(crate) layout: Layout,
    placed: Vec<Placed>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) table: &'static Table,
    /// Its name as a statement has it.
    pub(crate) name: String,
    /// Its columns, in lower case.
    columns: Vec<String>,
    /// What MySQL compares its keys by: encoding and collation.
    pub(crate) collation: Option<(String, String)>,
    /// Whether it knows points in time: not all of MySQL's do.
    pub(crate) has_transactions: bool,
}

impl Placed {
    /// Whether it has a column of this name, in lower case.
    pub(crate) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known == column)
    }

    /// Whether MySQL compares its keys by code point, which is by their bytes but for the blanks that a shorter one may be filled
    /// up with. What MySQL calls latin1 has some in another order.
    pub(crate) fn is_by_code_point(&self) -> bool {
        self.collation.as_ref().is_some_and(|(encoding, collation)| {
            ["utf8", "utf8mb3", "utf8mb4", "ascii"].contains(&encoding.as_str()) && collation.ends_with("_bin")
        })
    }

    /// The four columns of a resource: key, content, time, version.
    pub(crate) fn resource_columns(&self) -> [&'static str; 4] {
        if self.table.role == Role::Resources { FLAT_COLUMNS } else { TYPED_COLUMNS }
    }
}

impl Located {
    /// No table at all.
    pub(crate) fn none() -> Self {
        Self { layout: Layout::Flat, placed: Vec::new() }
    }

    /// The tables of a layout as they were just made, under these quoted names. MySQL compares their keys by that.
    pub(crate) fn made(layout: Layout, collation: Option<(&str, &str)>, name: &dyn Fn(&Table) -> String) -> Self {
        let placed = tables(layout).iter().map(|table| Placed {
            table,
            name: name(table),
            columns: table.columns.iter().map(|column| column.name.to_owned()).collect(),
            collation: collation.map(|(encoding, collation)| (encoding.to_owned(), collation.to_owned())),
            has_transactions: true,
        });
        Self { layout, placed: placed.collect() }
    }

    /// The table for that; none where it is not there. A change log need not be, nor the tables of later types.
    pub(crate) fn get(&self, role: Role) -> Option<&Placed> {
        self.placed.iter().find(|placed| placed.table.role == role)
    }

    /// The tables that hold resources.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &Placed> {
        self.placed.iter().filter(|placed| matches!(placed.table.role, Role::Resources | Role::Typed(_)))
    }

    /// Every table that is there.
    pub(crate) fn all(&self) -> &[Placed] {
        &self.placed
    }
}

/// One column in a database's catalog.
pub(crate) struct Found {
    pub(crate) table: String,
    pub(crate) column: String,
    /// Encoding and collation, where the database has one of each column.
    pub(crate) collation: Option<(String, String)>,
    pub(crate) has_transactions: bool,
}

/// Finds a metastore in PostgreSQL, in the schemas that the session looks in.
///
/// # Errors
/// As [`in_mysql`].
pub(crate) fn in_postgres(session: &mut postgres::session::Session, identifier: &str) -> Result<Located> {
    let found = catalog_of_postgres(session, identifier)?;
    locate(Dialect::Postgres, identifier, &found).map_err(|error| error.at(session.shown()))
}

/// Finds a metastore in a database of MySQL.
///
/// # Errors
/// `Config` where there is none, `Unsupported` where it is one of Kylin 2 to 4, `Refused` where both layouts are there.
pub(crate) fn in_mysql(session: &mut mysql::session::Session, identifier: &str) -> Result<Located> {
    let found = catalog_of_mysql(session, identifier)?;
    locate(Dialect::Mysql, identifier, &found).map_err(|error| error.at(session.shown()))
}

/// The columns of all tables whose names begin with an identifier, in whatever case.
pub(crate) fn catalog_of_postgres(session: &mut postgres::session::Session, identifier: &str) -> Result<Vec<Found>> {
    let rows = session.ask(&format!(
        "SELECT c.relname::text, a.attname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
         WHERE c.relkind IN ('r', 'p', 'v') AND pg_table_is_visible(c.oid) AND a.attnum > 0 AND NOT a.attisdropped \
         AND lower(left(c.relname::text, {})) = lower('{identifier}')",
        identifier.chars().count()
    ))?;
    let found = rows.iter().map(|row| {
        let (table, column) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Found { table, column, collation: None, has_transactions: true })
    });
    found.collect::<sqlx::Result<Vec<_>>>().map_err(|error| failure(&session.shown(), error))
}

/// The same of the session's database.
pub(crate) fn catalog_of_mysql(session: &mut mysql::session::Session, identifier: &str) -> Result<Vec<Found>> {
    let rows = session.ask(&format!(
        "SELECT c.table_name, c.column_name, c.character_set_name, c.collation_name, t.engine \
         FROM information_schema.columns c JOIN information_schema.tables t \
         ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
         WHERE c.table_schema = DATABASE() AND LOWER(LEFT(c.table_name, {})) = LOWER('{identifier}')",
        identifier.chars().count()
    ))?;
    let found = rows.iter().filter_map(|row| {
        let engine: String = cell(row, 4).unwrap_or_default();
        Some(Found {
            table: cell(row, 0)?,
            column: cell(row, 1)?,
            collation: cell(row, 2).zip(cell(row, 3)),
            has_transactions: engine.eq_ignore_ascii_case("InnoDB"),
        })
    });
    Ok(found.collect())
}

/// Makes out which tables of a catalog are a metastore.
pub(crate) fn locate(dialect: Dialect, identifier: &str, found: &[Found]) -> Result<Located> {
    let place = |table: &'static Table| place(dialect, identifier, table, found);
    let has = |layout, role| super::table(layout, role).and_then(place);
    let flat = has(Layout::Flat, Role::Resources).filter(|placed| placed.has(FLAT_COLUMNS[0]));
    let typed = |name: &[u8]| MetadataType::named(name).and_then(|found| has(Layout::Typed, Role::Typed(found)));
    let is_typed =
        [&b"PROJECT"[..], b"SYSTEM"].iter().all(|name| typed(name).is_some_and(|placed| placed.has(TYPED_COLUMNS[0])));
    let layout = match flat {
        Some(flat) if !flat.has(FLAT_COLUMNS[3]) && !is_typed => {
            return Err(Error::unsupported(format!("the metastore {identifier} is one of Kylin 2 to 4"))
                .hint("only those of Kylin 5 are read: upgrade it with Kylin's own tool first"));
        }
        Some(flat) if flat.has(FLAT_COLUMNS[3]) && is_typed => {
            let what = format!("under {identifier} there are tables of both layouts, before Kylin 5.0.0 and since");
            let advice = "see which one Kylin works with, and rename or remove the tables of the other";
            return Err(Error::refused(what).hint(advice));
        }
        Some(flat) if flat.has(FLAT_COLUMNS[3]) => Layout::Flat,
        _ if is_typed => Layout::Typed,
        _ if found.iter().any(|found| found.table == folded(dialect, &mark(identifier))) => {
            let what = format!("there is no metastore {identifier} in it: a load into it was cut off, or is under way");
            return Err(Error::config(what).hint("wait for it, or load it again: what was left is cleared then"));
        }
        _ => {
            return Err(Error::config(format!("there is no metastore {identifier} in it"))
                .hint("look at the identifier, which stands before the @, and at database, schema and rights"));
        }
    };
    Ok(Located { layout, placed: tables(layout).iter().filter_map(place).collect() })
}

/// Kylin writes names without quotes, and looks for them as they are, in lower and in upper case (`JdbcUtil.isTableExists`).
fn place(dialect: Dialect, identifier: &str, table: &'static Table, found: &[Found]) -> Option<Placed> {
    let name = table.name(identifier);
    let [lower, upper] = [name.to_ascii_lowercase(), name.to_ascii_uppercase()];
    let order = match dialect {
        Dialect::Postgres => [lower, name, upper],
        Dialect::Mysql => [name, lower, upper],
    };
    let real = order.iter().find(|name| found.iter().any(|found| found.table == **name))?;
    let columns: Vec<_> = found.iter().filter(|found| found.table == *real).collect();
    let key = if table.role == Role::Resources { FLAT_COLUMNS[0] } else { TYPED_COLUMNS[0] };
    let collation = columns.iter().find(|found| found.column.eq_ignore_ascii_case(key));
    Some(Placed {
        table,
        name: quoted(dialect, real),
        collation: collation.and_then(|found| found.collation.clone()),
        has_transactions: columns.iter().all(|found| found.has_transactions),
        columns: columns.iter().map(|found| found.column.to_ascii_lowercase()).collect(),
    })
}
