//! The splitter: cuts a stream that comes in parts into blocks of pieces, without looking into the values.

use crc::{CRC_64_REDIS, Crc, Digest, Table};

use crate::{Error, Result};

use super::block::{Block, Facts};
use super::bytes::{Text, array, byte, length};
use super::encoding::{self, Dialect, Encoding, Step};
use super::walk::{Pause, Walk, whole};

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// How full a block becomes before it is handed out, in bytes.
const BLOCK_BYTES: usize = 1 << 20;
/// How many blocks are kept to be filled again.
const SPARES: usize = 16;
/// How far a value is looked for as a whole before it is walked through step by step, in bytes.
const WHOLE_BYTES: usize = 1 << 16;
/// The versions of the format that are read: Redis 2.4 to 8.6.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=13;
/// The version that is read of those of Valkey's own: Valkey 9.
const VALKEY_VERSION: u32 = 80;
/// The first version that ends in a checksum.
const FIRST_CHECKED: u32 = 5;

/// What comes next in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Opcode,
    /// A value.
    Value,
    /// Something between the keys.
    Aside,
    Checksum,
    End,
}

/// Why reading stopped.
enum Turn {
    On,
    Starved,
    Full(Block),
}

/// The value that is being copied into the block.
#[derive(Debug)]
struct Open {
    encoding: Encoding,
    part: u64,
    key_end: usize,
    copied: bool,
}

/// Cuts an RDB stream into blocks. Cheap enough to be called under a lock that several threads share; what it hands out
/// they decode in parallel.
pub struct Splitter {
    state: State,
    dialect: Dialect,
    version: u32,
    digest: Digest<'static, u64, Table<16>>,
    verified: bool,
    db: u32,
    expires_ms: Option<u64>,
    walk: Walk,
    open: Option<Open>,
    block: Block,
    block_bytes: usize,
    spare: Vec<Block>,
    scratch: Vec<u8>,
    kept: u64,
    skipped: u64,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Splitter {
    /// A splitter for a stream from its first byte on.
    pub fn new() -> Self {
        Self {
            state: State::Header,
            dialect: Dialect::Redis,
            version: 0,
            digest: CRC.digest(),
            verified: false,
            db: 0,
            expires_ms: None,
            walk: Walk::default(),
            open: None,
            block: Block::default(),
            block_bytes: BLOCK_BYTES,
            spare: Vec::new(),
            scratch: Vec::new(),
            kept: 0,
            skipped: 0,
        }
    }

    /// Hands out blocks of about so many bytes, in place of 1 MiB. Values over that are cut where an element ends.
    #[must_use]
    pub fn with_block_bytes(mut self, bytes: usize) -> Self {
        self.block_bytes = bytes.max(1);
        self
    }

    /// Reads on, and takes off the front of `input` what it has read. Keys that `wants` refuses are counted and passed.
    ///
    /// Returns a block as soon as one is full or the stream ends; the rest of `input` is then to be given again. Returns
    /// nothing where more input is needed, or [`is_end`](Self::is_end) says that none is: what is left of `input` then
    /// is to be given again in front of what follows, and is at most a key and some 30 bytes long. What follows the end
    /// of the stream is left in `input`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a newer version of the format or a type of value that cannot be passed over,
    /// [`Error::Malformed`] where the stream is damaged, [`Error::TooLarge`] for a string over
    /// [`MAX_STRING_BYTES`](super::MAX_STRING_BYTES), [`Error::Checksum`] at the end of a stream that was altered. There
    /// is no reading on after an error.
    pub fn split(&mut self, input: &mut &[u8], wants: &dyn Fn(u32, &[u8]) -> bool) -> Result<Option<Block>> {
        let before = *input;
        let turn = self.read(input, wants);
        let consumed = before.len() - input.len();
        self.digest.update(before.get(..consumed).unwrap_or_default());
        match turn? {
            Turn::Full(block) => Ok(Some(block)),
            _ if self.state == State::Checksum => self.check(input),
            _ => Ok(None),
        }
    }

    /// Takes back a block that is done with, to fill it again: fresh memory costs more than what is copied into it.
    pub fn recycle(&mut self, mut block: Block) {
        if self.spare.len() < SPARES && block.weight() <= 8 * self.block_bytes {
            block.clear();
            self.spare.push(block);
        }
    }

    /// Whether the stream has been read to its end, and its checksum, if any, found right.
    pub fn is_end(&self) -> bool {
        self.state == State::End
    }

    /// Refuses a stream that ended too early: to be called when there is no more input.
    ///
    /// # Errors
    /// [`Error::Truncated`] unless [`is_end`](Self::is_end).
    pub fn finish(&self) -> Result<()> {
        if self.is_end() { Ok(()) } else { Err(Error::Truncated("RDB stream")) }
    }

    /// Whether the stream has ended in a checksum, and that was right. A server may be told to leave it out.
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    /// The version of the format, as in the header; 0 before that was read.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// How many keys were wanted so far.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// How many keys were not.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn read(&mut self, input: &mut &[u8], wants: &dyn Fn(u32, &[u8]) -> bool) -> Result<Turn> {
        loop {
            let turn = match self.state {
                State::Header => self.header(input),
                State::Opcode => self.opcode(input, wants),
                State::Value => self.value(input),
                State::Aside => self.aside(input),
                State::Checksum | State::End => return Ok(Turn::On),
            };
            match turn {
                Ok(Turn::On) if self.state == State::Opcode && self.block.bytes.len() >= self.block_bytes => {
                    return Ok(Turn::Full(self.next_block()));
                }
                Ok(Turn::On) => {}
                Err(Error::Truncated(_)) => return Ok(Turn::Starved),
                other => return other,
            }
        }
    }

