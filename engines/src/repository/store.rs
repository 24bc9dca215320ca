//! The store: objects by name, in a folder or in S3. The one place that knows the library behind it, and the one that
//! waits for it: nothing above is async.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use metaferry_pipeline::{Error, ErrorKind, Result, Stop};
use opendal::layers::{RetryLayer, TimeoutLayer};
use opendal::services::{Fs, S3};
use opendal::{Entry, ErrorKind as StoreKind, Operator};
use tokio::runtime::{Builder, Runtime};

use super::address::{Place, RepositoryAddress};
use crate::watched::watched;

/// How often what may pass by itself is tried.
const TRIES: usize = 6;
/// How long an object of a few MiB may take.
const ANSWER: Duration = Duration::from_secs(120);
/// Where in a folder an object grows before it gets its name.
const GROWING: &str = "growing";

/// Objects by name.
pub(super) struct Store {
    operator: Operator,
    runtime: Runtime,
    /// Where it is one.
    folder: Option<PathBuf>,
    shown: String,
    stop: Stop,
}

/// An object, as a list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// Its name, below the folder that was listed.
    pub(super) name: String,
    /// How long it is, in bytes.
    pub(super) length: u64,
}

/// What must be so for an object to be put.
#[derive(Debug, Clone, Copy)]
pub(super) enum Condition<'a> {
    /// There is none of its name.
    Absent,
    /// The one that is there has this tag.
    Is(&'a str),
}

/// What became of an object that was put on a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Conditional {
    /// It is there, with this tag where the store has any.
    Put(Option<String>),
    /// Another is there.
    Refused,
    /// The store knows no conditions.
    Unknown,
}

impl Store {
    /// Whether there may be something: whoever opens a folder makes it.
    pub(super) fn may_be_there(address: &RepositoryAddress, name: &str) -> bool {
        match &address.place {
            Place::Folder(path) => path.join(name).exists(),
            Place::S3 { .. } => true,
        }
    }

    /// Opens it; nothing is read yet.
    pub(super) fn open(address: &RepositoryAddress, stop: &Stop) -> Result<Self> {
        let shown = address.meaning(super::Which::Newest).to_string();
        let operator = match &address.place {
            Place::Folder(path) => {
                let path = std::path::absolute(path).map_err(|cause| Error::engine(shown.clone(), cause))?;
                let text = path.to_str().ok_or_else(|| Error::config(format!("{shown}: its name is not UTF-8")))?;
                let growing = path.join(GROWING);
                Operator::new(Fs::default().root(text).atomic_write_dir(&growing.to_string_lossy()))
            }
            Place::S3 { bucket, prefix, endpoint, region } => {
                opendal::install_default();
                let region = region.clone().or_else(|| std::env::var("AWS_REGION").ok());
                let s3 = S3::default().bucket(bucket).root(&format!("/{prefix}"));
                let s3 = s3.region(region.as_deref().unwrap_or("us-east-1")).disable_ec2_metadata();
                Operator::new(if let Some(endpoint) = endpoint { s3.endpoint(endpoint) } else { s3 })
            }
        };
        let operator = operator.map_err(|cause| Error::config(shown.clone()).because(cause))?;
        let retry = RetryLayer::new().with_max_times(TRIES).with_jitter();
        let timeout = TimeoutLayer::new().with_timeout(ANSWER).with_io_timeout(ANSWER);
        let operator = operator.layer(timeout).layer(retry);
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("store").enable_all().build();
        let runtime = runtime.map_err(|cause| Error::engine(format!("{shown}: a runtime"), cause))?;
        let folder = match &address.place {
            Place::Folder(path) => Some(path.clone()),
            Place::S3 { .. } => None,
        };
        Ok(Self { operator, runtime, folder, shown, stop: stop.clone() })
    }

