//! Which resources of the flat layout are read, and in what pieces, where these are made out of the keys alone in one pass over
//! them. Rows that Kylin does not see are told apart here (`JdbcMetadataStore.reloadAll`).

use std::collections::BTreeSet;

use metaferry_codecs::kylin::image::FLAT_UUID;
use metaferry_codecs::kylin::key::GLOBAL;

/// Rows in a stretch, at most.
const ROWS: u64 = 1024;
const SAMPLES: &[u8] = b"table_exd";

/// Neighbouring resources that are read at a time, from one key to another, both among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) first: Vec<u8>,
    pub(super) last: Vec<u8>,
    pub(super) rows: u64,
}

/// What is read.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Resources of projects that are not there too.
    pub(super) orphans: bool,
    /// All but the samples and statistics of tables.
    pub(super) without_table_exd: bool,
    /// The names of the projects that are there.
    pub(super) projects: BTreeSet<Vec<u8>>,
}

/// What a key is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// What is read.
    Wanted,
    /// A project that is not there.
    Orphan,
    /// The samples and statistics of a table, where they are left out.
    TableExd,
}

/// What is seen and not read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Resources of projects that are not there.
    pub(super) orphans: u64,
    /// Samples and statistics of tables.
    pub(super) table_exds: u64,
}

/// What is made of the keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stretches {
    pub(super) all: Vec<Stretch>,
    pub(super) left: Left,
    /// Whether the keys came in another order than that of their bytes.
    pub(super) is_unordered: bool,
    /// Whether the last stretch goes on.
    is_open: bool,
    previous: Vec<u8>,
}

impl Stretches {
    /// Takes in the next key.
    pub(super) fn see(&mut self, key: &[u8], wanted: &Wanted) {
        self.is_unordered |= key < self.previous.as_slice();
        self.previous.clear();
        self.previous.extend_from_slice(key);
        if self.left.has(wanted.sort(key)) {
            self.is_open = false;
        } else {
            self.add(key);
        }
    }

    /// What comes next is no neighbour of what came last.
    pub(super) fn end(&mut self) {
        self.is_open = false;
    }

    fn add(&mut self, key: &[u8]) {
        if let Some(last) = self.all.last_mut().filter(|last| self.is_open && last.rows < ROWS) {
            last.last.clear();
            last.last.extend_from_slice(key);
            last.rows += 1;
            return;
        }
        self.all.push(Stretch { first: key.to_vec(), last: key.to_vec(), rows: 1 });
        self.is_open = true;
    }
}

impl Left {
    /// Counts a resource that is not wanted; whether it is one.
    pub(super) fn has(&mut self, sort: Sort) -> bool {
        match sort {
            Sort::Wanted => return false,
            Sort::Orphan => self.orphans += 1,
            Sort::TableExd => self.table_exds += 1,
        }
        true
    }

    /// How many there are, by what they are.
    pub(super) fn told(&self) -> [(&'static str, u64); 2] {
        [
            ("resources of projects that are not there", self.orphans),
            ("samples and statistics of tables", self.table_exds),
        ]
    }
}

impl Wanted {
    /// What a key is of.
    pub(super) fn sort(&self, key: &[u8]) -> Sort {
        let (folder, file) = split(key);
        if !self.orphans && !self.is_there(key, folder) {
            Sort::Orphan
        } else if self.without_table_exd && folder != Some(GLOBAL) && split(file).0 == Some(SAMPLES) {
            Sort::TableExd
        } else {
            Sort::Wanted
        }
    }

    fn is_there(&self, key: &[u8], folder: Option<&[u8]>) -> bool {
        match folder {
            Some(GLOBAL) => true,
            Some(project) => self.projects.contains(project),
            None => key == FLAT_UUID,
        }
    }
}

/// The first part of a key, where it has several, and the rest with its slash.
fn split(key: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let Some(path) = key.strip_prefix(b"/") else { return (None, key) };
    match memchr::memchr(b'/', path) {
        Some(end) => {
            let (folder, file) = path.split_at(end);
            (Some(folder), file)
        }
        None => (None, key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(wanted: &Wanted, keys: &[&str]) -> (Vec<(String, String, u64)>, u64, u64) {
        let mut stretches = Stretches::default();
        keys.iter().for_each(|key| stretches.see(key.as_bytes(), wanted));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let all = stretches.all.iter().map(|found| (text(&found.first), text(&found.last), found.rows)).collect();
        (all, stretches.left.orphans, stretches.left.table_exds)
    }

    fn stretch(first: &str, last: &str, rows: u64) -> (String, String, u64) {
        (first.to_owned(), last.to_owned(), rows)
    }

    const KEYS: [&str; 12] = [
        "/A/model_desc/1.json",
        "/UUID",
        "/VERSION",
        "/_global/project/A.json",
        "/_global/project/p.json",
        "/_global/table_exd/x",
        "/_global/user/ADMIN",
        "/gone/table/X.json",
        "/p/table/X.json",
        "/p/table_exd/X.json",
        "/p/table_exdx/Y.json",
        "/pp/table/X.json",
    ];

    fn projects() -> BTreeSet<Vec<u8>> {
        [b"A".to_vec(), b"p".to_vec()].into()
    }

    #[test]
    fn only_what_kylin_sees_is_read() {
        let wanted = Wanted { projects: projects(), ..Wanted::default() };
        let (all, orphans, _) = made(&wanted, &KEYS);
        let expected = [
            stretch("/A/model_desc/1.json", "/UUID", 2),
            stretch("/_global/project/A.json", "/_global/user/ADMIN", 4),
            stretch("/p/table/X.json", "/p/table_exdx/Y.json", 3),
        ];
        assert_eq!((all.as_slice(), orphans), (&expected[..], 3));
        let (all, orphans, _) = made(&Wanted { orphans: true, ..wanted }, &KEYS);
        assert_eq!((all, orphans), (vec![stretch("/A/model_desc/1.json", "/pp/table/X.json", 12)], 0));
    }

    #[test]
    fn samples_are_left_out_exactly() {
        let wanted = Wanted { projects: projects(), without_table_exd: true, ..Wanted::default() };
        let (all, _, samples) = made(&wanted, &KEYS);
        assert_eq!(samples, 1);
        assert_eq!(
            all[2..],
            [
                stretch("/p/table/X.json", "/p/table/X.json", 1),
                stretch("/p/table_exdx/Y.json", "/p/table_exdx/Y.json", 1)
            ]
        );
        assert_eq!(all[1].2, 4, "what is called so in another place stays");
    }

    #[test]
    fn stretches_are_short_and_another_order_is_seen() {
        let keys: Vec<_> = (0..2500).map(|number| format!("/_global/{number:05}")).collect();
        let (all, ..) = made(&Wanted::default(), &keys.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(all.iter().map(|found| found.2).collect::<Vec<_>>(), [1024, 1024, 452]);
        let is_unordered = |keys: &[&str]| {
            let mut stretches = Stretches::default();
            keys.iter().for_each(|key| stretches.see(key.as_bytes(), &Wanted::default()));
            stretches.is_unordered
        };
        assert!(!is_unordered(&["/_global/a", "/_global/b"]) && is_unordered(&["/_global/a", "/_global/B"]));
    }
}
