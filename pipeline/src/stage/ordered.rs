//! Delivery in the order of partitions while several scanners work: a turnstile that lets one partition at a time into
//! the queue. It refuses to know what a partition is beyond its number.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Sender, bounded, select};

use super::{Outbox, Stop, Weighed};
use crate::Result;

/// Lets the items of partition 0 into the queue first, then those of partition 1, and so on, so that a single consumer
/// receives them in that order. Producers share it, and scan as many partitions at once as they are.
///
/// A partition whose turn has not come keeps its items back, up to `share_bytes`, and then waits. It cannot deadlock,
/// whatever the budgets: partitions are handed out in ascending order, so the lowest unfinished one always has a
/// scanner; its turn has come, so that scanner waits for nothing but the queue; and what is kept back holds no permit of
/// the queue, so the consumer alone decides when there is room. Memory is bounded by the queue's budget and one share,
/// and one item in hand, a producer.
#[derive(Debug)]
pub struct Turnstile {
    partitions: usize,
    share_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The next partition to hand out.
    next: usize,
    /// The partition whose turn it is.
    turn: usize,
    /// Who waits for the turn of a partition: dropping the sender calls it.
    waiting: HashMap<usize, Sender<()>>,
}

impl Turnstile {
    /// A turnstile for the partitions `0..partitions`, one that is ahead keeping back up to `share_bytes`.
    #[must_use]
    pub fn new(partitions: usize, share_bytes: usize) -> Self {
        let state = Mutex::new(State { next: 0, turn: 0, waiting: HashMap::new() });
        Self { partitions, share_bytes, state }
    }

    /// For every producer: takes partitions, lowest first, until none is left, and has each scanned. `scan` sends the
    /// items of [`Lane::partition`] into the lane, and returns once it has sent all.
    pub fn serve<T: Weighed>(
        &self,
        outbox: &Outbox<T>,
        mut scan: impl FnMut(&mut Lane<'_, T>) -> Result<()>,
    ) -> Result<()> {
        while let Some(partition) = self.hand_out() {
            let mut lane = Lane { partition, turnstile: self, outbox, kept: VecDeque::new(), kept_bytes: 0 };
            scan(&mut lane)?;
            lane.enter()?;
            self.pass_on(partition);
        }
        Ok(())
    }

    fn hand_out(&self) -> Option<usize> {
        let mut state = self.state();
        let partition = state.next;
        state.next += usize::from(partition < self.partitions);
        (partition < self.partitions).then_some(partition)
    }

    fn is_turn_of(&self, partition: usize) -> bool {
        self.state().turn == partition
    }

    fn await_turn_of(&self, partition: usize, stop: &Stop) -> Result<()> {
        let called = {
            let mut state = self.state();
            if state.turn == partition {
                return Ok(());
            }
            let (call, called) = bounded(0);
            state.waiting.insert(partition, call);
            called
        };
        select! {
            recv(called) -> _ => Ok(()),
            recv(stop.halted()) -> _ => Err(stop.why()),
        }
    }

    fn pass_on(&self, partition: usize) {
        let mut state = self.state();
        state.turn = partition + 1;
        state.waiting.remove(&(partition + 1));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way of one partition's items through the turnstile.
pub struct Lane<'a, T> {
    partition: usize,
    turnstile: &'a Turnstile,
    outbox: &'a Outbox<T>,
    kept: VecDeque<T>,
    kept_bytes: usize,
}

impl<T: Weighed> Lane<'_, T> {
    /// The partition to scan.
    #[must_use]
    pub fn partition(&self) -> usize {
        self.partition
    }

    /// Sends one item, or keeps it back while others have their turn; waits where neither has room.
    pub fn send(&mut self, item: T) -> Result<()> {
        let bytes = item.bytes();
        if !self.turnstile.is_turn_of(self.partition) && self.kept_bytes + bytes <= self.turnstile.share_bytes {
            self.outbox.stop().check()?;
            self.kept_bytes += bytes;
            self.kept.push_back(item);
            return Ok(());
        }
        self.enter()?;
        self.outbox.send(item)
    }

    /// Waits for the turn, and sends what was kept back.
    fn enter(&mut self) -> Result<()> {
        self.turnstile.await_turn_of(self.partition, self.outbox.stop())?;
        self.kept_bytes = 0;
        self.kept.drain(..).try_for_each(|item| self.outbox.send(item))
    }
}
