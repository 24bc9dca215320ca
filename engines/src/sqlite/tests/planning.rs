//! Planning: ranges that together hold every row once, of about the same size, however sparse the ids are.

use metaferry_codecs::juicefs::{Kind, TRASH_INODE};
use metaferry_pipeline::Scope;

use super::kit::{Folder, Rows, open, sql};

/// Inodes by the thousand: how many, from which on, with which distance.
fn volume(folder: &Folder, runs: &[(u64, u64, u64)]) -> std::path::PathBuf {
    let path = folder.store("empty");
    for (count, from, step) in runs {
        let insert = format!(
            "WITH RECURSIVE i(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM i WHERE n + 1 < {count})
             INSERT INTO jfs_symlink SELECT {from} + n * {step}, x'61' FROM i"
        );
        sql(&path, &insert);
    }
    path
}

fn scanned(runs: &[(u64, u64, u64)]) -> Vec<usize> {
    let folder = Folder::new();
    let snapshot = open(&volume(&folder, runs), 1).unwrap();
    let scope = Scope { kinds: Some([Kind::Symlink].into()), buckets: None };
    let plan = snapshot.plan(&scope).unwrap();
    assert_eq!(format!("{plan:?}"), format!("{:?}", snapshot.plan(&scope).unwrap()), "the same each time");
    let mut counts = Vec::new();
    let mut all = Rows::default();
    for partition in &plan {
        let before = all.of(Kind::Symlink).len();
        snapshot.scan(partition, &mut all).unwrap();
        counts.push(all.of(Kind::Symlink).len() - before);
    }
    let total: u64 = runs.iter().map(|(count, ..)| count).sum();
    let lines = all.of(Kind::Symlink);
    assert_eq!(lines.len() as u64, total);
    let inode = |line: &String| line[9..].split(',').next().unwrap().parse::<u64>().unwrap();
    assert!(lines.iter().map(inode).is_sorted_by(|a, b| a < b), "by key, once each");
    counts
}

#[test]
fn small_tables_are_one_range_and_large_ones_many() {
    assert_eq!(scanned(&[]), Vec::<usize>::new());
    assert_eq!(scanned(&[(900, 2, 1)]), [900]);
    let counts = scanned(&[(300_000, 2, 1)]);
    assert!(counts.len() >= 4 && counts.iter().all(|&count| count <= 70_000), "{counts:?}");
}

#[test]
fn sparse_ids_and_those_of_the_trash_make_even_ranges() {
    let counts = scanned(&[(200_000, 2, 1000), (2000, TRASH_INODE, 1)]);
    assert!((3..8).contains(&counts.len()) && counts.iter().all(|&count| count <= 70_000), "{counts:?}");
}

#[test]
fn what_is_dense_behind_what_is_sparse_is_cut_again() {
    let counts = scanned(&[(2000, 2, 100_000), (300_000, 300_000_000, 1)]);
    assert!(counts.iter().all(|&count| count <= 140_000), "{counts:?}");
}
