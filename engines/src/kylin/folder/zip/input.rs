//! Reading a zip file: its directory from the front, entry by entry, and the content of entries. Nothing an entry says of its
//! length is believed before memory is taken for it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use flate2::{Crc, Decompress, FlushDecompress, Status};
use metaferry_codecs::Error as CodecError;
use metaferry_pipeline::{Error, Result};

use super::directory::{Directory, END_BYTES, END64_BYTES, LOCATOR64_BYTES, MAX_COMMENT};
use super::records::{CENTRAL_BYTES, DEFLATED, Entry, LOCAL_BYTES};
use crate::kylin::folder::tree::shown;

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;
/// Content made room for at a time, at least, in bytes.
const STEP: usize = 64 << 10;
/// What deflate makes of one byte, at most.
const MOST_RATIO: u64 = 1032;
/// The most entries: what is remembered of each is little, but not nothing.
const MOST_ENTRIES: u64 = 4 << 20;

const WHAT: &str = "zip entry";

/// A zip file.
#[derive(Debug)]
pub(in crate::kylin::folder) struct Zip {
    /// As messages call it.
    pub(in crate::kylin::folder) name: String,
    file: File,
    /// The file that the directory lies in: another one before the zip is finished.
    index: File,
    directory: Directory,
    /// Where the last entry ends.
    end: u64,
}

/// A part of a file, from its beginning.
struct At<'a> {
    file: &'a File,
    offset: u64,
    end: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let read = self.file.read_at(buffer.get_mut(..length).unwrap_or_default(), self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.offset = match to {
            SeekFrom::Start(offset) => offset,
            SeekFrom::Current(by) => self.offset.saturating_add_signed(by),
            SeekFrom::End(by) => self.end.saturating_add_signed(by),
        };
        Ok(self.offset)
    }
}

impl Zip {
    /// Whether a file begins as a zip does, be it an empty one.
    pub(in crate::kylin::folder) fn is_one(head: &[u8]) -> bool {
        head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
    }

    /// Opens a whole zip file.
    ///
    /// # Errors
    /// One that was cut off, and what lies beside its entries.
    pub(in crate::kylin::folder) fn open(name: String, file: File) -> Result<Self> {
        let directory = Self::find(&file).map_err(|error| error.at(&name))?;
        if directory.entries > MOST_ENTRIES {
            let what = format!("{name}: it has {} entries, and {MOST_ENTRIES} are read at most", directory.entries);
            return Err(Error::unsupported(what));
        }
        let index = file.try_clone().map_err(|cause| Error::engine(format!("{name}: open again"), cause))?;
        Ok(Self { name, file, index, directory, end: directory.offset })
    }

    /// A zip that is still written: `end` bytes of entries, and their directory in a file of its own.
    pub(in crate::kylin::folder) fn unfinished(name: String, file: File, index: File, parts: [u64; 3]) -> Self {
        let [end, length, entries] = parts;
        Self { name, file, index, directory: Directory { offset: 0, length, entries }, end }
    }

    fn find(file: &File) -> Result<Directory> {
        let failed = |cause| Error::engine("read its end", cause);
        let length = file.metadata().map_err(failed)?.len();
        let from = length.saturating_sub((END_BYTES + LOCATOR64_BYTES + MAX_COMMENT) as u64);
        let mut tail = vec![0; usize::try_from(length - from).unwrap_or(0)];
        file.read_exact_at(&mut tail, from).map_err(failed)?;
        let (at, mut directory, end64) = Directory::read_end(&tail)?;
        let mut end = from + at as u64;
        if let Some(place) = end64 {
            let behind = end - LOCATOR64_BYTES as u64;
            if place.checked_add(END64_BYTES as u64) != Some(behind) {
                return Err(Error::corrupt("its end in 64 bits is not where it says"));
            }
            let mut record = [0; END64_BYTES];
            file.read_exact_at(&mut record, place).map_err(failed)?;
            (directory, end) = (Directory::read_end64(&record)?, place);
        }
        if directory.offset.checked_add(directory.length) != Some(end) {
            let what = "its directory is not where its end says: something was cut out, put in front or in between";
            return Err(Error::corrupt(what));
        }
        Ok(directory)
    }

