//! Turns a URL or a path into a source or a sink: the one place that knows every store.

use std::fmt;
use std::path::PathBuf;

use metaferry_codecs::juicefs::JuiceFs;
use metaferry_engines::archive::{Description, describe};
use metaferry_engines::mysql::{MysqlAddress, MysqlSink, MysqlSource, MysqlStamp};
use metaferry_engines::postgres::{PostgresAddress, PostgresSink, PostgresSource, PostgresStamp};
use metaferry_engines::redis::{Address, RdbSource, RedisOptions, RedisSink, RedisSource, RedisStamp};
use metaferry_engines::repository::{RepositoryAddress, RepositorySource};
use metaferry_engines::sqlite::{SqliteAddress, SqliteSink, SqliteSource, SqliteStamp};
use metaferry_engines::stamp::Stamp;
use metaferry_engines::synthetic::SyntheticSource;
use metaferry_pipeline::{Error, Result, Sink, Source};

use crate::args::Format;
use crate::context::Context;
use crate::files::{self, Content, Writing};
use crate::stored::StoredBackup;

/// Schemes of engines that are not built yet.
const TO_COME: [&str; 5] = ["tikv", "etcd", "fdb", "badger", "s3"];

/// Where metadata is, or is to go.
pub(crate) enum Place {
    Sqlite(SqliteAddress),
    Redis(Box<Address>),
    Mysql(Box<MysqlAddress>),
    Postgres(Box<PostgresAddress>),
    Rdb { path: PathBuf, database: u32 },
    Synthetic(String),
    Repository(RepositoryAddress),
    VolumeBackup(StoredBackup),
    File(PathBuf),
    Pipe,
}

impl Place {
    /// Reads a URL or a path; nothing is opened, but a file that exists is looked into.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text == "-" {
            return Ok(Self::Pipe);
        }
        if RepositoryAddress::is_at(text) {
            return RepositoryAddress::parse(text).map(Self::Repository);
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
            "mysql" | "mariadb" => {
                let address = MysqlAddress::parse(text, &|name| std::env::var(name).ok())?;
                Ok(Self::Mysql(Box::new(address)))
            }
            "postgres" | "postgresql" => {
                let address = PostgresAddress::parse(text, &|name| std::env::var(name).ok())?;
                Ok(Self::Postgres(Box::new(address)))
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
        !matches!(self, Self::File(_) | Self::Pipe | Self::Repository(_) | Self::VolumeBackup(_))
    }

    pub(crate) fn is_pipe(&self) -> bool {
        matches!(self, Self::Pipe)
    }

    /// Makes it ready to be read.
    pub(crate) fn source(&self, context: &Context) -> Result<Box<dyn Source<JuiceFs>>> {
        Ok(match self {
            Self::Sqlite(address) => Box::new(SqliteSource::new(address.clone())),
            Self::Redis(address) => Box::new(RedisSource::new(address.as_ref().clone(), redis(context))),
            Self::Mysql(address) => Box::new(MysqlSource::new(address.as_ref().clone())),
            Self::Postgres(address) => Box::new(PostgresSource::new(address.as_ref().clone())),
            Self::Rdb { path, database } => Box::new(RdbSource::new(path, *database, context.spill())),
            Self::Synthetic(url) => Box::new(SyntheticSource::parse(url)?),
            Self::Repository(address) => Box::new(RepositorySource::new(address.clone(), context.keys()?)),
            Self::VolumeBackup(backup) => backup.source(context)?,
            Self::File(path) => files::source(path, context)?,
            Self::Pipe => files::standard_input(context)?,
        })
    }

    /// What its clients and agents agree by on who makes the next backup, where it has that.
    pub(crate) fn stamp(&self) -> Option<Box<dyn Stamp>> {
        Some(match self {
            Self::Sqlite(address) => Box::new(SqliteStamp::new(address.clone())),
            Self::Redis(address) => Box::new(RedisStamp::new(address.as_ref().clone())),
            Self::Mysql(address) => Box::new(MysqlStamp::new(address.as_ref().clone())),
            Self::Postgres(address) => Box::new(PostgresStamp::new(address.as_ref().clone())),
            Self::Rdb { .. }
            | Self::Synthetic(_)
            | Self::Repository(_)
            | Self::VolumeBackup(_)
            | Self::File(_)
            | Self::Pipe => return None,
        })
    }

    /// What it says of itself without being read: only an archive in a file does.
    pub(crate) fn description(&self) -> Result<Option<Description<JuiceFs>>> {
        match self {
            Self::File(path) if Content::of(path) == Some(Content::Archive) => describe(path).map(Some),
            _ => Ok(None),
        }
    }

    /// Makes it ready to be written; a file in the format that was asked for, or that its name asks for.
    pub(crate) fn sink(
        &self,
        context: &Context,
        format: Option<Format>,
        writing: &Writing<'_>,
    ) -> Result<Box<dyn Sink<JuiceFs>>> {
        Ok(match self {
            Self::Sqlite(address) => Box::new(SqliteSink::new(address.clone())),
            Self::Redis(address) => Box::new(RedisSink::new(address.as_ref().clone(), redis(context))),
            Self::Mysql(address) => Box::new(MysqlSink::new(address.as_ref().clone(), writing.widths)),
            Self::Postgres(address) => Box::new(PostgresSink::new(address.as_ref().clone(), writing.widths)),
            Self::File(path) => files::sink(path, format, writing)?,
            Self::Pipe => files::standard_output(format, writing),
            Self::Repository(_) => {
                return Err(Error::config(format!("{self} is a repository")).hint("backup goes there"));
            }
            Self::Rdb { .. } | Self::Synthetic(_) | Self::VolumeBackup(_) => {
                return Err(Error::config(format!("{self} can only be read")));
            }
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(address) => address.fmt(f),
            Self::Redis(address) => address.fmt(f),
            Self::Mysql(address) => address.fmt(f),
            Self::Postgres(address) => address.fmt(f),
            Self::Rdb { path, database } => write!(f, "rdb://{}?db={database}", path.display()),
            Self::Synthetic(url) => f.write_str(url),
            Self::Repository(address) => address.fmt(f),
            Self::VolumeBackup(backup) => backup.fmt(f),
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
