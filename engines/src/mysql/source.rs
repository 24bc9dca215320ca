//! Reading a volume: one point in time that every session sees, scanned by ranges of keys. Rows of a table that is keyed by
//! a number of JuiceFS's come ascending by it; entries, chunks and extended attributes come as they were inserted.

use metaferry_codecs::juicefs::{
    Acl, Batch, Chunk, Counter, DelFile, DelSlices, Detached, DirStat, Edge, JuiceFs, Kind, Node, Parent, Quota,
    Setting, SliceRef, Sustained, Symlink, Token, Xattr,
};
use metaferry_codecs::system::Kind as _;
use metaferry_pipeline::preflight::{Outlook, Room};
use metaferry_pipeline::{
    About, Emit, Error, ErrorKind, Guarantee, KindSet, Partition, Result, Scope, Snapshot, Source, Stop,
};

use super::address::MysqlAddress;
use super::align::{Readers, align, undisturbed};
use super::preflight;
use super::select::{self, Probe, Select};
use super::session::Session;
use crate::sql::batches::Batches;
use crate::sql::parentless::Parentless;
use crate::sql::plan;
use crate::sql::pool::Pool;
use crate::sql::rows::Stored;
use crate::sql::schema::Schema;

/// Kinds whose key is the number their table goes by.
const ORDERED: [Kind; 11] = [
    Kind::Setting,
    Kind::Node,
    Kind::SliceRef,
    Kind::Symlink,
    Kind::Parent,
    Kind::Acl,
    Kind::DirStat,
    Kind::DelFile,
    Kind::DelSlices,
    Kind::Detached,
    Kind::Token,
];

/// A volume in MySQL or MariaDB, to be read.
#[derive(Debug)]
pub struct MysqlSource {
    address: MysqlAddress,
}

impl MysqlSource {
    /// The volume at an address; nothing is opened yet.
    #[must_use]
    pub fn new(address: MysqlAddress) -> Self {
        Self { address }
    }
}

impl Source<JuiceFs> for MysqlSource {
    fn snapshot(self: Box<Self>, readers: usize, stop: &Stop) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        let snapshot = MysqlSnapshot::open(&self.address, readers, stop)?;
        snapshot.expect_setting()?;
        Ok(Box::new(snapshot))
    }

    fn outlook(&self, rooms: &[Room<Kind>], stop: &Stop) -> Result<Outlook<Kind>> {
        preflight::source(&self.address, rooms, stop)
    }
}

/// A point in time of a volume.
pub(super) struct MysqlSnapshot {
    shown: String,
    schema: Schema,
    sessions: Pool<Session>,
    readers: usize,
    how: String,
    live_sessions: u64,
    parentless: Parentless,
}

impl MysqlSnapshot {
    /// Opens a volume that clients may write to.
    fn open(address: &MysqlAddress, readers: usize, stop: &Stop) -> Result<Self> {
        let mut first = Session::open(address, stop)?;
        let tables = select::tables(&mut first, &address.prefix())?;
        // What is no volume is no reason to lock anything.
        select::schema(&mut first, &address.prefix())?;
        Self::of(align(first, address, readers, &tables, stop)?, address)
    }

    /// Opens what nobody else writes to, formatted or not.
    pub(super) fn uncommitted(address: &MysqlAddress, readers: usize, stop: &Stop) -> Result<Self> {
        let first = Session::open(address, stop)?;
        Self::of(undisturbed(first, address, readers, stop)?, address)
    }

    fn of(readers: Readers, address: &MysqlAddress) -> Result<Self> {
        let Readers { mut sessions, how } = readers;
        let none = || Error::new(ErrorKind::Bug, "a snapshot without a session");
        let first = sessions.first_mut().ok_or_else(none)?;
        let schema = select::schema(first, &address.prefix())?;
        let live_sessions = select::live_sessions(first, &schema)?;
        let (readers, sessions) = (sessions.len(), Pool::new(sessions));
        let parentless = Parentless::default();
        Ok(Self { shown: address.to_string(), schema, sessions, readers, how, live_sessions, parentless })
    }

    fn expect_setting(&self) -> Result<()> {
        let select = self.select(Kind::Setting)?;
        let is_there = self.sessions.with(|session| Ok(!session.ask(&select.sql)?.is_empty()))?;
        let what = || format!("{}: the volume was never finished: it has tables, but no setting", self.shown);
        if is_there { Ok(()) } else { Err(Error::corrupt(what()).hint("a format or a load into it was cut off")) }
    }

    fn select(&self, kind: Kind) -> Result<Select> {
        let unknown = || Error::new(ErrorKind::Bug, "a partition that this snapshot has not planned");
        select::select(kind, &self.schema).ok_or_else(unknown)
    }

