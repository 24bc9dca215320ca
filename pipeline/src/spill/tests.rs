//! What sorter and aggregator promise: the same as sorting and summing in memory, whatever the budget, the runs and the
//! workers.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Aggregator, Backlog, ShelfReader, ShelfWriter, Sorted, Sorter, SpillDir, Spot, Sums};
use crate::ErrorKind;

type Row = (Vec<u8>, Vec<u8>);

fn rows_of(mut sorted: Sorted) -> Vec<Row> {
    let mut rows = Vec::new();
    while let Some((key, row)) = sorted.next().unwrap() {
        rows.push((key.to_vec(), row.to_vec()));
    }
    assert!(sorted.next().unwrap().is_none(), "the end stays the end");
    rows
}

fn sorter(dir: &SpillDir, budget: usize, rows: &[Row]) -> Sorter {
    let mut sorter = Sorter::new(dir, budget);
    rows.iter().for_each(|(key, row)| sorter.push(key, row).unwrap());
    sorter
}

fn sums_of<const N: usize>(mut sums: Sums<N>) -> Vec<([u64; 2], [i64; N])> {
    let mut all = Vec::new();
    while let Some(sum) = sums.next().unwrap() {
        all.push(sum);
    }
    all
}

/// Keys with shared beginnings, zeroes, and lengths around that of a prefix.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(0u8..3, 0..12), vec(any::<u8>(), 0..4), Just(vec![7; 8]), Just(vec![7; 300])]
}

fn edgy() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..20, (u64::MAX - 3)..=u64::MAX, any::<u64>()]
}

proptest! {
    #[test]
    fn sorter_is_a_stable_sort(
        workers in vec(vec((keys(), vec(any::<u8>(), 0..40)), 0..120), 0..4),
        budget in prop_oneof![0usize..200, 200usize..20_000],
    ) {
        let dir = SpillDir::default();
        let parts = workers.iter().map(|rows| sorter(&dir, budget, rows).finish().unwrap()).collect();
        let mut expected: Vec<Row> = workers.concat();
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        prop_assert_eq!(rows_of(Sorted::merge(parts).unwrap()), expected);
    }

    #[test]
    fn aggregator_is_a_map(
        workers in vec(vec(((edgy(), edgy()), any::<[i64; 4]>()), 0..200), 0..4),
        budget in prop_oneof![0usize..500, 500usize..50_000],
    ) {
        let dir = SpillDir::default();
        let mut expected = BTreeMap::<[u64; 2], [i64; 4]>::new();
        let mut aggregators = Vec::new();
        for adds in workers {
            let mut aggregator = Aggregator::<4>::new(&dir, budget);
            for ((first, second), delta) in adds {
                aggregator.add([first, second], delta).unwrap();
                let sums = expected.entry([first, second]).or_default();
                sums.iter_mut().zip(delta).for_each(|(sum, more)| *sum = sum.wrapping_add(more));
            }
            aggregators.push(aggregator);
        }
        prop_assert_eq!(sums_of(Aggregator::finish_all(aggregators).unwrap()), expected.into_iter().collect::<Vec<_>>());
    }
}

proptest! {
    #[test]
    fn a_backlog_is_a_queue(steps in vec((0usize..300, 0usize..300), 0..60), budget in 0usize..500) {
        let dir = SpillDir::default();
        let mut backlog = Backlog::new(&dir, budget);
        let (mut expected, mut next) = (std::collections::VecDeque::<u8>::new(), 0_u8);
        for (push, pop) in steps {
            let mut bytes: Vec<u8> = (0..push).map(|_| { next = next.wrapping_add(1); next }).collect();
            expected.extend(&bytes);
            backlog.push(&mut bytes).unwrap();
            let mut out = vec![0; pop];
            let count = backlog.pop(&mut out).unwrap();
            prop_assert_eq!(count == 0, pop == 0 || expected.is_empty());
            prop_assert!(expected.drain(..count).eq(out[..count].iter().copied()));
        }
    }
}

proptest! {
    #[test]
    fn what_is_put_onto_a_shelf_is_found(
        lengths in vec((0u64..40, vec(0usize..700, 0..6)), 0..400),
        budget in 0usize..200_000,
    ) {
        let mut writer = ShelfWriter::new(&SpillDir::default(), budget);
        let (mut expected, mut id) = (BTreeMap::<u64, Vec<Vec<u8>>>::new(), 0);
        for (step, lengths) in lengths {
            id += step;
            for length in lengths {
                let record = vec![id as u8; length];
                writer.push(id, &record).unwrap();
                expected.entry(id).or_default().push(record);
            }
        }
        let shelf = writer.finish().unwrap();
        let mut reader = ShelfReader::new(&shelf);
        for id in (0..=id + 1).chain((0..=id + 1).rev()) {
            let (mut spot, mut found) = (reader.seek(id).unwrap(), Vec::new());
            while let Some(record) = reader.next_of(id, &mut spot).unwrap() {
                found.push(record.to_vec());
            }
            prop_assert_eq!(reader.find(id).unwrap().map(<[u8]>::to_vec), found.first().cloned());
            prop_assert_eq!(found, expected.get(&id).cloned().unwrap_or_default());
        }
        let (mut spot, mut all) = (Spot::default(), BTreeMap::<u64, Vec<Vec<u8>>>::new());
        while let Some((id, record)) = reader.next(&mut spot).unwrap() {
            all.entry(id).or_default().push(record.to_vec());
        }
        prop_assert_eq!(shelf.records(), all.values().map(|records| records.len() as u64).sum::<u64>());
        prop_assert_eq!(all, expected);
    }
}

