//! Reading a volume: one point in time, scanned by ranges of row ids. Rows of a table that is keyed by a number come
//! ascending by it; entries, chunks and extended attributes come as they were inserted.

use std::path::PathBuf;

use metaferry_codecs::juicefs::{JuiceFs, Kind};
use metaferry_codecs::system::{Batch as _, Kind as _};
use metaferry_pipeline::preflight::{Outlook, Room};
use metaferry_pipeline::{
    About, Emit, Error, ErrorKind, Guarantee, KindSet, Partition, Result, Scope, Snapshot, Source, Stop,
};

use super::address::SqliteAddress;
use super::database::Database;
use super::select::{self, Selects};
use super::{failure, page, plan, schema};
use crate::sql::plan::{keys, partitions as partitions_of};
use crate::sql::room::Question;
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

/// A volume in a SQLite file, to be read.
#[derive(Debug)]
pub struct SqliteSource {
    address: SqliteAddress,
}

impl SqliteSource {
    /// The volume at an address; nothing is opened yet.
    #[must_use]
    pub fn new(address: SqliteAddress) -> Self {
        Self { address }
    }
}

impl Source<JuiceFs> for SqliteSource {
    fn snapshot(self: Box<Self>, readers: usize, stop: &Stop) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        let snapshot = SqliteSnapshot::open(&self.address, readers, stop)?;
        snapshot.expect_setting()?;
        Ok(Box::new(snapshot))
    }

    fn outlook(&self, rooms: &[Room<Kind>], stop: &Stop) -> Result<Outlook<Kind>> {
        SqliteSnapshot::open(&self.address, 1, stop)?.outlook(rooms)
    }
}

/// A point in time of a volume.
#[derive(Debug)]
pub(super) struct SqliteSnapshot {
    origin: String,
    path: PathBuf,
    database: Database,
    schema: Schema,
    selects: Selects,
    live_sessions: u64,
}

impl SqliteSnapshot {
    /// Opens a volume, formatted or not.
    pub(super) fn open(address: &SqliteAddress, readers: usize, stop: &Stop) -> Result<Self> {
        let path = address.path();
        let database = Database::open(path, readers, stop)?;
        let (schema, live_sessions) = database.with(|connection| {
            let schema = schema::read(connection, path, &address.prefix())?;
            let live = select::live_sessions(connection, &schema).map_err(|error| failure(path, error))?;
            Ok((schema, live))
        })?;
        let selects = Selects::new(&schema);
        Ok(Self { origin: address.to_string(), path: path.to_owned(), database, schema, selects, live_sessions })
    }

    fn expect_setting(&self) -> Result<()> {
        let what = || format!("{}: the volume was never finished: it has tables, but no setting", self.path.display());
        let Some(select) = self.selects.get(Kind::Setting) else { return Err(Error::corrupt(what())) };
        let page = self.page(Kind::Setting, select, (i64::MIN, i64::MAX))?;
        if page.batch.is_empty() && page.damaged.is_empty() {
            return Err(Error::corrupt(what()).hint("a format or a load into it was cut off"));
        }
        Ok(())
    }

    fn outlook(&self, rooms: &[Room<Kind>]) -> Result<Outlook<Kind>> {
        // Parents follow from the entries.
        let kinds = Kind::all().iter().copied().filter(|&kind| kind != Kind::Parent).collect();
        let partitions = self.plan(&Scope { kinds: Some(kinds), buckets: None })?;
        let rows = Some(partitions.iter().map(|partition| partition.weight).sum());
        let mut largest = Vec::new();
        for question in Question::all(rooms, &self.schema, |column| format!("length(CAST({column} AS BLOB))")) {
            let answer = self.database.with(|connection| {
                let ask = |row: &rusqlite::Row<'_>| (0..question.columns()).map(|index| row.get(index)).collect();
                let answer = connection.query_row(&question.sql, [], ask);
                answer.map_err(|error| failure(&self.path, error))
            });
            let answer: Vec<Option<i64>> = answer?;
            largest.extend(question.read(answer.into_iter()));
        }
        Ok(Outlook { remarks: Vec::new(), rows, live_sessions: self.live_sessions, largest })
    }

    fn page(&self, kind: Kind, select: &select::Select, keys: (i64, i64)) -> Result<page::Page> {
        self.database.with(|connection| {
            let place = |error| failure(&self.path, error).at(&select.table);
            page::read(connection, kind, select, keys).map_err(place)
        })
    }
}

impl Snapshot<JuiceFs> for SqliteSnapshot {
    fn about(&self) -> About {
        About {
            origin: self.origin.clone(),
            guarantee: Guarantee::Exact,
            ordered: KindSet::of(ORDERED),
            notes: self.database.notes(),
            live_sessions: self.live_sessions,
            is_repeatable: true,
            is_partial: false,
        }
    }

    fn plan(&self, scope: &Scope<JuiceFs>) -> Result<Vec<Partition<JuiceFs>>> {
        let mut partitions = Vec::new();
        for &kind in Kind::all().iter().filter(|&&kind| scope.wants(kind)) {
            let Some(select) = self.selects.get(kind) else { continue };
            let ranges = self.database.with(|connection| {
                plan::ranges(connection, select).map_err(|error| failure(&self.path, error).at(&select.table))
            })?;
            partitions.extend(partitions_of(kind, &ranges));
        }
        Ok(partitions)
    }

    fn scan(&self, partition: &Partition<JuiceFs>, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let unknown = || Error::new(ErrorKind::Bug, "a partition that this snapshot has not planned");
        let kind = partition.kind.ok_or_else(unknown)?;
        let select = self.selects.get(kind).ok_or_else(unknown)?;
        if kind == Kind::Counter {
            self.database.with(|connection| {
                select::left_behind(connection, &self.schema, out).map_err(|error| failure(&self.path, error))
            })?;
        }
        let (first, last) = keys((partition.from, partition.to));
        let mut next = Some(first);
        while let Some(from) = next.filter(|&from| from <= last) {
            let page = self.page(kind, select, (from, last))?;
            for (place, why) in page.damaged {
                out.damaged(place, why)?;
            }
            if !page.batch.is_empty() {
                out.emit(page.batch)?;
            }
            next = page.next;
        }
        Ok(())
    }

    fn finish(&self) -> Result<()> {
        self.database.verify()
    }
}
