//! Two states of resources are merged into what tells them apart, whatever the order in which they come.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metaferry_codecs::kylin::{Batch, Kind, Kylin, Resource};
use proptest::prelude::*;

use super::*;
use crate::{Emit, Error, ErrorKind, Guarantee, KindSet, Partition, Scope};

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// A state in pieces of some rows; not in the order of its keys where it is `shuffled`.
#[derive(Clone)]
struct Pieces {
    rows: Vec<Resource>,
    piece: usize,
    is_ordered: bool,
}

fn row(key: &[u8], content: &[u8]) -> Resource {
    Resource { key: key.to_vec(), content: content.to_vec(), ts: 5, mvcc: 7 }
}

impl Pieces {
    fn of(state: &State, piece: usize, is_ordered: bool) -> Self {
        let mut rows: Vec<_> = state.iter().map(|(key, content)| row(key, content)).collect();
        if !is_ordered {
            rows.reverse();
        }
        Self { rows, piece, is_ordered }
    }
}

impl Source<Kylin> for Pieces {
    fn snapshot(self: Box<Self>, _readers: usize, _stop: &Stop) -> Result<Box<dyn Snapshot<Kylin>>> {
        Ok(self)
    }
}

impl Snapshot<Kylin> for Pieces {
    fn about(&self) -> About {
        About {
            origin: "pieces".to_owned(),
            guarantee: Guarantee::Exact,
            ordered: if self.is_ordered { KindSet::ALL } else { KindSet::NONE },
            notes: Vec::new(),
            live_sessions: 0,
            is_repeatable: true,
            is_partial: false,
        }
    }

    fn plan(&self, scope: &Scope<Kylin>) -> Result<Vec<Partition<Kylin>>> {
        assert!(scope.wants(Kind::Resource));
        let pieces = self.rows.len().div_ceil(self.piece) as u64;
        Ok((0..pieces).map(|from| Partition { kind: Some(Kind::Resource), from, to: from + 1, weight: 1 }).collect())
    }

    fn scan(&self, partition: &Partition<Kylin>, out: &mut dyn Emit<Kylin>) -> Result<()> {
        let rows = self.rows.chunks(self.piece).nth(partition.from as usize).unwrap();
        out.left_behind("pieces", 1);
        rows.chunks(3).try_for_each(|rows| out.emit(rows.to_vec().into()))
    }
}

/// A store in memory, which says what was done to it.
struct Store {
    state: Arc<Mutex<State>>,
    staged: Vec<Changes<Batch>>,
    fails: bool,
    /// How many rows it was told to look at again.
    kept: Arc<AtomicU64>,
    conflicts: Vec<Conflict>,
}

fn resources(batch: Batch) -> Vec<Resource> {
    match batch {
        Batch::Resource(rows) => rows,
        other => panic!("{other:?}"),
    }
}

impl Patch<Kylin> for Store {
    fn sieve(&self) -> Option<Sieve<Kylin>> {
        Some(|batch, findings| {
            if let Batch::Resource(rows) = batch {
                rows.retain(|row| row.key != b"/UUID");
                findings.left_behind("ids", 1);
            }
        })
    }

    fn current(&mut self, whole: bool, _stop: &Stop) -> Result<Box<dyn Snapshot<Kylin>>> {
        let mut pieces = Pieces::of(&self.state.lock().unwrap(), 4, true);
        if !whole {
            pieces.rows.iter_mut().for_each(|row| row.content.clear());
        }
        Ok(Box::new(pieces))
    }

    fn take(&mut self, changes: Changes<Batch>) -> Result<()> {
        if self.fails {
            return Err(Error::corrupt("no room"));
        }
        self.staged.push(changes);
        Ok(())
    }

    fn apply(self: Box<Self>) -> Result<Vec<Conflict>> {
        let mut state = self.state.lock().unwrap();
        if !self.conflicts.is_empty() {
            return Ok(self.conflicts);
        }
        for changes in self.staged {
            match changes {
                Changes::Insert(rows) => {
                    resources(rows).into_iter().for_each(|row| assert_eq!(state.insert(row.key, row.content), None))
                }
                Changes::Replace { before, after } => {
                    let (before, after) = (resources(before), resources(after));
                    assert_eq!(before.len(), after.len());
                    for (before, after) in before.into_iter().zip(after) {
                        assert_eq!((&before.key, before.mvcc), (&after.key, 7));
                        assert!(state.insert(after.key, after.content).is_some());
                    }
                }
                Changes::Delete(rows) => {
                    resources(rows).into_iter().for_each(|row| assert!(state.remove(&row.key).is_some()));
                }
                Changes::Keep(rows) => resources(rows).into_iter().for_each(|row| {
                    assert_eq!((state.get(&row.key), row.mvcc), (Some(&row.content), 7));
                    self.kept.fetch_add(1, Ordering::Relaxed);
                }),
            }
        }
        Ok(Vec::new())
    }
}

fn options(delete: bool, skip_equal: bool) -> Options {
    let (spill, memory_bytes) = (SpillDir::default(), 1 << 20);
    Options { threads: 3, memory_bytes, spill, delete, skip_equal, dry_run: false }
}

fn store(state: &State) -> (Box<Store>, Arc<Mutex<State>>) {
    let state = Arc::new(Mutex::new(state.clone()));
    let (kept, conflicts) = (Arc::default(), Vec::new());
    let store = Store { state: Arc::clone(&state), staged: Vec::new(), fails: false, kept, conflicts };
    (Box::new(store), state)
}

