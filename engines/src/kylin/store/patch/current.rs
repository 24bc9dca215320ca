//! The state of a store, as far as a patch reaches: its resources ascending by key, read in one transaction. Where content is not
//! asked for none leaves the server.

use std::sync::{Mutex, PoisonError};

use metaferry_codecs::kylin::address::Dialect;
use metaferry_codecs::kylin::content::{BOUND, Opener};
use metaferry_codecs::kylin::{Kind, Kylin, Resource};
use metaferry_pipeline::{About, Emit, Error, Guarantee, KindSet, Partition, Result, Scope, Snapshot};

use super::super::padded::Padded;
use super::super::rows::Rows;
use super::super::session::Session;
use super::reach::{Reach, project_key};
use super::targets::{Target, Targets};
use crate::sql::rows::Cells as _;

/// One point in time of a store.
pub(super) struct Current {
    session: Mutex<Option<Session>>,
    shown: String,
    targets: Targets,
    reach: Reach,
    is_whole: bool,
}

impl Current {
    /// `session` has begun to read.
    pub(super) fn new(session: Session, targets: Targets, reach: Reach, is_whole: bool) -> Self {
        let shown = session.shown().to_owned();
        Self { session: Mutex::new(Some(session)), shown, targets, reach, is_whole }
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        let session = self.session.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        session.into_iter().for_each(Session::close);
    }
}

/// The rows of a table that a patch reaches, as a condition; `None` where it reaches none. In the flat layout it is but roughly so.
pub(super) fn within(
    target: &Target,
    reach: &Reach,
    literal: &dyn Fn(&[u8]) -> String,
    dialect: Dialect,
) -> Option<String> {
    let [key, ..] = target.placed.resource_columns();
    let Some(project) = &reach.project else { return Some("true".to_owned()) };
    let exactly = |column: &str, text: &[u8]| match dialect {
        Dialect::Postgres => format!("m.{column} = {}", literal(text)),
        // The column's own collation may take one name for another.
        Dialect::Mysql => format!("CAST(m.{column} AS BINARY) = CAST({} AS BINARY)", literal(text)),
    };
    match target.part {
        None => {
            let bound = |end: u8| literal(&[b"/", project.as_slice(), &[end]].concat());
            let defines = literal(&project_key(project));
            Some(format!("(m.{key} = {defines} OR (m.{key} >= {} AND m.{key} < {}))", bound(b'/'), bound(b'/' + 1)))
        }
        Some("PROJECT") => Some(exactly(key, project)),
        Some(_) => target.filled("project").map(|_| exactly("project", project)),
    }
}

impl Snapshot<Kylin> for Current {
    fn about(&self) -> About {
        About {
            origin: self.shown.clone(),
            guarantee: Guarantee::Exact,
            ordered: KindSet::of([Kind::Resource]),
            notes: Vec::new(),
            live_sessions: 0,
            is_repeatable: true,
            is_partial: true,
        }
    }

    fn plan(&self, scope: &Scope<Kylin>) -> Result<Vec<Partition<Kylin>>> {
        let places = if scope.wants(Kind::Resource) { self.targets.all.len() as u64 } else { 0 };
        Ok((0..places).map(|from| Partition { kind: Some(Kind::Resource), from, to: from + 1, weight: 1 }).collect())
    }

    fn scan(&self, partition: &Partition<Kylin>, out: &mut dyn Emit<Kylin>) -> Result<()> {
        let target = usize::try_from(partition.from).ok().and_then(|place| self.targets.all.get(place));
        let Some(target) = target else { return Ok(()) };
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(session) = session.as_mut() else { return Ok(()) };
        let dialect = session.dialect();
        let literal = |text: &[u8]| session.literal(text);
        let Some(within) = within(target, &self.reach, &literal, dialect) else { return Ok(()) };
        let [key, content, _, mvcc] = target.placed.resource_columns();
        let content = if self.is_whole { content } else { "NULL" };
        let order = match dialect {
            Dialect::Postgres => format!("m.{key} COLLATE \"C\""),
            // As it lies in the index: what is not in the order of the bytes is put into it here.
            Dialect::Mysql if target.part.is_none() && target.placed.is_by_code_point() => format!("m.{key}"),
            Dialect::Mysql => format!("CAST(m.{key} AS BINARY)"),
        };
        let name = &target.placed.name;
        let sql = format!("SELECT m.{key}, m.{mvcc}, {content} FROM {name} m WHERE {within} ORDER BY {order}");
        let (head, mut padded) = (target.head(), Padded::default());
        let (mut rows, mut opener) = (Rows::new(out), Opener::default());
        session.rows(&sql, &mut |cells| {
            let wrong = |_| Error::corrupt(format!("{}: a row of {name} is none of a resource", self.shown));
            let key = [head.as_bytes(), cells.bytes(0).map_err(wrong)?.unwrap_or_default()].concat();
            if !self.reach.contains(&key) {
                return Ok(());
            }
            let mvcc = cells.integer(1).map_err(wrong)?.unwrap_or_default();
            let stored = cells.bytes(2).map_err(wrong)?.unwrap_or_default();
            // What cannot be read is equal to nothing that is wanted, and is there to be replaced.
            let content = opener.plain(stored, BOUND).unwrap_or(stored).to_vec();
            padded.take(Resource { key, content, ts: 0, mvcc }, &mut |row| rows.take(row))
        })?;
        padded.finish(&mut |row| rows.take(row))?;
        rows.finish()
    }
}
