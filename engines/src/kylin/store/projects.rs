//! The projects of a store, by the resources that make them one.

use metaferry_codecs::kylin::{Layout, key};
use metaferry_pipeline::Result;

use super::session::Session;
use super::tables::{Located, Role};

/// The projects that the metadata has.
pub(crate) fn projects(session: &mut Session, located: &Located) -> Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for placed in located.resources() {
        let [column, ..] = placed.resource_columns();
        let head: &[u8] = match (located.layout, placed.table.role) {
            (Layout::Flat, _) => b"",
            (Layout::Typed, Role::Typed(found)) if found.name == "PROJECT" => b"PROJECT/",
            _ => continue,
        };
        let within = match located.layout {
            Layout::Flat => {
                let [from, to] = [&b"/_global/project/"[..], b"/_global/project0"].map(|text| session.literal(text));
                format!("WHERE {column} > {from} AND {column} < {to}")
            }
            Layout::Typed => String::new(),
        };
        let rows = session.ask(&format!("SELECT {column} FROM {} {within} ORDER BY {column}", placed.name))?;
        for found in rows.into_iter().filter_map(|cells| cells.into_iter().next().flatten()) {
            let whole = [head, &found].concat();
            names.extend(key::owner(&whole, b"").project().map(<[u8]>::to_vec));
        }
    }
    Ok(names)
}
