//! What is to be sent, put aside until all of it is known: beyond a bound in the spill folder, where nobody can read it.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metaferry_pipeline::spill::{Backlog, SpillDir};

/// What stays in memory, in bytes.
const KEPT_BYTES: usize = 1 << 20;

/// Bytes that are written, and read in the same order then. Its copies are one and the same.
#[derive(Clone)]
pub struct Outgoing(Arc<Mutex<State>>);

struct State {
    backlog: Backlog,
    length: u64,
}

impl Outgoing {
    /// Puts aside in `spill` what does not fit in memory.
    #[must_use]
    pub fn new(spill: &SpillDir) -> Self {
        Self(Arc::new(Mutex::new(State { backlog: Backlog::new(spill, KEPT_BYTES), length: 0 })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much was written, in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.state().length
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        state.backlog.push(&mut bytes.to_vec())?;
        state.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Outgoing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Ok(self.state().backlog.pop(out)?)
    }
}
