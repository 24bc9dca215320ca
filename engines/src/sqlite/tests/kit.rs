//! Fixtures in folders of their own, everything a source yields, and a copier of a few lines.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use metaferry_codecs::juicefs::{Batch, JuiceFs, Kind};
use metaferry_codecs::system::{Batch as _, Kind as _};
use metaferry_codecs::tally::Tally;
use metaferry_pipeline::{
    About, Commit, Emit, Guarantee, KindSet, Loader, Result, Scope, Sink, Snapshot, Source, Stop,
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::super::{SqliteAddress, SqliteSink, SqliteSource};

/// The fixtures that JuiceFS 1.4 wrote, and one in the shape of 1.0.
pub(super) const VOLUMES: [&str; 6] = ["tour", "plain", "empty", "encrypted", "wideid", "legacy/v1.0"];

/// A file of a fixture, decompressed.
pub(super) fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(name);
    fs::read(&path).unwrap_or_else(|_| {
        let packed = fs::File::open(path.with_added_extension("zst")).unwrap_or_else(|error| panic!("{name}: {error}"));
        zstd::decode_all(packed).unwrap()
    })
}

/// A folder that goes away.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A fixture's store in it.
    pub(super) fn store(&self, volume: &str) -> PathBuf {
        self.put("store.db", &fixture(&format!("{volume}/sqlite/store.db")))
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// Every file in it with its bytes.
    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.0.path()).unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.files().into_keys().collect()
    }
}

/// Runs statements on a file, as some other program.
pub(super) fn sql(path: &Path, statements: &str) {
    Connection::open(path).unwrap().execute_batch(statements).unwrap();
}

/// One number from a file.
pub(super) fn number(path: &Path, query: &str) -> i64 {
    Connection::open(path).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
}

/// Everything a source yields, as sorted lines by kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) lines: BTreeMap<Kind, Vec<String>>,
    pub(super) damaged: Vec<String>,
    pub(super) left_behind: BTreeMap<&'static str, u64>,
}

impl Emit<JuiceFs> for Rows {
    fn emit(&mut self, batch: Batch) -> Result<()> {
        assert!((1..=4096).contains(&batch.len()) && batch.weight() < 2 << 20);
        let mut text = Vec::new();
        batch.write_lines(&mut text);
        let lines = self.lines.entry(batch.kind()).or_default();
        lines.extend(String::from_utf8(text).unwrap().lines().map(str::to_owned));
        Ok(())
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        self.damaged.push(format!("{place}: {why}"));
        Ok(())
    }

    fn left_behind(&mut self, what: &'static str, count: u64) {
        *self.left_behind.entry(what).or_default() += count;
    }
}

impl Rows {
    pub(super) fn of(&self, kind: Kind) -> &[String] {
        self.lines.get(&kind).map_or(&[], Vec::as_slice)
    }
}

pub(super) fn open(path: &Path, readers: usize) -> Result<Box<dyn Snapshot<JuiceFs>>> {
    Box::new(SqliteSource::new(SqliteAddress::file(path))).snapshot(readers, &Stop::new())
}

pub(super) fn rows(snapshot: &dyn Snapshot<JuiceFs>) -> Rows {
    let mut rows = Rows::default();
    for partition in snapshot.plan(&Scope::default()).unwrap() {
        snapshot.scan(&partition, &mut rows).unwrap();
    }
    snapshot.finish().unwrap();
    rows.lines.values_mut().for_each(|lines| lines.sort());
    rows
}

pub(super) fn read(path: &Path) -> Rows {
    rows(open(path, 2).unwrap().as_ref())
}

pub(super) fn about() -> About {
    let origin = "a test".to_owned();
    About {
        origin,
        guarantee: Guarantee::Exact,
        ordered: KindSet::ALL,
        notes: Vec::new(),
        live_sessions: 0,
        is_repeatable: true,
        is_partial: false,
    }
}

/// Loads what is scanned, and keeps the seal.
struct Carry<'l> {
    loader: &'l mut dyn Loader<JuiceFs>,
    seal: Option<Batch>,
}

impl Emit<JuiceFs> for Carry<'_> {
    fn emit(&mut self, batch: Batch) -> Result<()> {
        if batch.kind() == Kind::Setting {
            self.seal = Some(batch);
            return Ok(());
        }
        self.loader.load(batch)
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        panic!("{place}: {why}")
    }

    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}

type Prepared = (Box<dyn Sink<JuiceFs>>, Box<dyn Loader<JuiceFs>>);

/// A sink that is prepared for a file, with its loader.
pub(super) fn prepared(path: &Path) -> Result<Prepared> {
    let mut sink = Box::new(SqliteSink::new(SqliteAddress::file(path)));
    sink.prepare(&about(), &Stop::new())?;
    let loader = sink.loader()?;
    Ok((sink, loader))
}

/// A seal that is a setting.
pub(super) fn seal(document: &[u8]) -> Commit<JuiceFs> {
    let document = metaferry_codecs::juicefs::Document(document.to_vec());
    let setting = metaferry_codecs::juicefs::Setting { document };
    Commit { seal: vec![setting].into(), tally: Tally::default(), about: about() }
}

/// Copies a volume, and returns what can be read of the copy before it is committed.
pub(super) fn copy(from: &Path, to: &Path) -> Rows {
    let source = open(from, 1).unwrap();
    let (mut sink, mut loader) = prepared(to).unwrap();
    let mut carry = Carry { loader: loader.as_mut(), seal: None };
    for partition in source.plan(&Scope::default()).unwrap() {
        source.scan(&partition, &mut carry).unwrap();
    }
    let seal = carry.seal.unwrap();
    loader.finish().unwrap();
    let uncommitted = rows(sink.uncommitted().unwrap().as_ref());
    sink.commit(Commit { seal, tally: Tally::default(), about: about() }).unwrap();
    uncommitted
}

/// Every kind that is a table of its own in SQL, with the table.
pub(super) fn tables() -> impl Iterator<Item = (Kind, String)> {
    let names = [
        (Kind::Node, "node"),
        (Kind::Edge, "edge"),
        (Kind::Chunk, "chunk"),
        (Kind::SliceRef, "chunk_ref"),
        (Kind::Symlink, "symlink"),
        (Kind::Xattr, "xattr"),
        (Kind::Acl, "acl"),
        (Kind::DirStat, "dir_stats"),
        (Kind::Sustained, "sustained"),
        (Kind::DelFile, "delfile"),
        (Kind::DelSlices, "delslices"),
        (Kind::Detached, "detached_node"),
        (Kind::Token, "delegation_token"),
    ];
    assert!(names.iter().all(|(kind, _)| Kind::all().contains(kind)));
    names.into_iter().map(|(kind, name)| (kind, format!("jfs_{name}")))
}
