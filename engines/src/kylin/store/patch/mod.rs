//! A metastore takes another state: a restore, as Kylin's own does it, but all in one transaction. What shall change is staged on
//! the server while it is worked out, and applied at once, or not at all.

mod apply;
mod current;
mod encode;
mod log;
mod parts;
mod reach;
mod staging;
mod statements;
mod targets;

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use metaferry_codecs::kylin::key::GLOBAL;
use metaferry_codecs::kylin::{Batch, Kylin, Layout, Resource, key};
use metaferry_pipeline::patch::{Changes, Conflict, Patch};
use metaferry_pipeline::{Error, ErrorKind, Result, Sieve, Snapshot, Stop};

use super::StoreAddress;
use super::host;
use super::maintenance::Guard;
use super::projects::projects;
use super::session::Session;
use super::tables::Located;
use apply::{Whole, refuse_homeless};
use current::Current;
use encode::Row;
use parts::{Op, Parts, part_of};
use reach::Reach;
use staging::{Staging, Way};
use targets::Targets;

/// How a store is restored.
#[derive(Debug, Clone, Default)]
pub struct Restoring {
    /// The one project, where it is not all.
    pub project: Option<Vec<u8>>,
    /// Whether content is stored compressed: `kylin.metadata.compress.enabled`.
    pub compress: bool,
    /// Whether the change log is written, where there is one: `kylin.metadata.audit-log.enabled`.
    pub log: bool,
    /// The address that this machine goes by in the log: `kylin.env.ip-address`; its first one where there is none.
    pub ip: Option<String>,
    /// The maintenance mode that has to be on, still the same, when the changes are made.
    pub guard: Option<Guard>,
}

/// What has to be done, and well, before changes are committed.
pub type BeforeCommit = Box<dyn FnOnce() -> Result<()> + Send>;

/// A metastore that is to be restored.
pub struct KylinPatch {
    address: StoreAddress,
    restoring: Restoring,
    located: Located,
    targets: Targets,
    /// What was in reach when the rows were seen.
    reach: Option<Reach>,
    parts: Parts,
    /// Projects that come, and that go.
    come: BTreeSet<Vec<u8>>,
    gone: BTreeSet<Vec<u8>>,
    staging: Option<Staging>,
    before_commit: Option<BeforeCommit>,
    stop: Stop,
}

impl KylinPatch {
    /// Opens the store at an address. Nothing is changed, nor locked.
    ///
    /// # Errors
    /// Those of the store; what is no metastore of Kylin 5.
    pub fn open(address: StoreAddress, restoring: Restoring, stop: &Stop) -> Result<Self> {
        let mut session = Session::open(&address, stop)?;
        session.begin_reading()?;
        let located = session.locate(address.identifier())?;
        session.close();
        if let Some(placed) = located.all().iter().find(|placed| !placed.has_transactions) {
            let what = format!("{address}: {} knows no transactions", placed.name);
            return Err(Error::unsupported(what).hint("make it a table of InnoDB: ALTER TABLE ... ENGINE=InnoDB"));
        }
        let targets = Targets::new(&located, restoring.log);
        let (parts, stop) = (Parts::default(), stop.clone());
        let (come, gone) = (BTreeSet::new(), BTreeSet::new());
        let (reach, staging, before_commit) = (None, None, None);
        Ok(Self { address, restoring, located, targets, reach, parts, come, gone, staging, before_commit, stop })
    }

    /// Commits only after this went well.
    pub fn commit_after(&mut self, before_commit: BeforeCommit) {
        self.before_commit = Some(before_commit);
    }

