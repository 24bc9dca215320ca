//! What stays of a volume without its trash, and what passes that takes.

use crate::juicefs::ids::Counts;
use crate::juicefs::kinds::{Batch, Edge};
use crate::juicefs::{Chunk, DirStat, Limit, Node, Parent, Quota, Symlink, Xattr};
use crate::juicefs::{FileType, Selection, TRASH_INODE, quota_class};
use crate::system::Selection as _;

const HOUR: u64 = TRASH_INODE + 1;
const DIRECTORY: FileType = FileType::DIRECTORY;
const FILE: FileType = FileType::REGULAR;

fn edge(parent: u64, inode: u64, kind: FileType) -> Edge {
    Edge { parent, name: format!("{parent}-{inode}").into_bytes(), inode, kind }
}

/// A selection that has learned from these edges, in batches of `rows`, and how many passes it took.
fn learned(edges: &[Edge], rows: usize) -> (Selection, usize) {
    let mut selection = Selection::without_trash();
    for pass in 1.. {
        edges.chunks(rows).for_each(|rows| selection.learn(&rows.to_vec().into()));
        if !selection.settle().unwrap() {
            return (selection, pass);
        }
        assert!(pass < 100, "it must come to an end");
    }
    unreachable!()
}

fn kept<R: Clone>(selection: &Selection, rows: &[R]) -> Batch
where
    Batch: From<Vec<R>>,
{
    let mut batch = Batch::from(rows.to_vec());
    selection.keep(&mut batch);
    batch
}

/// The inodes of those nodes that stay, and their link counts.
fn nodes(selection: &Selection, inodes: &[(u64, u32)]) -> Vec<(u64, u32)> {
    let nodes: Vec<Node> = inodes.iter().map(|&(inode, nlink)| Node { inode, nlink, ..Node::default() }).collect();
    let Batch::Node(rows) = kept(selection, &nodes) else { unreachable!() };
    rows.iter().map(|row| (row.inode, row.nlink)).collect()
}

#[test]
fn a_file_with_a_name_outside_stays_with_fewer_links() {
    let edges = [
        edge(1, 2, FILE),
        edge(HOUR, 2, FILE),
        edge(HOUR + 1, 2, FILE),
        edge(HOUR + 1, 2, FILE),
        edge(HOUR, 3, FILE),
        edge(HOUR + 1, 3, FILE),
        edge(1, 4, FILE),
        edge(TRASH_INODE, HOUR, DIRECTORY),
        edge(TRASH_INODE, HOUR + 1, DIRECTORY),
    ];
    for rows in 1..=edges.len() {
        let (selection, passes) = learned(&edges, rows);
        assert_eq!(passes, 1);
        let left = nodes(&selection, &[(1, 2), (2, 4), (3, 2), (4, 1), (9, 0), (TRASH_INODE, 2), (HOUR, 2)]);
        assert_eq!(left, [(1, 2), (2, 1), (4, 1), (9, 0), (TRASH_INODE, 2)]);
        assert_eq!(kept(&selection, &edges), vec![edges[0].clone(), edges[6].clone()].into());
        let parent = |inode, parent| Parent { inode, parent, count: 1 };
        let parents = [parent(2, 1), parent(2, HOUR), parent(2, HOUR + 1), parent(3, HOUR), parent(3, HOUR + 1)];
        assert_eq!(kept(&selection, &parents), vec![parent(2, 1)].into());
    }
}

#[test]
fn what_is_left_out_is_counted_by_names_and_inodes() {
    let edges = [edge(1, 2, FILE), edge(HOUR, 3, FILE)];
    let (selection, _) = learned(&edges, 1);
    assert_eq!(selection.keep(&mut edges.to_vec().into()), Some(("names in the trash", 1)));
    let mut batch = vec![Node { inode: 3, ..Node::default() }, Node { inode: 2, ..Node::default() }].into();
    assert_eq!(selection.keep(&mut batch), Some(("inodes in the trash", 1)));
    assert_eq!(selection.keep(&mut vec![Symlink { inode: 3, ..Symlink::default() }].into()), None);
}

