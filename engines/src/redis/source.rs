//! The source that is a server: its replication stream, or its keys by SCAN where that is refused or asked for.

use std::time::{SystemTime, UNIX_EPOCH};

use metaferry_codecs::juicefs::{Batch, Document, JuiceFs, Kind, Setting, redis_keys as keys};
use metaferry_pipeline::preflight::{Outlook, Room};
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{About, Error, ErrorKind, Guarantee, KindSet, Result, Snapshot, Source, Stop};

use super::address::Address;
use super::connection::Connection;
use super::drain::DrainedSnapshot;
use super::preflight;
use super::scan::ScanSnapshot;
use super::stream::{Stream, StreamSnapshot};
use super::sync::SyncStream;
use super::volume::Volume;

/// How a server is read.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// By SCAN, not by its replication stream.
    pub scan: bool,
    /// Have the server send its snapshot without writing it to disk first.
    pub diskless: bool,
    /// Where what does not fit in memory goes.
    pub spill: SpillDir,
}

/// Reads a volume from a server.
#[derive(Debug)]
pub struct RedisSource {
    address: Address,
    options: RedisOptions,
}

impl RedisSource {
    /// The volume at an address.
    #[must_use]
    pub fn new(address: Address, options: RedisOptions) -> Self {
        Self { address, options }
    }
}

impl Source<JuiceFs> for RedisSource {
    fn snapshot(self: Box<Self>, readers: usize, stop: &Stop) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        let mut connection = Connection::open(&self.address, stop)?;
        let volume = Volume::at(self.address.database(), connection.prefix());
        must_be_volume(&mut connection, &volume)?;
        stop.check()?;
        let stop = stop.clone();
        Reading { address: self.address, options: self.options, readers, sealed: true, stop }.open(connection, volume)
    }

    fn seal(self: Box<Self>, stop: &Stop) -> Result<Option<Batch>> {
        let mut connection = Connection::open(&self.address, stop)?;
        let volume = Volume::at(self.address.database(), connection.prefix());
        let document = Document(must_be_volume(&mut connection, &volume)?);
        Ok(Some(vec![Setting { document }].into()))
    }

    fn outlook(&self, _rooms: &[Room<Kind>], stop: &Stop) -> Result<Outlook<Kind>> {
        preflight::source(&self.address, !self.options.scan, stop)
    }
}

/// A server that holds no setting holds no volume; the setting.
pub(super) fn must_be_volume(connection: &mut Connection, volume: &Volume) -> Result<Vec<u8>> {
    let setting = connection.command(&[b"GET", &volume.key(keys::SETTING)])?;
    if let Some(setting) = setting.bytes().filter(|setting| !setting.is_empty()) {
        return Ok(setting.to_vec());
    }
    let count = connection.command(&[b"DBSIZE"])?.integer().unwrap_or(0);
    let name = connection.name();
    Err(Error::corrupt(format!("{name}: not a JuiceFS volume: {count} keys, and no setting among them"))
        .hint("name the volume's database, as in redis://host/1"))
}

/// How a server is going to be read.
pub(super) struct Reading {
    pub(super) address: Address,
    pub(super) options: RedisOptions,
    pub(super) readers: usize,
    /// Whether there must be a setting.
    pub(super) sealed: bool,
    pub(super) stop: Stop,
}

impl Reading {
    /// Opens the best snapshot that the server gives.
    pub(super) fn open(self, mut connection: Connection, volume: Volume) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        let mut about = self.about(&mut connection, &volume)?;
        let rows =
            connection.command(&[b"DBSIZE"])?.integer().and_then(|keys| u64::try_from(keys).ok()).unwrap_or(0) * 3 / 2;
        if self.options.scan {
            return Ok(self.by_scan(connection, volume, about, rows));
        }
        if !connection.holds_whole_slot()? {
            about.guarantee = Guarantee::Fuzzy;
            about.notes.push("the cluster is moving the volume's slot".to_owned());
        }
        match SyncStream::start(connection, self.options.diskless) {
            Ok(input) => {
                about.notes.push(snapshot_note(self.options.diskless).to_owned());
                let check =
                    (about.guarantee == Guarantee::Exact).then(|| slot_check(self.address.clone(), self.stop.clone()));
                let (spill, has_file) = (&self.options.spill, input.length_bytes().is_some());
                let input = Box::new(input);
                let stream = Stream { about, input, volume, rows, sealed: self.sealed, check };
                if has_file {
                    return Ok(Box::new(StreamSnapshot::new(stream, self.readers, spill)));
                }
                Ok(Box::new(DrainedSnapshot::new(stream, self.readers, spill, &self.stop)))
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
                about.notes.push(format!("{error}{cause}"));
                let connection = Connection::open(&self.address, &self.stop)?;
                Ok(self.by_scan(connection, volume, about, rows))
            }
            Err(error) => Err(error),
        }
    }

    fn by_scan(self, connection: Connection, volume: Volume, about: About, rows: u64) -> Box<dyn Snapshot<JuiceFs>> {
        let mut about = About { guarantee: Guarantee::Fuzzy, ..about };
        about.notes.push("read by SCAN: exact only if nothing writes meanwhile".to_owned());
        let check = (!connection.prefix().is_empty()).then(|| slot_check(self.address, self.stop));
        let snapshot = ScanSnapshot::new(connection, volume, about, (rows, self.sealed, &self.options.spill));
        Box::new(snapshot.with_check(check))
    }

    fn about(&self, connection: &mut Connection, volume: &Volume) -> Result<About> {
        Ok(About {
            origin: connection.name().to_owned(),
            guarantee: Guarantee::Exact,
            ordered: KindSet::NONE,
            notes: preflight::notes(connection),
            live_sessions: live_sessions(connection, volume)?,
            is_repeatable: false,
            is_partial: false,
        })
    }
}

/// Sessions that have not expired.
pub(super) fn live_sessions(connection: &mut Connection, volume: &Volume) -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let after = format!("({now}");
    let live = connection.command(&[b"ZCOUNT", &volume.key(keys::ALL_SESSIONS), after.as_bytes(), b"+inf"])?;
    Ok(live.integer().and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}

/// In a cluster, the slot must still be whole at the end.
fn slot_check(address: Address, stop: Stop) -> super::stream::Check {
    Box::new(move || {
        let mut connection = Connection::open(&address, &stop)?;
        if connection.holds_whole_slot()? {
            return Ok(());
        }
        Err(Error::corrupt(format!("{address}: the cluster began to move the volume's slot while it was read"))
            .hint("run again when the cluster is at rest"))
    })
}

fn snapshot_note(diskless: bool) -> &'static str {
    if diskless {
        "the server forked to send its snapshot, without writing it to disk"
    } else {
        "the server forked to write its snapshot to disk, in place of its dump.rdb"
    }
}
