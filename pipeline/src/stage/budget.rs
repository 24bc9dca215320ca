//! The bytes that may be under way at once, handed out as permits in the order they were asked for. It knows nothing of
//! what the bytes are.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Sender, bounded, select};

use super::Stop;
use crate::Result;

#[derive(Clone)]
pub(super) struct Budget {
    shared: Arc<Shared>,
}

struct Shared {
    total: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// Who waits, first come first served: an item as large as the budget waits no longer than its turn.
    waiting: VecDeque<(usize, Sender<Permit>)>,
}

/// Leave to be under way, for the bytes of one item. Dropping it gives them back to whoever waits.
#[must_use = "dropping it lets the next item in"]
pub struct Permit {
    bytes: usize,
    budget: Budget,
}

impl Budget {
    pub(super) fn new(total: usize) -> Self {
        let total = total.max(1);
        let state = Mutex::new(State { free: total, waiting: VecDeque::new() });
        Self { shared: Arc::new(Shared { total, state }) }
    }

    /// Waits for `bytes`, or for all there are where that is less, or for the stop.
    pub(super) fn take(&self, bytes: usize, stop: &Stop) -> Result<Permit> {
        stop.check()?;
        let bytes = bytes.clamp(1, self.shared.total);
        let granted = {
            let mut state = self.state();
            if state.waiting.is_empty() && bytes <= state.free {
                state.free -= bytes;
                return Ok(self.permit(bytes));
            }
            let (grant, granted) = bounded(1);
            state.waiting.push_back((bytes, grant));
            granted
        };
        select! {
            recv(granted) -> permit => permit.map_err(|_| stop.why()),
            recv(stop.halted()) -> _ => Err(stop.why()),
        }
    }

    fn give_back(&self, bytes: usize) {
        let mut granted = Vec::new();
        let mut state = self.state();
        state.free += bytes;
        while let Some((bytes, grant)) = state.waiting.pop_front() {
            if bytes > state.free {
                state.waiting.push_front((bytes, grant));
                break;
            }
            state.free -= bytes;
            granted.push((self.permit(bytes), grant));
        }
        drop(state);
        for (permit, grant) in granted {
            // Whoever stopped waiting does not take it: it is dropped here, outside the lock, and given back.
            drop(grant.send(permit));
        }
    }

    fn permit(&self, bytes: usize) -> Permit {
        Permit { bytes, budget: self.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}
