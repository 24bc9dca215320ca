//! Reading a metastore: one point in time that every session sees, scanned in pieces of about a thousand resources. Those of the
//! flat layout come in the order of their keys' bytes. Servers are not held up.

use std::collections::BTreeSet;

use metaferry_codecs::kylin::{Batch, Kind, Kylin, Layout, Setting};
use metaferry_codecs::system::Kind as _;
use metaferry_pipeline::preflight::{Outlook, Room};
use metaferry_pipeline::{
    About, Emit, Error, ErrorKind, Guarantee, KindSet, Partition, Result, Scope, Snapshot, Source, Stop,
};

use super::address::StoreAddress;
use super::offset;
use super::padded::Padded;
use super::plan::{self, Piece, Pieces};
use super::preflight;
use super::rows::Rows;
use super::select::{self, Keyed};
use super::session::Session;
use super::sessions::{Readers, open, undisturbed};
use super::stretches::Left;
use super::tables::{Located, Role};
use crate::sql::pool::Pool;
use crate::sql::rows::Cells as _;

/// Which part of a metastore is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Only this project, with the id of the instance.
    pub project: Option<Vec<u8>>,
    /// All but the samples and statistics of tables.
    pub without_table_exd: bool,
    /// Also what Kylin does not see: resources of projects that are not there. All of the typed layout are seen.
    pub orphans: bool,
    /// The change log too.
    pub audit: bool,
    /// Where it is not read, its entries are not counted either, which takes seconds where there are millions.
    pub uncounted: bool,
    /// Only the resource of this key or, where there is none, those in this folder, whatever else they are.
    pub under: Option<Vec<u8>>,
    /// No content: it is empty then, and stays in the server.
    pub keys_only: bool,
}

/// A metastore in a database, to be read.
#[derive(Debug)]
pub struct KylinSource {
    address: StoreAddress,
    reading: Reading,
}

impl KylinSource {
    /// The metastore at an address; nothing is opened yet.
    #[must_use]
    pub fn new(address: StoreAddress, reading: Reading) -> Self {
        Self { address, reading }
    }
}

impl Source<Kylin> for KylinSource {
    fn snapshot(self: Box<Self>, readers: usize, stop: &Stop) -> Result<Box<dyn Snapshot<Kylin>>> {
        Ok(Box::new(KylinSnapshot::open(&self.address, self.reading, readers, stop)?))
    }

    fn seal(self: Box<Self>, stop: &Stop) -> Result<Option<Batch>> {
        let (Readers { mut sessions, .. }, located) = open(&self.address, 1, stop)?;
        let none = || Error::new(ErrorKind::Bug, "a snapshot without a session");
        let setting = setting(sessions.first_mut().ok_or_else(none)?, &located, &self.reading)?;
        sessions.into_iter().for_each(Session::close);
        Ok(Some(vec![setting].into()))
    }

    fn outlook(&self, _rooms: &[Room<Kind>], stop: &Stop) -> Result<Outlook<Kind>> {
        preflight::source(&self.address, stop)
    }
}

/// A point in time of a metastore.
pub(super) struct KylinSnapshot {
    origin: String,
    located: Located,
    sessions: Pool<Session>,
    readers: usize,
    how: String,
    reading: Reading,
    /// None in a store that is not committed yet.
    setting: Option<Setting>,
    pieces: Pieces,
}

impl KylinSnapshot {
    fn open(address: &StoreAddress, reading: Reading, readers: usize, stop: &Stop) -> Result<Self> {
        let (mut readers, located) = open(address, readers, stop)?;
        let none = || Error::new(ErrorKind::Bug, "a snapshot without a session");
        let first = readers.sessions.first_mut().ok_or_else(none)?;
        let setting = setting(first, &located, &reading)?;
        let project = Some(setting.project.clone()).filter(|project| !project.is_empty());
        let reading = Reading { project, ..reading };
        Self::of(address, (readers, located), reading, Some(setting))
    }

