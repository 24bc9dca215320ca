//! How long large backups take: run by hand, with `--ignored --nocapture`, where there is room for them.

use std::time::Instant;

use metaferry_codecs::kylin::{Kylin, Layout, Resource, Setting};
use metaferry_pipeline::{About, Emit, Guarantee, KindSet, Partition, Result, Scope, Snapshot, Source, Stop};

use super::super::{BackupSink, BackupSource, Form, Reading, check};
use super::kit::*;

/// Resources of the shape of a metastore's, made as they are read.
struct Made {
    rows: u64,
    bytes: usize,
}

const PART: u64 = 1000;

impl Source<Kylin> for Made {
    fn snapshot(self: Box<Self>, _readers: usize, _stop: &Stop) -> Result<Box<dyn Snapshot<Kylin>>> {
        Ok(self)
    }
}

impl Snapshot<Kylin> for Made {
    fn about(&self) -> About {
        About {
            origin: "made".to_owned(),
            guarantee: Guarantee::Exact,
            ordered: KindSet::ALL,
            notes: Vec::new(),
            live_sessions: 0,
            is_repeatable: true,
            is_partial: false,
        }
    }

    fn plan(&self, _scope: &Scope<Kylin>) -> Result<Vec<Partition<Kylin>>> {
        Ok((0..=self.rows / PART).map(|from| Partition { kind: None, from, to: from + 1, weight: PART }).collect())
    }

    fn scan(&self, partition: &Partition<Kylin>, out: &mut dyn Emit<Kylin>) -> Result<()> {
        if partition.from == 0 {
            out.emit(vec![Setting { layout: Layout::Flat, offset: Some(7), project: Vec::new() }].into())?;
            return out.emit(vec![resource("/_global/project/p.json", b"{}")].into());
        }
        let numbers = (partition.from - 1) * PART..partition.from * PART;
        let rows = numbers.map(|number| {
            let folder = if number < self.rows / 2 { "execute" } else { "dataflow_details" };
            let inner = if number < self.rows / 2 { String::new() } else { format!("{:05}/", number / 40) };
            let mut content = Vec::with_capacity(self.bytes);
            for index in 0_u64.. {
                if content.len() >= self.bytes {
                    break;
                }
                let value = (number ^ index << 20).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 30;
                content.extend_from_slice(format!("{{\"id\":{index},\"value\":{value}}},\n").as_bytes());
            }
            Resource { content, ..resource(&format!("/p/{folder}/{inner}{number:08}.json"), b"") }
        });
        let mut batch = Vec::new();
        for row in rows {
            batch.push(row);
            if batch.len() == 100 {
                out.emit(std::mem::take(&mut batch).into())?;
            }
        }
        if batch.is_empty() { Ok(()) } else { out.emit(batch.into()) }
    }
}

#[test]
#[ignore = "takes gigabytes, and measures"]
fn two_hundred_thousand_resources() {
    let folder = Folder::new();
    let (rows, bytes) = (200_000, 10_000);
    let timed = |what: &str, work: &mut dyn FnMut()| {
        let (begin, before) = (Instant::now(), processor());
        work();
        let [user, system] = [0, 1].map(|of| processor()[of] - before[of]);
        println!(
            "{what}: {:.2} s; processor {user:.2} s, and {system:.2} s in the kernel",
            begin.elapsed().as_secs_f64()
        );
    };
    let mut options = options();
    options.prove = false;
    let copy = |source: Box<dyn Source<Kylin>>, name: &str, form| {
        let sink = Box::new(BackupSink::create(&folder.path(name), form));
        let report = metaferry_pipeline::copy::copy(source, sink, &options, &Default::default(), &Stop::new()).unwrap();
        assert_eq!(report.tally.total().rows, rows + 2);
    };
    let made = || Box::new(Made { rows, bytes });
    timed("made, and thrown away", &mut || {
        let plan = made().plan(&Scope::default()).unwrap();
        let mut out = Nowhere;
        plan.iter().for_each(|partition| made().scan(partition, &mut out).unwrap());
    });
    timed("into a folder", &mut || copy(made(), "files", Form::Folder));
    let opened = || Box::new(BackupSource::open(&folder.path("files"), Reading::default()).unwrap());
    timed("looked at", &mut || drop(opened().snapshot(2, &Stop::new()).unwrap()));
    timed("checked", &mut || drop(check(&folder.path("files"), 2, &Stop::new()).unwrap()));
    timed("into a zip", &mut || copy(opened(), "zip", Form::Zip));
    timed("the zip checked", &mut || drop(check(&folder.path("zip"), 2, &Stop::new()).unwrap()));
}

/// What this process has had of processors, in seconds: itself, and in the kernel.
fn processor() -> [f64; 2] {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    [11, 12].map(|at| fields[at].parse::<f64>().unwrap() / 100.0)
}

struct Nowhere;

impl Emit<Kylin> for Nowhere {
    fn emit(&mut self, _batch: metaferry_codecs::kylin::Batch) -> Result<()> {
        Ok(())
    }
    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        panic!("{place}: {why}")
    }
    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}
