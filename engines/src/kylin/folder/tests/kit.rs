//! What the tests share: small backups, what a source yields, a copy in few lines, and zips that no tool would make.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metaferry_codecs::kylin::{Batch, Kylin, Layout, Resource, Setting};
use metaferry_codecs::system::{Advance, Batch as _, Finding};
use metaferry_pipeline::copy::{self, Options, Report};
use metaferry_pipeline::memory::Memory;
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{
    About, Emit, Error, Findings, Guarantee, KindSet, Monitor, Needs, Result, Scope, Sink, Snapshot, Source, Stop,
};

use super::super::{BackupSink, BackupSource, Form, Reading};

/// Content of a `UUID` of the flat layout.
pub(super) const UUID: &[u8] = b"\x00\x24c212029c-419e-4a96-badb-01ba9f9dffdc";
/// A time of files in milliseconds, which no step of seconds holds.
pub(super) const TIME: i64 = 1_700_000_000_123;

/// The files of a flat backup as Kylin makes it.
pub(super) fn flat() -> Vec<(&'static str, &'static [u8])> {
    vec![
        ("UUID", UUID),
        ("_image", b"{\"offset\":7}"),
        ("_global/acl/1111", b"{}"),
        ("_global/project/p1.json", b"{\"name\":\"p1\"}"),
        ("_global/project/p2.json", b"{\"name\":\"p2\"}"),
        ("_global/user/ADMIN", b"{\"password\":\"$2a$10$synthetic\"}"),
        ("p1/dataflow_details/a/b.json", b"{\"a\":1}"),
        ("p1/dataflow_details/a.json", b"not json"),
        ("p1/execute/job", b""),
        ("p1/table/DEFAULT.T1.json", b"{\"name\":\"T1\"}"),
        ("p1/table_exd/DEFAULT.T1.json", b"{\"rows\":[]}"),
        ("p2/table/DEFAULT.T2.json", "{\"name\":\"Tü\"}".as_bytes()),
    ]
}

/// The files of a typed backup, below `core_meta`.
pub(super) fn typed() -> Vec<(&'static str, &'static [u8])> {
    vec![
        ("core_meta/SYSTEM/UUID.json", b"{\"uuid\":\"c212\"}"),
        ("core_meta/SYSTEM/_image.json", b"{\"offset\":9}"),
        ("core_meta/PROJECT/p.json", b"{\"name\":\"p\"}"),
        ("core_meta/PROJECT/q.json", b"{\"name\":\"q\"}"),
        ("core_meta/MODEL/1.json", b"{\"project\":\"p\"}"),
        ("core_meta/MODEL/2.json", b"{\"project\":\"q\"}"),
        ("core_meta/TABLE_INFO/p.DB.json.json", b"{\"project\":\"p\"}"),
        ("core_meta/TABLE_INFO/p.DB.T.json", b"{\"project\":\"p\"}"),
        ("core_meta/TABLE_EXD/p.DB.T.json", b"{\"project\":\"p\"}"),
        ("core_meta/USER_INFO/ADMIN.json", b"{}"),
    ]
}

/// A folder that goes away.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A backup in it: files of those names and contents, written at [`TIME`] and after.
    pub(super) fn backup(&self, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let top = self.path(name);
        fs::create_dir_all(&top).unwrap();
        for (number, (path, content)) in (0..).zip(files) {
            put(&top.join(path), content, TIME + number);
        }
        top
    }

    /// The names in it.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

pub(super) fn put(path: &Path, content: &[u8], millis: i64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(time(millis)).unwrap();
}

pub(super) fn time(millis: i64) -> SystemTime {
    let by = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 { UNIX_EPOCH - by } else { UNIX_EPOCH + by }
}

/// Every file below a folder, with its bytes and its time, by path.
pub(super) fn tree(top: &Path) -> BTreeMap<Vec<u8>, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut open = vec![top.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(top).unwrap().as_os_str().as_bytes().to_vec();
            found.insert(name, (fs::read(&path).unwrap(), path.metadata().unwrap().modified().unwrap()));
        }
    }
    found
}

/// The same without `_image`, whose time is that of the backup.
pub(super) fn resources(top: &Path) -> BTreeMap<Vec<u8>, (Vec<u8>, SystemTime)> {
    let mut found = tree(top);
    found.retain(|name, _| name != b"_image" && name != b"core_meta/SYSTEM/_image.json");
    found
}

/// What a source yields.
#[derive(Debug, Default)]
pub(super) struct Yield {
    pub(super) rows: Vec<Resource>,
    pub(super) setting: Option<Setting>,
    pub(super) findings: Findings,
    pub(super) notes: Vec<String>,
    pub(super) is_ordered: bool,
}

impl Yield {
    pub(super) fn keys(&self) -> Vec<String> {
        self.rows.iter().map(|row| String::from_utf8_lossy(&row.key).into_owned()).collect()
    }
}

