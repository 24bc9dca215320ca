//! A restore that saves what is there: the backup is begun once the rows were seen, written while they are compared, and has to be
//! whole before anything is changed. What is written after the rows were seen stops the restore; so whatever a restore replaces or
//! removes is in the backup before it.

use std::thread::JoinHandle;
use std::time::Duration;

use metaferry_codecs::kylin::{Batch, Kylin};
use metaferry_engines::kylin::store::patch::KylinPatch;
use metaferry_pipeline::patch::{Changes, Conflict, Patch};
use metaferry_pipeline::{Error, ErrorKind, Result, Sieve, Snapshot, Stop};

/// How often a wait for it looks whether the restore is to end.
const TICK: Duration = Duration::from_millis(20);

/// Makes the backup, until it is done or stopped.
pub(super) type Save = Box<dyn FnOnce(&Stop) -> Result<()> + Send>;

/// A store that is changed once it is saved.
pub(super) struct Saved {
    target: Box<KylinPatch>,
    save: Option<Save>,
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

impl Saved {
    pub(super) fn new(target: KylinPatch, save: Save) -> Self {
        Self { target: Box::new(target), save: Some(save), saving: Saving::default() }
    }
}

impl Patch<Kylin> for Saved {
    fn sieve(&self) -> Option<Sieve<Kylin>> {
        self.target.sieve()
    }

    fn current(&mut self, whole: bool, stop: &Stop) -> Result<Box<dyn Snapshot<Kylin>>> {
        let current = self.target.current(whole, stop)?;
        if let Some(save) = self.save.take() {
            self.saving.whole = stop.clone();
            let stop = self.saving.stop.clone();
            let thread = std::thread::Builder::new().name("save".to_owned()).spawn(move || save(&stop));
            self.saving.thread = Some(thread.map_err(|cause| Error::engine("a thread for the backup", cause))?);
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

    fn apply(mut self: Box<Self>) -> Result<Vec<Conflict>> {
        self.saving.end()?;
        self.target.apply()
    }
}

impl Saving {
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
