//! What a census finds in a small volume, and what it gives back.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::*;
use crate::system::{Census as _, CensusOptions, Finding, Ledger, Outcome, Selection as _, Sum};

#[derive(Default)]
struct Books {
    first: BTreeMap<[u64; 2], [i64; 4]>,
    second: BTreeMap<[u64; 2], [i64; 4]>,
}

fn add(sums: &mut BTreeMap<[u64; 2], [i64; 4]>, key: [u64; 2], delta: [i64; 4]) {
    sums.entry(key).or_default().iter_mut().zip(delta).for_each(|(sum, delta)| *sum += delta);
}

impl Ledger for Books {
    type Error = Infallible;
    fn add(&mut self, key: [u64; 2], delta: [i64; 4]) -> Result<(), Infallible> {
        add(&mut self.second, key, delta);
        Ok(())
    }
    fn add_first(&mut self, key: [u64; 2], delta: [i64; 4]) -> Result<(), Infallible> {
        add(&mut self.first, key, delta);
        Ok(())
    }
}

fn run(batches: &[Batch], options: CensusOptions) -> Vec<Outcome<Batch>> {
    let mut census = Census::new(options);
    let mut other = census.share();
    let mut books = Books::default();
    for (index, batch) in batches.iter().enumerate() {
        let worker = if index % 2 == 0 { &mut census } else { &mut other };
        worker.observe(batch, &mut books).unwrap();
    }
    census.merge(other);
    let mut first = std::mem::take(&mut books.first).into_iter();
    census.bridge(&mut || Ok::<Option<Sum>, Infallible>(first.next()), &mut books).unwrap();
    let mut second = books.second.into_iter();
    let mut outcomes = Vec::new();
    let emit = &mut |outcome| {
        outcomes.push(outcome);
        Ok(())
    };
    census.settle(&mut || Ok::<Option<Sum>, Infallible>(second.next()), emit).unwrap();
    outcomes
}

fn findings(batches: &[Batch]) -> Vec<String> {
    let outcomes = run(batches, CensusOptions::default());
    let text = |outcome| match outcome {
        Outcome::Found(Finding { text, .. }) => text,
        other => panic!("a census that only compares emitted {other:?}"),
    };
    outcomes.into_iter().map(text).collect()
}

fn node(inode: u64, kind: FileType, nlink: u32, parent: u64, length: u64) -> Node {
    Node { inode, kind, nlink, parent, length, ..Node::default() }
}

