//! JuiceFS: how its engines and dumps are opened for commands, and what its users are told.

mod secrets;
pub(crate) mod stored;

use std::path::Path;

use metaferry_codecs::juicefs::{Batch, JuiceFs, Kind, Reach, Selection, setting};
use metaferry_codecs::system::{Advance, Kind as _};
use metaferry_engines::binary::{BinaryOptions, BinarySink, BinarySource};
use metaferry_engines::json::{JsonOptions, JsonSink, JsonSource, Secrets};
use metaferry_engines::mysql::{MysqlSink, MysqlSource, MysqlStamp};
use metaferry_engines::output::Destination;
use metaferry_engines::postgres::{PostgresSink, PostgresSource, PostgresStamp};
use metaferry_engines::redis::{RdbSource, RedisOptions, RedisSink, RedisSource, RedisStamp};
use metaferry_engines::sqlite::{SqliteAddress, SqliteSink, SqliteSource, SqliteStamp};
use metaferry_engines::stamp::Stamp;
use metaferry_engines::synthetic::SyntheticSource;
use metaferry_pipeline::copy::Options;
use metaferry_pipeline::verify::{Difference, Verdict};
use metaferry_pipeline::{Error, Result, Sink, Source};
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;
use zeroize::Zeroizing;

use crate::args::{CopyArgs, Format, RestoreArgs};
use crate::commands::{self, Chosen};
use crate::context::Context;
use crate::files::{self, Content, Writing};
use crate::open::Place;
use crate::served::{Advice, Foreign, Introduced, Served};

/// The counters that hand out numbers.
const NEXT: [&str; 2] = ["nextInode", "nextChunk"];

