//! The snapshot in a binary dump, read once from its first byte to its last. What belongs to the whole dump, the setting and
//! the counters, is put together here.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Mutex;

use metaferry_codecs::juicefs::binary::{Block, SegmentType, Splitter, decode};
use metaferry_codecs::juicefs::{Batch, Counter, JuiceFs, Setting, counter};
use metaferry_codecs::system::Batch as _;
use metaferry_pipeline::{About, Emit, Error, Partition, Result, Scope, Snapshot};

use crate::feed::{Cut, Feed, Turn, held};

/// How many rows that were held back are in a batch at most.
const BATCH_ROWS: usize = 4096;

/// A dump that is read by several workers at a time.
pub(super) struct BinarySnapshot {
    about: About,
    readers: u64,
    /// About how many rows it has.
    rows: u64,
    feed: Mutex<Feed<Messages>>,
    whole: Mutex<Whole>,
}

/// What belongs to the whole dump.
#[derive(Default)]
struct Whole {
    setting: Option<Setting>,
    /// Each counter with the byte it was read at: where one comes twice, the last counts.
    counters: BTreeMap<Vec<u8>, (u64, i64)>,
    unknown_counters: u64,
    /// The largest id of a rule, which JuiceFS takes for the counter of rules.
    highest_rule: u32,
}

/// Cuts off messages.
struct Messages(Splitter);

impl Cut for Messages {
    type Block = Block;

    fn cut(&mut self, input: &mut &[u8]) -> Result<Option<Block>> {
        self.0.split(input).map_err(|error| Error::from(error).at(self.0.place(0)))
    }

    fn end(&mut self, rest: &[u8]) -> Result<()> {
        self.0.finish(rest).map_err(|error| {
            Error::from(error)
                .at(format!("it ends at {}", self.0.place(rest.len())))
                .hint("whatever wrote it was stopped, or it was not copied to its end, or it was altered")
        })
    }

    fn recycle(&mut self, block: Block) {
        self.0.recycle(block);
    }
}

impl BinarySnapshot {
    pub(super) fn new(about: About, input: Box<dyn Read + Send>, readers: usize, rows: u64) -> Self {
        let feed = Feed::new(about.origin.clone(), input, Messages(Splitter::new()));
        let (feed, whole) = (Mutex::new(feed), Mutex::default());
        Self { about, readers: readers.max(1) as u64, rows, feed, whole }
    }

    fn decode(&self, block: &Block, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let mut damaged = Vec::new();
        let batch = decode(block, &mut |byte, why| damaged.push((byte, why)));
        for (byte, why) in damaged {
            let (origin, sort) = (&self.about.origin, block.sort().map_or("of unknown type", SegmentType::name));
            out.damaged(format!("{origin}: byte {byte}, in the segment {sort} at byte {}", block.segment()), why)?;
        }
        match batch {
            Batch::Counter(rows) => return held(&self.whole).counters(block.offset(), rows),
            Batch::Setting(rows) => {
                let news = rows.into_iter().filter_map(|row| held(&self.whole).setting(row).transpose());
                return out.emit(news.collect::<Result<Vec<_>>>()?.into());
            }
            Batch::Acl(ref rows) => {
                let mut whole = held(&self.whole);
                whole.highest_rule = rows.iter().fold(whole.highest_rule, |highest, row| highest.max(row.id));
            }
            _ => {}
        }
        if batch.is_empty() { Ok(()) } else { out.emit(batch) }
    }

    /// What can be said only when every block was decoded.
    fn last(&self, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let (left, mut foreign) = {
            let splitter = &mut held(&self.feed).cut.0;
            (splitter.left(), splitter.foreign().peekable())
        };
        while foreign.peek().is_some() {
            out.emit(foreign.by_ref().take(BATCH_ROWS).collect::<Vec<_>>().into())?;
        }
        for (what, count) in
            [("fields in segments that they do not belong to", left.strays), ("change log lines", left.log_lines)]
        {
            out.left_behind(what, count);
        }
        let (counters, unknown) = {
            let mut whole = held(&self.whole);
            (whole.take_counters(), whole.unknown_counters)
        };
        out.left_behind("unknown counters", unknown);
        out.emit(counters.into())
    }
}

impl Whole {
    /// Takes a setting; gives it back where it is the first. JuiceFS writes one; the same again says nothing new.
    fn setting(&mut self, row: Setting) -> Result<Option<Setting>> {
        match &self.setting {
            Some(other) if *other == row => Ok(None),
            Some(_) => Err(Error::corrupt("there are two settings in it, and they differ")),
            None => Ok(Some(self.setting.insert(row).clone())),
        }
    }

    fn counters(&mut self, byte: u64, rows: Vec<Counter>) -> Result<()> {
        for row in rows {
            if !counter::ALL.contains(&row.name.as_slice()) {
                self.unknown_counters += 1;
                continue;
            }
            let place = self.counters.entry(row.name).or_insert((byte, row.value));
            if byte >= place.0 {
                *place = (byte, row.value);
            }
        }
        Ok(())
    }

    fn take_counters(&mut self) -> Vec<Counter> {
        let rule = i64::from(self.highest_rule);
        if rule > 0 {
            self.counters.entry(counter::ACL_MAX_ID.to_vec()).or_insert((0, rule));
        }
        let counters = std::mem::take(&mut self.counters).into_iter();
        counters.map(|(name, (_, value))| Counter { name, value }).collect()
    }
}

impl Snapshot<JuiceFs> for BinarySnapshot {
    fn about(&self) -> About {
        self.about.clone()
    }

    fn plan(&self, _scope: &Scope<JuiceFs>) -> Result<Vec<Partition<JuiceFs>>> {
        let share = |from| Partition { kind: None, from, to: from + 1, weight: self.rows / self.readers };
        Ok((0..self.readers).map(share).collect())
    }

    fn scan(&self, _share: &Partition<JuiceFs>, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let mut done = None;
        loop {
            let turn = held(&self.feed).turn(done.take())?;
            match turn {
                Turn::Decode(block) => {
                    self.decode(&block, out)?;
                    done = Some(block);
                }
                Turn::Last => return self.last(out),
                Turn::Leave => return Ok(()),
            }
        }
    }

    fn finish(&self) -> Result<()> {
        match held(&self.whole).setting {
            Some(_) => Ok(()),
            None => Err(Error::corrupt(format!("{}: there is no setting in it", self.about.origin))),
        }
    }
}
