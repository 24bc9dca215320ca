//! A worker's hand on a Redis server: rows as many-key commands, pipelined.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use metaferry_codecs::juicefs::redis_keys as keys;
use metaferry_codecs::juicefs::{
    Batch, Chunk, Counter, DirStat, Edge, JuiceFs, Links, Node, Parent, Quota, SLICE_BYTES, SliceRef, Sustained, Xattr,
    acl, attr, counter,
};
use metaferry_pipeline::{Error, ErrorKind, Loader, Result, Stop};

use super::claim::{Claim, RENEW_EVERY};
use super::pipe::Pipe;
use super::resp;

/// Rows in one command: enough to make its overhead small, few enough not to hold up the server.
const ROWS: usize = 512;
/// The same where values may be large.
const LARGE_ROWS: usize = 32;
/// Slices in one command.
const SLICES: usize = 8192;

/// The hands of all loaders of one load. Any of them may bring all others to rest.
pub(super) type Hands = Arc<Mutex<Vec<Arc<Mutex<Hand>>>>>;

/// Writes batches over a connection of its own.
pub(super) struct RedisLoader {
    hand: Arc<Mutex<Hand>>,
    all: Hands,
    /// Whether what the others sent is known to have arrived.
    others_rest: bool,
}

impl RedisLoader {
    pub(super) fn new(hand: Hand, all: &Hands) -> Self {
        let hand = Arc::new(Mutex::new(hand));
        held(all).push(Arc::clone(&hand));
        Self { hand, all: Arc::clone(all), others_rest: false }
    }
}

/// What a loader writes with.
pub(super) struct Hand {
    pipe: Pipe,
    claim: Claim,
    prefix: Vec<u8>,
    stop: Stop,
    renewed: Instant,
}

/// Appends the arguments of one row to a command; the first buffer is room for a value.
type Put<'a, R> = &'a dyn Fn(&R, &mut Vec<u8>, &mut Vec<u8>);

/// The same for a key and its value; the bytes are what stands before each key.
type PutString<'a, R> = &'a dyn Fn(&R, &[u8], &mut Vec<u8>, &mut Vec<u8>);

impl Hand {
    pub(super) fn new(connection: super::Connection, claim: Claim, stop: Stop) -> Self {
        let prefix = connection.prefix().as_bytes().to_vec();
        Self { pipe: Pipe::new(connection), claim, prefix, stop, renewed: Instant::now() }
    }

    /// Waits until what was sent has arrived; false where that is not known at `deadline`.
    pub(super) fn rest(&mut self, deadline: Instant) -> bool {
        self.pipe.rest(deadline)
    }

    /// Ends a command. Every now and then looks whether to stop, and lets the lock live on.
    fn queued(&mut self) -> Result<()> {
        if self.pipe.queued()? { self.look_up() } else { Ok(()) }
    }

    fn look_up(&mut self) -> Result<()> {
        self.stop.check()?;
        if self.renewed.elapsed() > RENEW_EVERY {
            self.claim.renew(self.pipe.drain()?)?;
            self.renewed = Instant::now();
        }
        Ok(())
    }

    /// One command about one key: a member a row for SADD, else two arguments.
    fn about<R>(&mut self, command: &[u8], key: (&[u8], Option<u64>), rows: &[R], put: Put<'_, R>) -> Result<()> {
        let each = if command == b"SADD" { 1 } else { 2 };
        let mut value = Vec::new();
        for rows in rows.chunks(ROWS) {
            let out = &mut self.pipe.out;
            resp::begin(out, 2 + each * rows.len());
            resp::argument(out, command);
            match key {
                (name, None) => resp::argument_of(out, &[&self.prefix, name]),
                (name, Some(id)) => numbered(out, &self.prefix, name, id),
            }
            for row in rows {
                value.clear();
                put(row, &mut value, out);
            }
            self.queued()?;
        }
        Ok(())
    }

    /// Sets fields of one hash.
    fn fields<R>(&mut self, name: &[u8], rows: &[R], put: Put<'_, R>) -> Result<()> {
        self.about(b"HSET", (name, None), rows, put)
    }

    /// Sets many keys at once; `put` appends the name and the value.
    fn strings<R>(&mut self, rows: &[R], put: PutString<'_, R>) -> Result<()> {
        let mut value = Vec::new();
        for rows in rows.chunks(ROWS) {
            let out = &mut self.pipe.out;
            resp::begin(out, 1 + 2 * rows.len());
            resp::argument(out, b"MSET");
            for row in rows {
                value.clear();
                put(row, &self.prefix, &mut value, out);
            }
            self.queued()?;
        }
        Ok(())
    }