impl Served for JuiceFs {
    const COUNTED: (Kind, &'static str) = (Kind::Node, "inodes");
    const HAS_STAMPS: bool = true;
    const TWO_IN_USE: &'static str = "both would hand out the same object names";

    fn source(place: &Place, context: &Context) -> Result<Box<dyn Source<Self>>> {
        Ok(match place {
            Place::Sqlite(address) => Box::new(SqliteSource::new(address.clone())),
            Place::Redis(address) => Box::new(RedisSource::new(address.as_ref().clone(), redis(context))),
            Place::Mysql(address) => Box::new(MysqlSource::new(address.as_ref().clone())),
            Place::Postgres(address) => Box::new(PostgresSource::new(address.as_ref().clone())),
            Place::Rdb { path, database } => Box::new(RdbSource::new(path, *database, context.spill())),
            Place::Synthetic(url) => Box::new(SyntheticSource::parse(url)?),
            Place::VolumeBackup(backup) => backup.source(context)?,
            other => return Err(foreign(other)),
        })
    }

    fn sink(place: &Place, context: &Context, writing: &Writing<'_>) -> Result<Box<dyn Sink<Self>>> {
        Ok(match place {
            Place::Sqlite(address) => Box::new(SqliteSink::new(address.clone())),
            Place::Redis(address) => Box::new(RedisSink::new(address.as_ref().clone(), redis(context))),
            Place::Mysql(address) => Box::new(MysqlSink::new(address.as_ref().clone(), writing.widths)),
            Place::Postgres(address) => Box::new(PostgresSink::new(address.as_ref().clone(), writing.widths)),
            Place::Rdb { .. } | Place::Synthetic(_) | Place::VolumeBackup(_) => {
                return Err(Error::config(format!("{place} can only be read")));
            }
            other => return Err(foreign(other)),
        })
    }

    fn dump_source(dump: Foreign, context: &Context) -> Result<Box<dyn Source<Self>>> {
        let Foreign { content, name, inside, length } = dump;
        Ok(match content {
            Content::Binary => Box::new(BinarySource::new(name, Box::new(inside), length).exact(context.common.exact)),
            Content::Json => Box::new(JsonSource::new(name, Box::new(inside), length, context.spill())),
            other => return Err(files::refused(other, &name, &inside)),
        })
    }

    fn dump_sink(path: Option<&Path>, format: Format, writing: &Writing<'_>) -> Result<Box<dyn Sink<Self>>> {
        let place = match path {
            Some(path) => Destination::at(path)?,
            None => Destination::pipe(files::STANDARD_OUTPUT, Box::new(std::io::stdout())),
        };
        Ok(dump(place, format, writing))
    }

    fn scratch(folder: &Path) -> Result<Box<dyn Sink<Self>>> {
        Ok(Box::new(SqliteSink::new(SqliteAddress::file(folder.join("scratch.db")))))
    }

    fn introduce(seal: &Batch) -> Result<Introduced> {
        let Batch::Setting(rows) = seal else { return Err(Error::corrupt("there is no setting in it")) };
        let row = rows.first().ok_or_else(|| Error::corrupt("there is no setting in it"))?;
        let volume = setting::read(&row.document.0)?;
        let shown = json!({ "name": volume.name, "uuid": volume.uuid, "storage": volume.storage, "bucket": volume.bucket,
            "trash_days": volume.trash_days, "dir_stats": volume.dir_stats,
            "min_client_version": volume.min_client_version, "secrets_removed": volume.removed });
        let line = format!("volume {} ({}) on {} at {}", volume.name, volume.uuid, volume.storage, volume.bucket);
        Ok(("volume", shown, line))
    }

    fn selection(args: &CopyArgs) -> Result<Option<Selection>> {
        Ok(match &args.subdir {
            Some(path) => Some(Selection::at_path(path.as_bytes(), Reach::Everything)),
            None => args.skip_trash.then(Selection::without_trash),
        })
    }

    fn stamp(place: &Place) -> Option<Box<dyn Stamp>> {
        Some(match place {
            Place::Sqlite(address) => Box::new(SqliteStamp::new(address.clone())),
            Place::Redis(address) => Box::new(RedisStamp::new(address.as_ref().clone())),
            Place::Mysql(address) => Box::new(MysqlStamp::new(address.as_ref().clone())),
            Place::Postgres(address) => Box::new(PostgresStamp::new(address.as_ref().clone())),
            _ => return None,
        })
    }

    fn watched(
        source: Box<dyn Source<Self>>,
        secret: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<(Box<dyn Source<Self>>, Advice)> {
        let (source, missing) = secrets::Watched::new(source, secret);
        Ok((Box::new(source), Box::new(move |url| secrets::advice(&missing.names(), url))))
    }

    fn advance(context: &Context, chosen: &Chosen, args: &RestoreArgs) -> Result<Advance> {
        commands::advance(context, chosen, args)
    }

    /// By how much the next numbers of a volume are past those of the backup: a restore leaves them so.
    fn moved_on(verdict: &Verdict<Self>) -> Vec<(String, u64)> {
        let moved = |row: &Difference| {
            let counter = |text: &Option<String>| {
                let row: Value = serde_json::from_str(text.as_ref()?).ok()?;
                let name = row.get("name")?.as_str().filter(|name| NEXT.contains(name))?;
                Some((name.to_owned(), row.get("value")?.as_u64()?))
            };
            let ((left, had), (right, has)) = (counter(&row.left)?, counter(&row.right)?);
            Some((left == right).then_some(left)?).zip(has.checked_sub(had))
        };
        let moved: Vec<_> =
            verdict.rows.iter().filter(|row| row.kind == Kind::Counter.info().name).filter_map(moved).collect();
        if moved.len() as u64 == verdict.differing.total() { moved } else { Vec::new() }
    }
}

fn redis(context: &Context) -> RedisOptions {
    RedisOptions { scan: context.common.scan, diskless: context.common.redis_diskless, spill: context.spill() }
}

fn foreign(place: &Place) -> Error {
    Error::config(format!("{place} holds no volume of JuiceFS"))
}

/// A dump as JuiceFS writes it.
fn dump(place: Destination, format: Format, writing: &Writing<'_>) -> Box<dyn Sink<JuiceFs>> {
    let options = writing.options;
    let place = place.compressed(format.compression(), options.threads);
    if format.is_binary() {
        let spill = options.spill.clone();
        let Options { keep_secrets, memory_bytes, .. } = *options;
        return Box::new(BinarySink::new(place, BinaryOptions { keep_secrets, memory_bytes, spill }));
    }
    let options = JsonOptions {
        secrets: if options.keep_secrets { Secrets::Kept } else { Secrets::TakenOut },
        ascii: false,
        skip_trash: writing.skip_trash,
        threads: options.threads,
        memory_bytes: options.memory_bytes,
        spill: options.spill.clone(),
    };
    Box::new(JsonSink::new(place, options))
}
