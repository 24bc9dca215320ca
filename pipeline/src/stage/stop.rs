//! The flag that stops every worker of a command, and the first error, which is why. It knows no queue: whoever waits
//! also waits for [`Stop::halted`].

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{Error, ErrorKind, Result};

/// Stops every worker that shares it. It stays set: what was stopped is not started again.
#[derive(Clone)]
pub struct Stop {
    shared: Arc<Shared>,
}

struct Shared {
    is_set: AtomicBool,
    reason: Mutex<Reason>,
    halted: Receiver<()>,
}

struct Reason {
    first: Option<Error>,
    is_interrupted: bool,
    /// Nothing is ever sent: dropping it wakes whoever waits on the other end.
    running: Option<Sender<()>>,
}

impl Stop {
    /// A stop that is not set.
    #[must_use]
    pub fn new() -> Self {
        let (running, halted) = bounded(0);
        let reason = Mutex::new(Reason { first: None, is_interrupted: false, running: Some(running) });
        Self { shared: Arc::new(Shared { is_set: AtomicBool::new(false), reason, halted }) }
    }

    /// Whether the work is to end. One atomic load.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.shared.is_set.load(Ordering::Acquire)
    }

    /// For long loops: an error of kind `Interrupted` or `Stopped` once the work is to end.
    pub fn check(&self) -> Result<()> {
        if self.is_set() { Err(self.why()) } else { Ok(()) }
    }

    /// Stops everything because the user asked; for a signal's thread, not for its handler.
    pub fn interrupt(&self) {
        self.reason().is_interrupted = true;
        self.fail(Error::new(ErrorKind::Interrupted, "interrupted"));
    }

    /// Stops everything because of `error`. The first one is kept; one that was stopped itself is never a reason.
    pub fn fail(&self, error: Error) {
        let mut reason = self.reason();
        if reason.first.is_none() && error.kind() != ErrorKind::Stopped {
            reason.first = Some(error);
        }
        self.shared.is_set.store(true, Ordering::Release);
        reason.running = None;
    }

    /// The first error, for whoever reports it.
    pub(super) fn take_reason(&self) -> Option<Error> {
        self.reason().first.take()
    }

    /// Disconnects when the stop is set.
    pub(super) fn halted(&self) -> &Receiver<()> {
        &self.shared.halted
    }

    pub(super) fn why(&self) -> Error {
        match self.reason().is_interrupted {
            true => Error::new(ErrorKind::Interrupted, "interrupted"),
            false => Error::new(ErrorKind::Stopped, "stopped, because another worker failed"),
        }
    }

    fn reason(&self) -> MutexGuard<'_, Reason> {
        self.shared.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop").field("is_set", &self.is_set()).finish_non_exhaustive()
    }
}
