//! The snapshot in an RDB stream, whether a file or a server's replication.

use std::io::Read;
use std::sync::Mutex;

use metaferry_codecs::juicefs::JuiceFs;
use metaferry_codecs::rdb::{Block, Scratch, Splitter};
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{About, Emit, Error, Partition, Result, Scope, Snapshot};

use crate::feed::{Cut, Feed, Turn, held};

use super::joins::Joins;
use super::rows::Rows;
use super::volume::Volume;

/// Bytes a worker decodes at once: few enough that a batch stays small, and the last one is done soon.
const BLOCK_BYTES: usize = 256 << 10;

/// A check at the end, where there is one to make.
pub(super) type Check = Box<dyn Fn() -> Result<()> + Send + Sync>;

/// What a stream is, and what it is read for.
pub(super) struct Stream {
    pub(super) about: About,
    pub(super) input: Box<dyn Read + Send>,
    pub(super) volume: Volume,
    /// About how many rows it has.
    pub(super) rows: u64,
    /// Whether there must be a setting in it.
    pub(super) sealed: bool,
    /// What else must hold when it has been read.
    pub(super) check: Option<Check>,
}

/// A snapshot that is read once, by several workers at a time.
pub(super) struct StreamSnapshot {
    about: About,
    volume: Volume,
    rows: u64,
    sealed: bool,
    check: Option<Check>,
    readers: usize,
    feed: Mutex<Feed<Pieces>>,
    joins: Mutex<Option<Joins>>,
    settings: Mutex<u64>,
}

/// Cuts off what is of the volume.
struct Pieces {
    splitter: Splitter,
    volume: Volume,
}

impl Cut for Pieces {
    type Block = Block;

    fn cut(&mut self, input: &mut &[u8]) -> Result<Option<Block>> {
        let Self { splitter, volume } = self;
        let block = splitter.split(input, &|database, key| volume.holds(database, key))?;
        if block.is_none() && splitter.is_end() && !input.is_empty() {
            return Err(Error::unsupported("something follows the end of the RDB")
                .hint("an append-only file cannot be read: take a dump.rdb"));
        }
        Ok(block)
    }

    fn end(&mut self, _rest: &[u8]) -> Result<()> {
        Ok(self.splitter.finish()?)
    }

    fn recycle(&mut self, block: Block) {
        self.splitter.recycle(block);
    }
}

impl StreamSnapshot {
    pub(super) fn new(stream: Stream, readers: usize, spill: &SpillDir) -> Self {
        let Stream { about, input, volume, rows, sealed, check } = stream;
        let splitter = Splitter::new().with_block_bytes(BLOCK_BYTES);
        let feed = Feed::new(about.origin.clone(), input, Pieces { splitter, volume: volume.clone() });
        let joins = Mutex::new(Some(Joins::new(spill)));
        let (feed, settings) = (Mutex::new(feed), Mutex::new(0));
        Self { about, volume, rows, sealed, check, readers: readers.max(1), feed, joins, settings }
    }

    fn decode(&self, block: &Block, rows: &mut Rows, scratch: &mut Scratch) -> Result<()> {
        for piece in block.pieces() {
            rows.piece(self.volume.name(piece.key), &piece, scratch);
        }
        held(&self.joins).as_mut().map_or(Ok(()), |joins| joins.take(rows))
    }

    fn join(&self, rows: &mut Rows, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        rows.leave("keys of other databases", held(&self.feed).cut.splitter.skipped());
        let Some(joins) = held(&self.joins).take() else { return Ok(()) };
        *held(&self.settings) = joins.settings();
        joins.finish(rows, out)
    }
}

impl Snapshot<JuiceFs> for StreamSnapshot {
    fn about(&self) -> About {
        self.about.clone()
    }

    fn plan(&self, _scope: &Scope<JuiceFs>) -> Result<Vec<Partition<JuiceFs>>> {
        let readers = self.readers as u64;
        let share = |number| Partition { kind: None, from: number, to: number + 1, weight: self.rows / readers };
        Ok((0..readers).map(share).collect())
    }

    fn scan(&self, _share: &Partition<JuiceFs>, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let (mut rows, mut scratch, mut done) = (Rows::default(), Scratch::default(), None);
        loop {
            let turn = held(&self.feed).turn(done.take())?;
            match turn {
                Turn::Decode(block) => {
                    self.decode(&block, &mut rows, &mut scratch)?;
                    rows.flush(false, out)?;
                    done = Some(block);
                }
                Turn::Last => {
                    self.join(&mut rows, out)?;
                    break;
                }
                Turn::Leave => break,
            }
        }
        rows.flush(true, out)
    }

    fn finish(&self) -> Result<()> {
        let feed = held(&self.feed);
        let (splitter, origin) = (&feed.cut.splitter, &self.about.origin);
        splitter.finish().map_err(|error| Error::from(error).at(origin))?;
        match *held(&self.settings) {
            0 if self.sealed => {
                let keys = splitter.kept();
                let what = format!("{}: not a JuiceFS volume: {keys} keys, and no setting among them", origin);
                return Err(
                    Error::corrupt(what).hint("name the volume's database, as in redis://host/1 or file.rdb?db=1")
                );
            }
            0 | 1 => {}
            count => return Err(Error::corrupt(format!("{}: there are {count} volumes of this number", origin))),
        }
        self.check.as_ref().map_or(Ok(()), |check| check())
    }
}
