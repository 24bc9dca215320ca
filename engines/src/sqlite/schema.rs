//! SQLite's dialect of the SQL layout: the DDL, to the letter of JuiceFS's, and what tables and columns a file has.

use std::path::Path;

use metaferry_codecs::juicefs::tables::Type;
use metaferry_pipeline::Result;
use rusqlite::Connection;

use super::failure;
use crate::sql::ddl::Dialect;
use crate::sql::schema::Schema;

/// How SQLite writes the layout.
pub(super) const DIALECT: Dialect = Dialect { quote: '`', type_name, counts: " AUTOINCREMENT" };

fn type_name(holds: Type) -> String {
    let name = match holds {
        Type::Int | Type::Long | Type::Serial | Type::IntSerial => "INTEGER",
        Type::Name | Type::Text => "TEXT",
        Type::Bytes(_) | Type::Blob | Type::LongBlob => "BLOB",
    };
    name.to_owned()
}

/// What of the layout a file has.
///
/// # Errors
/// A file without the tables of a volume.
pub(super) fn read(connection: &Connection, path: &Path, prefix: &str) -> Result<Schema> {
    let failed = |error| failure(path, error);
    let sql = "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c \
               WHERE t.type = 'table' AND substr(t.name, 1, length(?1)) = ?1";
    let mut statement = connection.prepare(sql).map_err(failed)?;
    let found = statement.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    let found: Vec<_> = found.collect::<rusqlite::Result<_>>().map_err(failed)?;
    Schema::new(&path.display(), prefix, DIALECT.quote, found)
}