impl Emit<Kylin> for Yield {
    fn emit(&mut self, batch: Batch) -> Result<()> {
        assert!(!batch.is_empty() && batch.len() <= 1024);
        match batch {
            Batch::Setting(rows) => {
                assert!(self.setting.is_none() && rows.len() == 1);
                self.setting = rows.into_iter().next();
            }
            Batch::Resource(rows) => self.rows.extend(rows),
            Batch::Audit(_) => panic!("a backup has no change log"),
        }
        Ok(())
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        self.findings.damaged(format!("{place}: {why}"));
        Ok(())
    }

    fn left_behind(&mut self, what: &'static str, count: u64) {
        self.findings.left_behind(what, count);
    }

    fn found(&mut self, finding: Finding) {
        self.findings.found(finding);
    }
}

pub(super) fn open(path: &Path, reading: Reading) -> Result<Box<dyn Snapshot<Kylin>>> {
    Box::new(BackupSource::open(path, reading)?).snapshot(2, &Stop::new())
}

pub(super) fn scan(snapshot: &dyn Snapshot<Kylin>) -> Result<Yield> {
    let mut out = Yield::default();
    for partition in snapshot.plan(&Scope::default())? {
        let before = out.rows.len();
        snapshot.scan(&partition, &mut out)?;
        if partition.kind == Some(metaferry_codecs::kylin::Kind::Resource) {
            assert!(out.rows.len() - before <= usize::try_from(partition.weight).unwrap());
        }
    }
    snapshot.finish()?;
    let about = snapshot.about();
    (out.notes, out.is_ordered) = (about.notes, about.ordered == KindSet::ALL);
    if out.is_ordered {
        assert!(out.rows.is_sorted_by(|one, other| one.key < other.key), "{:?}", out.keys());
    }
    Ok(out)
}

pub(super) fn read(path: &Path, reading: Reading) -> Result<Yield> {
    scan(open(path, reading)?.as_ref())
}

pub(super) fn all(path: &Path) -> Yield {
    read(path, Reading::default()).unwrap()
}

/// The error with which a backup is refused.
pub(super) fn refusal(path: &Path) -> Error {
    read(path, Reading::default()).err().unwrap_or_else(|| panic!("{} was read", path.display()))
}

pub(super) fn unchecked() -> Reading {
    Reading { unchecked: true, ..Reading::default() }
}

pub(super) fn options() -> Options {
    Options {
        threads: 2,
        memory_bytes: 64 << 20,
        spill: SpillDir::new(std::env::temp_dir()),
        keep_secrets: false,
        keep_counters: false,
        advance: Advance::default(),
        mend: false,
        skip_damaged: false,
        prove: true,
        live: false,
        strict: false,
    }
}

/// Copies, and proves what was written.
pub(super) fn copied(source: impl Source<Kylin> + 'static, sink: impl Sink<Kylin> + 'static) -> Result<Report<Kylin>> {
    copy::copy(Box::new(source), Box::new(sink), &options(), &Monitor::default(), &Stop::new())
}

pub(super) fn copy_backup(from: &Path, to: &Path, form: Form) -> Result<Report<Kylin>> {
    copied(BackupSource::open(from, Reading::default())?, BackupSink::create(to, form))
}

/// What a source says of itself.
pub(super) fn about() -> About {
    About {
        origin: "kylin_metadata@jdbc".to_owned(),
        guarantee: Guarantee::Exact,
        ordered: KindSet::ALL,
        notes: Vec::new(),
        live_sessions: 0,
        is_repeatable: true,
        is_partial: false,
    }
}

/// A store in memory that holds those resources.
pub(super) fn store(layout: Layout, rows: Vec<Resource>) -> Memory<Kylin> {
    let setting = Setting { layout, offset: Some(7), project: Vec::new() };
    holding(vec![rows.into()], setting)
}

/// A store in memory.
pub(super) fn holding(batches: Vec<Batch>, setting: Setting) -> Memory<Kylin> {
    let needs = Needs {
        loaders: 1,
        ordered: KindSet::NONE,
        affine: false,
        works_out: KindSet::NONE,
        mends: false,
        defaults: false,
        strips_secrets: false,
    };
    let mut memory = Memory::new(needs);
    let about = About { origin: "memory".to_owned(), ordered: KindSet::NONE, ..about() };
    memory.prepare(&about, &Stop::new()).unwrap();
    let mut loader = memory.loader().unwrap();
    for batch in batches.into_iter().filter(|batch| !batch.is_empty()) {
        loader.load(batch).unwrap();
    }
    loader.finish().unwrap();
    let commit = metaferry_pipeline::Commit { seal: vec![setting].into(), tally: Default::default(), about };
    Box::new(memory.clone()).commit(commit).unwrap();
    memory
}

pub(super) fn resource(key: &str, content: &[u8]) -> Resource {
    Resource { key: key.as_bytes().to_vec(), content: content.to_vec(), ts: TIME, mvcc: 3 }
}
