//! The snapshot by SCAN, where there is no better: one worker, whose server is never idle, since it is asked for the next
//! page before the last one is decoded. What SCAN and its kin hand out twice comes out once: keys by bitmaps, fields of
//! what does not come at once by sorting.

use std::sync::{Mutex, PoisonError};

use metaferry_codecs::juicefs::JuiceFs;
use metaferry_codecs::juicefs::redis_keys::Key;
use metaferry_pipeline::spill::{Sorter, SpillDir};
use metaferry_pipeline::{About, Emit, Error, ErrorKind, Partition, Result, Scope, Snapshot};

use super::connection::Connection;
use super::fetch::{self, Fetch, Named, Taker, Unfinished};
use super::joins::Joins;
use super::resp;
use super::rows::Rows;
use super::seen::Seen;
use super::stream::Check;
use super::volume::Volume;

/// Keys asked for at once.
const KEYS: &[u8] = b"4000";
/// What fields that must be sorted may hold in memory, in bytes.
const SORT_BYTES: usize = 32 << 20;

/// A server that is read by SCAN, once.
pub(super) struct ScanSnapshot {
    about: About,
    rows: u64,
    check: Option<Check>,
    walk: Mutex<Option<Walk>>,
}

/// What the one worker needs.
struct Walk {
    connection: Connection,
    volume: Volume,
    sealed: bool,
    seen: Seen,
    rows: Rows,
    joins: Joins,
    pages: Sorter,
    unfinished: Vec<Unfinished>,
    missing: Vec<Named>,
}

impl ScanSnapshot {
    /// `rows` is about how many there are; `sealed` is whether there must be a setting.
    pub(super) fn new(connection: Connection, volume: Volume, about: About, options: (u64, bool, &SpillDir)) -> Self {
        let (rows, sealed, spill) = options;
        let walk = Walk {
            connection,
            volume,
            sealed,
            seen: Seen::default(),
            rows: Rows::default(),
            joins: Joins::new(spill),
            pages: Sorter::new(spill, SORT_BYTES),
            unfinished: Vec::new(),
            missing: Vec::new(),
        };
        Self { about, rows, check: None, walk: Mutex::new(Some(walk)) }
    }

    /// Adds what else must hold when everything has been read.
    pub(super) fn with_check(mut self, check: Option<Check>) -> Self {
        self.check = check;
        self
    }
}

impl Snapshot<JuiceFs> for ScanSnapshot {
    fn about(&self) -> About {
        self.about.clone()
    }

    fn plan(&self, _scope: &Scope<JuiceFs>) -> Result<Vec<Partition<JuiceFs>>> {
        Ok(vec![Partition { kind: None, from: 0, to: 1, weight: self.rows }])
    }

    fn scan(&self, _all: &Partition<JuiceFs>, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let walk = self.walk.lock().unwrap_or_else(PoisonError::into_inner).take();
        walk.ok_or_else(|| Error::new(ErrorKind::Bug, "a server was to be read twice by one SCAN"))?.run(out)
    }

    fn finish(&self) -> Result<()> {
        self.check.as_ref().map_or(Ok(()), |check| check())
    }
}

impl Walk {
    fn run(mut self, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let mut commands = Vec::new();
        self.ask_page(b"0", &mut commands);
        self.send(&commands)?;
        let mut asked = Vec::new();
        let mut is_last = false;
        while !is_last {
            let (next, keys) = self.page()?;
            is_last = next == b"0";
            commands.clear();
            if !is_last {
                self.ask_page(&next, &mut commands);
            }
            let mut now = fetch::ask_types(std::mem::take(&mut self.missing), &self.volume, &mut commands);
            now.append(&mut fetch::ask(keys, &self.volume, &mut commands));
            self.send(&commands)?;
            self.take(std::mem::replace(&mut asked, now), false, out)?;
        }
        self.take(asked, false, out)?;
        while !(self.unfinished.is_empty() && self.missing.is_empty()) {
            commands.clear();
            let types = fetch::ask_types(std::mem::take(&mut self.missing), &self.volume, &mut commands);
            let unfinished = std::mem::take(&mut self.unfinished).into_iter();
            let asked = unfinished.map(|one| fetch::ask_on(one, &self.volume, &mut commands)).collect();
            self.send(&commands)?;
            self.take(types, false, out)?;
            self.take(asked, true, out)?;
        }
        self.finish(out)
    }

    fn ask_page(&self, cursor: &[u8], out: &mut Vec<u8>) {
        let pattern = [self.connection.prefix().as_bytes(), b"*"].concat();
        resp::command(out, &[b"SCAN", cursor, b"MATCH", &pattern, b"COUNT", KEYS]);
    }

    fn send(&mut self, commands: &[u8]) -> Result<()> {
        self.connection.send(commands)?;
        self.connection.flush()
    }

    /// Reads a page of keys: where the next one is, and those that are new.
    fn page(&mut self) -> Result<(Vec<u8>, Vec<Named>)> {
        let reader = self.connection.reader();
        let mut next = Vec::new();
        reader.array()?;
        reader.bulk_into(&mut next)?;
        let mut keys = Vec::new();
        for _ in 0..reader.array()? {
            let name = self.volume.name(reader.bulk()?.unwrap_or_default());
            match Key::of(name) {
                Some(key) if self.seen.is_new(key, name) => keys.push((key, name.to_vec())),
                Some(_) => {}
                None => self.rows.leave("foreign keys", 1),
            }
        }
        Ok((next, keys))
    }

    /// Reads the replies to what was asked for, and hands on what they hold.
    fn take(&mut self, asked: Vec<Fetch>, again: bool, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let Self { connection, rows, pages, unfinished, missing, joins, .. } = self;
        for fetch in asked {
            let mut taker = Taker { rows, pages, unfinished, missing };
            fetch.take(connection.reader(), &mut taker, again)?;
            joins.take(rows)?;
            rows.flush(false, out)?;
        }
        Ok(())
    }

    /// Ends the input: what was sorted and what was joined becomes rows.
    fn finish(self, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let Self { connection, sealed, mut rows, mut joins, pages, .. } = self;
        let mut sorted = pages.finish()?;
        let (mut last, mut count) = (Vec::new(), 0_u64);
        while let Some((sort_key, value)) = sorted.next()? {
            if sort_key == last {
                continue;
            }
            last.clear();
            last.extend_from_slice(sort_key);
            let (name, field) = fetch::split_page_key(sort_key);
            let Some(key) = Key::of(name) else { continue };
            rows.element(key, name, fetch::pair(key, field, value));
            count += 1;
            if count.is_multiple_of(1024) {
                joins.take(&mut rows)?;
                rows.flush(false, out)?;
            }
        }
        joins.take(&mut rows)?;
        if sealed && joins.settings() == 0 {
            return Err(Error::config(format!("{}: not a JuiceFS volume: the setting is gone", connection.name())));
        }
        joins.finish(&mut rows, out)?;
        rows.flush(true, out)
    }
}
