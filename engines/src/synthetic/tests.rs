//! One volume, whatever the partitions; right by the census; and as varied as it says.

use std::collections::{BTreeMap, BTreeSet};

use metaferry_codecs::juicefs::{Batch, Chunk, FileType, MAX_NAME, Node, ROOT_INODE, TRASH_INODE, setting, used_space};
use metaferry_codecs::system::Batch as _;

use self::kit::{Rowed, batches, findings, tally, tally_by, volume};
use super::*;

mod kit;

const SIZES: [&str; 12] = [
    "files=0",
    "files=1",
    "files=2",
    "files=10",
    "files=99&seed=3",
    "files=1000",
    "files=1000&dirs=1000",
    "files=1000&dirs=0",
    "files=1000&dirs=999",
    "files=30000&dirs=6000&seed=1",
    "files=50000",
    "files=50000&dirs=300&seed=99",
];

#[test]
fn any_partitions_and_any_workers_make_the_same_rows() {
    for query in SIZES {
        let address = format!("synthetic://?{query}");
        let whole = tally(batches(&volume(&address, u64::MAX >> 1)));
        for (places, workers) in [(50_000, 1), (997, 1), (7_001, 2), (8_192, 7)] {
            assert!(whole == tally_by(&volume(&address, places), workers), "{query} in {places}");
        }
    }
}

#[test]
fn seeds_and_sizes_differ() {
    let digest = |query: &str| tally(batches(&volume(query, 1 << 20))).total();
    let all: BTreeSet<_> = SIZES.iter().map(|query| digest(&format!("synthetic://?{query}")).digest).collect();
    assert_eq!(all.len(), SIZES.len());
    assert_ne!(digest("synthetic://?files=1000&seed=1"), digest("synthetic://?files=1000&seed=2"));
    assert_eq!(digest("synthetic:?seed=1&files=1000"), digest("synthetic://?files=1000&seed=1"));
}

#[test]
fn the_rows_come_in_the_order_of_their_keys() {
    let mut last: BTreeMap<Kind, Vec<u8>> = BTreeMap::new();
    for batch in batches(&volume("synthetic://?files=50000&seed=5", 6_000)) {
        for index in 0..batch.len() {
            let (mut key, mut row) = (Vec::new(), Vec::new());
            batch.pack(index, &mut key, &mut row);
            let before = last.insert(batch.kind(), key.clone());
            assert!(before.is_none_or(|before| before < key), "{:?} {}", batch.kind(), String::from_utf8_lossy(&row));
        }
    }
}

#[test]
fn the_census_finds_nothing_wrong() {
    for query in SIZES {
        let batches = batches(&volume(&format!("synthetic://?{query}"), 1 << 20));
        assert_eq!(findings(&batches), [], "{query}");
        right_by_edges(&batches, query);
    }
}

/// What the edges say of link counts, types, statistics, quotas and counters, added up the plain way.
fn right_by_edges(batches: &[Batch], query: &str) {
    let volume = Rowed::of(batches);
    for node in volume.nodes.values() {
        let leading = volume.edges.iter().filter(|edge| edge.inode == node.inode).count();
        if volume.nodes.len() < 3000 && node.kind != FileType::DIRECTORY {
            assert_eq!(leading as u32, node.nlink, "{query}");
        }
    }
    let mut stats: BTreeMap<u64, [i64; 3]> = BTreeMap::new();
    for edge in &volume.edges {
        let node = &volume.nodes[&edge.inode];
        assert_eq!(node.kind, edge.kind, "{query}");
        let parents = volume.parents.get(&edge.inode);
        match node.parent {
            0 => assert!(parents.is_some_and(|parents| parents.contains_key(&edge.parent)), "{query}"),
            parent => assert_eq!((parent, parents), (edge.parent, None), "{query}"),
        }
        let length = if node.kind == FileType::REGULAR { node.length as i64 } else { 0 };
        let sums = stats.entry(edge.parent).or_default();
        let space = used_space(node.kind, node.length);
        sums.iter_mut().zip([length, space, 1]).for_each(|(sum, delta)| *sum += delta);
    }
    stats.remove(&TRASH_INODE);
    for (directory, stat) in &volume.stats {
        assert_eq!(*stat, stats.remove(directory).unwrap_or_default(), "{query}: directory {directory}");
    }
    assert!(stats.is_empty(), "{query}: directories without statistics");
    for (&top, &used) in &volume.quotas {
        let (mut sum, mut below) = ([0, 0], vec![top]);
        while let Some(directory) = below.pop() {
            let stat = volume.stats[&directory];
            sum = [sum[0] + stat[1], sum[1] + stat[2]];
            let inside =
                |edge: &&metaferry_codecs::juicefs::Edge| edge.parent == directory && edge.kind == FileType::DIRECTORY;
            below.extend(volume.edges.iter().filter(inside).map(|edge| edge.inode));
        }
        assert_eq!(used, sum, "{query}: quota of {top}");
    }
}

