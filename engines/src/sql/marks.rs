//! The tables that a load has besides those of the volume, all gone once it is committed; and a commit that was not
//! answered. It knows no dialect.

use metaferry_codecs::juicefs::tables::{self, Table, Type, Widths};
use metaferry_pipeline::Error;

/// The table that marks a target until a load into it is committed, behind the prefix.
pub(crate) const MARK: &str = "metaferry";
/// Tables of rows that are to replace others wait beside these, each with the columns of the one it amends.
pub(crate) const AMENDED: [Table; 2] = [tables::NODE, tables::DIR_STATS];
/// The table in which link counts wait.
pub(crate) const LINKS: &str = "links";

/// What a link count is while it waits: as it will be in the table of nodes.
pub(crate) fn link_count(widths: Widths) -> Type {
    let column = tables::NODE.columns.iter().find(|column| column.name == "nlink");
    column.map_or(Type::Long, |column| widths.of(&tables::NODE, column))
}

/// The table in which rows wait that are to replace those of another.
pub(crate) fn waiting(table: &str) -> String {
    format!("{MARK}_{table}")
}

/// A commit that failed. What can be reached is cleared all the same; what cannot may be there.
pub(crate) fn in_doubt(error: Error) -> Error {
    error.hint("where the connection was lost, the commit may have arrived all the same: look with metaferry info")
}
