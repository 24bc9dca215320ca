//! Turns a URL or a path into a source or a sink: the one place that knows every store.

use std::fmt;
use std::path::PathBuf;

use metaferry_engines::archive::{Description, describe};
use metaferry_engines::kylin::store::StoreAddress;
use metaferry_engines::kylin::synthetic::SyntheticMetastore;
use metaferry_engines::mysql::MysqlAddress;
use metaferry_engines::postgres::PostgresAddress;
use metaferry_engines::redis::Address;
use metaferry_engines::repository::{RepositoryAddress, RepositorySource};
use metaferry_engines::sqlite::SqliteAddress;
use metaferry_pipeline::{Error, Result, Sink, Source};

use crate::args::Format;
use crate::context::Context;
use crate::files::{self, Content, Writing};
use crate::juicefs::stored::StoredBackup;
use crate::served::{Served, Which};

/// Schemes of engines that are not built yet.
const TO_COME: [&str; 5] = ["tikv", "etcd", "fdb", "badger", "s3"];

/// Where metadata is, or is to go.
pub(crate) enum Place {
    Sqlite(SqliteAddress),
    Redis(Box<Address>),
    Mysql(Box<MysqlAddress>),
    Postgres(Box<PostgresAddress>),
    Rdb {
        path: PathBuf,
        database: u32,
    },
    Synthetic(String),
    Repository(RepositoryAddress),
    VolumeBackup(StoredBackup),
    /// A metastore of Kylin, and whether its change log is carried.
    KylinStore(Box<StoreAddress>, bool),
    KylinBackup(PathBuf),
    KylinSynthetic(SyntheticMetastore),
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
        if StoreAddress::is_at(text) {
            return StoreAddress::parse(text).map(|address| Self::KylinStore(Box::new(address), false));
        }
        if SyntheticMetastore::is_at(text) {
            return SyntheticMetastore::parse(text).map(Self::KylinSynthetic);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            let path = PathBuf::from(text);
            return match Content::of(&path) {
                None if path.is_dir() => Ok(Self::KylinBackup(path)),
                Some(Content::Zip) => Ok(Self::KylinBackup(path)),
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
        !matches!(self, Self::File(_) | Self::Pipe | Self::Repository(_) | Self::VolumeBackup(_) | Self::KylinBackup(_))
    }

    pub(crate) fn is_pipe(&self) -> bool {
        matches!(self, Self::Pipe)
    }

    /// The system whose metadata it holds, where its address tells.
    pub(crate) fn system(&self) -> Option<Which> {
        match self {
            Self::Repository(_) | Self::File(_) | Self::Pipe => None,
            Self::KylinStore(..) | Self::KylinBackup(_) | Self::KylinSynthetic(_) => Some(Which::Kylin),
            _ => Some(Which::JuiceFs),
        }
    }

    /// Makes it ready to be read.
    pub(crate) fn source<S: Served>(&self, context: &Context) -> Result<Box<dyn Source<S>>> {
        match self {
            Self::Repository(address) => Ok(Box::new(RepositorySource::new(address.clone(), context.keys()?))),
            Self::File(path) => files::source(path, context),
            Self::Pipe => files::standard_input(context),
            store => S::source(store, context),
        }
    }

    /// What it says of itself without being read: only an archive in a file does.
    pub(crate) fn description<S: Served>(&self) -> Result<Option<Description<S>>> {
        match self {
            Self::File(path) if Content::of(path) == Some(Content::Archive) => describe(path).map(Some),
            _ => Ok(None),
        }
    }

    /// Makes it ready to be written; a file in the format that was asked for, or that its name asks for.
    pub(crate) fn sink<S: Served>(
        &self,
        context: &Context,
        format: Option<Format>,
        writing: &Writing<'_>,
    ) -> Result<Box<dyn Sink<S>>> {
        match self {
            Self::File(path) => files::sink(path, format, writing),
            Self::Pipe => files::standard_output(format, writing),
            Self::Repository(_) => Err(Error::config(format!("{self} is a repository")).hint("backup goes there")),
            store => S::sink(store, context, writing),
        }
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
            Self::KylinStore(address, _) => address.fmt(f),
            Self::KylinBackup(path) => path.display().fmt(f),
            Self::KylinSynthetic(made) => made.fmt(f),
            Self::VolumeBackup(backup) => backup.fmt(f),
            Self::File(path) => path.display().fmt(f),
            Self::Pipe => f.write_str("-"),
        }
    }
}

fn rdb(rest: &str) -> Result<Place> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, "db=0"));
    let number = query.strip_prefix("db=").and_then(|number| number.parse().ok());
    let database = number.ok_or_else(|| Error::config(format!("rdb://{rest}: only ?db=NUMBER is understood")))?;
    Ok(Place::Rdb { path: PathBuf::from(path), database })
}