fn within(value: f64, low: f64, high: f64, what: &str) {
    assert!((low..=high).contains(&value), "{what}: {value} is not in {low} to {high}");
}

#[test]
fn names_are_those_asked_for_and_of_every_sort() {
    let volume = Rowed::of(&batches(&volume("synthetic://", 1 << 20)));
    let hours = volume.edges.iter().filter(|edge| edge.parent == TRASH_INODE).count();
    assert_eq!(volume.edges.len() - hours, 1_000_000);
    assert!(hours >= 3);
    let directories = volume.edges.iter().filter(|edge| edge.kind == FileType::DIRECTORY).count();
    assert_eq!(directories - hours, 100_000);
    let mut names = BTreeSet::new();
    let mut sizes: BTreeMap<u64, usize> = BTreeMap::new();
    let (mut longest, mut odd, mut wide, mut plain) = (0, 0, 0, 0);
    for edge in &volume.edges {
        let name = &edge.name;
        assert!((1..=MAX_NAME).contains(&name.len()) && !name.contains(&b'/') && !name.contains(&0));
        assert!(names.insert((edge.parent, name.as_slice())));
        *sizes.entry(edge.parent).or_default() += 1;
        longest += usize::from(name.len() == MAX_NAME);
        match std::str::from_utf8(name) {
            Err(_) => odd += 1,
            Ok(name) if name.is_ascii() => plain += 1,
            Ok(_) => wide += 1,
        }
    }
    assert_eq!(sizes.values().max(), Some(&100_000));
    assert!(longest > 500 && odd > 2_000 && wide > 200_000 && plain > 200_000, "{longest} {odd} {wide} {plain}");
    let full = sizes.values().filter(|size| **size > 500).count();
    assert!(full > 20, "{full} directories of more than 500");
    let empty = 100_001 - sizes.keys().filter(|inode| **inode < TRASH_INODE).count();
    within(empty as f64, 3_000.0, 30_000.0, "empty directories");
    assert_eq!(depth(&volume), 30);
}

fn depth(volume: &Rowed) -> usize {
    let depth_of = |mut inode: u64| {
        let mut depth = 0;
        while inode != ROOT_INODE {
            inode = volume.nodes[&inode].parent;
            depth += 1;
        }
        depth
    };
    volume.of_kind(FileType::DIRECTORY).map(|node| depth_of(node.inode)).max().unwrap_or(0)
}

#[test]
fn shares_are_those_promised() {
    let volume = Rowed::of(&batches(&volume("synthetic://?files=400000&seed=11", 1 << 20)));
    let files = volume.of_kind(FileType::REGULAR).count() as f64;
    let of_files = |chunk: &&Chunk| !volume.removed.contains(&chunk.inode);
    let slices = volume.chunks.iter().filter(of_files).flat_map(|chunk| &chunk.slices.0);
    within(slices.filter(|slice| slice.id != 0).count() as f64 / files, 1.19, 1.21, "slices a file");
    let names = volume.edges.iter().filter(|edge| edge.kind != FileType::DIRECTORY).count() as f64;
    let second = names - volume.nodes.values().filter(|node| node.kind != FileType::DIRECTORY).count() as f64;
    within(second / names, 0.0199, 0.0201, "second names");
    within(volume.links.len() as f64 / names, 0.0195, 0.0205, "symbolic links");
    within(volume.xattrs.len() as f64 / volume.nodes.len() as f64, 0.048, 0.052, "inodes with attributes");
    let special = volume.nodes.values().filter(|node| node.kind.number() > 3).count();
    within(special as f64, 200.0, 500.0, "special files");
    let trash = volume.edges.iter().filter(|edge| edge.parent > TRASH_INODE).count() as f64;
    within(trash / names, 0.0099, 0.0101, "names in the trash");
    let count = |what: fn(&Node) -> bool| volume.nodes.values().filter(|node| what(node)).count();
    assert!(count(|node| node.access_acl != 0) > 100 && count(|node| node.default_acl != 0) > 50);
    assert!(
        count(|node| node.flags != 0) > 100 && count(|node| node.tier != 0) > 100 && count(|node| node.rdev != 0) > 50
    );
    assert!(count(|node| node.uid > i32::MAX as u32 || node.gid > i32::MAX as u32) == 0);
    assert!(count(|node| node.nlink == 3 && node.kind == FileType::REGULAR) > 100);
    assert!(volume.parents.values().any(|parents| parents.values().any(|count| *count > 1)));
    assert!(volume.quotas.len() > 20);
    for (inode, length) in &volume.links {
        assert_eq!(volume.nodes[inode].length, *length as u64);
        assert!((1..4096).contains(length));
    }
}

