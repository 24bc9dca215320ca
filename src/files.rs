//! Files: what is in one, told by its first bytes, whatever it is wrapped in; and how one is written, told by its name.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use metaferry_codecs::juicefs::binary;
use metaferry_codecs::juicefs::tables::Widths;
use metaferry_engines::archive::{ArchiveSink, ArchiveSource};
use metaferry_engines::awaited::{self, Awaited};
use metaferry_engines::wrapping::{Compression, EnvelopeKey, Layer, Unwrapped, unwrap};
use metaferry_pipeline::copy::Options;
use metaferry_pipeline::{Error, Result, Sink, Source};

use crate::args::Format;
use crate::context::Context;
use crate::served::{Foreign, Served};

/// The passphrase of a key (`cmd/format.go`).
const PASSPHRASE: &str = "JFS_RSA_PASSPHRASE";

/// What messages call what goes out.
pub(crate) const STANDARD_OUTPUT: &str = "standard output";

/// What a file is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Archive,
    Binary,
    Json,
    Sqlite,
    Rdb,
    Zip,
    /// In something else.
    Wrapped,
    Unknown,
}

impl Content {
    /// Looks at the first bytes; `None` where there is no such regular file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        if !path.is_file() {
            return None;
        }
        let mut head = Vec::new();
        File::open(path).ok()?.take(Layer::BEGINNING as u64).read_to_end(&mut head).ok()?;
        Some(if Layer::at(&head).is_some() { Self::Wrapped } else { Self::told(&head) })
    }

    fn told(head: &[u8]) -> Self {
        match head {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Archive,
            [b'S', b'Q', b'L', b'i', b't', b'e', b' ', ..] => Self::Sqlite,
            [b'R', b'E', b'D', b'I', b'S', ..] | [b'V', b'A', b'L', b'K', b'E', b'Y', ..] => Self::Rdb,
            [b'P', b'K', 3 | 5, 4 | 6, ..] => Self::Zip,
            head if head.trim_ascii_start().first() == Some(&b'{') => Self::Json,
            head if binary::is_start(head) => Self::Binary,
            _ => Self::Unknown,
        }
    }
}

/// Something open that is to be read.
struct Opened<'a> {
    name: String,
    input: Box<dyn Read + Send>,
    /// A file that can be read from anywhere, and its length in bytes.
    place: Option<(&'a Path, u64)>,
}

/// The file at `path`, or the pipe there.
pub(crate) fn source<S: Served>(path: &Path, context: &Context) -> Result<Box<dyn Source<S>>> {
    let name = path.display().to_string();
    let unreadable = |cause| Error::engine(format!("{name}: it cannot be opened"), cause);
    let file = awaited::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    let place = found.is_file().then_some((path, found.len()));
    let input = Box::new(Awaited::new(file, &context.stop));
    read(Opened { name, input, place }, key(context)?.as_ref(), context)
}

/// What an object store holds, which messages call `name`; `key` opens it where it is encrypted.
pub(crate) fn stream<S: Served>(
    name: String,
    input: Box<dyn Read + Send>,
    key: Option<&EnvelopeKey>,
    context: &Context,
) -> Result<Box<dyn Source<S>>> {
    read(Opened { name, input, place: None }, key, context)
}

/// What comes in through the standard input.
pub(crate) fn standard_input<S: Served>(context: &Context) -> Result<Box<dyn Source<S>>> {
    let name = "standard input";
    let file = std::io::stdin().as_fd().try_clone_to_owned().map_err(|cause| Error::engine(name, cause))?;
    let input = Box::new(Awaited::new(file.into(), &context.stop));
    read(Opened { name: name.to_owned(), input, place: None }, key(context)?.as_ref(), context)
}

fn read<S: Served>(opened: Opened<'_>, key: Option<&EnvelopeKey>, context: &Context) -> Result<Box<dyn Source<S>>> {
    let Opened { name, input, place } = opened;
    let inside = unwrap(&name, input, key, &context.stop)?;
    let name = inside.describe(&name);
    let place = place.filter(|_| inside.layers().is_empty());
    let length = place.map_or(0, |(_, length)| length);
    Ok(match (Content::told(inside.beginning()), place) {
        (Content::Archive, Some((path, _))) => Box::new(ArchiveSource::open(path)?),
        (Content::Archive, None) => Box::new(ArchiveSource::pipe(name, Box::new(inside))),
        (content, _) => S::dump_source(Foreign { content, name, inside, length }, context)?,
    })
}

