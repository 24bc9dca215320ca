//! The source: one pass over a dump. Under a lock a worker reads on until it has enough rows; it hands them on outside of
//! it, while the next one reads.

use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};

use metaferry_codecs::juicefs::JuiceFs;
use metaferry_codecs::juicefs::dump::Tree;
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{About, Emit, Error, Guarantee, KindSet, Partition, Result, Scope, Snapshot, Source, Stop};

use super::batches::Batches;
use super::feed::Feed;
use super::rows::Rows;

/// What a name takes in a dump on the average, in bytes.
const NAME_BYTES: u64 = 430;
/// Rows of a name on the average.
const NAME_ROWS: u64 = 3;

/// Reads a JSON dump.
pub struct JsonSource {
    origin: String,
    input: Box<dyn Read + Send>,
    length: u64,
    spill: SpillDir,
}

impl JsonSource {
    /// A dump that comes from `input`; about `length` bytes of it, 0 where nobody knows.
    pub fn new(origin: impl Into<String>, input: Box<dyn Read + Send>, length: u64, spill: SpillDir) -> Self {
        Self { origin: origin.into(), input, length, spill }
    }
}

impl Source<JuiceFs> for JsonSource {
    fn snapshot(self: Box<Self>, readers: usize, _stop: &Stop) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        let Self { origin, input, length, spill } = *self;
        let about = About {
            origin,
            guarantee: Guarantee::Fuzzy,
            ordered: KindSet::NONE,
            notes: vec![
                "a JSON dump does not tell whether it is one point in time: it is mended as it is loaded".to_owned(),
            ],
            live_sessions: 0,
            is_repeatable: false,
            // Derived rows are not in it: sums are worked out.
            is_partial: true,
        };
        let dump = Dump { feed: Feed::new(input), rows: Some(Rows::new(&spill)) };
        Ok(Box::new(JsonSnapshot { about, rows: length / NAME_BYTES * NAME_ROWS, readers, dump: Mutex::new(dump) }))
    }
}

/// A dump that is read once, by one worker at a time.
struct JsonSnapshot {
    about: About,
    rows: u64,
    readers: usize,
    dump: Mutex<Dump>,
}

struct Dump {
    feed: Feed,
    /// None once all was read.
    rows: Option<Rows>,
}

impl JsonSnapshot {
    fn dump(&self) -> MutexGuard<'_, Dump> {
        self.dump.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the walk stands, for a person to find.
    fn place(&self, dump: &Dump) -> String {
        let path = dump.rows.as_ref().map_or_else(String::new, Rows::path);
        format!("{}: byte {}, at {path}", self.about.origin, dump.feed.offset())
    }
}

impl Dump {
    /// Reads on until there are enough rows; false at the end.
    fn read(&mut self, batches: &mut Batches) -> Result<bool> {
        let Some(rows) = &mut self.rows else { return Ok(false) };
        while !batches.is_full() {
            let Some(event) = self.feed.next()? else { return Ok(false) };
            rows.take(event, batches)?;
        }
        Ok(true)
    }

    /// Ends what was read: checks that it is a whole dump.
    fn end(&mut self, batches: &mut Batches, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let Some(mut rows) = self.rows.take() else { return Ok(()) };
        if !rows.has_setting() {
            return Err(Error::corrupt("it is no dump of JuiceFS: it has no Setting"));
        }
        if !self.feed.walk().has_seen(Tree::Files) {
            return Err(Error::corrupt("it has no FSTree"));
        }
        rows.end(batches);
        if !rows.has_counters() {
            batches.find(
                "no counters",
                "there are no Counters in it: next inode and slice are those of its tree".to_owned(),
            );
        }
        if let Some(finding) = rows.shortage() {
            out.found(finding);
        }
        rows.totals.finish(batches, out)
    }
}

impl Snapshot<JuiceFs> for JsonSnapshot {
    fn about(&self) -> About {
        self.about.clone()
    }

    fn plan(&self, _scope: &Scope<JuiceFs>) -> Result<Vec<Partition<JuiceFs>>> {
        let readers = self.readers.max(1) as u64;
        let share = |number| Partition { kind: None, from: number, to: number + 1, weight: self.rows / readers };
        Ok((0..readers).map(share).collect())
    }

    fn scan(&self, _share: &Partition<JuiceFs>, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let mut batches = Batches::default();
        loop {
            let mut dump = self.dump();
            let read = dump.read(&mut batches).map_err(|error| error.at(self.place(&dump)));
            let goes_on = read.inspect_err(|_| dump.rows = None)?;
            if !goes_on {
                let ended = dump.end(&mut batches, out).map_err(|error| error.at(&self.about.origin));
                drop(dump);
                ended?;
                return batches.flush(out);
            }
            drop(dump);
            batches.flush(out)?;
        }
    }

    fn finish(&self) -> Result<()> {
        match self.dump().rows {
            None => Ok(()),
            Some(_) => Err(Error::corrupt(format!("{}: it was not read to its end", self.about.origin))),
        }
    }
}