    /// The layout of the store.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.located.layout
    }

    fn reach(&self) -> Result<&Reach> {
        self.reach.as_ref().ok_or_else(|| Error::new(ErrorKind::Bug, "a store is changed before it was seen"))
    }

    /// The session that changes are staged in, begun with the first of them.
    fn staging(&mut self) -> Result<&mut Staging> {
        if self.staging.is_none() {
            let session = Session::open(&self.address, &self.stop)?;
            let (targets, project) = (self.targets.clone(), self.restoring.project.clone());
            let way = Way { targets, project, is_compressed: self.restoring.compress };
            self.staging = Some(Staging::begin(session, way, &self.stop)?);
        }
        self.staging.as_mut().ok_or_else(|| Error::new(ErrorKind::Bug, "no staging"))
    }

    /// Counts what becomes of resources, and stages it.
    fn stage(&mut self, op: Op, rows: Vec<(Resource, Option<i64>)>) -> Result<()> {
        let mut staged = Vec::with_capacity(rows.len());
        for (row, mvcc) in rows {
            let is_in = self.reach()?.takes(&row.key);
            let part = part_of(self.targets.layout, &row.key).filter(|_| is_in).map(<[u8]>::to_vec);
            let out =
                || Error::refused(format!("{}: the restore does not reach it", String::from_utf8_lossy(&row.key)));
            let part = part.ok_or_else(out)?;
            let (target, _) = self.targets.of(&part).ok_or_else(|| no_table(&row.key))?;
            if let key::Owner::Project(name) = key::owner(&row.key, b"") {
                match op {
                    Op::Insert => self.come.insert(name.into_owned()),
                    Op::Delete => self.gone.insert(name.into_owned()),
                    Op::Replace | Op::Keep => false,
                };
            }
            let number = self.parts.add(&part, op);
            let content = matches!(op, Op::Insert | Op::Replace).then_some(row.content);
            staged.push(Row { target, op, key: row.key, mvcc, number, content });
        }
        self.staging()?.put(staged)
    }
}

impl Patch<Kylin> for KylinPatch {
    fn sieve(&self) -> Option<Sieve<Kylin>> {
        Some(Reach::sieve(self.targets.layout, self.restoring.project.is_some()))
    }

    fn current(&mut self, whole: bool, stop: &Stop) -> Result<Box<dyn Snapshot<Kylin>>> {
        let mut session = Session::open(&self.address, stop)?;
        session.begin_reading()?;
        let projects = projects(&mut session, &self.located)?;
        let reach = Reach::new(self.targets.layout, self.restoring.project.clone(), projects);
        self.reach = Some(reach.clone());
        Ok(Box::new(Current::new(session, self.targets.clone(), reach, whole)))
    }

    fn take(&mut self, changes: Changes<Batch>) -> Result<()> {
        match changes {
            Changes::Insert(rows) => self.stage(Op::Insert, resources(rows)?.map(|row| (row, None)).collect()),
            Changes::Replace { before, after } => {
                let pairs = resources(before)?.zip(resources(after)?);
                let pairs = pairs.map(|(before, after)| match before.key == after.key {
                    true => Ok((after, Some(before.mvcc))),
                    false => Err(Error::new(ErrorKind::Bug, "what is to be replaced has another key")),
                });
                self.stage(Op::Replace, pairs.collect::<Result<_>>()?)
            }
            Changes::Delete(rows) => self.stage(Op::Delete, seen(rows)?),
            Changes::Keep(rows) => self.stage(Op::Keep, seen(rows)?),
        }
    }

    fn apply(mut self: Box<Self>) -> Result<Vec<Conflict>> {
        let before_commit = self.before_commit.take().unwrap_or_else(|| Box::new(|| Ok(())));
        let Some(staging) = self.staging.take() else { return before_commit().map(|()| Vec::new()) };
        let reach = self.reach()?;
        let has = |name: &[u8]| {
            name == GLOBAL || self.come.contains(name) || reach.has_project(name) && !self.gone.contains(name)
        };
        refuse_homeless(self.targets.layout, &self.parts, &has)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let whole = Whole {
            located: &self.located,
            reach,
            parts: &self.parts,
            guard: self.restoring.guard.as_ref(),
            instance: &format!("{}:0000", self.restoring.ip.clone().unwrap_or_else(host::address)),
            now: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
        };
        apply::apply(staging, &whole, before_commit)
    }
}

fn resources(batch: Batch) -> Result<std::vec::IntoIter<Resource>> {
    match batch {
        Batch::Resource(rows) => Ok(rows.into_iter()),
        _ => Err(Error::new(ErrorKind::Bug, "only resources are restored")),
    }
}

/// Rows with the version they were seen with.
fn seen(batch: Batch) -> Result<Vec<(Resource, Option<i64>)>> {
    Ok(resources(batch)?
        .map(|row| {
            let mvcc = row.mvcc;
            (row, Some(mvcc))
        })
        .collect())
}

fn no_table(key: &[u8]) -> Error {
    let what = format!("{}: the store has no table for its type", String::from_utf8_lossy(key));
    Error::unsupported(what).hint("it is of an earlier version of Kylin than the backup: start the new one on it first")
}
