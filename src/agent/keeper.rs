//! Whoever keeps a lease while work is done under it, and ends the work where it must not go on: the agent is to end, it takes
//! too long, another has taken the lease.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use metaferry_engines::repository::Lease;
use metaferry_pipeline::{Error, ErrorKind, Result, Stop};

/// How often it is looked whether work is to end.
const TICK: Duration = Duration::from_millis(100);
/// How often a lease is renewed, and how long that may fail: less than it is good for.
const RENEW: Duration = Duration::from_secs(20);
const LOSE: Duration = Duration::from_secs(90);

/// What ends work.
pub(super) struct Bounds<'a> {
    /// Ends the agent.
    pub(super) outer: &'a Stop,
    /// How long the work may take, in seconds.
    pub(super) most: Option<i64>,
}

/// Does some work under a lease that is renewed meanwhile. What the work is stopped by is its error.
pub(super) fn under<T>(lease: &mut Lease, bounds: &Bounds<'_>, work: impl FnOnce(&Stop) -> Result<T>) -> Result<T> {
    let stop = &Stop::new();
    let (over, ended) = channel::<()>();
    std::thread::scope(|scope| {
        let keeper = scope.spawn(move || keep(lease, bounds, stop, &ended));
        let done = work(stop);
        drop(over);
        match (done, keeper.join()) {
            (Err(_), Ok(Some(why))) => Err(why),
            (done, _) => done,
        }
    })
}

/// Keeps it until the work is over; why the work was stopped, where it was.
fn keep(lease: &mut Lease, bounds: &Bounds<'_>, stop: &Stop, ended: &Receiver<()>) -> Option<Error> {
    let (begun, mut renewed, mut tried) = (Instant::now(), Instant::now(), Instant::now());
    while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        if bounds.outer.is_set() {
            stop.interrupt();
            return Some(Error::new(ErrorKind::Interrupted, "interrupted"));
        }
        if let Some(most) = bounds.most.filter(|most| begun.elapsed().as_secs() >= most.unsigned_abs()) {
            let why = || Error::new(ErrorKind::Engine, format!("it took longer than {most} s, and was abandoned"));
            stop.fail(why());
            return Some(why());
        }
        if tried.elapsed() < RENEW {
            continue;
        }
        tried = Instant::now();
        match lease.renew() {
            Ok(()) => renewed = Instant::now(),
            Err(error) if error.kind() == ErrorKind::Refused || renewed.elapsed() > LOSE => {
                stop.fail(Error::new(ErrorKind::Engine, error.to_string()));
                return Some(error);
            }
            // It is good for longer than until the next try.
            Err(_) => {}
        }
    }
    None
}
