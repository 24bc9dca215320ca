//! Paths that are there and not, and what is carried of them.

use std::collections::BTreeSet;

use super::*;
use crate::juicefs::{Chunk, Foreign, Node, Parent, Quota, Selection};
use crate::system::Selection as _;

const DIRECTORY: FileType = FileType::DIRECTORY;
const FILE: FileType = FileType::REGULAR;

fn edge(parent: u64, name: &str, inode: u64, kind: FileType) -> Edge {
    Edge { parent, name: name.into(), inode, kind }
}

/// `/a/b/c/deep`, `/a/b/link` which is `/other` too, `/a/file`, `/a/file2` which is `/a/b/file2` too.
fn edges() -> Vec<Edge> {
    vec![
        edge(1, "a", 2, DIRECTORY),
        edge(2, "b", 3, DIRECTORY),
        edge(3, "c", 4, DIRECTORY),
        edge(4, "deep", 5, FILE),
        edge(3, "link", 6, FILE),
        edge(1, "other", 6, FILE),
        edge(2, "file", 7, FILE),
        edge(2, "file2", 8, FILE),
        edge(3, "file2", 8, FILE),
        edge(1, "c", 9, FILE),
        edge(TRASH_INODE, "hour", TRASH_INODE + 1, DIRECTORY),
    ]
}

/// A selection that has learned, in batches of `rows`.
fn learned(path: &str, reach: Reach, edges: &[Edge], rows: usize) -> Result<Selection> {
    let mut selection = Selection::at_path(path.as_bytes(), reach);
    for pass in 0.. {
        assert!(pass < 20, "it must come to an end");
        edges.chunks(rows).for_each(|rows| selection.learn(&rows.to_vec().into()));
        if !selection.settle()? {
            break;
        }
    }
    Ok(selection)
}

/// Entries: directories and names.
type Names = BTreeSet<(u64, String)>;

/// What is carried: inodes with their link counts and parents, and entries.
fn carried(selection: &Selection) -> (BTreeSet<(u64, u32, u64)>, Names) {
    let node = |inode, kind, nlink, parent| Node { inode, kind, nlink, parent, ..Node::default() };
    let mut nodes: Batch = vec![
        node(1, DIRECTORY, 3, 1),
        node(2, DIRECTORY, 3, 1),
        node(3, DIRECTORY, 3, 2),
        node(4, DIRECTORY, 2, 3),
        node(5, FILE, 1, 4),
        node(6, FILE, 2, 0),
        node(7, FILE, 1, 2),
        node(8, FILE, 2, 0),
        node(9, FILE, 1, 1),
    ]
    .into();
    let mut edges: Batch = edges().into();
    selection.keep(&mut nodes);
    selection.keep(&mut edges);
    let (Batch::Node(nodes), Batch::Edge(edges)) = (nodes, edges) else { unreachable!() };
    let nodes = nodes.iter().map(|row| (row.inode, row.nlink, row.parent)).collect();
    (nodes, edges.iter().map(|row| (row.parent, String::from_utf8(row.name.clone()).unwrap())).collect())
}

fn names<const N: usize>(names: [(u64, &str); N]) -> Names {
    names.into_iter().map(|(parent, name)| (parent, name.to_owned())).collect()
}

#[test]
fn a_directory_with_all_below_it_becomes_the_root() {
    let mut edges = edges();
    for rows in [1, 3, 100] {
        for path in ["/a/b", "a//b/", "./a/./b"] {
            let selection = learned(path, Reach::Everything, &edges, rows).unwrap();
            let (nodes, entries) = carried(&selection);
            assert_eq!(nodes, BTreeSet::from([(1, 3, 1), (4, 2, 1), (5, 1, 4), (6, 1, 0), (8, 1, 0)]));
            assert_eq!(entries, names([(1, "c"), (1, "link"), (1, "file2"), (4, "deep")]));
        }
        edges.reverse();
    }
    let (nodes, entries) = carried(&learned("/", Reach::Everything, &edges, 2).unwrap());
    assert_eq!((nodes.len(), entries.len()), (9, 10));
    assert!(nodes.contains(&(6, 2, 0)));
}

#[test]
fn what_belongs_to_the_rest_of_the_volume_stays_there() {
    let selection = learned("/a/b", Reach::Everything, &edges(), 4).unwrap();
    let mut parents: Batch =
        [(6, 1), (6, 3), (8, 2), (8, 3)].map(|(inode, parent)| Parent { inode, parent, count: 1 }).to_vec().into();
    selection.keep(&mut parents);
    assert_eq!(parents, [6, 8].map(|inode| Parent { inode, parent: 1, count: 1 }).to_vec().into());
    let mut quotas: Batch =
        [(0, 3), (0, 2), (0, 4), (1, 3)].map(|(class, id)| Quota { class, id, ..Quota::default() }).to_vec().into();
    selection.keep(&mut quotas);
    assert_eq!(quotas, [1, 4].map(|id| Quota { id, ..Quota::default() }).to_vec().into());
    let mut chunks: Batch = [5, 7, 8].map(|inode| Chunk { inode, ..Chunk::default() }).to_vec().into();
    selection.keep(&mut chunks);
    assert_eq!(chunks, [5, 8].map(|inode| Chunk { inode, ..Chunk::default() }).to_vec().into());
}

#[test]
fn entries_and_one_entry() {
    let (nodes, entries) = carried(&learned("/a", Reach::Entries, &edges(), 1).unwrap());
    assert_eq!(nodes, BTreeSet::from([(1, 3, 2), (3, 3, 1), (7, 1, 1), (8, 1, 0)]));
    assert_eq!(entries, names([(1, "b"), (1, "file"), (1, "file2")]));
    for (path, expected) in [("/a/file", (1, 1, 7)), ("/a/b/link", (1, 2, 6)), ("/", (1, 3, 1))] {
        let (nodes, entries) = carried(&learned(path, Reach::Entry, &edges(), 1).unwrap());
        assert_eq!((nodes, entries), (BTreeSet::from([expected]), BTreeSet::new()), "{path}");
    }
    let (_, entries) = carried(&learned("/.trash", Reach::Entries, &edges(), 1).unwrap());
    assert_eq!(entries, names([(1, "hour")]));
}

#[test]
fn what_is_not_there_is_named() {
    for (path, reach, expected) in [
        ("/a/x", Reach::Entry, "/a/x: there is nothing of this name"),
        ("/x/b", Reach::Everything, "/x: there is nothing of this name"),
        ("/a/file/b", Reach::Entry, "/a/file/b: there is nothing of this name"),
        ("/a/file", Reach::Everything, "/a/file: it is no directory"),
    ] {
        let error = learned(path, reach, &edges(), 3).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_nobody_knows_is_left_behind_and_counted() {
    let selection = learned("/a", Reach::Everything, &edges(), 100).unwrap();
    let row = |segment, piece| Foreign { segment, piece, ..Foreign::default() };
    let mut batch: Batch = vec![row(0, 0), row(0, 1), row(0, 2), row(1, 0)].into();
    assert_eq!(selection.keep(&mut batch), Some(("segments of unknown types", 2)));
    assert_eq!(batch, Vec::<Foreign>::new().into());
}
