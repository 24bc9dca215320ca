//! The source that is an RDB file: a volume in it, by the number of its database.

use std::fs::File;
use std::path::{Path, PathBuf};

use metaferry_codecs::juicefs::JuiceFs;
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{About, Error, Guarantee, KindSet, Result, Snapshot, Source, Stop};

use super::stream::{Stream, StreamSnapshot};
use super::volume::Volume;

/// What a row of a volume takes in an RDB file on the average, in bytes.
const ROW_BYTES: u64 = 56;

/// Reads a volume out of an RDB file: one that a server saved, or `redis-cli --rdb` fetched.
#[derive(Debug)]
pub struct RdbSource {
    path: PathBuf,
    database: u32,
    spill: SpillDir,
}

impl RdbSource {
    /// Volume `database` of a file: the number of its database, or of its `{N}` in a cluster.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, database: u32, spill: SpillDir) -> Self {
        Self { path: path.into(), database, spill }
    }

    fn origin(path: &Path, database: u32) -> String {
        format!("rdb://{}?db={database}", path.display())
    }
}

impl Source<JuiceFs> for RdbSource {
    fn snapshot(self: Box<Self>, readers: usize, _stop: &Stop) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        let origin = Self::origin(&self.path, self.database);
        let unreadable = |cause| Error::config(format!("{origin}: cannot be opened")).because(cause);
        let file = File::open(&self.path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let about = About {
            origin: origin.clone(),
            guarantee: Guarantee::Exact,
            ordered: KindSet::NONE,
            notes: vec!["a file does not tell which sessions were live when it was written".to_owned()],
            live_sessions: 0,
            is_repeatable: false,
            is_partial: false,
        };
        let stream = Stream {
            about,
            input: Box::new(file),
            volume: Volume::in_file(self.database),
            rows: length / ROW_BYTES,
            sealed: true,
            check: None,
        };
        Ok(Box::new(StreamSnapshot::new(stream, readers, &self.spill)))
    }
}