    /// The records of the directory, from byte `from` of it on.
    pub(super) fn records(&self, from: u64) -> Records<'_> {
        let Directory { offset, length, .. } = self.directory;
        let at = At { file: &self.index, offset: offset + from, end: offset + length };
        let input = BufReader::with_capacity(READ_BYTES, at);
        Records { zip: self, input, at: from, buffer: Vec::new() }
    }

    /// How many entries its end says there are.
    pub(super) fn entries(&self) -> u64 {
        self.directory.entries
    }

    /// Where the last entry ends.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The entries from byte `offset` on.
    pub(super) fn data(&self, offset: u64) -> Data<'_> {
        let at = At { file: &self.file, offset, end: self.end };
        let inflate = Decompress::new(false);
        Data { zip: self, input: BufReader::with_capacity(READ_BYTES, at), offset, inflate, buffer: Vec::new() }
    }

    /// Whether it is still what it was.
    pub(super) fn stamp(&self) -> Result<Stamp> {
        let stat =
            rustix::fs::fstat(&self.file).map_err(|cause| Error::engine(format!("{}: stat", self.name), cause))?;
        Ok((stat.st_size, [stat.st_mtime, stat.st_ctime], [stat.st_mtime_nsec, stat.st_ctime_nsec]))
    }

    /// What is wrong with an entry.
    pub(super) fn at(&self, entry: &Entry, error: impl Into<Error>) -> Error {
        error.into().at(format!("{}: entry {}", self.name, shown(&entry.name)))
    }
}

/// What changes with every write: the length, and two times.
pub(super) type Stamp = (i64, [i64; 2], [u64; 2]);

/// Records of the directory, one after another.
pub(super) struct Records<'a> {
    zip: &'a Zip,
    input: BufReader<At<'a>>,
    at: u64,
    buffer: Vec<u8>,
}

impl Records<'_> {
    /// The next record, and where it lies in the directory.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Entry)>> {
        if self.at == self.zip.directory.length {
            return Ok(None);
        }
        self.buffer.clear();
        self.fill(CENTRAL_BYTES)?;
        let length = Entry::central_length(&self.buffer).map_err(|error| self.failed(error))?;
        self.fill(length)?;
        let entry = Entry::read_central(&self.buffer).map_err(|error| self.failed(error))?;
        let at = self.at;
        self.at += length as u64;
        Ok(Some((at, entry)))
    }

    fn fill(&mut self, length: usize) -> Result<()> {
        let begun = self.buffer.len();
        self.buffer.resize(length, 0);
        let read = self.input.read_exact(self.buffer.get_mut(begun..).unwrap_or_default());
        read.map_err(|cause| Error::corrupt(format!("{}: its directory ends early", self.zip.name)).because(cause))
    }

    fn failed(&self, error: CodecError) -> Error {
        Error::from(error).at(format!("{}: byte {} of its directory", self.zip.name, self.at))
    }
}

/// Entries, read one after another from the front.
pub(super) struct Data<'a> {
    zip: &'a Zip,
    input: BufReader<At<'a>>,
    offset: u64,
    inflate: Decompress,
    buffer: Vec<u8>,
}

/// What became of an entry.
pub(super) type Content = Result<Vec<u8>, CodecError>;

