//! An archive in a pipe, read in order: the workers share the stream, each takes one frame at a time and unpacks it by
//! itself. What can be known only at the end is checked at the end.

use std::io::Cursor;
use std::sync::Mutex;

use metaferry_codecs::archive::{Entry, Header, MAX_MANIFEST, MAX_SEGMENT, Manifest, is_manifest, sha256};
use metaferry_codecs::system::{Kind, System};
use metaferry_codecs::{Error as CodecError, Tally};
use metaferry_pipeline::{About, Emit, Error, ErrorKind, KindSet, Partition, Result, Scope, Snapshot, Stop};

use super::file::about;
use super::input::{Input, check_trailer};
use super::lock;
use super::rows::{Pool, Scratch, compare, emit_rows, split_head};

/// An archive in a pipe.
pub(super) struct PipeSnapshot<S: System> {
    name: String,
    about: About,
    readers: u64,
    stop: Stop,
    header_frame: Vec<u8>,
    input: Mutex<Input>,
    seen: Mutex<Seen<S::Kind>>,
    pool: Pool,
}

struct Seen<K: Kind> {
    segments: Vec<Entry<K>>,
    tally: Tally<K>,
    manifest: Option<(u64, Vec<u8>)>,
}

impl<S: System> PipeSnapshot<S> {
    /// Reads the header and leaves the rest to the workers.
    pub(super) fn new(name: String, mut input: Input, readers: usize, stop: &Stop) -> Result<Self> {
        let mut header_frame = Vec::new();
        let header = input.header(&mut header_frame).map_err(|error| error.at(&name))?;
        check_system::<S>(&header).map_err(|error| error.at(&name))?;
        input.make_room(S::MAX_SEGMENT);
        Ok(Self {
            about: About { is_repeatable: false, ..about(&name, &header, KindSet::NONE) },
            name,
            readers: readers.max(1) as u64,
            stop: stop.clone(),
            header_frame,
            input: Mutex::new(input),
            seen: Mutex::new(Seen { segments: Vec::new(), tally: Tally::default(), manifest: None }),
            pool: Pool::default(),
        })
    }

    fn read(&self, offset: u64, scratch: &mut Scratch, out: &mut dyn Emit<S>) -> Result<()> {
        let Scratch { frame, unpacker } = scratch;
        let text = unpacker.unpack(frame, MAX_MANIFEST.max(S::MAX_SEGMENT))?;
        if is_manifest(text) {
            let earlier = lock(&self.seen).manifest.replace((offset, std::mem::take(frame)));
            return if earlier.is_some() { Err(Error::corrupt("a second manifest")) } else { Ok(()) };
        }
        let (head, rows) = split_head(text)?;
        let bound = if head.rows == 1 { S::MAX_SEGMENT } else { MAX_SEGMENT };
        if text.len() > bound {
            return Err(CodecError::TooLarge { what: "segment", bound: bound as u64 }.into());
        }
        let (length, bytes) = (frame.len() as u64, text.len() as u64);
        let entry = Entry { head, offset, length, bytes, sha256: sha256(frame), span: None };
        let mut tally = Tally::default();
        emit_rows(&head, rows, &mut tally, out)?;
        let mut seen = lock(&self.seen);
        seen.segments.push(entry);
        seen.tally.add(&tally);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let input = lock(&self.input);
        let mut seen = lock(&self.seen);
        let trailer =
            input.trailer().ok_or_else(|| Error::new(ErrorKind::Bug, "the archive was not read to its end"))?;
        let (offset, frame) = seen.manifest.take().ok_or_else(|| Error::corrupt("the archive has no manifest"))?;
        check_trailer(trailer, &self.header_frame, offset, &frame)?;
        let mut unpacker = metaferry_codecs::archive::Unpacker::new()?;
        let mut manifest = Manifest::read(Cursor::new(unpacker.unpack(&frame, MAX_MANIFEST)?))?;
        manifest.check_layout(self.header_frame.len() as u64, offset)?;
        manifest.segments.iter_mut().for_each(|entry| entry.span = None);
        seen.segments.sort_unstable_by_key(|entry| entry.offset);
        if manifest.segments != seen.segments {
            return Err(Error::corrupt("the segments are not those that the manifest promises"));
        }
        compare(&manifest.tally, &seen.tally)
    }
}

/// Refuses an archive of another system.
pub(super) fn check_system<S: System>(header: &Header) -> Result<()> {
    if header.system == S::NAME {
        return Ok(());
    }
    Err(Error::config(format!("it holds metadata of {}, not of {}", header.system, S::NAME)))
}

impl<S: System> Snapshot<S> for PipeSnapshot<S> {
    fn about(&self) -> About {
        self.about.clone()
    }

    fn plan(&self, _scope: &Scope<S>) -> Result<Vec<Partition<S>>> {
        Ok((0..self.readers).map(|from| Partition { kind: None, from, to: from + 1, weight: 1 }).collect())
    }

    fn scan(&self, _partition: &Partition<S>, out: &mut dyn Emit<S>) -> Result<()> {
        let mut scratch = self.pool.take()?;
        loop {
            self.stop.check()?;
            let next = lock(&self.input).next(&mut scratch.frame);
            let Some(offset) = next.map_err(|error| error.at(&self.name))? else { break };
            let read = self.read(offset, &mut scratch, out);
            read.map_err(|error| error.at(format!("{}: frame at byte {offset}", self.name)))?;
        }
        self.pool.give_back(scratch);
        Ok(())
    }

    fn finish(&self) -> Result<()> {
        self.check().map_err(|error| error.at(&self.name))
    }
}
