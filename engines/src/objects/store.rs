//! The store: objects by name. The one place that waits for the library behind it: nothing above is async.

use std::io::{Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use metaferry_pipeline::{Error, ErrorKind, Result, Stop};
use opendal::layers::{RetryLayer, TimeoutLayer};
use opendal::{ErrorKind as StoreKind, Operator, Writer};
use tokio::runtime::{Builder, Runtime};

use super::service::{Protocol, Remote, Service};
use crate::watched::watched;

/// How often what may pass by itself is tried.
const TRIES: usize = 6;
/// How long an object of a few MiB may take.
const ANSWER: Duration = Duration::from_secs(120);
/// What is sent at once of a large object, in bytes, and into how many parts one may be cut; stores take 10 000.
const PART_BYTES: u64 = 8 << 20;
const MOST_PARTS: u64 = 9_000;
/// How much of its name what grows keeps, in bytes.
const MOST_NAME: usize = 200;
/// The largest object of a store that takes it only whole, and so from memory, in bytes.
const MOST_WHOLE: u64 = 256 << 20;

/// Objects by name.
pub(crate) struct Store {
    operator: Operator,
    runtime: Arc<Runtime>,
    /// Where it is a folder: that, and where an object grows.
    folder: Option<(PathBuf, PathBuf)>,
    shown: String,
    stop: Stop,
    /// Whether a large object grows under another name beside its own, and takes that last.
    renames: bool,
}

/// An object, as a list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its name, below the folder that was listed.
    pub(crate) name: String,
    /// How long it is, in bytes.
    pub(crate) length: u64,
}

/// What must be so for an object to be put.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Condition<'a> {
    /// There is none of its name.
    Absent,
    /// The one that is there has this tag.
    Is(&'a str),
}

/// What became of an object that was put on a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Conditional {
    /// It is there, with this tag where the store has any.
    Put(Option<String>),
    /// Another is there.
    Refused,
    /// The store knows no conditions.
    Unknown,
}