    /// Opens what a load has made that is not committed, all of it.
    pub(super) fn uncommitted(address: &StoreAddress, located: Located, readers: usize, stop: &Stop) -> Result<Self> {
        let readers = undisturbed(address, &located, readers, stop)?;
        let all = Reading { orphans: true, audit: true, ..Reading::default() };
        Self::of(address, (readers, located), all, None)
    }

    fn of(
        address: &StoreAddress,
        (readers, located): (Readers, Located),
        reading: Reading,
        setting: Option<Setting>,
    ) -> Result<Self> {
        let Readers { mut sessions, how } = readers;
        let none = || Error::new(ErrorKind::Bug, "a snapshot without a session");
        let pieces = plan::pieces(sessions.first_mut().ok_or_else(none)?, &located, &reading)?;
        let (readers, sessions) = (sessions.len(), Pool::new(sessions));
        Ok(Self { origin: address.to_string(), located, sessions, readers, how, reading, setting, pieces })
    }

    fn scan_setting(&self, out: &mut dyn Emit<Kylin>) -> Result<()> {
        self.pieces.left.told().into_iter().for_each(|(what, count)| out.left_behind(what, count));
        let counted = self.pieces.log.is_none() && !self.reading.uncounted;
        if let Some(log) = self.located.get(Role::Log).filter(|_| counted) {
            // Whoever plans does not wait for it, nor whoever waits for the plan.
            let count = self.sessions.with(|session| session.number(&select::count(session.dialect(), log)))?;
            out.left_behind("entries of the change log", count.cast_unsigned());
        }
        self.setting.iter().try_for_each(|setting| out.emit(vec![setting.clone()].into()))
    }

    fn scan_piece(&self, index: u64, out: &mut dyn Emit<Kylin>) -> Result<()> {
        let unknown = || Error::new(ErrorKind::Bug, "a partition that this snapshot has not planned");
        let piece =
            usize::try_from(index).ok().and_then(|index| self.pieces.resources.get(index)).ok_or_else(unknown)?;
        self.sessions.with(|session| {
            let dialect = session.dialect();
            let placed = self.located.get(piece.role()).ok_or_else(unknown)?;
            let whole = !self.reading.keys_only;
            let (sql, before) = match piece {
                Piece::Flat(stretch) => {
                    let keyed = Keyed::new(dialect, placed);
                    (keyed.between(&stretch.first, &stretch.last, whole), String::new())
                }
                Piece::Span { after, up_to, .. } => {
                    let sql = Keyed::new(dialect, placed).behind(after.as_deref(), up_to.as_deref(), whole);
                    return self.scan_span(session, &sql, out);
                }
                Piece::Typed { found, ids, .. } => {
                    let condition = plan::condition(dialect, placed, &self.reading);
                    (select::numbered(placed, *ids, &condition, whole), format!("{}/", found.name))
                }
            };
            let mut rows = Rows::new(out);
            session.rows(&sql, &mut |row| rows.resource(before.as_bytes(), row))?;
            rows.finish()
        })
    }

    /// Scans resources that come in the server's order, not all of which may be wanted.
    fn scan_span(&self, session: &mut Session, sql: &str, out: &mut dyn Emit<Kylin>) -> Result<()> {
        let (mut rows, mut padded, mut left) = (Rows::new(out), Padded::default(), Left::default());
        session.rows(sql, &mut |row| {
            let key = row.bytes(0).ok().flatten().unwrap_or_default();
            if left.has(self.pieces.wanted.sort(key)) {
                return Ok(());
            }
            match rows.read(b"", row)? {
                Some(read) => padded.take(read, &mut |read| rows.take(read)),
                None => Ok(()),
            }
        })?;
        padded.finish(&mut |read| rows.take(read))?;
        rows.finish()?;
        left.told().into_iter().for_each(|(what, count)| out.left_behind(what, count));
        Ok(())
    }

