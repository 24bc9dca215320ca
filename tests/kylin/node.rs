//! A server of Kylin's as small as can be: resources in memory, kept up to date from the change log by the rules that Kylin's job
//! nodes follow.

use std::collections::BTreeMap;

use metaferry_codecs::kylin::content;

use super::place::Place;

/// Its own name in the log, whose rows it passes over.
const OWN: &str = "10.0.0.5:7070";

/// What it has in memory, and how far it has read.
pub(crate) struct Node {
    resources: BTreeMap<String, (Vec<u8>, i64)>,
    offset: i64,
    is_typed: bool,
}

fn plain(hex: &str) -> Vec<u8> {
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    content::plain(&bytes, content::BOUND).unwrap().into_owned()
}

impl Node {
    /// Loads a store of the flat layout.
    pub(crate) fn boot(place: &Place<'_>) -> Self {
        Self { resources: table(place), offset: offset(place, "k_audit_log"), is_typed: false }
    }

    /// The same of the typed layout.
    pub(crate) fn boot_typed(place: &Place<'_>) -> Self {
        Self { resources: typed(place), offset: offset(place, "k_audit_log_v2"), is_typed: true }
    }

    /// Reads on in the log, unit by unit, and then has what the table has.
    #[track_caller]
    pub(crate) fn catch_up(&mut self, place: &Place<'_>) {
        let log = if self.is_typed { "k_audit_log_v2" } else { "k_audit_log" };
        let content = place.hex("meta_content");
        let columns = ["id", "meta_key", &content, "meta_mvcc", "unit_id", "instance"];
        let rows = place.rows(&format!("{log} WHERE id > {}", self.offset), &columns, "id");
        let (mut ended, mut last) = (Vec::new(), String::new());
        for row in rows {
            let cells: Vec<_> = row.split('|').collect();
            let [id, key, content, mvcc, unit, instance] = cells[..] else { unreachable!("{row}") };
            assert_eq!(id.parse(), Ok(self.offset + 1), "a number that is missing is waited for, for minutes");
            self.offset += 1;
            if unit != last {
                assert!(!ended.contains(&unit.to_owned()), "a unit is applied in one go: {row}");
                ended.push(std::mem::replace(&mut last, unit.to_owned()));
            }
            if instance != OWN {
                self.apply(key, (content != "NULL").then(|| (plain(content), mvcc.parse().unwrap())));
            }
        }
        let table = if self.is_typed { typed(place) } else { table(place) };
        assert_eq!(self.resources, table, "the node has what the database has");
    }

    fn apply(&mut self, key: &str, written: Option<(Vec<u8>, i64)>) {
        let known = self.resources.get(key).map(|(_, mvcc)| *mvcc);
        match (written, known) {
            (None, _) => {
                self.resources.remove(key);
            }
            (Some((_, mvcc)), Some(known)) if mvcc != known + 1 => unreachable!("{key}: version {mvcc} after {known}"),
            (Some(written), _) => {
                self.resources.insert(key.to_owned(), written);
            }
        }
    }
}

fn offset(place: &Place<'_>, log: &str) -> i64 {
    place.run(&format!("SELECT coalesce(max(id), 0) FROM {log}")).trim().parse().unwrap()
}

fn table(place: &Place<'_>) -> BTreeMap<String, (Vec<u8>, i64)> {
    resources(place, "k", ["META_TABLE_KEY", "META_TABLE_CONTENT", "META_TABLE_MVCC"], "")
}

fn typed(place: &Place<'_>) -> BTreeMap<String, (Vec<u8>, i64)> {
    let types = ["PROJECT", "SYSTEM", "USER_INFO", "MODEL", "TABLE_INFO", "JOB_STATS"];
    let of = |name: &str| {
        resources(place, &format!("k_{}", name.to_lowercase()), ["meta_key", "content", "mvcc"], &format!("{name}/"))
    };
    types.into_iter().flat_map(of).collect()
}

fn resources(
    place: &Place<'_>,
    table: &str,
    [key, content, mvcc]: [&str; 3],
    head: &str,
) -> BTreeMap<String, (Vec<u8>, i64)> {
    let content = place.hex(content);
    let rows = place.rows(table, &[key, &content, mvcc], "1").into_iter().map(|row| {
        let cells: Vec<_> = row.split('|').collect();
        (format!("{head}{}", cells[0]), (plain(cells[1]), cells[2].parse().unwrap()))
    });
    rows.collect()
}
