//! Reading a volume: one exported snapshot that every session takes on, scanned by ranges of pages. Rows come as they lie
//! in their tables; clients are not held up.

use metaferry_codecs::juicefs::{
    Acl, Batch, Chunk, Counter, DelFile, DelSlices, Detached, DirStat, Edge, JuiceFs, Kind, Node, Parent, Quota,
    Setting, SliceRef, Sustained, Symlink, Token, Xattr,
};
use metaferry_codecs::system::Kind as _;
use metaferry_pipeline::preflight::{Outlook, Room};
use metaferry_pipeline::{
    About, Emit, Error, ErrorKind, Guarantee, KindSet, Partition, Result, Scope, Snapshot, Source, Stop,
};

use super::address::PostgresAddress;
use super::preflight;
use super::select::{self, Select};
use super::session::Session;
use super::together::{Readers, together};
use crate::sql::batches::Batches;
use crate::sql::parentless::Parentless;
use crate::sql::pool::Pool;
use crate::sql::rows::Stored;
use crate::sql::schema::Schema;

/// Rows in a range of pages, about.
const RANGE_ROWS: u64 = 1 << 16;

/// Every page.
const ALL: (u64, u64) = (0, u64::MAX);

/// The first version of the server that finds a range of pages at once, as a number.
const FIRST_WITH_RANGES: i64 = 140_000;

/// A volume in PostgreSQL, to be read.
#[derive(Debug)]
pub struct PostgresSource {
    address: PostgresAddress,
}

impl PostgresSource {
    /// The volume at an address; nothing is opened yet.
    #[must_use]
    pub fn new(address: PostgresAddress) -> Self {
        Self { address }
    }
}

impl Source<JuiceFs> for PostgresSource {
    fn snapshot(self: Box<Self>, readers: usize, stop: &Stop) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        let snapshot = PostgresSnapshot::open(&self.address, readers, stop)?;
        snapshot.expect_setting()?;
        Ok(Box::new(snapshot))
    }

    fn outlook(&self, rooms: &[Room<Kind>], stop: &Stop) -> Result<Outlook<Kind>> {
        preflight::source(&self.address, rooms, stop)
    }
}

/// A point in time of a volume.
pub(super) struct PostgresSnapshot {
    shown: String,
    schema: Schema,
    /// All but the first go on with the snapshot of the first.
    sessions: Pool<Session>,
    readers: usize,
    /// Whether the server finds a range of pages without looking at all of them: version 14 and later.
    has_ranges: bool,
    /// Why there is but one reader.
    alone: Option<String>,
    live_sessions: u64,
    parentless: Parentless,
}

impl PostgresSnapshot {
    /// Opens a volume, formatted or not.
    pub(super) fn open(address: &PostgresAddress, readers: usize, stop: &Stop) -> Result<Self> {
        let mut first = Session::open(address, stop)?;
        first.begin(None, &[])?;
        let tables = select::schema(&mut first, &address.prefix())?.quoted_names();
        // What is altered between a snapshot and a lock would be read as if it were empty: locked first, then seen.
        first.run("ROLLBACK")?;
        first.begin(None, &tables)?;
        let schema = select::schema(&mut first, &address.prefix())?;
        let live_sessions = select::live_sessions(&mut first, &schema)?;
        let version = first.number("SELECT current_setting('server_version_num')::bigint")?;
        let Readers { sessions, alone } = together(first, address, readers, &tables, stop)?;
        let (readers, sessions) = (sessions.len(), Pool::new(sessions));
        Ok(Self {
            shown: address.to_string(),
            schema,
            sessions,
            readers,
            has_ranges: version >= FIRST_WITH_RANGES,
            alone,
            live_sessions,
            parentless: Parentless::default(),
        })
    }