#[test]
fn what_fits_touches_no_disk() {
    let dir = SpillDir::new("/nowhere/at/all");
    let rows = [(b"b".to_vec(), b"1".to_vec()), (b"a".to_vec(), b"2".to_vec())];
    let sorted = rows_of(sorter(&dir, 1 << 20, &rows).finish().unwrap());
    assert_eq!(sorted, [rows[1].clone(), rows[0].clone()]);
    let mut aggregator = Aggregator::<1>::new(&dir, 1 << 20);
    aggregator.add([1, 2], [3]).unwrap();
    assert_eq!(sums_of(aggregator.finish().unwrap()), [([1, 2], [3])]);
    assert_eq!(dir.spilled_bytes(), 0);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = SpillDir::new("/nowhere/at/all");
    let error = Sorter::new(&dir, 0).push(b"key", b"row").and_then(|()| {
        let mut sorter = sorter(&dir, 0, &[(vec![1], vec![2])]);
        sorter.push(b"key", b"row")
    });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Engine);
    assert_eq!(error.to_string(), "spill directory /nowhere/at/all");
    assert!(error.what_to_do().unwrap().contains("--spill-dir"));
}

#[test]
fn many_runs_are_merged_in_steps_and_nothing_is_left_behind() {
    let home = tempfile::tempdir().unwrap();
    let dir = SpillDir::new(home.path());
    let rows: Vec<Row> =
        (0..3000u32).map(|n| ((n * 7919 % 97).to_be_bytes().to_vec(), n.to_be_bytes().to_vec())).collect();
    let sorted = sorter(&dir, 100, &rows).finish().unwrap();
    let once = rows.len() as u64 * 16;
    assert!(dir.spilled_bytes() > once, "some rows were merged before: {}", dir.spilled_bytes());
    let mut expected = rows;
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(rows_of(sorted), expected);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn rows_larger_than_every_buffer_pass() {
    let dir = SpillDir::default();
    let rows: Vec<Row> = (0..9u8).rev().map(|n| (vec![n; 5000], vec![n; 2 << 20])).collect();
    let sorted = rows_of(sorter(&dir, 1000, &rows).finish().unwrap());
    assert!(sorted.iter().rev().eq(rows.iter()));
}

#[test]
fn merging_goes_on_where_its_parts_were_read_to() {
    let dir = SpillDir::default();
    let rows = |keys: &[u8]| keys.iter().map(|key| (vec![*key], vec![])).collect::<Vec<Row>>();
    let mut first = sorter(&dir, 0, &rows(&[1, 3, 5])).finish().unwrap();
    assert_eq!(first.next().unwrap().unwrap().0, [1]);
    let second = sorter(&dir, 1 << 20, &rows(&[2, 4])).finish().unwrap();
    let keys: Vec<_> = rows_of(Sorted::merge(vec![first, second]).unwrap()).into_iter().map(|row| row.0[0]).collect();
    assert_eq!(keys, [2, 3, 4, 5]);
}

#[test]
fn what_was_sorted_and_summed_may_change_threads() {
    fn moves<T: Send>() {}
    moves::<(Sorter, Sorted, Aggregator<4>, Sums<4>)>();
}

#[test]
fn an_aggregator_looks_back_from_an_ascending_stream() {
    let dir = SpillDir::default();
    let mut aggregator = Aggregator::<1>::new(&dir, 1 << 20);
    for n in 0..5000 {
        aggregator.add([0, n], [1]).unwrap();
        aggregator.add([0, n / 2], [1]).unwrap();
        aggregator.add([0, n], [1]).unwrap();
    }
    let sums = sums_of(aggregator.finish().unwrap());
    assert_eq!(sums.len(), 5000);
    assert!(sums.iter().all(|(key, [sum])| *sum == if key[1] < 2500 { 4 } else { 2 }));
    assert_eq!(dir.spilled_bytes(), 0);
}

#[test]
fn what_is_spilled_cannot_be_read_off_the_disk() {
    let home = tempfile::tempdir().unwrap();
    let dir = SpillDir::new(home.path());
    let row = b"a name that nobody may see".repeat(40);
    let mut sorter = Sorter::new(&dir, 64 << 10);
    (0..1000u32).for_each(|n| sorter.push(&n.to_be_bytes(), &row).unwrap());
    let home = home.path().to_str().unwrap();
    let files = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let ours = files.filter(|fd| fd.read_link().is_ok_and(|file| file.to_str().unwrap().starts_with(home)));
    let spilled: Vec<_> = ours.map(|fd| std::fs::read(fd).unwrap()).collect();
    assert!(spilled.iter().map(Vec::len).sum::<usize>() > 500_000);
    assert!(spilled.iter().all(|bytes| !bytes.windows(8).any(|window| row.starts_with(window) || *window == [0; 8])));
    let rows = rows_of(sorter.finish().unwrap());
    assert!(rows.len() == 1000 && rows.iter().all(|(_, found)| *found == row));
}
