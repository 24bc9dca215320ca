//! Sessions lent to whoever reads. It knows no dialect.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use metaferry_pipeline::{Error, ErrorKind, Result};

/// Sessions that see the same point in time. One that failed is in no state to be used, and takes all others with it.
pub(crate) struct Pool<S> {
    lent: Mutex<Lent<S>>,
    returned: Condvar,
}

struct Lent<S> {
    idle: Vec<S>,
    has_failed: bool,
}

impl<S> Pool<S> {
    pub(crate) fn new(sessions: Vec<S>) -> Self {
        Self { lent: Mutex::new(Lent { idle: sessions, has_failed: false }), returned: Condvar::new() }
    }

    fn lent(&self) -> MutexGuard<'_, Lent<S>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something on the next session that is free. Never called from within itself.
    ///
    /// # Errors
    /// Those of what runs; [`ErrorKind::Stopped`] once that of another failed.
    pub(crate) fn with<T>(&self, run: impl FnOnce(&mut S) -> Result<T>) -> Result<T> {
        let mut lent = self.lent();
        let mut session = loop {
            if lent.has_failed {
                return Err(Error::new(ErrorKind::Stopped, "another reader failed"));
            }
            match lent.idle.pop() {
                Some(session) => break session,
                None => lent = self.returned.wait(lent).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(lent);
        let done = run(&mut session);
        let mut lent = self.lent();
        match done {
            Ok(_) => lent.idle.push(session),
            Err(_) => lent.has_failed = true,
        }
        drop(lent);
        self.returned.notify_all();
        done
    }

    /// Takes every session that nobody has.
    pub(crate) fn drain(&self) -> Vec<S> {
        std::mem::take(&mut self.lent().idle)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn more_readers_than_sessions_take_turns() {
        let (pool, at_once, most) = (Pool::new(vec![(), ()]), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let read = pool.with(|()| {
                            most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            std::thread::yield_now();
                            at_once.fetch_sub(1, Ordering::SeqCst);
                            Ok(())
                        });
                        read.unwrap();
                    }
                });
            }
        });
        assert!(most.into_inner() <= 2);
        assert_eq!(pool.drain().len(), 2);
    }

    #[test]
    fn a_failure_wakes_those_that_wait() {
        let pool = Pool::new(vec![()]);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                while pool.with(|()| Ok(())).is_ok() {
                    std::thread::yield_now();
                }
            });
            assert!(pool.with(|()| Err::<(), _>(Error::corrupt("gone"))).is_err());
            waiting.join().unwrap();
        });
        assert_eq!(pool.with(|()| Ok(())).unwrap_err().kind(), ErrorKind::Stopped);
    }
}