/// The small volume of section 8.5 of the reference, all engines agreeing on it.
fn volume() -> Vec<Batch> {
    let hour = TRASH_INODE + 1;
    let edge = |parent, name: &[u8], inode, kind| Edge { parent, name: name.to_vec(), inode, kind };
    let counter = |name: &[u8], value| Counter { name: name.to_vec(), value };
    let (regular, directory) = (FileType::REGULAR, FileType::DIRECTORY);
    vec![
        vec![Setting { document: Document(br#"{"Name":"v","UUID":"u","DirStats":true}"#.to_vec()) }].into(),
        vec![
            node(1, directory, 3, 1, 4096),
            node(2, regular, 2, 0, 5),
            node(3, directory, 2, 1, 4096),
            node(4, FileType::SYMLINK, 1, 3, 8),
            node(5, regular, 1, hour, 0),
            node(TRASH_INODE, directory, 2, 1, 4096),
            node(hour, directory, 2, TRASH_INODE, 4096),
        ]
        .into(),
        vec![
            edge(1, b"hello", 2, regular),
            edge(1, b"sub", 3, directory),
            edge(3, b"hi", 2, regular),
            edge(3, b"ln", 4, FileType::SYMLINK),
            edge(TRASH_INODE, b"2023-11-14-22", hour, directory),
            edge(hour, b"1-5-old", 5, regular),
        ]
        .into(),
        vec![Parent { inode: 2, parent: 1, count: 1 }, Parent { inode: 2, parent: 3, count: 1 }].into(),
        vec![Chunk { inode: 2, index: 0, slices: Slices(vec![Slice { id: 1, size: 5, len: 5, ..Slice::default() }]) }]
            .into(),
        vec![
            DirStat { inode: 1, length: 5, space: 8192, inodes: 2 },
            DirStat { inode: 3, length: 5, space: 8192, inodes: 2 },
            DirStat { inode: hour, length: 0, space: 4096, inodes: 1 },
        ]
        .into(),
        vec![
            counter(b"nextInode", 1026),
            counter(b"nextChunk", 4097),
            counter(b"nextSession", 1),
            counter(b"nextTrash", 1),
            counter(b"usedSpace", 20480),
            counter(b"totalInodes", 5),
        ]
        .into(),
    ]
}

#[test]
fn a_right_volume_agrees_with_itself() {
    assert_eq!(findings(&volume()), Vec::<String>::new());
}

#[test]
fn what_is_broken_is_found() {
    let mut broken = volume();
    let Batch::Node(nodes) = &mut broken[1] else { unreachable!() };
    nodes.remove(3);
    nodes[1].nlink = 7;
    nodes.push(node(9, FileType::REGULAR, 1, 3, 4097));
    let Batch::Counter(counters) = &mut broken[6] else { unreachable!() };
    counters[1].value = 1;
    broken.push(vec![SliceRef { id: 1, size: 5, refs: 3 }, SliceRef { id: 8, size: 5, refs: 1 }].into());
    let found = findings(&broken);
    for expected in [
        "slice 1: 3 references are stored, 1 are there",
        "inode 2: link count 7, 2 edges lead to it",
        "directory 3: length 5, space 8192, inodes 2 are stored; 4102, 12288, 2 are there",
        "slice 8: 1 references are stored, none is there",
        "inode 4: an edge leads to it, but it has no node",
        "inode 9: no edge leads to it",
        "counter nextChunk: 1 is stored, 9 is right",
        "counter usedSpace: 20480 is stored, 24576 is right",
    ] {
        assert!(found.iter().any(|text| text == expected), "{expected} is not in {found:#?}");
    }
    assert_eq!(found.len(), 8, "{found:#?}");
}

#[test]
fn a_mending_census_gives_back_what_is_right() {
    let mut stale = volume();
    let Batch::Node(nodes) = &mut stale[1] else { unreachable!() };
    nodes[1].nlink = 1;
    let Batch::Counter(counters) = &mut stale[6] else { unreachable!() };
    counters[4].value = 0;
    let outcomes =
        run(&stale, CensusOptions { mend: true, amend: true, defaults: true, keep_counters: false, partial: false });
    let derived: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Derived(batch) => Some(batch),
            _ => None,
        })
        .collect();
    assert!(derived.contains(&&vec![SliceRef { id: 1, size: 5, refs: 1 }].into()));
    let space = Counter { name: b"usedSpace".to_vec(), value: 20480 };
    assert!(derived.iter().any(|batch| matches!(batch, Batch::Counter(rows) if rows.contains(&space))));
    let links = |nlink| Batch::from(vec![Links { inode: 2, nlink }]);
    let amended = outcomes.iter().any(
        |outcome| matches!(outcome, Outcome::Amend { before, after } if *before == links(1) && *after == links(2)),
    );
    assert!(amended);
}

#[test]
fn counters_are_kept_when_asked() {
    let mut stale = volume();
    let Batch::Counter(counters) = &mut stale[6] else { unreachable!() };
    counters[4].value = 7;
    let mut kept = counters.clone();
    kept.sort_by(|one, other| one.name.cmp(&other.name));
    let outcomes =
        run(&stale, CensusOptions { mend: true, amend: false, defaults: false, keep_counters: true, partial: false });
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Outcome::Derived(Batch::Counter(rows)) if *rows == kept)));
}

/// The volume without its trash: what it says of itself is of the whole, and what is worked out is of what is left.
#[test]
fn a_part_of_a_volume_gets_sums_of_its_own_and_no_finding() {
    let mut part = volume();
    let slice = |id| Slice { id, size: 5, len: 5, ..Slice::default() };
    part.push(vec![Chunk { inode: 5, index: 0, slices: Slices(vec![slice(1), slice(7), slice(8)]) }].into());
    let references = [(1, 2), (7, 1), (8, 1), (9, 0)].map(|(id, refs)| SliceRef { id, size: 5, refs });
    part.push(references.to_vec().into());
    let quota = |class, id, used_space, used_inodes| Quota { class, id, used_space, used_inodes, ..Quota::default() };
    part.push(vec![quota(1, 0, 20480, 5), quota(0, 3, 8192, 2), quota(2, 7, 4096, 1)].into());
    let mut selection = Selection::without_trash();
    part.iter().for_each(|batch| selection.learn(batch));
    assert!(!selection.settle());
    for batch in &mut part {
        selection.keep(batch);
    }
    for defaults in [false, true] {
        let outcomes =
            run(&part, CensusOptions { partial: true, mend: defaults, defaults, ..CensusOptions::default() });
        let derived: Vec<&Batch> = outcomes
            .iter()
            .map(|outcome| match outcome {
                Outcome::Derived(batch) => batch,
                other => panic!("{other:?}"),
            })
            .collect();
        let [Batch::SliceRef(references), Batch::Quota(quotas), Batch::Counter(counters)] = derived[..] else {
            panic!("{derived:?}")
        };
        let all: Vec<_> =
            references.iter().map(|row| (row.id, row.refs)).filter(|(_, refs)| defaults || *refs != 1).collect();
        assert_eq!(all, if defaults { vec![(1, 1), (9, 0)] } else { vec![(9, 0)] });
        // A file and a directory; JuiceFS does not count the symlink.
        assert_eq!(*quotas, [quota(0, 3, 8192, 2), quota(1, 0, 8192, 2), quota(2, 7, 0, 0)]);
        let value = |name: &[u8]| counters.iter().find(|row| row.name == name).unwrap().value;
        assert_eq!((value(b"usedSpace"), value(b"totalInodes"), value(b"nextTrash")), (12288, 3, 1));
        assert_eq!((value(b"nextInode"), value(b"nextChunk")), (1026, 4097));
    }
}
