//! A selection gives the same rows whether its source can be scanned again or not, and asks no more of it than it offers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use metaferry_codecs::juicefs::{
    Batch, Counter, Document, Edge, FileType, JuiceFs, Kind, Node, Selection, Setting, TRASH_INODE, Xattr,
};

use super::*;
use metaferry_codecs::system::{Advance, Batch as _};

use crate::copy::{Options, Report, copy};
use crate::memory::Memory;
use crate::{Guarantee, KindSet, Needs};

/// A volume of batches. What can be scanned only once yields a batch to whoever asks first.
#[derive(Clone)]
struct Rows {
    batches: Arc<Vec<Batch>>,
    is_repeatable: bool,
    scans: Arc<Vec<AtomicUsize>>,
    finished: Arc<AtomicU64>,
}

const FILES: u64 = 5000;

impl Rows {
    /// Files with one name; every third one has it in a directory of the trash.
    fn new(is_repeatable: bool) -> Self {
        let hour = TRASH_INODE + 1;
        let edge = |parent: u64, inode: u64, kind| Edge { parent, name: inode.to_string().into_bytes(), inode, kind };
        let node = |inode, kind, nlink| Node { inode, kind, nlink, parent: 1, length: 1, ..Node::default() };
        let (file, directory) = (FileType::REGULAR, FileType::DIRECTORY);
        let mut batches: Vec<Batch> = vec![
            vec![Setting { document: Document(br#"{"Name":"v","UUID":"u"}"#.to_vec()) }].into(),
            vec![Counter { name: b"totalInodes".to_vec(), value: 77 }].into(),
            vec![edge(3, 4, directory), edge(hour, 3, directory), edge(TRASH_INODE, hour, directory)].into(),
            vec![node(1, directory, 2), node(3, directory, 3), node(4, directory, 2), node(hour, directory, 2)].into(),
        ];
        for from in (10..10 + FILES).step_by(100) {
            let inodes = || from..from + 100;
            batches.push(inodes().map(|inode| node(inode, file, 1)).collect::<Vec<_>>().into());
            let edge = |inode| edge(if inode % 3 == 0 { 4 } else { 1 }, inode, file);
            batches.push(inodes().map(edge).collect::<Vec<_>>().into());
            let xattr = |inode| Xattr { inode, name: b"n".to_vec(), value: vec![b'v'; 200] };
            batches.push(inodes().map(xattr).collect::<Vec<_>>().into());
        }
        let scans = batches.iter().map(|_| AtomicUsize::new(0)).collect();
        Self { batches: Arc::new(batches), is_repeatable, scans: Arc::new(scans), finished: Arc::default() }
    }

    fn most_scans(&self) -> usize {
        self.scans.iter().map(|scans| scans.load(Ordering::Relaxed)).max().unwrap()
    }
}

impl Source<JuiceFs> for Rows {
    fn snapshot(self: Box<Self>, _readers: usize, _stop: &Stop) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        Ok(self)
    }
}

impl Snapshot<JuiceFs> for Rows {
    fn about(&self) -> About {
        About {
            origin: "rows".to_owned(),
            guarantee: Guarantee::Exact,
            ordered: KindSet::NONE,
            notes: Vec::new(),
            live_sessions: 0,
            is_repeatable: self.is_repeatable,
            is_partial: false,
        }
    }

    fn plan(&self, scope: &Scope<JuiceFs>) -> Result<Vec<Partition<JuiceFs>>> {
        let wanted = (0..).zip(self.batches.iter());
        let wanted = wanted.filter(|(_, batch)| !self.is_repeatable || scope.wants(batch.kind()));
        let kind = |batch: &Batch| self.is_repeatable.then(|| batch.kind());
        Ok(wanted.map(|(from, batch)| Partition { kind: kind(batch), from, to: from + 1, weight: 1 }).collect())
    }

    fn scan(&self, partition: &Partition<JuiceFs>, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let index = partition.from as usize;
        let before = self.scans[index].fetch_add(1, Ordering::Relaxed);
        assert!(self.is_repeatable || before == 0, "it can be scanned only once");
        if index == 0 {
            out.left_behind("locks", 2);
            out.damaged("row 7".to_owned(), metaferry_codecs::Error::Truncated("row"))?;
        }
        out.emit(self.batches[index].clone())
    }

    fn finish(&self) -> Result<()> {
        self.finished.fetch_add(1, Ordering::Relaxed);
        assert!(self.most_scans() > 0);
        Ok(())
    }
}

fn options(skip_damaged: bool) -> Options {
    Options {
        threads: 3,
        memory_bytes: 16 << 20,
        spill: SpillDir::default(),
        keep_secrets: false,
        keep_counters: false,
        advance: Advance::default(),
        mend: false,
        skip_damaged,
        prove: true,
        live: false,
        strict: false,
    }
}

/// Copies a selection of it into the strict store, and lists what is there then.
fn selected(rows: &Rows, mends: bool) -> (Report<JuiceFs>, Vec<String>) {
    let ordered = KindSet::of([Kind::Edge]);
    let needs = Needs {
        loaders: 1,
        ordered,
        affine: false,
        works_out: KindSet::NONE,
        mends,
        defaults: mends,
        strips_secrets: false,
    };
    let memory = Memory::<JuiceFs>::new(needs);
    let monitor = Arc::new(Monitor::default());
    let (options, stop) = (options(true), Stop::new());
    let source =
        Select::new(Box::new(rows.clone()), Selection::without_trash(), options.spill.clone(), monitor.clone());
    let report = copy(Box::new(source), Box::new(memory.clone()), &options, &monitor, &stop).unwrap();
    assert!(memory.is_committed());
    let snapshot = Box::new(memory).snapshot(1, &stop).unwrap();
    let mut lines = Lines(Vec::new());
    for partition in snapshot.plan(&Scope::default()).unwrap() {
        snapshot.scan(&partition, &mut lines).unwrap();
    }
    (report, lines.0)
}

struct Lines(Vec<String>);

impl Emit<JuiceFs> for Lines {
    fn emit(&mut self, batch: Batch) -> Result<()> {
        let mut text = Vec::new();
        batch.write_lines(&mut text);
        self.0.extend(String::from_utf8(text).unwrap().lines().map(str::to_owned));
        Ok(())
    }
    fn damaged(&mut self, place: String, _why: metaferry_codecs::Error) -> Result<()> {
        panic!("{place} is damaged")
    }
    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}

#[test]
fn what_can_be_scanned_once_gives_what_can_be_scanned_again() {
    let stayed = FILES - FILES / 3;
    let [(again, once), (mended, _)] = [false, true].map(|mends| {
        let (repeatable, spooled) = (Rows::new(true), Rows::new(false));
        let (report, lines) = selected(&repeatable, mends);
        let (other, others) = selected(&spooled, mends);
        assert_eq!(lines, others);
        assert_eq!(report.tally, other.tally);
        assert_eq!(lines.len() as u64, 3 * stayed + 5, "{:?}", report.rows);
        assert!(lines.contains(&format!(r#"{{"name":"totalInodes","value":{stayed}}}"#)));
        for (rows, report, scans) in [(&repeatable, &report, 3), (&spooled, &other, 1)] {
            assert_eq!((rows.most_scans(), rows.finished.load(Ordering::Relaxed)), (scans, 1));
            assert_eq!(report.findings.damaged.count, 1);
            let left: Vec<_> = report.findings.left_behind.iter().map(|(what, count)| (*what, *count)).collect();
            let gone = FILES / 3 + 3;
            assert_eq!(left, [("inodes in the trash", gone), ("locks", 2), ("names in the trash", gone)]);
        }
        assert!(other.spilled_bytes > report.spilled_bytes);
        (report, other)
    });
    assert_eq!((again.mended, once.mended, mended.mended), (true, true, true));
}

#[test]
fn damage_on_the_way_into_the_spool_fails_the_copy_unless_it_is_skipped() {
    for is_repeatable in [true, false] {
        let needs = Needs {
            loaders: 1,
            ordered: KindSet::NONE,
            affine: false,
            works_out: KindSet::NONE,
            mends: false,
            defaults: false,
            strips_secrets: false,
        };
        let memory = Memory::<JuiceFs>::new(needs);
        let monitor = Arc::new(Monitor::default());
        let source = Box::new(Rows::new(is_repeatable));
        let source = Select::new(source, Selection::without_trash(), SpillDir::default(), monitor.clone());
        let copied = copy(Box::new(source), Box::new(memory.clone()), &options(false), &monitor, &Stop::new());
        assert!(copied.unwrap_err().to_string().starts_with("row 7"));
        assert!(!memory.is_committed());
    }
}

#[test]
fn a_target_that_is_refused_costs_no_pass() {
    let rows = Rows::new(false);
    let monitor = Arc::new(Monitor::default());
    let source = Select::new(Box::new(rows.clone()), Selection::without_trash(), SpillDir::default(), monitor);
    let snapshot = Box::new(source).snapshot(2, &Stop::new()).unwrap();
    assert!(snapshot.about().is_partial && snapshot.about().notes.len() == 1);
    assert_eq!(rows.most_scans(), 0);
}