impl Store {
    /// Opens it; nothing is read yet. Messages call it `shown`.
    pub(crate) fn open(service: &Service, shown: String, stop: &Stop) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("store").enable_all().build();
        let runtime = runtime.map_err(|cause| Error::engine(format!("{shown}: a runtime"), cause))?;
        Self::on(Arc::new(runtime), service, shown, stop)
    }

    /// Opens another one, which is waited for by the same threads.
    pub(crate) fn beside(&self, service: &Service, shown: String) -> Result<Self> {
        Self::on(Arc::clone(&self.runtime), service, shown, &self.stop)
    }

    fn on(runtime: Arc<Runtime>, service: &Service, shown: String, stop: &Stop) -> Result<Self> {
        let operator = service.operator().map_err(|cause| Error::config(shown.clone()).because(cause))?;
        let retry = RetryLayer::new().with_max_times(TRIES).with_jitter();
        let timeout = TimeoutLayer::new().with_timeout(ANSWER).with_io_timeout(ANSWER);
        let operator = operator.layer(timeout);
        let operator = match service {
            // What a file system says, it says again.
            Service::Folder { .. } => operator,
            Service::Remote(_) => operator.layer(retry),
        };
        let folder = match service {
            Service::Folder { root, growing: Some(growing) } => Some((PathBuf::from(root), growing.clone())),
            _ => None,
        };
        let renames = matches!(
            service,
            Service::Folder { growing: None, .. } | Service::Remote(Remote { protocol: Protocol::Webdav, .. })
        );
        Ok(Self { operator, runtime, folder, shown, stop: stop.clone(), renames })
    }

    /// Its address, for messages.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// What ends all waiting.
    pub(crate) fn stop(&self) -> &Stop {
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
            // So an S3 answers a question that has no answer but its status.
            _ if what_it_said(&cause, "status: 400") => "look at the keys, a token may have expired; and at the region",
            _ if what_it_said(&cause, "ExpiredToken") => "the token has expired",
            _ => "look at the store; what is there already is not sent again",
        };
        Error::engine(what, cause).hint(hint)
    }

    fn missing(&self, path: &str) -> Error {
        Error::new(ErrorKind::Corrupt, format!("{}: {path} is not there", self.shown))
    }

    /// What a store says that has no place for an object.
    fn nowhere(&self, path: &str) -> Error {
        let what = format!("{}: {path} cannot be put there: there is no such bucket", self.shown);
        Error::new(ErrorKind::Engine, what).hint("look at the bucket's name")
    }

    /// A whole object of at most `bound` bytes; none where there is none.
    pub(crate) fn find(&self, path: &str, bound: usize) -> Result<Option<Vec<u8>>> {
        let Some(found) = self.wait(path, self.operator.stat(path))? else { return Ok(None) };
        if found.content_length() > bound as u64 {
            let what = format!("{}: {path} has {} bytes, and {bound} at most", self.shown, found.content_length());
            return Err(Error::corrupt(what));
        }
        Ok(self.wait(path, self.operator.read(path))?.map(|bytes| bytes.to_vec()))
    }

    /// The same of one that must be there.
    pub(crate) fn get(&self, path: &str, bound: usize) -> Result<Vec<u8>> {
        self.find(path, bound)?.ok_or_else(|| self.missing(path))
    }

    /// Some bytes of an object.
    pub(crate) fn part(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        let read = self.operator.read_with(path).range(offset..offset.saturating_add(length));
        let bytes = self.wait(path, async { read.await })?.ok_or_else(|| self.missing(path))?;
        if bytes.len() as u64 != length {
            return Err(Error::corrupt(format!("{}: {path} ends before byte {}", self.shown, offset + length)));
        }
        Ok(bytes.to_vec())
    }

    /// Puts a whole object; it is there at once, or not at all.
    pub(crate) fn put(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        self.wait(path, self.operator.write(path, bytes))?.map(drop).ok_or_else(|| self.nowhere(path))
    }

    /// Puts what comes out of `input`, `length` bytes, some of it at a time; it is there when all of it is, or not at all.
    pub(crate) fn upload(&self, path: &str, input: &mut dyn Read, length: u64) -> Result<()> {
        if !self.renames {
            return self.send(path, input, length);
        }
        let growing = growing(path)?;
        let moved = self.send(&growing, input, length).and_then(|()| {
            let moved = self.wait(path, self.operator.rename(&growing, path))?;
            moved.ok_or_else(|| self.missing(&growing))
        });
        if moved.is_err() {
            drop(self.runtime.block_on(self.operator.delete(&growing)));
        }
        moved
    }

    fn send(&self, path: &str, input: &mut dyn Read, length: u64) -> Result<()> {
        let mut part = PART_BYTES.max(length.div_ceil(MOST_PARTS));
        if !self.operator.info().capability().write_can_multi {
            if length > MOST_WHOLE {
                let what = format!("{}: {path} has {length} bytes, and it takes at most {MOST_WHOLE}", self.shown);
                return Err(Error::unsupported(what).hint("it cannot be sent in parts there"));
            }
            part = length.max(1);
        }
        let mut writer = self.wait(path, self.operator.writer(path))?.ok_or_else(|| self.nowhere(path))?;
        let sent = self.parts(path, &mut writer, (input, part, length));
        if sent.is_err() {
            // What was sent of it is of no use, and nobody sees it.
            drop(self.runtime.block_on(writer.abort()));
        }
        sent
    }

    fn parts(&self, path: &str, writer: &mut Writer, parts: (&mut dyn Read, u64, u64)) -> Result<()> {
        let (input, part, mut left) = parts;
        loop {
            let mut bytes = Vec::with_capacity(usize::try_from(part.min(left)).unwrap_or_default());
            let read = (&mut *input).take(part.min(left)).read_to_end(&mut bytes);
            read.map_err(|cause| Error::io(format!("{}: {path}", self.shown), cause))?;
            if bytes.is_empty() && left > 0 {
                return Err(Error::new(ErrorKind::Bug, format!("{path} ends {left} bytes early")));
            }
            left -= bytes.len() as u64;
            self.wait(path, writer.write(bytes))?.ok_or_else(|| self.nowhere(path))?;
            if left == 0 {
                break;
            }
        }
        self.wait(path, writer.close())?.map(drop).ok_or_else(|| self.nowhere(path))
    }

    /// Puts an object where none is; false where one was. In a store that knows no conditions the last one stays.
    pub(crate) fn put_new(&self, path: &str, bytes: Vec<u8>) -> Result<bool> {
        if let Some((folder, growing)) = &self.folder {
            return put_new_file((folder, growing), path, &bytes)
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
    pub(crate) fn find_tagged(&self, path: &str, bound: usize) -> Result<Option<(Vec<u8>, Option<String>)>> {
        let Some(found) = self.wait(path, self.operator.stat(path))? else { return Ok(None) };
        let tag = found.etag().map(str::to_owned);
        Ok(self.find(path, bound)?.map(|bytes| (bytes, tag)))
    }

    /// Puts an object on a condition.
    pub(crate) fn put_if(&self, path: &str, bytes: Vec<u8>, condition: Condition<'_>) -> Result<Conditional> {
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
    pub(crate) fn has(&self, path: &str) -> Result<bool> {
        Ok(self.wait(path, self.operator.stat(path))?.is_some())
    }

    /// Removes an object; one that is not there is no error.
    pub(crate) fn remove(&self, path: &str) -> Result<()> {
        self.wait(path, self.operator.delete(path)).map(drop)
    }

    /// How long an object is, in bytes, that must be there.
    pub(crate) fn length(&self, path: &str) -> Result<u64> {
        let found = self.wait(path, self.operator.stat(path))?;
        found.map(|found| found.content_length()).ok_or_else(|| self.missing(path))
    }

    /// What is below a folder, in no order; nothing where there is no such folder.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<Object>> {
        let prefix = format!("{folder}/");
        let list = self.operator.list_with(&prefix).recursive(true);
        let entries = self.wait(&prefix, async { list.await })?.unwrap_or_default();
        let files = entries.iter().filter(|entry| entry.metadata().mode().is_file());
        let object = |entry: &opendal::Entry| {
            let name = entry.path().strip_prefix(&prefix)?.to_owned();
            Some(Object { name, length: entry.metadata().content_length() })
        };
        Ok(files.filter_map(object).collect())
    }

    /// The folders that are in a folder, in no order.
    pub(crate) fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let prefix = format!("{folder}/");
        let entries = self.wait(&prefix, async { self.operator.list(&prefix).await })?.unwrap_or_default();
        let folders = entries.iter().filter(|entry| entry.metadata().mode().is_dir());
        let named = folders.filter_map(|entry| entry.path().strip_prefix(&prefix)?.strip_suffix('/'));
        Ok(named.map(str::to_owned).collect())
    }
}

fn what_it_said(error: &opendal::Error, words: &str) -> bool {
    error.to_string().contains(words)
}

/// What an object is called before it is whole, in a store that has no other way (`object/file.go: Put`).
fn growing(path: &str) -> Result<String> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|cause| Error::engine("random bytes", cause))?;
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let separator = if folder.is_empty() { "" } else { "/" };
    let name = name.get(..MOST_NAME).unwrap_or(name);
    Ok(format!("{folder}{separator}.jfs.{name}.tmp.{}", u32::from_be_bytes(random)))
}

/// Puts a file where none is, at once or not at all: the library looks first and writes then.
fn put_new_file((folder, growing): (&Path, &Path), name: &str, bytes: &[u8]) -> std::io::Result<bool> {
    std::fs::create_dir_all(growing)?;
    let mode = std::fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(mode).tempfile_in(growing)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(folder.join(name)) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}