#[test]
fn data_lies_where_juicefs_would_have_written_it() {
    let rows = batches(&volume("synthetic://?files=100000&seed=2", 1 << 20));
    let volume = Rowed::of(&rows);
    let (mut seen, mut shared) = (BTreeMap::new(), 0);
    let (mut holes, mut laps, mut sparse) = (0, 0, 0);
    for chunk in &volume.chunks {
        let length = volume.nodes.get(&chunk.inode).map_or(u64::MAX, |node| node.length);
        assert!(u64::from(chunk.index) * (1 << 26) < length, "a chunk after the end");
        sparse += usize::from(chunk.index > 0);
        let mut end = 0;
        for slice in &chunk.slices.0 {
            assert!(slice.len > 0 && u64::from(slice.pos) + u64::from(slice.len) <= 1 << 26);
            laps += usize::from(slice.pos < end);
            end = end.max(slice.pos + slice.len);
            if slice.id == 0 {
                holes += 1;
                assert_eq!((slice.size, slice.off), (0, 0));
            } else {
                assert!(slice.off + slice.len <= slice.size && slice.size <= 1 << 26);
                let before = seen.insert(slice.id, slice.size);
                shared += usize::from(before.is_some());
                assert!(before.is_none_or(|size| size == slice.size), "one slice, two sizes");
            }
        }
    }
    assert!(holes > 100 && laps > 500 && sparse > 500 && shared > 10, "{holes} {laps} {sparse} {shared}");
    let refs: usize = rows.iter().filter(|batch| batch.kind() == Kind::SliceRef).map(|batch| batch.len()).sum();
    assert_eq!(refs, shared);
}

#[test]
fn no_tree_is_deeper_than_thirty() {
    for seed in 0..40 {
        let shape = Shape::new(20_000_000, 2_000_000, seed);
        let mut directory = 2_000_000;
        let mut depth = 0;
        while directory > 0 {
            let parent = shape.parent_of(directory);
            assert!(parent < directory);
            (directory, depth) = (parent, depth + 1);
        }
        assert!(depth < 25, "{depth}");
        for slot in (0..18_000_000).step_by(9_973) {
            assert!(shape.slots_of(shape.directory_of(slot)).contains(&slot));
        }
    }
}

#[test]
fn the_setting_is_one_that_juicefs_stores() {
    let document = volume("synthetic://?files=10", 1).shape.setting().document.0;
    let summary = setting::read(&document).unwrap();
    assert_eq!((summary.name.as_str(), summary.dir_stats, summary.trash_days), ("synthetic", true, 1));
    assert_eq!((summary.uuid.len(), summary.min_client_version.as_str()), (36, "1.2.0-A"));
    let mut line = Vec::new();
    setting::write_compact(&document, &mut line);
    assert_eq!(setting::stored_form(&line).unwrap(), document);
}

#[test]
fn addresses_are_read_or_refused() {
    let parsed = |address| SyntheticSource::parse(address).unwrap();
    assert_eq!(parsed("synthetic://"), SyntheticSource::default());
    assert_eq!(parsed("synthetic://?files=10000000&dirs=2000000&seed=1").directories, 2_000_000);
    assert_eq!(parsed("synthetic://?files=50").directories, 5);
    for wrong in
        ["redis://", "synthetic://host", "synthetic://?size=1", "synthetic://?files=x", "synthetic://?files=5&dirs=6"]
    {
        assert!(SyntheticSource::parse(wrong).is_err(), "{wrong}");
    }
}
