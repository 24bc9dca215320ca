//! Merging two states, key by key, into changes.

use metaferry_codecs::Tally;
use metaferry_codecs::system::{Batch, Kind, System};

use super::{Apply, Changes, Options, Report};
use crate::scan::Load;
use crate::stage::{Inbox, Permit};
use crate::{Error, ErrorKind, Result};

/// Rows of one call, and what they weigh, at most.
const MOST_ROWS: usize = 4096;
const MOST_BYTES: usize = 1 << 20;

/// One state, and the row that it stands at.
struct Walk<'a, S: System> {
    inbox: &'a Inbox<Load<S>>,
    load: Option<(S::Batch, Permit)>,
    index: usize,
    key: Vec<u8>,
    what: &'static str,
}

impl<'a, S: System> Walk<'a, S> {
    fn new(inbox: &'a Inbox<Load<S>>, what: &'static str) -> Result<Self> {
        let mut walk = Self { inbox, load: None, index: 0, key: Vec::new(), what };
        walk.fetch()?;
        walk.put_key();
        Ok(walk)
    }

    /// The key of the row; none at the end.
    fn key(&self) -> Option<&[u8]> {
        self.load.is_some().then_some(self.key.as_slice())
    }

    fn fetch(&mut self) -> Result<()> {
        // What is done with makes room before the next is waited for.
        self.load = None;
        self.index = 0;
        self.load = self.inbox.recv()?.map(|(load, permit)| (load.batch, permit));
        Ok(())
    }

    fn put_key(&mut self) {
        self.key.clear();
        if let Some((batch, _)) = &self.load {
            batch.put_key(self.index, &mut self.key);
        }
    }

    /// Appends the row to a batch, and steps on.
    fn take(&mut self, to: &mut S::Batch, packed: &mut Vec<u8>) -> Result<()> {
        let Some((batch, _)) = &self.load else { return Ok(()) };
        packed.clear();
        let mut before = Vec::new();
        batch.pack(self.index, &mut before, packed);
        to.unpack(packed)?;
        let kind = batch.kind();
        self.index += 1;
        if self.index >= batch.len() {
            self.fetch()?;
        }
        self.put_key();
        match self.key() {
            Some(next) if next == before => {
                Err(Error::corrupt(format!("{}: a {} comes twice: {}", self.what, kind.info().name, shown(next))))
            }
            Some(next) if *next < *before => {
                Err(Error::new(ErrorKind::Bug, format!("{}: rows come in no order", self.what)))
            }
            _ => Ok(()),
        }
    }
}

fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).escape_debug().to_string()
}

/// What was found to change, and is not yet taken.
pub(super) struct Merge<'a, S: System> {
    options: &'a Options,
    report: &'a mut Report,
    insert: S::Batch,
    replace: (S::Batch, S::Batch),
    delete: S::Batch,
    keep: S::Batch,
    packed: Vec<u8>,
    /// About what waits, in bytes.
    waiting: usize,
}

impl<'a, S: System> Merge<'a, S> {
    pub(super) fn new(kind: S::Kind, options: &'a Options, report: &'a mut Report) -> Self {
        let empty = || S::Batch::empty(kind);
        let (replace, packed) = ((empty(), empty()), Vec::new());
        Self { options, report, insert: empty(), replace, delete: empty(), keep: empty(), packed, waiting: 0 }
    }

    /// Merges the wanted state with the current one until both have ended.
    pub(super) fn run(
        mut self,
        wanted: &Inbox<Load<S>>,
        current: &Inbox<Load<S>>,
        apply: Apply<'_, S::Batch>,
    ) -> Result<()> {
        let mut wanted = Walk::new(wanted, "the wanted state")?;
        let mut current = Walk::new(current, "the current state")?;
        loop {
            let there = match (wanted.key(), current.key()) {
                (None, None) => break,
                (Some(ours), Some(theirs)) => ours.cmp(theirs),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
            };
            match there {
                std::cmp::Ordering::Less => wanted.take(&mut self.insert, &mut self.packed)?,
                std::cmp::Ordering::Equal => self.both(&mut wanted, &mut current)?,
                std::cmp::Ordering::Greater => self.only_there(&mut current)?,
            }
            self.waiting += self.packed.len();
            let rows = self.insert.len() + self.replace.0.len() + self.delete.len() + self.keep.len();
            if rows >= MOST_ROWS || self.waiting >= MOST_BYTES {
                self.flush(apply)?;
            }
        }
        self.flush(apply)
    }

    fn both(&mut self, wanted: &mut Walk<'_, S>, current: &mut Walk<'_, S>) -> Result<()> {
        let Some((batch, _)) = &wanted.load else { return Ok(()) };
        let kind = batch.kind();
        let (mut before, mut after) = (S::Batch::empty(kind), S::Batch::empty(kind));
        current.take(&mut before, &mut self.packed)?;
        wanted.take(&mut after, &mut self.packed)?;
        if self.options.skip_equal && is_equal(&before, &after) {
            self.report.equal += 1;
            self.keep.append(&mut before);
            return Ok(());
        }
        self.replace.0.append(&mut before);
        self.replace.1.append(&mut after);
        Ok(())
    }

    fn only_there(&mut self, current: &mut Walk<'_, S>) -> Result<()> {
        if self.options.delete {
            return current.take(&mut self.delete, &mut self.packed);
        }
        let Some((batch, _)) = &current.load else { return Ok(()) };
        self.report.kept += 1;
        current.take(&mut S::Batch::empty(batch.kind()), &mut self.packed)
    }

    /// Hands on what waits.
    fn flush(&mut self, apply: Apply<'_, S::Batch>) -> Result<()> {
        self.waiting = 0;
        let take = |batch: &mut S::Batch| {
            let empty = S::Batch::empty(batch.kind());
            std::mem::replace(batch, empty)
        };
        let (insert, before) = (take(&mut self.insert), take(&mut self.replace.0));
        let (after, delete, keep) = (take(&mut self.replace.1), take(&mut self.delete), take(&mut self.keep));
        self.report.inserted += insert.len() as u64;
        self.report.replaced += after.len() as u64;
        self.report.deleted += delete.len() as u64;
        if !insert.is_empty() {
            apply(Changes::Insert(insert))?;
        }
        if !after.is_empty() {
            apply(Changes::Replace { before, after })?;
        }
        if !delete.is_empty() {
            apply(Changes::Delete(delete))?;
        }
        if keep.is_empty() { Ok(()) } else { apply(Changes::Keep(keep)) }
    }
}

fn is_equal<B: Batch>(before: &B, after: &B) -> bool {
    let tally = |batch: &B| {
        let mut tally = Tally::default();
        batch.tally(&mut tally);
        tally
    };
    tally(before).differences(&tally(after)).is_empty()
}