    /// Its address, for messages.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// What ends all waiting.
    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    fn wait<T>(&self, path: &str, work: impl Future<Output = opendal::Result<T>>) -> Result<Option<T>> {
        self.stop.check()?;
        match self.runtime.block_on(watched(&self.stop, work))? {
            Ok(done) => Ok(Some(done)),
            Err(error) if error.kind() == StoreKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(path, error)),
        }
    }

    fn failed(&self, path: &str, cause: opendal::Error) -> Error {
        let what = format!("{}: {path}", self.shown);
        let hint = match cause.kind() {
            StoreKind::PermissionDenied => "look at the rights, or the keys",
            StoreKind::ConfigInvalid => "look at the address, and at the keys in the environment",
            _ => "look at the store; what is there already is not sent again",
        };
        Error::engine(what, cause).hint(hint)
    }

    fn missing(&self, path: &str) -> Error {
        Error::new(ErrorKind::Corrupt, format!("{}: {path} is not there", self.shown))
    }

    /// A whole object of at most `bound` bytes; none where there is none.
    pub(super) fn find(&self, path: &str, bound: usize) -> Result<Option<Vec<u8>>> {
        let Some(found) = self.wait(path, self.operator.stat(path))? else { return Ok(None) };
        if found.content_length() > bound as u64 {
            let what = format!("{}: {path} has {} bytes, and {bound} at most", self.shown, found.content_length());
            return Err(Error::corrupt(what));
        }
        Ok(self.wait(path, self.operator.read(path))?.map(|bytes| bytes.to_vec()))
    }

    /// The same of one that must be there.
    pub(super) fn get(&self, path: &str, bound: usize) -> Result<Vec<u8>> {
        self.find(path, bound)?.ok_or_else(|| self.missing(path))
    }

    /// Some bytes of an object.
    pub(super) fn part(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        let read = self.operator.read_with(path).range(offset..offset.saturating_add(length));
        let bytes = self.wait(path, async { read.await })?.ok_or_else(|| self.missing(path))?;
        if bytes.len() as u64 != length {
            return Err(Error::corrupt(format!("{}: {path} ends before byte {}", self.shown, offset + length)));
        }
        Ok(bytes.to_vec())
    }

    /// Puts a whole object; it is there at once, or not at all.
    pub(super) fn put(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        self.wait(path, self.operator.write(path, bytes))?.map(drop).ok_or_else(|| self.missing(path))
    }

    /// Puts an object where none is; false where one was. In a store that knows no conditions the last one stays.
    pub(super) fn put_new(&self, path: &str, bytes: Vec<u8>) -> Result<bool> {
        if let Some(folder) = &self.folder {
            return put_new_file(folder, path, &bytes)
                .map_err(|cause| Error::engine(format!("{}: {path}", self.shown), cause));
        }
        match self.put_if(path, bytes.clone(), Condition::Absent)? {
            Conditional::Put(_) => Ok(true),
            Conditional::Refused => Ok(false),
            Conditional::Unknown => self.put(path, bytes).map(|()| true),
        }
    }

    /// A whole object of at most `bound` bytes with its tag, where the store has any. If another came meanwhile, it is that one's
    /// bytes, and a tag that no longer holds.
    pub(super) fn find_tagged(&self, path: &str, bound: usize) -> Result<Option<(Vec<u8>, Option<String>)>> {
        let Some(found) = self.wait(path, self.operator.stat(path))? else { return Ok(None) };
        let tag = found.etag().map(str::to_owned);
        Ok(self.find(path, bound)?.map(|bytes| (bytes, tag)))
    }

    /// Puts an object on a condition.
    pub(super) fn put_if(&self, path: &str, bytes: Vec<u8>, condition: Condition<'_>) -> Result<Conditional> {
        let write = self.operator.write_with(path, bytes);
        let write = match condition {
            Condition::Absent => write.if_not_exists(true),
            Condition::Is(tag) => write.if_match(tag),
        };
        self.stop.check()?;
        match self.runtime.block_on(watched(&self.stop, async { write.await }))? {
            Ok(put) => Ok(Conditional::Put(put.etag().map(str::to_owned))),
            Err(error) => match (error.kind(), condition) {
                (StoreKind::ConditionNotMatch | StoreKind::AlreadyExists, _) => Ok(Conditional::Refused),
                // What had that tag is gone.
                (StoreKind::NotFound, Condition::Is(_)) => Ok(Conditional::Refused),
                (StoreKind::Unsupported, _) => Ok(Conditional::Unknown),
                _ if error.to_string().contains("NotImplemented") => Ok(Conditional::Unknown),
                _ => Err(self.failed(path, error)),
            },
        }
    }

    /// Whether an object is there.
    pub(super) fn has(&self, path: &str) -> Result<bool> {
        Ok(self.wait(path, self.operator.stat(path))?.is_some())
    }

    /// Removes an object; one that is not there is no error.
    pub(super) fn remove(&self, path: &str) -> Result<()> {
        self.wait(path, self.operator.delete(path)).map(drop)
    }

    /// What is below a folder, in no order; nothing where there is no such folder.
    pub(super) fn list(&self, folder: &str) -> Result<Vec<Object>> {
        let prefix = format!("{folder}/");
        let list = self.operator.list_with(&prefix).recursive(true);
        let entries = self.wait(&prefix, async { list.await })?.unwrap_or_default();
        let files = entries.iter().filter(|entry| entry.metadata().mode().is_file());
        let object = |entry: &Entry| {
            let name = entry.path().strip_prefix(&prefix)?.to_owned();
            Some(Object { name, length: entry.metadata().content_length() })
        };
        Ok(files.filter_map(object).collect())
    }
}

/// Puts a file where none is, at once or not at all: the library looks first and writes then.
fn put_new_file(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<bool> {
    std::fs::create_dir_all(folder.join(GROWING))?;
    let mode = std::fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(mode).tempfile_in(folder.join(GROWING))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(folder.join(name)) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}
