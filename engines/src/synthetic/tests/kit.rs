//! What the tests share: a sink that keeps, the census of it, and rows by key.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use metaferry_codecs::Tally;
use metaferry_codecs::juicefs::{Batch, Census, Chunk, Edge, FileType, Node};
use metaferry_codecs::system::{Batch as _, Census as _, CensusOptions, Finding, Ledger, Outcome};

use crate::synthetic::*;

/// Keeps every batch.
#[derive(Default)]
pub(super) struct Kept(pub(super) Vec<Batch>);

impl Emit<JuiceFs> for Kept {
    fn emit(&mut self, batch: Batch) -> Result<()> {
        assert!((1..=4096).contains(&batch.len()));
        self.0.push(batch);
        Ok(())
    }
    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        panic!("{place}: {why}");
    }
    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}

pub(super) fn volume(address: &str, step: u64) -> Volume {
    Volume { step, ..Volume::new(SyntheticSource::parse(address).unwrap(), &Stop::new()).unwrap() }
}

pub(super) fn batches(volume: &Volume) -> Vec<Batch> {
    let mut kept = Kept::default();
    for partition in volume.plan(&Scope::default()).unwrap() {
        volume.scan(&partition, &mut kept).unwrap();
    }
    kept.0
}

pub(super) fn tally(batches: Vec<Batch>) -> Tally<Kind> {
    let mut tally = Tally::default();
    for mut batch in batches {
        batch.canonicalize();
        batch.tally(&mut tally);
    }
    tally
}

/// The tally of what several workers scan, each every so many partitions.
pub(super) fn tally_by(volume: &Volume, workers: usize) -> Tally<Kind> {
    let plan = volume.plan(&Scope::default()).unwrap();
    let work = |worker: usize| {
        let mut kept = Kept::default();
        for partition in plan.iter().rev().skip(worker).step_by(workers) {
            volume.scan(partition, &mut kept).unwrap();
        }
        tally(kept.0)
    };
    let mut sum = Tally::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        threads.into_iter().for_each(|thread| sum.add(&thread.join().unwrap()));
    });
    sum
}

/// The sums of both rounds, in memory.
#[derive(Default)]
struct InMemory {
    first: BTreeMap<[u64; 2], [i64; 4]>,
    second: BTreeMap<[u64; 2], [i64; 4]>,
}

fn book(sums: &mut BTreeMap<[u64; 2], [i64; 4]>, key: [u64; 2], delta: [i64; 4]) {
    sums.entry(key).or_default().iter_mut().zip(delta).for_each(|(sum, delta)| *sum += delta);
}

impl Ledger for InMemory {
    type Error = Error;
    fn add(&mut self, key: [u64; 2], delta: [i64; 4]) -> Result<()> {
        book(&mut self.second, key, delta);
        Ok(())
    }
    fn add_first(&mut self, key: [u64; 2], delta: [i64; 4]) -> Result<()> {
        book(&mut self.first, key, delta);
        Ok(())
    }
}

/// What the census of these rows finds.
pub(super) fn findings(batches: &[Batch]) -> Vec<Finding> {
    let (mut census, mut ledger) = (Census::new(CensusOptions::default()), InMemory::default());
    for batch in batches {
        census.observe(batch, &mut ledger).unwrap();
    }
    let mut first = std::mem::take(&mut ledger.first).into_iter();
    census.bridge(&mut || Ok(first.next()), &mut ledger).unwrap();
    let (mut found, mut sums) = (Vec::new(), ledger.second.into_iter());
    census
        .settle(&mut || Ok::<_, Error>(sums.next()), &mut |outcome| {
            if let Outcome::Found(finding) = outcome {
                found.push(finding);
            }
            Ok(())
        })
        .unwrap();
    found
}

/// Rows by key.
#[derive(Default)]
pub(super) struct Rowed {
    pub(super) nodes: BTreeMap<u64, Node>,
    pub(super) edges: Vec<Edge>,
    pub(super) chunks: Vec<Chunk>,
    pub(super) parents: BTreeMap<u64, BTreeMap<u64, i64>>,
    pub(super) stats: BTreeMap<u64, [i64; 3]>,
    pub(super) quotas: BTreeMap<u64, [i64; 2]>,
    pub(super) xattrs: BTreeSet<u64>,
    pub(super) links: BTreeMap<u64, usize>,
    pub(super) removed: BTreeSet<u64>,
}

impl Rowed {
    pub(super) fn of(batches: &[Batch]) -> Self {
        let mut all = Self::default();
        for batch in batches {
            match batch {
                Batch::Node(rows) => all.nodes.extend(rows.iter().map(|row| (row.inode, row.clone()))),
                Batch::Edge(rows) => all.edges.extend_from_slice(rows),
                Batch::Chunk(rows) => all.chunks.extend_from_slice(rows),
                Batch::Parent(rows) => rows.iter().for_each(|row| {
                    all.parents.entry(row.inode).or_default().insert(row.parent, row.count);
                }),
                Batch::DirStat(rows) => {
                    all.stats.extend(rows.iter().map(|row| (row.inode, [row.length, row.space, row.inodes])));
                }
                Batch::Quota(rows) => {
                    all.quotas.extend(rows.iter().map(|row| (row.id, [row.used_space, row.used_inodes])))
                }
                Batch::Xattr(rows) => all.xattrs.extend(rows.iter().map(|row| row.inode)),
                Batch::Symlink(rows) => all.links.extend(rows.iter().map(|row| (row.inode, row.target.len()))),
                Batch::DelFile(rows) => all.removed.extend(rows.iter().map(|row| row.inode)),
                _ => {}
            }
        }
        all
    }

    pub(super) fn of_kind(&self, kind: FileType) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(move |node| node.kind == kind)
    }
}
