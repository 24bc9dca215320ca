//! Censuses of small volumes: right ones, broken ones, and what is mended.

mod advance;

use std::collections::BTreeMap;
use std::convert::Infallible;

use crate::juicefs::{
    Batch, Census, Chunk, Counter, DirStat, Document, Edge, FileType, Links, Node, Parent, Quota, Selection, Setting,
    Slice, SliceRef, Slices, Sustained, TRASH_INODE,
};
use crate::system::{Batch as _, Census as _, CensusOptions, Finding, Ledger, Outcome, Selection as _, Sum};

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
    let outcomes = run(&stale, CensusOptions { mend: true, amend: true, defaults: true, ..CensusOptions::default() });
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
fn missing_statistics_are_made_up_for_where_rows_are_amended() {
    let mut volume = volume();
    let full = std::mem::replace(&mut volume[5], Vec::<DirStat>::new().into());
    assert_eq!(findings(&volume), Vec::<String>::new());
    let mut amended = run(&volume, CensusOptions { mend: true, amend: true, ..CensusOptions::default() });
    let found = |outcome: &mut Outcome<Batch>| matches!(outcome, Outcome::Found(found) if found.mendable);
    assert_eq!(amended.extract_if(.., found).count(), 3);
    let stats = |outcome: &Outcome<Batch>| matches!(outcome, Outcome::Derived(rows) if *rows == full);
    assert_eq!(amended.iter().filter(|outcome| stats(outcome)).count(), 1, "{amended:?}");
}

#[test]
fn counters_are_kept_when_asked() {
    let mut stale = volume();
    let Batch::Counter(counters) = &mut stale[6] else { unreachable!() };
    counters[4].value = 7;
    let mut kept = counters.clone();
    kept.sort_by(|one, other| one.name.cmp(&other.name));
    let outcomes = run(&stale, CensusOptions { mend: true, keep_counters: true, ..CensusOptions::default() });
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Outcome::Derived(Batch::Counter(rows)) if *rows == kept)));
}

fn mending() -> CensusOptions {
    CensusOptions { mend: true, amend: true, ..CensusOptions::default() }
}

/// What is amended, as lines of JSON, and what is found.
fn mended(batches: &[Batch]) -> (Vec<[String; 2]>, Vec<String>) {
    let text = |batch: &Batch| {
        let (mut canonical, mut text) = (batch.clone(), Vec::new());
        canonical.canonicalize();
        canonical.write_lines(&mut text);
        String::from_utf8(text).unwrap().trim_end().to_owned()
    };
    let (mut amended, mut found) = (Vec::new(), Vec::new());
    for outcome in run(batches, mending()) {
        match outcome {
            Outcome::Amend { before, after } => amended.push([text(&before), text(&after)]),
            Outcome::Found(finding) => {
                assert!(finding.mendable, "{}", finding.text);
                found.push(finding.text);
            }
            Outcome::Derived(_) => {}
        }
    }
    (amended, found)
}

fn parent(inode: u64, parent: u64, count: i64) -> Parent {
    Parent { inode, parent, count }
}

#[test]
fn a_right_volume_is_not_amended() {
    assert_eq!(mended(&volume()), (vec![], vec![]));
    // One name is left of two: the parent stays 0.
    let mut unlinked = volume();
    let (nodes, edges) = unlinked.split_at_mut(2);
    let (Batch::Node(nodes), Batch::Edge(edges)) = (&mut nodes[1], &mut edges[0]) else { unreachable!() };
    nodes[1].nlink = 1;
    edges.remove(2);
    unlinked[3] = vec![parent(2, 1, 1), parent(2, 3, 0), parent(2, 7, -1)].into();
    let Batch::DirStat(stats) = &mut unlinked[5] else { unreachable!() };
    stats[1] = DirStat { inode: 3, length: 0, space: 4096, inodes: 1 };
    assert_eq!(mended(&unlinked), (vec![], vec![]));
}

/// The volume with node 2 as given, entries of it in these directories, and these parent rows.
fn linked(nlink: u32, stored: u64, entries: &[u64], rows: &[Parent]) -> Vec<Batch> {
    let mut batches = volume();
    batches[0] = Vec::<Setting>::new().into();
    batches[1] = vec![
        node(1, FileType::DIRECTORY, 3, 1, 4096),
        node(3, FileType::DIRECTORY, 2, 1, 4096),
        Node { uid: 1000, atime: -5, rdev: 9, tier: 2, mode: 0o1644, ..node(2, FileType::REGULAR, nlink, stored, 5) },
    ]
    .into();
    let entry = |parent, name: &str, inode, kind| Edge { parent, name: name.into(), inode, kind };
    let mut edges = vec![entry(1, "sub", 3, FileType::DIRECTORY)];
    let names = entries.iter().enumerate();
    edges.extend(names.map(|(number, &parent)| entry(parent, &number.to_string(), 2, FileType::REGULAR)));
    batches[2] = edges.into();
    batches[3] = rows.to_vec().into();
    batches[5] = Batch::DirStat(Vec::new());
    batches.truncate(6);
    batches.push(
        vec![
            counter("usedSpace", 12288 - 4096),
            counter("totalInodes", 2),
            counter("nextInode", 10),
            counter("nextChunk", 10),
        ]
        .into(),
    );
    batches
}

