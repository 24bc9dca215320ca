//! What the tests of reading and writing share: fixtures, and what comes out of a source.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use metaferry_codecs::Tally;
use metaferry_codecs::juicefs::{Batch, JuiceFs, Kind};
use metaferry_codecs::system::Batch as _;
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{Emit, Error, Result, Scope, Snapshot, Source, Stop, verify};
use serde_json::Value;

use super::super::server::Server;
use super::super::{Address, RdbSource, RedisOptions, RedisSource};

pub(super) const VOLUMES: [&str; 5] = ["empty", "plain", "encrypted", "wideid", "tour"];

/// A file of a fixture, unpacked.
pub(super) fn fixture(volume: &str, file: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(volume).join("redis");
    std::fs::read(folder.join(file))
        .or_else(|_| zstd::decode_all(std::fs::File::open(folder.join(format!("{file}.zst")))?))
        .unwrap_or_else(|error| panic!("{volume}/{file}: {error}"))
}

pub(super) fn fixture_lines(volume: &str, file: &str) -> Vec<Value> {
    let text = fixture(volume, file);
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// A fixture's RDB in a folder of its own.
pub(super) fn rdb_file(volume: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dump.rdb");
    std::fs::write(&path, fixture(volume, "store.rdb")).unwrap();
    (folder, path)
}

/// A server that holds a fixture.
pub(super) fn server_of(volume: &str, args: &[&str]) -> Server {
    let (folder, _) = rdb_file(volume);
    Server::start_with(folder, args)
}

pub(super) fn file_source(path: &Path) -> Box<dyn Source<JuiceFs>> {
    Box::new(RdbSource::new(path, 0, SpillDir::default()))
}

pub(super) fn address(url: &str) -> Address {
    Address::parse(url, &|_| None).unwrap()
}

pub(super) fn server_source(url: &str, options: RedisOptions) -> Box<dyn Source<JuiceFs>> {
    Box::new(RedisSource::new(address(url), options))
}

pub(super) fn by_scan() -> RedisOptions {
    RedisOptions { scan: true, ..RedisOptions::default() }
}

pub(super) fn tally(source: Box<dyn Source<JuiceFs>>) -> Tally<Kind> {
    let stop = Stop::new();
    let snapshot = source.snapshot(2, &stop).unwrap();
    let tally = verify::tally(snapshot.as_ref(), &Scope::default(), 2, &stop).unwrap();
    snapshot.finish().unwrap();
    tally
}

/// Everything that came out of a snapshot, in canonical form.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) rows: BTreeMap<Kind, Vec<Value>>,
    pub(super) batches: Vec<Batch>,
    pub(super) damage: Vec<String>,
    pub(super) left: BTreeMap<&'static str, u64>,
    pub(super) largest: usize,
}

impl Gathered {
    pub(super) fn of(&self, kind: Kind) -> &[Value] {
        self.rows.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// The rows of a kind by a number in them.
    pub(super) fn by(&self, kind: Kind, field: &str) -> BTreeMap<u64, &Value> {
        self.of(kind).iter().map(|row| (row[field].as_u64().unwrap(), row)).collect()
    }

    pub(super) fn counter(&self, name: &str) -> i64 {
        let row = self.of(Kind::Counter).iter().find(|row| row["name"] == name);
        row.map_or(0, |row| row["value"].as_i64().unwrap())
    }
}

impl Emit<JuiceFs> for Gathered {
    fn emit(&mut self, mut batch: Batch) -> Result<()> {
        self.largest = self.largest.max(batch.weight());
        batch.canonicalize();
        let mut lines = Vec::new();
        batch.write_lines(&mut lines);
        let rows = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        self.rows
            .entry(batch.kind())
            .or_default()
            .extend(rows.map(|line| serde_json::from_slice::<Value>(line).unwrap()));
        if !batch.is_empty() {
            self.batches.push(batch);
        }
        Ok(())
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        self.damage.push(format!("{place}: {why}"));
        Ok(())
    }

    fn left_behind(&mut self, what: &'static str, count: u64) {
        *self.left.entry(what).or_default() += count;
    }
}

pub(super) fn gather(snapshot: &dyn Snapshot<JuiceFs>) -> Result<Gathered, Error> {
    let mut gathered = Gathered::default();
    for partition in snapshot.plan(&Scope::default())? {
        snapshot.scan(&partition, &mut gathered)?;
    }
    snapshot.finish()?;
    Ok(gathered)
}

pub(super) fn read(source: Box<dyn Source<JuiceFs>>) -> Result<Gathered, Error> {
    gather(source.snapshot(2, &Stop::new())?.as_ref())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