    fn load(&mut self, batch: Batch) -> Result<()> {
        self.look_up()?;
        match batch {
            Batch::Node(rows) => self.nodes(&rows),
            Batch::Edge(rows) => self.edges(&rows),
            Batch::Chunk(rows) => self.chunks(&rows),
            Batch::Symlink(rows) => self.strings(&rows, &|row, prefix, _, out| {
                numbered(out, prefix, b"s", row.inode);
                resp::argument(out, &row.target);
            }),
            Batch::Xattr(rows) => self.xattrs(&rows),
            Batch::Parent(rows) => self.parents(&rows),
            Batch::SliceRef(rows) => self.references(rows),
            Batch::DirStat(rows) => self.stats(&rows),
            Batch::Quota(rows) => self.quotas(&rows),
            Batch::Sustained(rows) => self.sustained(&rows),
            Batch::Counter(rows) => self.counters(rows),
            other => self.small(other),
        }
    }

    fn nodes(&mut self, rows: &[Node]) -> Result<()> {
        self.strings(rows, &|row, prefix, value, out| {
            numbered(out, prefix, b"i", row.inode);
            attr::encode(row, value);
            resp::argument(out, value);
        })
    }

    fn edges(&mut self, rows: &[Edge]) -> Result<()> {
        for rows in rows.chunk_by(|one, next| one.parent == next.parent) {
            let parent = rows.first().map(|row| row.parent);
            self.about(b"HSET", (b"d", parent), rows, &|row, _, out| {
                resp::argument(out, &row.name);
                resp::argument(out, &keys::entry_value(row.kind, row.inode));
            })?;
        }
        Ok(())
    }

    fn chunks(&mut self, rows: &[Chunk]) -> Result<()> {
        for row in rows {
            for slices in row.slices.0.chunks(SLICES) {
                let out = &mut self.pipe.out;
                resp::begin(out, 2 + slices.len());
                resp::argument(out, b"RPUSH");
                let (mut inode, mut index) = (itoa::Buffer::new(), itoa::Buffer::new());
                let (inode, index) = (inode.format(row.inode), index.format(row.index));
                resp::argument_of(out, &[&self.prefix, b"c", inode.as_bytes(), b"_", index.as_bytes()]);
                for slice in slices {
                    out.extend_from_slice(SLICE_HEAD);
                    slice.encode(out);
                    out.extend_from_slice(b"\r\n");
                }
                self.queued()?;
            }
        }
        Ok(())
    }

    fn xattrs(&mut self, rows: &[Xattr]) -> Result<()> {
        let runs = rows.chunk_by(|one, next| one.inode == next.inode);
        for rows in runs.flat_map(|run| run.chunks(LARGE_ROWS)) {
            let inode = rows.first().map(|row| row.inode);
            self.about(b"HSET", (b"x", inode), rows, &|row, _, out| {
                resp::argument(out, &row.name);
                resp::argument(out, &row.value);
            })?;
        }
        Ok(())
    }

    fn parents(&mut self, rows: &[Parent]) -> Result<()> {
        for rows in rows.chunk_by(|one, next| one.inode == next.inode) {
            let inode = rows.first().map(|row| row.inode);
            self.about(b"HSET", (b"p", inode), rows, &|row, _, out| {
                resp::number(out, row.parent);
                resp::number(out, row.count);
            })?;
        }
        Ok(())
    }

    /// Redis holds how often a slice is used more than once.
    fn references(&mut self, mut rows: Vec<SliceRef>) -> Result<()> {
        rows.retain(|row| row.refs != 1 && row.id != 0);
        self.fields(keys::SLICE_REFS, &rows, &|row, _, out| {
            two_numbers(out, b"k", (row.id, b"_", u64::from(row.size)));
            resp::number(out, row.refs.saturating_sub(1));
        })
    }

    fn stats(&mut self, rows: &[DirStat]) -> Result<()> {
        let numbers: [fn(&DirStat) -> i64; 3] = [|row| row.length, |row| row.space, |row| row.inodes];
        for (name, number) in keys::DIR_STATS.into_iter().zip(numbers) {
            self.fields(name, rows, &|row, _, out| {
                resp::number(out, row.inode);
                resp::number(out, number(row));
            })?;
        }
        Ok(())
    }

    fn quotas(&mut self, rows: &[Quota]) -> Result<()> {
        for rows in rows.chunk_by(|one, next| one.class == next.class) {
            let class = rows.first().map_or(0, |row| usize::from(row.class));
            let unknown = || Error::unsupported(format!("quota class {class}"));
            let [limits, space, inodes] = keys::QUOTAS.get(class).ok_or_else(unknown)?;
            self.fields(limits, rows, &|row, _, out| {
                resp::number(out, row.id);
                resp::argument(out, &keys::limits_value(row.max_space.0, row.max_inodes.0));
            })?;
            self.fields(space, rows, &|row, _, out| {
                resp::number(out, row.id);
                resp::number(out, row.used_space);
            })?;
            self.fields(inodes, rows, &|row, _, out| {
                resp::number(out, row.id);
                resp::number(out, row.used_inodes);
            })?;
        }
        Ok(())
    }

