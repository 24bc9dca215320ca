//! The head of a dump: everything before the trees, indented by two spaces, as Go's encoder prints it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::Result;
use crate::juicefs::setting;
use crate::juicefs::types::Limit;

/// The counters of a dump, by the names they have there, in the order of writing, and the names they have elsewhere.
const COUNTERS: [(&str, &str); 6] = [
    ("usedSpace", "usedSpace"),
    ("usedInodes", "totalInodes"),
    ("nextInodes", "nextInode"),
    ("nextChunk", "nextChunk"),
    ("nextSession", "nextSession"),
    ("nextTrash", "nextTrash"),
];

/// A quota of a dump: its limits of space, in bytes, and of inodes.
type Limits = (Limit, Limit);

/// What stands before the trees.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Head {
    /// The setting, as stored.
    pub setting: Vec<u8>,
    /// The counters, by the names that rows give them.
    pub counters: BTreeMap<Vec<u8>, i64>,
    /// The inodes that sessions keep.
    pub sustained: BTreeMap<u64, Vec<u64>>,
    /// Quotas, by class, then by whose they are.
    pub quotas: [BTreeMap<u64, Limits>; 3],
}

const QUOTAS: [&str; 3] = ["Quotas", "UserQuotas", "GroupQuotas"];

impl Head {
    /// Appends the document up to where the files that wait to be freed follow.
    ///
    /// # Errors
    /// A setting that is no JSON object.
    pub fn begin(&self, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(b"{\n  \"Setting\": ");
        setting::write_dump(&self.setting, out)?;
        out.extend_from_slice(b",\n  \"Counters\": ");
        let value = |name: &str| self.counters.get(name.as_bytes()).copied().unwrap_or(0);
        let counters: Map<String, Value> =
            COUNTERS.iter().map(|&(name, row)| (name.to_owned(), value(row).into())).collect();
        setting::write_indented(&Value::Object(counters), 1, out);
        let session = |(&sid, inodes): (&u64, &Vec<u64>)| serde_json::json!({ "sid": sid, "inodes": inodes });
        out.extend_from_slice(b",\n  \"Sustained\": ");
        setting::write_indented(&self.sustained.iter().map(session).collect(), 1, out);
        out.extend_from_slice(b",\n  \"DelFiles\": [");
        Ok(())
    }

    /// Appends one file that waits to be freed.
    pub fn del_file(is_first: bool, file: &crate::juicefs::DelFile, out: &mut Vec<u8>) {
        out.extend_from_slice(if is_first { b"\n    " } else { b",\n    " });
        let value = serde_json::json!({ "inode": file.inode, "length": file.length, "expire": file.expire });
        setting::write_indented(&value, 2, out);
    }

    /// Appends what follows those files; the trees come next.
    pub fn end(&self, any_file: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(if any_file { b"\n  ]" } else { b"]" });
        for (class, name) in QUOTAS.into_iter().enumerate() {
            let unlimited = |limits: &Limits| class > 0 && limits.0.0 < 0 && limits.1.0 < 0;
            let quotas = self.quotas.get(class).into_iter().flatten();
            let quotas: BTreeMap<String, &Limits> =
                quotas.filter(|(_, limits)| !unlimited(limits)).map(|(id, limits)| (id.to_string(), limits)).collect();
            if quotas.is_empty() {
                continue;
            }
            let quota = |(id, limits): (String, &Limits)| {
                (id, serde_json::json!({ "maxSpace": limits.0.0, "maxInodes": limits.1.0 }))
            };
            out.extend_from_slice(format!(",\n  \"{name}\": ").as_bytes());
            setting::write_indented(&Value::Object(quotas.into_iter().map(quota).collect()), 1, out);
        }
        out.push(b',');
    }
}

/// The name that rows give a counter of a dump; as it is where a dump gives it no other.
#[must_use]
pub fn counter_name(name: &[u8]) -> &[u8] {
    COUNTERS.iter().find(|(dumped, _)| dumped.as_bytes() == name).map_or(name, |(_, row)| row.as_bytes())
}

/// Whether a dump has a counter that rows give this name.
#[must_use]
pub fn has_counter(name: &[u8]) -> bool {
    COUNTERS.iter().any(|(_, row)| row.as_bytes() == name)
}