    fn scan_kind(&self, kind: Kind, range: (u64, u64), out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let select = self.select(kind)?;
        match kind {
            Kind::Node => self.parentless.note(range, out, |out| self.read(kind, &select, range, out)),
            Kind::Parent => match self.parentless.lists(range) {
                None => self.read(kind, &select, range, out),
                Some(lists) => lists
                    .iter()
                    .try_for_each(|inodes| self.read(kind, &select::parents_of(inodes, &self.schema), range, out)),
            },
            _ => self.read(kind, &select, range, out),
        }
    }

    fn read(&self, kind: Kind, select: &Select, range: (u64, u64), out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let keys = plan::keys(range);
        self.sessions.with(|session| {
            if kind == Kind::Counter {
                select::left_behind(session, &self.schema, out)?;
            }
            let mut reading = Reading { session, select, keys, out };
            match kind {
                Kind::Setting => reading.rows::<Setting>(),
                Kind::Counter => reading.rows::<Counter>(),
                Kind::Node => reading.rows::<Node>(),
                Kind::Edge => reading.rows::<Edge>(),
                Kind::Chunk => reading.rows::<Chunk>(),
                Kind::SliceRef => reading.rows::<SliceRef>(),
                Kind::Symlink => reading.rows::<Symlink>(),
                Kind::Xattr => reading.rows::<Xattr>(),
                Kind::Parent => reading.rows::<Parent>(),
                Kind::Acl => reading.rows::<Acl>(),
                Kind::DirStat => reading.rows::<DirStat>(),
                Kind::Quota => reading.rows::<Quota>(),
                Kind::Sustained => reading.rows::<Sustained>(),
                Kind::DelFile => reading.rows::<DelFile>(),
                Kind::DelSlices => reading.rows::<DelSlices>(),
                Kind::Detached => reading.rows::<Detached>(),
                Kind::Token => reading.rows::<Token>(),
                Kind::Links | Kind::Foreign => Ok(()),
            }
        })
    }
}

/// One statement under way.
struct Reading<'r> {
    session: &'r mut Session,
    select: &'r Select,
    keys: (i64, i64),
    out: &'r mut dyn Emit<JuiceFs>,
}

impl Reading<'_> {
    fn rows<R: Stored>(&mut self) -> Result<()>
    where
        Batch: From<Vec<R>>,
    {
        let Self { session, select, keys, out } = self;
        let mut batches = Batches::<R>::new(&select.table);
        let keys = select.ranged.is_some().then_some(*keys);
        session.read(&select.sql, keys, &mut |row| batches.take(row, *out))?;
        batches.finish(*out)
    }
}

impl Snapshot<JuiceFs> for MysqlSnapshot {
    fn about(&self) -> About {
        About {
            origin: self.shown.clone(),
            guarantee: Guarantee::Exact,
            ordered: KindSet::of(ORDERED),
            notes: vec![format!("{}: {}; the server keeps what changes until it is read", self.shown, self.how)],
            live_sessions: self.live_sessions,
            is_repeatable: true,
            is_partial: false,
        }
    }

    fn plan(&self, scope: &Scope<JuiceFs>) -> Result<Vec<Partition<JuiceFs>>> {
        if self.readers == 1 {
            // Whoever reads has the only session while what was read waits for its turn.
            return Ok(vec![Partition { kind: None, from: 0, to: u64::MAX, weight: 1 }]);
        }
        let mut partitions = Vec::new();
        for &kind in Kind::all().iter().filter(|&&kind| scope.wants(kind)) {
            let Some(select) = select::select(kind, &self.schema) else { continue };
            let Some((table, key)) = select.ranged else {
                partitions.push(Partition { kind: Some(kind), from: 0, to: u64::MAX, weight: 1 });
                continue;
            };
            let ranges = self.sessions.with(|session| plan::ranges(&mut Probe { session, table: &table, key }))?;
            partitions.extend(plan::partitions(kind, &ranges));
        }
        Ok(partitions)
    }

    fn scan(&self, partition: &Partition<JuiceFs>, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        match partition.kind {
            Some(kind) => self.scan_kind(kind, (partition.from, partition.to), out),
            None => Kind::all()
                .iter()
                .filter(|&&kind| select::select(kind, &self.schema).is_some())
                .try_for_each(|&kind| self.scan_kind(kind, (0, u64::MAX), out)),
        }
    }

    fn finish(&self) -> Result<()> {
        // The transactions have read only: they end with their connections.
        self.sessions.drain().into_iter().for_each(Session::close);
        Ok(())
    }
}