    fn expect_setting(&self) -> Result<()> {
        let select = self.select(Kind::Setting)?;
        let mut is_there = false;
        self.sessions.with(|session| {
            session.copy_out(&select.copy(None), &mut |_| {
                is_there = true;
                Ok(())
            })
        })?;
        let what = || format!("{}: the volume was never finished: it has tables, but no setting", self.shown);
        if is_there { Ok(()) } else { Err(Error::corrupt(what()).hint("a format or a load into it was cut off")) }
    }

    fn select(&self, kind: Kind) -> Result<Select> {
        let unknown = || Error::new(ErrorKind::Bug, "a partition that this snapshot has not planned");
        select::select(kind, &self.schema).ok_or_else(unknown)
    }

    fn scan_kind(&self, kind: Kind, pages: Option<(u64, u64)>, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let select = self.select(kind)?;
        match kind {
            Kind::Node => self.parentless.note(pages.unwrap_or(ALL), out, |out| self.read(kind, &select, pages, out)),
            Kind::Parent => match self.parentless.lists(ALL) {
                None => self.read(kind, &select, None, out),
                Some(lists) => lists
                    .iter()
                    .try_for_each(|inodes| self.read(kind, &select::parents_of(inodes, &self.schema), None, out)),
            },
            _ => self.read(kind, &select, pages, out),
        }
    }

    fn read(&self, kind: Kind, select: &Select, pages: Option<(u64, u64)>, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        self.sessions.with(|session| {
            if kind == Kind::Counter {
                select::left_behind(session, &self.schema, out)?;
            }
            let sql = select.copy(pages);
            let mut reading = Reading { session, sql: &sql, table: &select.table, out };
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

/// One COPY under way.
struct Reading<'r> {
    session: &'r mut Session,
    sql: &'r str,
    table: &'r str,
    out: &'r mut dyn Emit<JuiceFs>,
}

impl Reading<'_> {
    fn rows<R: Stored>(&mut self) -> Result<()>
    where
        Batch: From<Vec<R>>,
    {
        let Self { session, sql, table, out } = self;
        let mut batches = Batches::<R>::new(table);
        session.copy_out(sql, &mut |tuple| batches.take(tuple, *out))?;
        batches.finish(*out)
    }
}

impl Snapshot<JuiceFs> for PostgresSnapshot {
    fn about(&self) -> About {
        let how = self.alone.clone().unwrap_or_else(|| format!("{} readers see one point in time", self.readers));
        let cost = "clients are not held up; VACUUM keeps what it could remove until it is read";
        About {
            origin: self.shown.clone(),
            guarantee: Guarantee::Exact,
            ordered: KindSet::of([Kind::Setting, Kind::Parent]),
            notes: vec![format!("{}: {how}; {cost}", self.shown)],
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
            if !select.is_table || !self.has_ranges {
                partitions.push(Partition { kind: Some(kind), from: 0, to: u64::MAX, weight: 1 });
                continue;
            }
            let (pages, rows) = self.sessions.with(|session| select::extent(session, &select.table))?;
            let step = (RANGE_ROWS / rows.max(1)).max(1);
            let starts = (0..pages.max(1)).step_by(usize::try_from(step).unwrap_or(usize::MAX));
            partitions.extend(starts.map(|from| {
                let to = from.saturating_add(step);
                let to = if to >= pages { u64::MAX } else { to };
                Partition { kind: Some(kind), from, to, weight: step.min(pages - from.min(pages)).max(1) * rows }
            }));
        }
        Ok(partitions)
    }

    fn scan(&self, partition: &Partition<JuiceFs>, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let Some(kind) = partition.kind else {
            let kinds = Kind::all().iter().filter(|&&kind| select::select(kind, &self.schema).is_some());
            return kinds.into_iter().try_for_each(|&kind| self.scan_kind(kind, None, out));
        };
        let has_pages = self.has_ranges && self.select(kind)?.is_table;
        self.scan_kind(kind, has_pages.then_some((partition.from, partition.to)), out)
    }

    fn finish(&self) -> Result<()> {
        // The transactions have read only: they end with their connections.
        self.sessions.drain().into_iter().for_each(Session::close);
        Ok(())
    }
}
