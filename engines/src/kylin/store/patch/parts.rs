//! What a patch changes, counted by part, and in which order the change log has it. A part is a folder of the flat layout, a type
//! of the typed one. It runs no statement and knows no row.

use std::collections::BTreeMap;

use metaferry_codecs::kylin::Layout;
use metaferry_codecs::kylin::key::GLOBAL;

/// What becomes of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Op {
    Insert,
    Replace,
    Delete,
    /// It is as it shall be, and has to be so still.
    Keep,
}

impl Op {
    /// What the log has, in its order.
    const LOGGED: [Self; 3] = [Self::Insert, Self::Replace, Self::Delete];

    /// Its number in a staged row.
    pub(super) fn number(self) -> u8 {
        self as u8
    }
}

/// How many resources of each part something becomes of.
#[derive(Debug, Default)]
pub(super) struct Parts {
    found: BTreeMap<Vec<u8>, [u64; 4]>,
}

/// Rows of the log that come together: those of a part with which the same is done, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) part: Vec<u8>,
    pub(super) op: Op,
    pub(super) rows: u64,
}

/// The part that a key is of: its folder, its type. `None` where it lies in the root.
pub(super) fn part_of(layout: Layout, key: &[u8]) -> Option<&[u8]> {
    let path = match layout {
        Layout::Flat => key.strip_prefix(b"/")?,
        Layout::Typed => key,
    };
    let end = path.iter().position(|byte| *byte == b'/')?;
    path.get(..end)
}

impl Parts {
    /// Counts one more, and says how many there were of its part and sort before.
    pub(super) fn add(&mut self, part: &[u8], op: Op) -> u64 {
        if !self.found.contains_key(part) {
            self.found.insert(part.to_vec(), [0; 4]);
        }
        let counts = self.found.get_mut(part);
        let Some(count) = counts.and_then(|counts| counts.get_mut(usize::from(op.number()))) else { return 0 };
        *count += 1;
        *count - 1
    }

    /// How many there are of a part.
    pub(super) fn count(&self, part: &[u8], op: Op) -> u64 {
        self.found.get(part).map_or(0, |counts| of(counts, op))
    }

    /// How many there are.
    pub(super) fn total(&self, op: Op) -> u64 {
        self.found.values().map(|counts| of(counts, op)).sum()
    }

    /// The parts in which there is any.
    pub(super) fn with(&self, op: Op) -> impl Iterator<Item = &[u8]> {
        self.found.iter().filter(move |(_, counts)| of(counts, op) > 0).map(|(part, _)| part.as_slice())
    }

    /// The log's rows in their order, unit by unit (`MetadataToolHelper.restore`). In the flat layout each folder is a unit, in
    /// the order of their names; of one project, the unit of what is global comes first. In the typed one all is one unit.
    pub(super) fn units(&self, layout: Layout, is_project: bool) -> Vec<Vec<Step>> {
        let mut names: Vec<_> = self.found.keys().collect();
        if is_project {
            names.sort_by_key(|name| (*name != GLOBAL, *name));
        }
        let step = |part: &Vec<u8>, op| {
            let rows = self.count(part, op);
            (rows > 0).then(|| Step { part: part.clone(), op, rows })
        };
        let step = &step;
        let units: Vec<Vec<_>> = match layout {
            Layout::Flat => {
                names.into_iter().map(|part| Op::LOGGED.into_iter().filter_map(|op| step(part, op)).collect()).collect()
            }
            Layout::Typed => {
                let names = &names;
                vec![
                    Op::LOGGED.into_iter().flat_map(|op| names.iter().filter_map(move |part| step(part, op))).collect(),
                ]
            }
        };
        units.into_iter().filter(|steps| !steps.is_empty()).collect()
    }
}

fn of(counts: &[u64; 4], op: Op) -> u64 {
    counts.get(usize::from(op.number())).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(counts: &[(&str, Op, u64)]) -> Parts {
        let mut parts = Parts::default();
        for (part, op, count) in counts {
            for number in 0..*count {
                assert_eq!(parts.add(part.as_bytes(), *op), number);
            }
        }
        parts
    }

    fn told(units: &[Vec<Step>]) -> String {
        let step = |step: &Step| format!("{}{:?}{}", String::from_utf8_lossy(&step.part), step.op, step.rows);
        let units: Vec<_> = units.iter().map(|unit| unit.iter().map(step).collect::<Vec<_>>().join(" ")).collect();
        units.join(" | ")
    }

    #[test]
    fn a_key_is_of_its_folder_or_of_its_type() {
        for (layout, key, part) in [
            (Layout::Flat, "/_global/project/p.json", Some("_global")),
            (Layout::Flat, "/p/execute/x", Some("p")),
            (Layout::Flat, "/UUID", None),
            (Layout::Flat, "UUID", None),
            (Layout::Typed, "MODEL/a/b", Some("MODEL")),
            (Layout::Typed, "MODEL", None),
        ] {
            assert_eq!(part_of(layout, key.as_bytes()), part.map(str::as_bytes), "{key}");
        }
    }

    #[test]
    fn the_log_has_folders_in_the_order_of_their_names_each_a_unit() {
        use Op::{Delete, Insert, Keep, Replace};
        // The keys of a-b come before those of a, and its name behind.
        let parts = parts(&[
            ("a-b", Insert, 1),
            ("a", Delete, 2),
            ("a", Insert, 1),
            ("_global", Replace, 3),
            ("Z", Replace, 1),
            ("k", Keep, 5),
        ]);
        assert_eq!(
            told(&parts.units(Layout::Flat, false)),
            "ZReplace1 | _globalReplace3 | aInsert1 aDelete2 | a-bInsert1"
        );
        let project = parts_of_a_project();
        assert_eq!(told(&project.units(Layout::Flat, true)), "_globalReplace1 | PInsert2");
        assert_eq!((parts.total(Insert), parts.total(Keep), parts.count(b"a", Delete)), (2, 5, 2));
        assert_eq!(parts.with(Insert).collect::<Vec<_>>(), [&b"a"[..], b"a-b"]);
    }

    fn parts_of_a_project() -> Parts {
        parts(&[("P", Op::Insert, 2), ("_global", Op::Replace, 1)])
    }

    #[test]
    fn the_log_of_the_typed_layout_is_one_unit() {
        use Op::{Delete, Insert, Replace};
        let parts =
            parts(&[("LAYOUT_DETAILS", Insert, 1), ("LAYOUT", Insert, 2), ("ACL", Delete, 1), ("MODEL", Replace, 1)]);
        let units = parts.units(Layout::Typed, false);
        assert_eq!(told(&units), "LAYOUTInsert2 LAYOUT_DETAILSInsert1 MODELReplace1 ACLDelete1");
        assert_eq!(Parts::default().units(Layout::Typed, false), Vec::<Vec<Step>>::new());
    }
}