fn counter(name: &str, value: i64) -> Counter {
    Counter { name: name.into(), value }
}

#[test]
fn a_parent_without_an_edge_becomes_that_of_the_edge() {
    let (amended, found) = mended(&linked(1, 1, &[3], &[]));
    assert_eq!(found, ["inode 2: parent 1 is stored, 3 is right"]);
    let whole = |parent: u64| {
        format!(
            "{{\"inode\":2,\"type\":\"regular\",\"mode\":932,\"uid\":1000,\"atime\":-5,\"nlink\":1,\"length\":5,\
             \"rdev\":9,\"parent\":{parent},\"tier\":2}}"
        )
    };
    assert_eq!(amended, [[whole(1), whole(3)]]);
}

#[test]
fn several_edges_become_parent_rows() {
    let (amended, found) = mended(&linked(1, 1, &[1, 3, 3], &[]));
    assert_eq!(
        found,
        [
            "inode 2: parent 1 is stored, 0 is right; 2 parent rows do not count its edges",
            "inode 2: link count 1, 3 edges lead to it"
        ]
    );
    assert_eq!(amended[0], ["", r#"{"inode":2,"parent":1,"count":1}"#]);
    assert_eq!(amended[1], ["", r#"{"inode":2,"parent":3,"count":2}"#]);
    assert!(amended[2][0].contains(r#""parent":1"#) && !amended[2][1].contains("parent"), "{amended:?}");
    assert!(amended[2][1].contains(r#""nlink":1"#), "its links come on their own, after it");
    assert_eq!(amended[3], [r#"{"inode":2,"nlink":1}"#, r#"{"inode":2,"nlink":3}"#]);
    assert_eq!(amended.len(), 4);
}

#[test]
fn parent_rows_follow_the_edges() {
    let (amended, found) = mended(&linked(2, 0, &[1, 3], &[parent(2, 1, 2), parent(2, 9, 4)]));
    assert_eq!(found, ["inode 2: 3 parent rows do not count its edges"]);
    assert_eq!(
        amended,
        [
            [r#"{"inode":2,"parent":1,"count":2}"#, r#"{"inode":2,"parent":1,"count":1}"#],
            ["", r#"{"inode":2,"parent":3,"count":1}"#],
            [r#"{"inode":2,"parent":9,"count":4}"#, ""]
        ]
    );
    // With one edge left and rows that disagree with it, the edge's directory is the parent, and there are no rows.
    for rows in [&[parent(2, 1, 1)][..], &[parent(2, 1, 1), parent(2, 3, 1)], &[parent(2, 3, 2)], &[]] {
        let (amended, found) = mended(&linked(1, 0, &[3], rows));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(amended.len(), rows.len() + 1);
        let (node, rows) = amended.split_last().unwrap();
        assert!(rows.iter().all(|[_, after]| after.is_empty()), "{rows:?}");
        assert!(node[1].contains(r#""parent":3"#), "{node:?}");
    }
    // Rows mean nothing where there is a parent.
    let (amended, _) = mended(&linked(1, 3, &[3], &[parent(2, 3, 1)]));
    assert_eq!(amended, [[r#"{"inode":2,"parent":3,"count":1}"#, ""]]);
}

#[test]
fn directories_move_with_their_edge_and_what_is_open_or_lost_is_left_alone() {
    let mut moved = linked(1, 1, &[1], &[]);
    let Batch::Node(nodes) = &mut moved[1] else { unreachable!() };
    nodes[1].parent = 77;
    let (amended, found) = mended(&moved);
    assert_eq!(found, ["inode 3: parent 77 is stored, 1 is right"]);
    assert!(amended[0][1].contains(r#""parent":1"#), "{amended:?}");
    let mut open = linked(0, 0, &[], &[parent(2, 1, 1)]);
    open.push(vec![Sustained { sid: 1, inode: 2 }].into());
    open.push(vec![counter("nextSession", 1)].into());
    assert_eq!(mended(&open).0, Vec::<[String; 2]>::new());
    let lost = run(&linked(1, 1, &[], &[parent(2, 1, 1)]), mending());
    let found =
        |outcome: &Outcome<Batch>| matches!(outcome, Outcome::Found(found) if found.sort == "node without edge");
    assert!(lost.iter().any(found));
    assert!(!lost.iter().any(|outcome| matches!(outcome, Outcome::Amend { .. })));
}

#[test]
fn children_are_counted_where_their_edges_are() {
    let mut moved = linked(1, 1, &[3], &[]);
    moved[0] = volume().remove(0);
    moved[5] = vec![
        DirStat { inode: 1, length: 5, space: 8192, inodes: 2 },
        DirStat { inode: 3, length: 0, space: 0, inodes: 0 },
    ]
    .into();
    let (amended, _) = mended(&moved);
    let stats: Vec<_> = amended.iter().map(|[_, after]| after).filter(|after| after.contains("usedInodes")).collect();
    assert_eq!(
        stats,
        [
            r#"{"inode":1,"usedSpace":4096,"usedInodes":1}"#,
            r#"{"inode":3,"dataLength":5,"usedSpace":4096,"usedInodes":1}"#
        ]
    );
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
    assert!(!selection.settle().unwrap());
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