/// Why it cannot be read as a dump.
pub(crate) fn refused(content: Content, name: &str, inside: &Unwrapped) -> Error {
    let what = match content {
        _ if inside.beginning().is_empty() => "empty",
        Content::Sqlite => "a SQLite database, which can be read only where it lies in a file",
        Content::Rdb => "a Redis snapshot, which can be read only where it lies in a file",
        _ => "neither an archive, nor a dump of JuiceFS, nor a SQLite database, nor a Redis snapshot",
    };
    Error::corrupt(format!("{name}: it is {what}"))
}

/// The key that opens what is encrypted, where one is named.
pub(crate) fn key(context: &Context) -> Result<Option<EnvelopeKey>> {
    let (common, passphrase) = (&context.common, passphrase());
    let read = |path| EnvelopeKey::read(path, &common.encrypt_algo, passphrase.as_ref().map(|text| text.as_bytes()));
    common.encrypt_rsa_key.as_deref().map(read).transpose()
}

/// What protects the keys of encrypted volumes.
pub(crate) fn passphrase() -> Option<OsString> {
    std::env::var_os(PASSPHRASE).filter(|passphrase| !passphrase.is_empty())
}

/// A file at `path` in the format that was asked for, or that its name asks for.
pub(crate) fn sink<S: Served>(path: &Path, format: Option<Format>, writing: &Writing<'_>) -> Result<Box<dyn Sink<S>>> {
    match format.unwrap_or_else(|| Format::of_name(path)) {
        Format::Archive => Ok(Box::new(ArchiveSink::<S>::create(path, writing.options.keep_secrets)?)),
        format => S::dump_sink(Some(path), format, writing),
    }
}

/// What goes out through the standard output.
pub(crate) fn standard_output<S: Served>(format: Option<Format>, writing: &Writing<'_>) -> Result<Box<dyn Sink<S>>> {
    let keep_secrets = writing.options.keep_secrets;
    match format.unwrap_or(Format::Archive) {
        Format::Archive => {
            Ok(Box::new(ArchiveSink::<S>::pipe(STANDARD_OUTPUT, Box::new(std::io::stdout()), keep_secrets)))
        }
        format => S::dump_sink(None, format, writing),
    }
}

/// How an engine or a file is written, whatever it is.
pub(crate) struct Writing<'a> {
    pub(crate) options: &'a Options,
    pub(crate) skip_trash: bool,
    /// How wide the columns of tables are made.
    pub(crate) widths: Widths,
}

impl Format {
    /// The format that a name asks for: what `juicefs dump` would write under it, or else an archive.
    fn of_name(path: &Path) -> Self {
        let compression = Compression::of_name(path);
        let stem = path.file_stem().map(Path::new);
        let inner = if compression.is_some() { stem.and_then(Path::extension) } else { path.extension() };
        match (inner.and_then(|inner| inner.to_str()), compression) {
            (Some("bin"), None) => Self::Binary,
            (Some("bin"), Some(Compression::Gzip)) => Self::BinaryGz,
            (Some("bin"), Some(Compression::Zstd)) => Self::BinaryZst,
            (Some("json"), None) => Self::Json,
            (Some("json"), Some(Compression::Zstd)) => Self::JsonZst,
            (_, Some(Compression::Gzip)) => Self::JsonGz,
            _ => Self::Archive,
        }
    }

    pub(crate) fn compression(self) -> Option<Compression> {
        match self {
            Self::JsonGz | Self::BinaryGz => Some(Compression::Gzip),
            Self::JsonZst | Self::BinaryZst => Some(Compression::Zstd),
            Self::Archive | Self::Json | Self::Binary | Self::KylinFolder | Self::KylinZip => None,
        }
    }

    pub(crate) fn is_binary(self) -> bool {
        matches!(self, Self::Binary | Self::BinaryGz | Self::BinaryZst)
    }
}
