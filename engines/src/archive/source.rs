//! The source: an archive that exists, in a file or a pipe. A file is opened from its end, a pipe from its beginning.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use metaferry_codecs::archive::{Header, MAX_MANIFEST, Manifest, TRAILER_BYTES, Trailer, Unpacker, frame_bound};
use metaferry_codecs::system::{Largest, System};
use metaferry_codecs::{Error as CodecError, Tally};
use metaferry_pipeline::preflight::{Outlook, Room};
use metaferry_pipeline::{Error, KindSet, Result, Snapshot, Source, Stop};

use super::file::FileSnapshot;
use super::input::{Input, check_trailer};
use super::pipe::{PipeSnapshot, check_system};
use crate::awaited::{self, Awaited};

/// Reads an archive.
pub struct ArchiveSource {
    name: String,
    place: Place,
}

enum Place {
    File(File),
    /// Read in order, while nobody stops.
    Stream(File),
    Pipe(Box<dyn Read + Send>),
}

impl ArchiveSource {
    /// The archive at `path`, a file or a pipe.
    ///
    /// # Errors
    /// What cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let opened = awaited::open(path).and_then(|file| Ok((file.metadata()?.is_file(), file)));
        let (is_file, file) = opened.map_err(|cause| Error::engine(format!("{name}: it cannot be opened"), cause))?;
        let place = if is_file { Place::File(file) } else { Place::Stream(file) };
        Ok(Self { name, place })
    }

    /// An archive that comes out of something open, such as the standard input.
    #[must_use]
    pub fn stream(name: impl Into<String>, open: File) -> Self {
        Self { name: name.into(), place: Place::Stream(open) }
    }

    /// An archive that comes out of anything that can be read, however long that takes.
    #[must_use]
    pub fn pipe(name: impl Into<String>, input: Box<dyn Read + Send>) -> Self {
        Self { name: name.into(), place: Place::Pipe(input) }
    }
}

impl<S: System> Source<S> for ArchiveSource {
    fn snapshot(self: Box<Self>, readers: usize, stop: &Stop) -> Result<Box<dyn Snapshot<S>>> {
        let Self { name, place } = *self;
        let input: Box<dyn Read + Send> = match place {
            Place::File(file) => {
                let ends = Ends::<S>::read(&file).map_err(|error| error.at(&name))?;
                return Ok(Box::new(FileSnapshot::<S>::new(name, file, &ends.header, ends.manifest)));
            }
            Place::Stream(open) => Box::new(Awaited::new(open, stop)),
            Place::Pipe(input) => input,
        };
        Ok(Box::new(PipeSnapshot::<S>::new(name, Input::new(input), readers, stop)?))
    }

    /// What the manifest says; of a pipe, nothing can be said before it is read.
    fn outlook(&self, _rooms: &[Room<S::Kind>], _stop: &Stop) -> Result<Outlook<S::Kind>> {
        let Place::File(file) = &self.place else { return Ok(Outlook::default()) };
        let Ends { manifest, .. } = Ends::<S>::read(file).map_err(|error| error.at(&self.name))?;
        Ok(Outlook { rows: Some(manifest.rows()), largest: manifest.largest, ..Outlook::default() })
    }
}

/// What can be known of an archive without its rows.
#[derive(Debug, Clone)]
pub struct Description<S: System> {
    /// What it says before its first row.
    pub header: Header,
    /// The length of the file, in bytes.
    pub length: u64,
    /// How many segments there are.
    pub segments: u64,
    /// How many rows there are, by kind.
    pub rows: BTreeMap<S::Kind, u64>,
    /// The length of its lines, in bytes.
    pub bytes: u64,
    /// The order in which its rows can be read.
    pub ordered: KindSet,
    /// Its tally.
    pub tally: Tally<S::Kind>,
    /// The largest values of its fields.
    pub largest: Vec<Largest<S::Kind>>,
}

