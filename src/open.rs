//! Turns a URL or a path into a source or a sink: the one place that knows every store.

use std::fmt;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use metaferry_codecs::juicefs::{JuiceFs, binary};
use metaferry_engines::archive::{ArchiveSink, ArchiveSource};
use metaferry_engines::binary::{BinarySink, BinarySource};
use metaferry_engines::redis::{Address, RdbSource, RedisOptions, RedisSink, RedisSource};
use metaferry_engines::sqlite::{SqliteAddress, SqliteSink, SqliteSource};
use metaferry_engines::synthetic::SyntheticSource;
use metaferry_pipeline::copy::Options;
use metaferry_pipeline::{Error, Result, Sink, Source};

use crate::args::Format;
use crate::context::Context;

/// Schemes of engines that are not built yet.
const TO_COME: [&str; 8] = ["mysql", "postgres", "postgresql", "tikv", "etcd", "fdb", "badger", "s3"];

/// How many bytes tell what a file is.
const HEAD_BYTES: u64 = 16;

/// Where metadata is, or is to go.
pub(crate) enum Place {
    Sqlite(SqliteAddress),
    Redis(Box<Address>),
    Rdb { path: PathBuf, database: u32 },
    Synthetic(String),
    File(PathBuf),
    Pipe,
}

/// What a file is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Archive,
    Binary,
    Sqlite,
    Rdb,
    Json,
    Gzip,
    Unknown,
}

impl Place {
    /// Reads a URL or a path; nothing is opened, but a file that exists is looked into.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text == "-" {
            return Ok(Self::Pipe);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            let path = PathBuf::from(text);
            return match Content::of(&path) {
                Some(Content::Sqlite) => Ok(Self::Sqlite(SqliteAddress::file(path))),
                Some(Content::Rdb) => Ok(Self::Rdb { path, database: 0 }),
                _ => Ok(Self::File(path)),
            };
        };
        match scheme {
            "sqlite3" => SqliteAddress::parse(text).map(Self::Sqlite),
            "redis" | "rediss" | "unix" => {
                let address = Address::parse(text, &|name| std::env::var(name).ok())?;
                Ok(Self::Redis(Box::new(address)))
            }
            "rdb" => rdb(rest),
            "synthetic" => Ok(Self::Synthetic(text.to_owned())),
            "file" => Ok(Self::File(PathBuf::from(rest))),
            _ if TO_COME.contains(&scheme) => {
                Err(Error::refused(format!("the engine {scheme} is not built yet; nothing was changed")))
            }
            _ => Err(Error::config(format!("{scheme}:// is no engine that is known"))),
        }
    }

    /// Whether it is a store that clients mount, or stands for one.
    pub(crate) fn is_engine(&self) -> bool {
        !matches!(self, Self::File(_) | Self::Pipe)
    }

    pub(crate) fn is_pipe(&self) -> bool {
        matches!(self, Self::Pipe)
    }

    /// Makes it ready to be read.
    pub(crate) fn source(&self, context: &Context) -> Result<Box<dyn Source<JuiceFs>>> {
        Ok(match self {
            Self::Sqlite(address) => Box::new(SqliteSource::new(address.clone())),
            Self::Redis(address) => Box::new(RedisSource::new(address.as_ref().clone(), redis(context))),
            Self::Rdb { path, database } => Box::new(RdbSource::new(path, *database, context.spill())),
            Self::Synthetic(url) => Box::new(SyntheticSource::parse(url)?),
            Self::File(path) => file(path, context)?,
            Self::Pipe => stream("standard input".to_owned(), Box::new(std::io::stdin()), context)?,
        })
    }

    /// Makes it ready to be written; a file in the format that was asked for, or that its name asks for.
    pub(crate) fn sink(
        &self,
        context: &Context,
        options: &Options,
        format: Option<Format>,
    ) -> Result<Box<dyn Sink<JuiceFs>>> {
        let keep = options.keep_secrets;
        Ok(match (self, format.unwrap_or_else(|| self.format())) {
            (Self::Sqlite(address), _) => Box::new(SqliteSink::new(address.clone())),
            (Self::Redis(address), _) => Box::new(RedisSink::new(address.as_ref().clone(), redis(context))),
            (Self::Rdb { .. } | Self::Synthetic(_), _) => {
                return Err(Error::config(format!("{self} can only be read")));
            }
            (_, Format::Json) => {
                return Err(Error::refused("the format json is not built yet; nothing was changed"));
            }
            (Self::File(path), Format::Archive) => Box::new(ArchiveSink::<JuiceFs>::create(path, keep)?),
            (Self::File(path), Format::Binary) => Box::new(BinarySink::create(path, keep)?),
            (Self::Pipe, Format::Archive) => {
                Box::new(ArchiveSink::<JuiceFs>::pipe("standard output", Box::new(std::io::stdout()), keep))
            }
            (Self::Pipe, Format::Binary) => {
                Box::new(BinarySink::pipe("standard output", Box::new(std::io::stdout()), keep))
            }
        })
    }

    /// The format that a name asks for.
    fn format(&self) -> Format {
        match self {
            Self::File(path) if path.extension().is_some_and(|extension| extension == "bin") => Format::Binary,
            _ => Format::Archive,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(address) => address.fmt(f),
            Self::Redis(address) => address.fmt(f),
            Self::Rdb { path, database } => write!(f, "rdb://{}?db={database}", path.display()),
            Self::Synthetic(url) => f.write_str(url),
            Self::File(path) => path.display().fmt(f),
            Self::Pipe => f.write_str("-"),
        }
    }
}