    fn header(&mut self, input: &mut &[u8]) -> Result<Turn> {
        let mut rest = *input;
        let magic: [u8; 9] = array(&mut rest)?;
        let (digits, dialect) = match &magic {
            [b'R', b'E', b'D', b'I', b'S', digits @ ..] => (digits.as_slice(), Dialect::Redis),
            [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => (digits.as_slice(), Dialect::Valkey),
            _ => return Err(Error::malformed("RDB header", "is neither REDIS nor VALKEY")),
        };
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(Error::malformed("RDB header", "has no version"));
        }
        let version = digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        let known = match dialect {
            Dialect::Redis => VERSIONS.contains(&version),
            Dialect::Valkey => version == VALKEY_VERSION,
        };
        if !known {
            let newest = VERSIONS.end();
            let found = format!(
                "version {version} of {dialect:?}; read are up to {newest} of Redis, {VALKEY_VERSION} of Valkey"
            );
            return Err(Error::Unsupported { what: "RDB stream", found });
        }
        (*input, self.dialect, self.version, self.state) = (rest, dialect, version, State::Opcode);
        Ok(Turn::On)
    }

    fn opcode(&mut self, input: &mut &[u8], wants: &dyn Fn(u32, &[u8]) -> bool) -> Result<Turn> {
        let mut rest = *input;
        let code = byte(&mut rest)?;
        match code {
            255 => self.state = State::Checksum,
            254 => {
                let number = length(&mut rest)?;
                self.db = u32::try_from(number).map_err(|_| Error::malformed("database number", number.to_string()))?;
            }
            253 => self.expires_ms = Some(u64::from(u32::from_le_bytes(array(&mut rest)?)) * 1000),
            252 => self.expires_ms = Some(u64::from_le_bytes(array(&mut rest)?)),
            251 => {
                length(&mut rest)?;
                length(&mut rest)?;
            }
            250 => self.pass(encoding::AUX),
            249 => drop(byte(&mut rest)?),
            248 => drop(length(&mut rest)?),
            247 => self.pass(encoding::MODULE),
            246 => self.pass(encoding::FUNCTION_PREVIEW),
            245 => self.pass(encoding::FUNCTION),
            244 => {
                length(&mut rest)?;
                length(&mut rest)?;
                length(&mut rest)?;
            }
            243 if self.dialect == Dialect::Valkey => self.pass(encoding::SLOT_IMPORT),
            243 => self.pass(encoding::KEY_META),
            _ => self.key(code, &mut rest, wants)?,
        }
        *input = rest;
        Ok(Turn::On)
    }

    /// Passes over something between the keys.
    fn pass(&mut self, steps: &'static [Step]) {
        self.walk.begin(steps, false);
        self.state = State::Aside;
    }

    /// Goes on with something between the keys.
    fn aside(&mut self, input: &mut &[u8]) -> Result<Turn> {
        match self.walk.advance(input, usize::MAX)? {
            Pause::Input => return Ok(Turn::Starved),
            Pause::End => self.state = State::Opcode,
            Pause::Body | Pause::Room => {}
        }
        Ok(Turn::On)
    }