/// What an archive in a file says of itself. No row is read, and none is proven.
///
/// # Errors
/// What is no whole archive of this system.
pub fn describe<S: System>(path: &Path) -> Result<Description<S>> {
    let (name, file) = seekable(path)?;
    let Ends { header, length, manifest } = Ends::<S>::read(&file).map_err(|error| error.at(&name))?;
    let mut rows = BTreeMap::<_, u64>::new();
    for entry in &manifest.segments {
        let count = rows.entry(entry.head.kind).or_default();
        *count = count.saturating_add(entry.head.rows);
    }
    Ok(Description {
        header,
        length,
        segments: manifest.segments.len() as u64,
        rows,
        bytes: manifest.bytes(),
        ordered: super::file::ordered(&manifest),
        tally: manifest.tally,
        largest: manifest.largest,
    })
}

/// What an archive says before its first row, whatever its system.
///
/// # Errors
/// What does not begin as an archive, and pipes.
pub fn read_header(path: &Path) -> Result<Header> {
    let (name, file) = seekable(path)?;
    Input::new(Box::new(file)).header(&mut Vec::new()).map_err(|error| error.at(name))
}

/// A file, and not a pipe, whose bytes would be gone once they were looked at.
fn seekable(path: &Path) -> Result<(String, File)> {
    match ArchiveSource::open(path)? {
        ArchiveSource { name, place: Place::File(file) } => Ok((name, file)),
        ArchiveSource { name, .. } => {
            Err(Error::unsupported(format!("{name}: a pipe can only be read, not described")))
        }
    }
}

/// Both ends of an archive in a file, proven.
struct Ends<S: System> {
    header: Header,
    length: u64,
    manifest: Manifest<S::Kind>,
}

impl<S: System> Ends<S> {
    fn read(file: &File) -> Result<Self> {
        let failed = |what: &'static str| move |cause| Error::engine(format!("read the {what}"), cause);
        let length = file.metadata().map_err(failed("length"))?.len();
        let again = file.try_clone().map_err(failed("header"))?;
        let mut header_frame = Vec::new();
        let header = Input::new(Box::new(At { file: again, offset: 0 })).header(&mut header_frame)?;
        check_system::<S>(&header)?;
        let trailer = match read_trailer(file, length)? {
            Some(trailer) => trailer,
            None => return Err(why_not_whole(file)),
        };
        let manifest_end = trailer.manifest_offset.checked_add(trailer.manifest_length);
        if manifest_end.and_then(|end| end.checked_add(TRAILER_BYTES as u64)) != Some(length) {
            return Err(Error::corrupt("the trailer does not fit the file: something was cut out, put in or appended"));
        }
        if trailer.manifest_length > frame_bound(MAX_MANIFEST) as u64 {
            return Err(CodecError::TooLarge { what: "manifest", bound: MAX_MANIFEST as u64 }.into());
        }
        let mut frame = vec![0; usize::try_from(trailer.manifest_length).unwrap_or(0)];
        file.read_exact_at(&mut frame, trailer.manifest_offset).map_err(failed("manifest"))?;
        check_trailer(&trailer, &header_frame, trailer.manifest_offset, &frame)?;
        let mut unpacker = Unpacker::new()?;
        let manifest = Manifest::read(Cursor::new(unpacker.unpack(&frame, MAX_MANIFEST)?))?;
        manifest.check_layout(trailer.header_length, trailer.manifest_offset)?;
        Ok(Self { header, length, manifest })
    }
}

fn read_trailer(file: &File, length: u64) -> Result<Option<Trailer>> {
    let mut bytes = [0; TRAILER_BYTES];
    let Some(offset) = length.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
    file.read_exact_at(&mut bytes, offset).map_err(|cause| Error::engine("read the trailer", cause))?;
    if Trailer::is_at(&bytes) { Ok(Some(Trailer::decode(&bytes)?)) } else { Ok(None) }
}

/// Walks over the frames of an archive that does not end as it must, to say where it goes wrong.
fn why_not_whole(file: &File) -> Error {
    let again = match file.try_clone() {
        Ok(file) => file,
        Err(cause) => return Error::engine("open again", cause),
    };
    let mut input = Input::new(Box::new(At { file: again, offset: 0 }));
    let mut frame = Vec::new();
    loop {
        match input.next(&mut frame) {
            Ok(Some(_)) => {}
            Ok(None) => return Error::corrupt("its end changed while it was read"),
            Err(error) => return error,
        }
    }
}

/// A file from its beginning, whatever others read of it.
struct At {
    file: File,
    offset: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.file.read_at(buffer, self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}