    fn scan_log(&self, ids: (u64, u64), out: &mut dyn Emit<Kylin>) -> Result<()> {
        let Some(log) = self.located.get(Role::Log) else { return Ok(()) };
        let (from, to) = (ids.0.cast_signed(), ids.1.wrapping_sub(1).cast_signed());
        self.sessions.with(|session| {
            let mut rows = Rows::new(out);
            session.rows(&select::entries(session.dialect(), log, (from, to)), &mut |row| rows.entry(row))?;
            rows.finish()
        })
    }
}

/// What a store says of itself, and the project that is asked for.
fn setting(session: &mut Session, located: &Located, reading: &Reading) -> Result<Setting> {
    let project = reading.project.as_deref().map(|name| plan::project(session, located, name)).transpose()?;
    // A flat backup of a project has no offset, a typed one has.
    let is_whole = project.is_none() && reading.under.is_none();
    let has_offset = is_whole || located.layout == Layout::Typed;
    let offset = match located.get(Role::Log) {
        Some(log) if has_offset => offset::read(session, log)?,
        _ => 0,
    };
    Ok(Setting { layout: located.layout, offset: has_offset.then_some(offset), project: project.unwrap_or_default() })
}

impl Snapshot<Kylin> for KylinSnapshot {
    fn about(&self) -> About {
        let mut ordered = vec![Kind::Setting, Kind::Audit];
        if self.pieces.is_ordered {
            ordered.push(Kind::Resource);
        }
        About {
            origin: self.origin.clone(),
            guarantee: Guarantee::Exact,
            ordered: KindSet::of(ordered),
            notes: vec![format!("{}: {}", self.origin, self.how)],
            live_sessions: 0,
            is_repeatable: true,
            is_partial: self.reading.project.is_some()
                || self.reading.without_table_exd
                || self.reading.under.is_some(),
        }
    }

    fn plan(&self, scope: &Scope<Kylin>) -> Result<Vec<Partition<Kylin>>> {
        let kinds: BTreeSet<_> = Kind::all().iter().copied().filter(|kind| scope.wants(*kind)).collect();
        if self.readers == 1 && (kinds.contains(&Kind::Resource) || kinds.contains(&Kind::Audit)) {
            // Whoever reads has the only session while what was read waits for its turn.
            return Ok(vec![Partition { kind: None, from: 0, to: u64::MAX, weight: self.pieces.rows().max(1) }]);
        }
        let mut partitions = Vec::new();
        if kinds.contains(&Kind::Setting) {
            partitions.push(Partition { kind: Some(Kind::Setting), from: 0, to: u64::MAX, weight: 1 });
        }
        if kinds.contains(&Kind::Resource) {
            let pieces = self.pieces.resources.iter().zip(0..);
            partitions.extend(pieces.map(|(piece, index)| Partition {
                kind: Some(Kind::Resource),
                from: index,
                to: index + 1,
                weight: piece.rows().max(1),
            }));
        }
        if kinds.contains(&Kind::Audit) {
            partitions.extend(self.pieces.log.iter().flatten().map(|&((from, to), weight)| Partition {
                kind: Some(Kind::Audit),
                from,
                to,
                weight,
            }));
        }
        Ok(partitions)
    }

    fn scan(&self, partition: &Partition<Kylin>, out: &mut dyn Emit<Kylin>) -> Result<()> {
        match partition.kind {
            Some(Kind::Setting) => self.scan_setting(out),
            Some(Kind::Resource) => self.scan_piece(partition.from, out),
            Some(Kind::Audit) => self.scan_log((partition.from, partition.to), out),
            None => {
                self.scan_setting(out)?;
                (0..self.pieces.resources.len() as u64).try_for_each(|index| self.scan_piece(index, out))?;
                self.pieces.log.iter().flatten().try_for_each(|&(ids, _)| self.scan_log(ids, out))
            }
        }
    }

    fn finish(&self) -> Result<()> {
        // The transactions have read only: they end with their connections.
        self.sessions.drain().into_iter().for_each(Session::close);
        Ok(())
    }
}