fn run(wanted: Pieces, store: Box<Store>, options: &Options) -> Result<(Report, usize)> {
    let mut noted = 0;
    let mut note = |changes: &Changes<Batch>| {
        noted += match changes {
            Changes::Insert(rows) | Changes::Delete(rows) | Changes::Replace { after: rows, .. } => {
                resources(rows.clone()).len()
            }
            Changes::Keep(_) => panic!("what is kept is no change"),
        };
    };
    let report = patch(Box::new(wanted), store, (options, &mut note), &Monitor::default(), &Stop::new())?;
    Ok((report, noted))
}

fn numbered(numbers: impl Iterator<Item = u32>, content: &str) -> State {
    numbers.map(|number| (format!("/p/{number:05}").into_bytes(), content.as_bytes().to_vec())).collect()
}

proptest! {
    #[test]
    fn a_store_becomes_what_is_wanted(
        wanted in prop::collection::btree_map("/[ab]{1,4}", "[xy]{0,2}", 0..40),
        there in prop::collection::btree_map("/[ab]{1,4}", "[xy]{0,2}", 0..40),
        (delete, skip_equal, is_ordered, piece) in (any::<bool>(), any::<bool>(), any::<bool>(), 1..9_usize),
    ) {
        let bytes = |state: BTreeMap<String, String>| -> State {
            state.into_iter().map(|(key, content)| (key.into(), content.into())).collect()
        };
        let (wanted, there) = (bytes(wanted), bytes(there));
        let (target, state) = store(&there);
        let kept = Arc::clone(&target.kept);
        let (report, noted) = run(Pieces::of(&wanted, piece, is_ordered), target, &options(delete, skip_equal)).unwrap();
        let mut expected = if delete { State::new() } else { there.clone() };
        expected.extend(wanted.clone());
        prop_assert_eq!(&*state.lock().unwrap(), &expected);
        let count = |keep: &dyn Fn(&Vec<u8>) -> bool, of: &State| of.keys().filter(|key| keep(key)).count() as u64;
        let equal = count(&|key| skip_equal && there.get(key) == wanted.get(key), &wanted);
        prop_assert_eq!(report.inserted, count(&|key| !there.contains_key(key), &wanted));
        prop_assert_eq!((report.equal, kept.load(Ordering::Relaxed)), (equal, equal));
        prop_assert_eq!(report.replaced, count(&|key| there.contains_key(key), &wanted) - equal);
        let gone = count(&|key| !wanted.contains_key(key), &there);
        prop_assert_eq!((report.deleted, report.kept), if delete { (gone, 0) } else { (0, gone) });
        prop_assert_eq!(noted as u64, report.inserted + report.replaced + report.deleted);
    }
}

#[test]
fn many_rows_come_in_calls_that_are_bounded() {
    let (wanted, there) = (numbered(0..20_000, "new"), numbered(10_000..30_000, "old"));
    let (target, state) = store(&there);
    let (report, _) = run(Pieces::of(&wanted, 1000, true), target, &options(true, true)).unwrap();
    assert_eq!((report.inserted, report.replaced, report.deleted), (10_000, 10_000, 10_000));
    assert_eq!(*state.lock().unwrap(), wanted);
    assert!(report.findings.left_behind["pieces"] >= 20);
}

#[test]
fn a_dry_run_and_conflicts_change_nothing() {
    let (wanted, there) = (numbered(0..50, "new"), numbered(25..75, "old"));
    let (target, state) = store(&there);
    let (report, noted) =
        run(Pieces::of(&wanted, 9, true), target, &Options { dry_run: true, ..options(true, false) }).unwrap();
    assert_eq!((report.inserted, report.replaced, report.deleted, noted), (25, 25, 25, 75));
    assert_eq!(*state.lock().unwrap(), there);
    let (mut target, state) = store(&there);
    target.conflicts = vec![Conflict { text: "somebody".to_owned() }];
    let (report, _) = run(Pieces::of(&wanted, 9, true), target, &options(true, false)).unwrap();
    assert_eq!(report.conflicts, [Conflict { text: "somebody".to_owned() }]);
    assert_eq!(*state.lock().unwrap(), there);
}

#[test]
fn what_the_store_does_not_take_is_not_seen() {
    let wanted: State = [(b"/UUID".to_vec(), Vec::new()), (b"/p/a".to_vec(), Vec::new())].into();
    let (target, state) = store(&State::new());
    let (report, noted) = run(Pieces::of(&wanted, 9, true), target, &options(true, false)).unwrap();
    assert_eq!((report.inserted, noted), (1, 1));
    assert!(!state.lock().unwrap().contains_key(b"/UUID".as_slice()));
}

#[test]
fn the_first_error_is_told_and_nothing_is_changed() {
    let there = numbered(0..5000, "old");
    for is_ordered in [true, false] {
        let (mut target, state) = store(&there);
        target.fails = true;
        let wanted = Pieces::of(&numbered(0..9000, "new"), 100, is_ordered);
        let error = run(wanted, target, &options(true, false)).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Corrupt, "no room".to_owned()));
        assert_eq!(*state.lock().unwrap(), there);
    }
}

#[test]
fn a_key_that_comes_twice_is_refused() {
    for is_ordered in [true, false] {
        let (target, state) = store(&State::new());
        let mut wanted = Pieces::of(&numbered(0..10, "new"), 4, is_ordered);
        wanted.rows.insert(4, wanted.rows[4].clone());
        let error = run(wanted, target, &options(true, false)).unwrap_err();
        assert!(error.to_string().contains("a resource comes twice: /p/0000"), "{error}");
        assert!(state.lock().unwrap().is_empty());
    }
}
