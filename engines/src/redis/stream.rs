//! The snapshot in an RDB stream, whether a file or a server's replication: under one lock a worker reads on and cuts off
//! a block; outside of it each decodes its own.

use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};

use metaferry_codecs::juicefs::JuiceFs;
use metaferry_codecs::rdb::{Block, Scratch, Splitter};
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{About, Emit, Error, Partition, Result, Scope, Snapshot};

use super::joins::Joins;
use super::rows::Rows;
use super::volume::Volume;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
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
    feed: Mutex<Feed>,
    joins: Mutex<Option<Joins>>,
    settings: Mutex<u64>,
}

/// What a worker is to do.
enum Turn {
    Decode(Block),
    /// All blocks are decoded, and this worker is the one to finish what was joined.
    Join,
    Leave,
}

/// The stream, as far as it was read.
struct Feed {
    origin: String,
    input: Box<dyn Read + Send>,
    splitter: Splitter,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    in_flight: usize,
    is_over: bool,
    is_joined: bool,
}

impl StreamSnapshot {
    pub(super) fn new(stream: Stream, readers: usize, spill: &SpillDir) -> Self {
        let Stream { about, input, volume, rows, sealed, check } = stream;
        let feed = Feed {
            origin: about.origin.clone(),
            input,
            splitter: Splitter::new().with_block_bytes(BLOCK_BYTES),
            buffer: vec![0; READ_BYTES],
            begin: 0,
            end: 0,
            in_flight: 0,
            is_over: false,
            is_joined: false,
        };
        let joins = Mutex::new(Some(Joins::new(spill)));
        let (feed, settings) = (Mutex::new(feed), Mutex::new(0));
        Self { about, volume, rows, sealed, check, readers: readers.max(1), feed, joins, settings }
    }

    /// Gives back a block that is done with, and says what is next.
    fn turn(&self, done: Option<Block>) -> Result<Turn> {
        let mut feed = held(&self.feed);
        if let Some(block) = done {
            feed.in_flight -= 1;
            feed.splitter.recycle(block);
        }
        match feed.next(&self.volume) {
            Ok(Some(block)) => {
                feed.in_flight += 1;
                Ok(Turn::Decode(block))
            }
            Ok(None) if feed.in_flight == 0 && !feed.is_joined => {
                feed.is_joined = true;
                Ok(Turn::Join)
            }
            Ok(None) => Ok(Turn::Leave),
            Err(error) => {
                (feed.is_over, feed.is_joined) = (true, true);
                Err(error)
            }
        }
    }

    fn decode(&self, block: &Block, rows: &mut Rows, scratch: &mut Scratch) -> Result<()> {
        for piece in block.pieces() {
            rows.piece(self.volume.name(piece.key), &piece, scratch);
        }
        held(&self.joins).as_mut().map_or(Ok(()), |joins| joins.take(rows))
    }

    fn join(&self, rows: &mut Rows, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        rows.leave("keys of other databases", held(&self.feed).splitter.skipped());
        let Some(joins) = held(&self.joins).take() else { return Ok(()) };
        *held(&self.settings) = joins.settings();
        joins.finish(rows, out)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            match self.turn(done.take())? {
                Turn::Decode(block) => {
                    self.decode(&block, &mut rows, &mut scratch)?;
                    rows.flush(false, out)?;
                    done = Some(block);
                }
                Turn::Join => {
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
        feed.splitter.finish().map_err(|error| Error::from(error).at(&feed.origin))?;
        match *held(&self.settings) {
            0 if self.sealed => {
                let keys = feed.splitter.kept();
                let what = format!("{}: not a JuiceFS volume: {keys} keys, and no setting among them", feed.origin);
                return Err(
                    Error::corrupt(what).hint("name the volume's database, as in redis://host/1 or file.rdb?db=1")
                );
            }
            0 | 1 => {}
            count => return Err(Error::corrupt(format!("{}: there are {count} volumes of this number", feed.origin))),
        }
        self.check.as_ref().map_or(Ok(()), |check| check())
    }
}

impl Feed {
    /// The next block; `None` at the end of the stream.
    fn next(&mut self, volume: &Volume) -> Result<Option<Block>> {
        while !self.is_over {
            let unread = self.buffer.get(self.begin..self.end).unwrap_or_default();
            let mut rest = unread;
            let block = self.splitter.split(&mut rest, &|database, key| volume.holds(database, key));
            let consumed = unread.len() - rest.len();
            self.begin += consumed;
            if let Some(block) = block.map_err(|error| Error::from(error).at(&self.origin))? {
                return Ok(Some(block));
            }
            let is_end = self.splitter.is_end();
            let more = if is_end && self.begin < self.end { 1 } else { self.read()? };
            match (is_end, more) {
                (true, 0) => self.is_over = true,
                (true, _) => {
                    let what = format!("{}: something follows the end of the RDB", self.origin);
                    return Err(Error::unsupported(what).hint("an append-only file cannot be read: take a dump.rdb"));
                }
                (false, 0) => self.splitter.finish().map_err(|error| Error::from(error).at(&self.origin))?,
                (false, _) => {}
            }
        }
        Ok(None)
    }

    /// Reads once more behind what is unread; 0 is the end.
    fn read(&mut self) -> Result<usize> {
        self.buffer.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        if self.end == self.buffer.len() {
            self.buffer.resize(2 * self.end, 0);
        }
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match self.input.read(space) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::engine(format!("{}: reading the RDB", self.origin), error)),
            }
        }
    }
}
