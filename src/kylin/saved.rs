//! A restore that saves what is there: the backup is begun once the rows were seen, written while they are compared and changed, and
//! has to be whole before the changes are committed. What somebody writes after the rows were seen stops the restore; so whatever
//! it replaces or removes is in that backup.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use metaferry_codecs::kylin::{Batch, Kylin};
use metaferry_engines::kylin::folder::{BackupSink, Form};
use metaferry_engines::kylin::store::patch::KylinPatch;
use metaferry_pipeline::patch::{Changes, Conflict, Patch};
use metaferry_pipeline::{Error, ErrorKind, Monitor, Result, Sieve, Snapshot, Source, Stop, copy};

/// How often a wait looks whether the restore is to end.
const TICK: Duration = Duration::from_millis(20);
/// How much the backup gives way to the restore, which waits for it at its end alone.
const NICE: i32 = 10;

/// Makes the backup, until it is done or stopped.
type Save = Box<dyn FnOnce(&Stop) -> Result<()> + Send>;

/// A store that is changed once it is saved.
pub(super) struct Saved {
    target: Box<KylinPatch>,
    save: Option<(Save, Receiver<()>)>,
    saving: Saving,
}

/// A backup under way, or none.
#[derive(Default)]
struct Saving {
    thread: Option<JoinHandle<Result<()>>>,
    /// Its own: what it fails of is for the restore to tell.
    stop: Stop,
    /// That of the restore.
    whole: Stop,
}

/// What is saved; it lets go of `opened` once its point in time is fixed.
struct Announced {
    source: Box<dyn Source<Kylin>>,
    opened: Sender<()>,
}

/// What saves a store as a zip at `path`, and what is closed once its point in time is fixed. Resources come in any order: such
/// a backup is seldom restored, and the restore waits for it.
pub(super) fn saving(source: Box<dyn Source<Kylin>>, path: &Path, options: copy::Options) -> (Save, Receiver<()>) {
    let (source, opened) = announced(source);
    let sink = Box::new(BackupSink::create(path, Form::Zip).in_any_order());
    let save = move |stop: &Stop| copy::copy(source, sink, &options, &Monitor::default(), stop).map(drop);
    (Box::new(save), opened)
}

/// A source, and what is closed once its point in time is fixed.
fn announced(source: Box<dyn Source<Kylin>>) -> (Box<dyn Source<Kylin>>, Receiver<()>) {
    let (opened, fixed) = channel();
    (Box::new(Announced { source, opened }), fixed)
}

impl Source<Kylin> for Announced {
    fn snapshot(self: Box<Self>, readers: usize, stop: &Stop) -> Result<Box<dyn Snapshot<Kylin>>> {
        let Self { source, opened } = *self;
        let snapshot = source.snapshot(readers, stop);
        drop(opened);
        snapshot
    }
}

impl Saved {
    /// `save` is what [`saving`] makes.
    pub(super) fn new(target: KylinPatch, save: (Save, Receiver<()>)) -> Self {
        Self { target: Box::new(target), save: Some(save), saving: Saving::default() }
    }
}

impl Patch<Kylin> for Saved {
    fn sieve(&self) -> Option<Sieve<Kylin>> {
        self.target.sieve()
    }

    fn current(&mut self, whole: bool, stop: &Stop) -> Result<Box<dyn Snapshot<Kylin>>> {
        let current = self.target.current(whole, stop)?;
        if let Some((save, opened)) = self.save.take() {
            self.saving.begin(save, stop)?;
            // A server that is asked to change rows may let nobody open a point in time.
            while opened.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                stop.check()?;
            }
        }
        Ok(current)
    }

    fn take(&mut self, changes: Changes<Batch>) -> Result<()> {
        // One that has failed is no reason to go on.
        if self.saving.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            self.saving.end()?;
        }
        self.target.take(changes)
    }

    fn apply(self: Box<Self>) -> Result<Vec<Conflict>> {
        let Self { mut target, mut saving, .. } = *self;
        target.commit_after(Box::new(move || saving.end()));
        target.apply()
    }
}

impl Saving {
    fn begin(&mut self, save: Save, whole: &Stop) -> Result<()> {
        self.whole = whole.clone();
        let stop = self.stop.clone();
        let run = move || {
            // Where that is not allowed, both take turns.
            rustix::process::nice(NICE).ok();
            save(&stop)
        };
        let thread = std::thread::Builder::new().name("save".to_owned()).spawn(run);
        self.thread = Some(thread.map_err(|cause| Error::engine("a thread for the backup", cause))?);
        Ok(())
    }

    /// Waits for the end of it.
    fn end(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        while !thread.is_finished() {
            if self.whole.is_set() {
                self.stop.interrupt();
            }
            std::thread::sleep(TICK);
        }
        let died = |_| Err(Error::new(ErrorKind::Bug, "the backup has panicked"));
        thread.join().unwrap_or_else(died).map_err(|error| error.at("the backup before the restore"))
    }
}

impl Drop for Saving {
    /// Nobody waits for it any more: it leaves nothing behind.
    fn drop(&mut self) {
        self.stop.interrupt();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