    /// With a session that has expired: the next client cleans it up, and frees the inodes.
    fn sustained(&mut self, rows: &[Sustained]) -> Result<()> {
        for rows in rows.chunk_by(|one, next| one.sid == next.sid) {
            let sid = rows.first().map(|row| row.sid);
            self.about(b"SADD", (b"session", sid), rows, &|row, _, out| resp::number(out, row.inode))?;
            let session = rows.get(..1).unwrap_or_default();
            self.about(b"ZADD", (keys::ALL_SESSIONS, None), session, &|row, _, out| {
                resp::number(out, 1);
                resp::number(out, row.sid);
            })?;
            self.fields(keys::SESSION_INFOS, session, &|row, _, out| {
                resp::number(out, row.sid);
                resp::argument(out, b"{}");
            })?;
        }
        Ok(())
    }

    fn counters(&mut self, mut rows: Vec<Counter>) -> Result<()> {
        for row in &mut rows {
            row.value = row.value.saturating_sub(counter::redis_offset(&row.name));
        }
        rows.retain(|row| row.value != 0);
        self.strings(&rows, &|row, prefix, _, out| {
            resp::argument_of(out, &[prefix, keys::counter_name(&row.name)]);
            resp::number(out, row.value);
        })
    }

    /// What there is little of.
    fn small(&mut self, batch: Batch) -> Result<()> {
        match batch {
            Batch::DelFile(rows) => self.about(b"ZADD", (keys::DEL_FILES, None), &rows, &|row, _, out| {
                resp::number(out, row.expire);
                two_numbers(out, b"", (row.inode, b":", row.length));
            }),
            Batch::DelSlices(rows) => self.fields(keys::DEL_SLICES, &rows, &|row, value, out| {
                two_numbers(out, b"", (row.id, b"_", row.deleted.max(0).cast_unsigned()));
                row.slices.encode(value);
                resp::argument(out, value);
            }),
            Batch::Detached(rows) => self.about(b"ZADD", (keys::DETACHED, None), &rows, &|row, _, out| {
                resp::number(out, row.added);
                resp::number(out, row.inode);
            }),
            Batch::Acl(rows) => self.fields(keys::ACLS, &rows, &|row, value, out| {
                resp::number(out, row.id);
                acl::encode(row, value);
                resp::argument(out, value);
            }),
            Batch::Token(mut rows) => {
                rows.retain(|row| !row.token.is_empty());
                self.fields(keys::TOKENS, &rows, &|row, _, out| {
                    resp::number(out, row.id);
                    resp::argument(out, &row.token);
                })
            }
            other => Err(Error::new(ErrorKind::Bug, format!("a loader was given {other:?}"))),
        }
    }

    fn links(&mut self, rows: &[Links]) -> Result<()> {
        for row in rows {
            let out = &mut self.pipe.out;
            resp::begin(out, 4);
            resp::argument(out, b"SETRANGE");
            numbered(out, &self.prefix, b"i", row.inode);
            resp::number(out, attr::NLINK_OFFSET);
            resp::argument(out, &row.nlink.to_be_bytes());
            self.queued()?;
        }
        Ok(())
    }
}

/// What stands before a slice in a command.
const SLICE_HEAD: &[u8] = b"$24\r\n";
const _: () = assert!(SLICE_BYTES == 24);

impl Loader<JuiceFs> for RedisLoader {
    fn load(&mut self, batch: Batch) -> Result<()> {
        held(&self.hand).load(batch)
    }

    fn idle(&mut self) -> Result<()> {
        held(&self.hand).look_up()
    }

    /// What is replaced must be there first, whoever wrote it.
    fn amend(&mut self, batch: Batch) -> Result<()> {
        if !self.others_rest {
            for hand in held(&self.all).iter() {
                held(hand).pipe.drain()?;
            }
            self.others_rest = true;
        }
        let mut hand = held(&self.hand);
        match batch {
            Batch::Links(rows) => hand.links(&rows),
            // A hash or a string is replaced as it is written; a list is not.
            Batch::Chunk(_) => Err(Error::new(ErrorKind::Bug, "a list cannot be amended")),
            other => hand.load(other),
        }
    }

    fn finish(self: Box<Self>) -> Result<()> {
        held(&self.hand).pipe.drain().map(drop)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Appends a key such as `i1`.
#[inline]
fn numbered(out: &mut Vec<u8>, prefix: &[u8], name: &[u8], id: u64) {
    resp::argument_of(out, &[prefix, name, itoa::Buffer::new().format(id).as_bytes()]);
}

/// Appends a field such as `k1_2`.
fn two_numbers(out: &mut Vec<u8>, start: &[u8], (first, between, second): (u64, &[u8], u64)) {
    let (mut one, mut two) = (itoa::Buffer::new(), itoa::Buffer::new());
    resp::argument_of(out, &[start, one.format(first).as_bytes(), between, two.format(second).as_bytes()]);
}

#[cfg(test)]
mod tests;