impl Data<'_> {
    /// Reads the entry that begins here and goes up to `end`, or passes over its content where it is not wanted. Content
    /// that is damaged is inside; who reads on finds the next entry all the same.
    ///
    /// # Errors
    /// An entry that is not what the directory says, or does not lie where it must.
    pub(super) fn next(&mut self, entry: &Entry, end: u64, is_wanted: bool) -> Result<Option<Content>> {
        if entry.offset != self.offset {
            let what = CodecError::malformed("zip", "it does not begin where the one before it ends");
            return Err(self.zip.at(entry, what));
        }
        self.buffer.clear();
        self.fill(LOCAL_BYTES, entry)?;
        let rest = Entry::local_rest(&self.buffer).map_err(|error| self.zip.at(entry, error))?;
        self.fill(LOCAL_BYTES + rest, entry)?;
        entry.check_local(&self.buffer).map_err(|error| self.zip.at(entry, error))?;
        let data = self.offset + (LOCAL_BYTES + rest) as u64;
        let behind =
            data.checked_add(entry.packed).and_then(|data| end.checked_sub(data)).filter(|behind| *behind <= 24);
        let behind = behind.and_then(|behind| usize::try_from(behind).ok()).ok_or_else(|| {
            self.zip.at(entry, CodecError::malformed("zip", "it does not end where the next one begins"))
        })?;
        let mut left = entry.packed;
        let content = if is_wanted { Some(self.unpack(entry, &mut left)?) } else { None };
        let over = i64::try_from(left).map_err(|_| self.zip.at(entry, CodecError::Truncated(WHAT)))?;
        self.input.seek_relative(over).map_err(|cause| self.failed(entry, cause))?;
        self.buffer.clear();
        self.fill(behind, entry)?;
        entry.check_descriptor(&self.buffer).map_err(|error| self.zip.at(entry, error))?;
        self.offset = end;
        Ok(content)
    }

    fn fill(&mut self, length: usize, entry: &Entry) -> Result<()> {
        let begun = self.buffer.len();
        self.buffer.resize(length, 0);
        let read = self.input.read_exact(self.buffer.get_mut(begun..).unwrap_or_default());
        read.map_err(|cause| self.failed(entry, cause))
    }

    fn failed(&self, entry: &Entry, cause: std::io::Error) -> Error {
        match cause.kind() {
            std::io::ErrorKind::UnexpectedEof => self.zip.at(entry, CodecError::Truncated(WHAT)),
            _ => self.zip.at(entry, Error::engine("read", cause)),
        }
    }

    /// The content of an entry whose data begins here; `left` is what was not read of it.
    fn unpack(&mut self, entry: &Entry, left: &mut u64) -> Result<Content> {
        if entry.length > entry.packed.saturating_mul(MOST_RATIO) {
            return Ok(Err(CodecError::malformed(WHAT, "it says that it holds more than can be packed so small")));
        }
        let unpacked = match entry.method {
            DEFLATED => self.inflate(entry, left)?,
            _ => self.copy(entry, left)?,
        };
        Ok(unpacked.and_then(|content| {
            let mut crc = Crc::new();
            crc.update(&content);
            if crc.sum() == entry.crc { Ok(content) } else { Err(CodecError::Checksum(WHAT)) }
        }))
    }

    fn copy(&mut self, entry: &Entry, left: &mut u64) -> Result<Content> {
        let mut content = Vec::new();
        let read = self.input.by_ref().take(entry.length).read_to_end(&mut content);
        *left -= read.map_err(|cause| self.failed(entry, cause))? as u64;
        Ok(if *left == 0 { Ok(content) } else { Err(CodecError::Truncated(WHAT)) })
    }

    fn inflate(&mut self, entry: &Entry, left: &mut u64) -> Result<Content> {
        let length = usize::try_from(entry.length).unwrap_or(usize::MAX);
        let mut content = Vec::new();
        self.inflate.reset(false);
        loop {
            // One byte more than there should be tells what is longer.
            let room = length.saturating_add(1).saturating_sub(content.len());
            content.reserve_exact(room.min(content.len().max(STEP)));
            let failed = |cause| Error::engine("read", cause);
            let chunk = self.input.fill_buf().map_err(|cause| self.zip.at(entry, failed(cause)))?;
            let most = usize::try_from(*left).unwrap_or(usize::MAX).min(chunk.len());
            let before = self.inflate.total_in();
            let chunk = chunk.get(..most).unwrap_or_default();
            let status = self.inflate.decompress_vec(chunk, &mut content, FlushDecompress::None);
            let taken = self.inflate.total_in() - before;
            self.input.consume(usize::try_from(taken).unwrap_or(0));
            *left -= taken;
            let status = match status {
                Ok(status) => status,
                Err(error) => return Ok(Err(CodecError::malformed(WHAT, error.to_string()))),
            };
            if content.len() > length {
                return Ok(Err(CodecError::malformed(WHAT, "it holds more than the directory says")));
            }
            if status == Status::StreamEnd {
                let is_whole = content.len() == length && *left == 0;
                let short = || CodecError::malformed(WHAT, "it is not as long as the directory says");
                return Ok(if is_whole { Ok(content) } else { Err(short()) });
            }
            if taken == 0 && content.len() < content.capacity() {
                return Ok(Err(CodecError::Truncated(WHAT)));
            }
        }
    }
}