#[test]
fn everything_that_belongs_to_what_is_gone_goes() {
    let (selection, _) = learned(&[edge(1, 2, DIRECTORY), edge(HOUR, 3, DIRECTORY), edge(3, 4, FILE)], 2);
    let inodes = [2, 3, 4, HOUR, TRASH_INODE];
    let stat = |inode| DirStat { inode, ..DirStat::default() };
    assert_eq!(kept(&selection, &inodes.map(stat)), vec![stat(2)].into());
    let xattr = |inode| Xattr { inode, ..Xattr::default() };
    assert_eq!(kept(&selection, &[2, 3, 4].map(xattr)), vec![xattr(2)].into());
    let chunk = |inode| Chunk { inode, ..Chunk::default() };
    // What no edge leads to waits to be freed, and is no trash.
    assert_eq!(kept(&selection, &[4, 9].map(chunk)), vec![chunk(9)].into());
    let quota = |class, id| Quota { class, id, max_space: Limit(1), ..Quota::default() };
    let quotas = [quota(quota_class::DIRECTORY, 2), quota(quota_class::DIRECTORY, 3), quota(quota_class::USER, 3)];
    assert_eq!(kept(&selection, &quotas), vec![quotas[0].clone(), quotas[2].clone()].into());
}

/// A tree of ten directories, each with a file, under the trash; the deepest comes first.
fn deep() -> Vec<Edge> {
    let level = |depth: u64| [edge(99 + depth, 100 + depth, DIRECTORY), edge(100 + depth, 200 + depth, FILE)];
    let mut edges: Vec<Edge> = (1..10).rev().flat_map(level).collect();
    edges.extend([edge(HOUR, 100, DIRECTORY), edge(1, 2, DIRECTORY), edge(2, 3, FILE), edge(1, 205, FILE)]);
    edges
}

#[test]
fn a_tree_in_the_trash_is_left_out_to_its_depth() {
    let (selection, passes) = learned(&deep(), 3);
    assert_eq!(passes, 2, "one to find it, one to count what leads out of it");
    let all: Vec<(u64, u32)> = (1..4).chain(100..110).chain(201..210).map(|inode| (inode, 2)).collect();
    assert_eq!(nodes(&selection, &all), [(1, 2), (2, 2), (3, 2), (205, 1)]);
    let Batch::Edge(left) = kept(&selection, &deep()) else { unreachable!() };
    assert_eq!(left.iter().map(|row| row.inode).collect::<Vec<_>>(), [2, 3, 205]);
}

#[test]
fn an_empty_directory_in_the_trash_takes_no_further_pass() {
    let (selection, passes) = learned(&[edge(HOUR, 3, DIRECTORY), edge(1, 2, DIRECTORY)], 1);
    assert_eq!((passes, nodes(&selection, &[(2, 2), (3, 2)])), (1, vec![(2, 2)]));
}

#[test]
fn a_directory_that_is_also_outside_is_no_trash() {
    let edges = [edge(HOUR, 3, DIRECTORY), edge(3, 4, DIRECTORY), edge(1, 4, DIRECTORY), edge(4, 5, FILE)];
    for rows in 1..=edges.len() {
        let (selection, _) = learned(&edges, rows);
        assert_eq!(nodes(&selection, &[(3, 2), (4, 3), (5, 1)]), [(4, 2), (5, 1)]);
        assert_eq!(kept(&selection, &edges), edges[2..].to_vec().into());
    }
    let both = [edge(HOUR, 3, DIRECTORY), edge(1, 3, DIRECTORY), edge(3, 4, FILE)];
    assert_eq!(nodes(&learned(&both, 1).0, &[(3, 3), (4, 1)]), [(3, 2), (4, 1)]);
}

#[test]
fn a_loop_of_directories_ends() {
    let (selection, _) = learned(&[edge(HOUR, 3, DIRECTORY), edge(3, 4, DIRECTORY), edge(4, 3, DIRECTORY)], 1);
    assert_eq!(nodes(&selection, &[(3, 2), (4, 2)]).len(), 2, "damage is carried as it is");
}

#[test]
fn counts_add_up_whatever_the_order_of_workers() {
    let counts = Counts::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..300).for_each(|n| counts.increment(n % 3)));
        }
    });
    assert_eq!([0, 1, 2, 3].map(|id| counts.of(id)), [400, 400, 400, 0]);
}