    fn key(&mut self, code: u8, rest: &mut &[u8], wants: &dyn Fn(u32, &[u8]) -> bool) -> Result<()> {
        let Some(encoding) = Encoding::of(code, self.dialect) else {
            return Err(Error::Unsupported { what: "RDB type of value", found: code.to_string() });
        };
        let key = Text::read(rest)?.bytes(&mut self.scratch)?;
        let wanted = wants(self.db, key);
        // A stream or a module's value is announced, without its bytes: it cannot be decoded, and has no bound.
        let copied = wanted && !matches!(encoding, Encoding::Stream(_) | Encoding::Module);
        if wanted {
            self.block.bytes.extend_from_slice(key);
            self.open = Some(Open { encoding, part: 0, key_end: self.block.bytes.len(), copied });
        }
        let layout = encoding.layout();
        let room = self.block_bytes.saturating_sub(self.block.bytes.len());
        let mut ahead = rest.get(..WHOLE_BYTES).unwrap_or(rest);
        let begin = ahead.len();
        match whole(layout, &mut ahead, copied) {
            Ok(passed) if !copied || passed.body <= room => {
                let (value, behind) = rest.split_at_checked(begin - ahead.len()).unwrap_or_default();
                *rest = behind;
                if copied {
                    let body = value.len() - passed.body;
                    self.block.bytes.extend_from_slice(value.get(body..).unwrap_or_default());
                }
                self.end_value(passed.elements);
            }
            Ok(_) | Err(Error::Truncated(_)) => {
                self.walk.begin(layout, copied);
                self.state = State::Value;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Ends a value, and its last piece if it is wanted.
    fn end_value(&mut self, elements: u64) {
        match self.open.take() {
            Some(open) => {
                self.close(&open, true, if open.copied { elements } else { 0 });
                self.kept += 1;
            }
            None => self.skipped += 1,
        }
        (self.state, self.expires_ms) = (State::Opcode, None);
    }

    /// Goes on with a value that is not there as a whole.
    fn value(&mut self, input: &mut &[u8]) -> Result<Turn> {
        let copied = self.open.as_ref().is_some_and(|open| open.copied);
        let room = if copied { self.block_bytes.saturating_sub(self.block.bytes.len()) } else { usize::MAX };
        let before = *input;
        let pause = self.walk.advance(input, room)?;
        if copied {
            self.block.bytes.extend_from_slice(before.get(..before.len() - input.len()).unwrap_or_default());
        }
        match (pause, &self.open) {
            (Pause::Input, _) => return Ok(Turn::Starved),
            (Pause::Body, Some(open)) => self.block.bytes.truncate(open.key_end),
            (Pause::Room, Some(_)) => return Ok(Turn::Full(self.cut())),
            (Pause::End, _) => {
                let elements = self.walk.take_elements();
                self.end_value(elements);
            }
            (Pause::Body | Pause::Room, None) => {}
        }
        Ok(Turn::On)
    }

    /// Ends a piece whose bytes are all in the block.
    fn close(&mut self, open: &Open, last: bool, elements: u64) {
        let Open { encoding, part, key_end, .. } = *open;
        let facts = Facts { db: self.db, encoding, expires_ms: self.expires_ms, part, last, elements };
        self.block.close(facts, key_end);
    }

    /// Ends the piece that is open and its block; the value goes on in the next.
    fn cut(&mut self) -> Block {
        let Some(mut open) = self.open.take() else { return self.next_block() };
        let mut key = std::mem::take(&mut self.scratch);
        key.clear();
        key.extend_from_slice(self.block.open_key(open.key_end));
        let elements = self.walk.take_elements();
        self.close(&open, false, elements);
        let full = self.next_block();
        self.block.bytes.extend_from_slice(&key);
        self.scratch = key;
        (open.part, open.key_end) = (open.part + 1, self.block.bytes.len());
        self.open = Some(open);
        full
    }

    /// Hands out the block, and puts an empty one in its place.
    fn next_block(&mut self) -> Block {
        let spare = self.spare.pop().unwrap_or_default();
        std::mem::replace(&mut self.block, spare)
    }

    fn check(&mut self, input: &mut &[u8]) -> Result<Option<Block>> {
        let mut rest = *input;
        let stored = match self.version < FIRST_CHECKED {
            true => 0,
            false => match array(&mut rest) {
                Ok(bytes) => u64::from_le_bytes(bytes),
                Err(_) => return Ok(None),
            },
        };
        if stored != 0 && stored != self.digest.clone().finalize() {
            return Err(Error::Checksum("RDB stream"));
        }
        (*input, self.verified, self.state) = (rest, stored != 0, State::End);
        Ok(Some(std::mem::take(&mut self.block)).filter(|block| !block.is_empty()))
    }
}

impl std::fmt::Debug for Splitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Splitter").field("state", &self.state).field("version", &self.version).finish_non_exhaustive()
    }
}