fn redis(context: &Context) -> RedisOptions {
    RedisOptions { scan: context.common.scan, diskless: context.common.redis_diskless, spill: context.spill() }
}

fn rdb(rest: &str) -> Result<Place> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, "db=0"));
    let number = query.strip_prefix("db=").and_then(|number| number.parse().ok());
    let database = number.ok_or_else(|| Error::config(format!("rdb://{rest}: only ?db=NUMBER is understood")))?;
    Ok(Place::Rdb { path: PathBuf::from(path), database })
}

/// A file, told by what is in it. A pipe that has a name in a folder is a pipe.
fn file(path: &Path, context: &Context) -> Result<Box<dyn Source<JuiceFs>>> {
    let name = path.display().to_string();
    match Content::of(path) {
        Some(Content::Archive) => Ok(Box::new(ArchiveSource::open(path)?)),
        Some(Content::Binary) => Ok(Box::new(BinarySource::open(path)?.exact(context.common.exact))),
        Some(other) => Err(other.refused(&name)),
        None => {
            let file = File::open(path);
            let file = file.map_err(|cause| Error::engine(format!("{name}: it cannot be opened"), cause))?;
            stream(name, Box::new(file), context)
        }
    }
}

/// A pipe, told by its first bytes, which are read once.
fn stream(name: String, mut input: Box<dyn Read + Send>, context: &Context) -> Result<Box<dyn Source<JuiceFs>>> {
    let mut head = Vec::new();
    let read = input.by_ref().take(HEAD_BYTES).read_to_end(&mut head);
    read.map_err(|cause| Error::engine(format!("{name}: it cannot be read"), cause))?;
    let content = Content::told(&head);
    let input = Box::new(Cursor::new(head).chain(input));
    match content {
        Content::Binary => Ok(Box::new(BinarySource::stream(name, input).exact(context.common.exact))),
        Content::Archive | Content::Unknown => Ok(Box::new(ArchiveSource::pipe(name, input))),
        other => Err(other.refused(&name)),
    }
}

impl Content {
    /// Looks at the first bytes; `None` where there is no such regular file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        if !path.is_file() {
            return None;
        }
        let mut head = Vec::new();
        File::open(path).ok()?.take(HEAD_BYTES).read_to_end(&mut head).ok()?;
        Some(Self::told(&head))
    }

    fn told(head: &[u8]) -> Self {
        match head {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Archive,
            [b'S', b'Q', b'L', b'i', b't', b'e', b' ', ..] => Self::Sqlite,
            [b'R', b'E', b'D', b'I', b'S', ..] | [b'V', b'A', b'L', b'K', b'E', b'Y', ..] => Self::Rdb,
            [b'{', ..] => Self::Json,
            [0x1f, 0x8b, ..] => Self::Gzip,
            head if binary::is_start(head) => Self::Binary,
            _ => Self::Unknown,
        }
    }

    /// Why it cannot be read as a dump, by its name.
    fn refused(self, name: &str) -> Error {
        let what = match self {
            Self::Json => "a JSON dump of JuiceFS; reading those is not built yet",
            Self::Gzip => "compressed with gzip; reading that is not built yet",
            Self::Sqlite => "a SQLite database, which can be read only where it lies in a file",
            Self::Rdb => "a Redis snapshot, which can be read only where it lies in a file",
            _ => "neither an archive, nor a dump of JuiceFS, nor a SQLite database, nor a Redis snapshot",
        };
        Error::corrupt(format!("{name}: it is {what}"))
    }
}
