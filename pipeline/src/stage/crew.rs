//! A crew: threads that work on items side by side, and hand the results out in the order of the items. It refuses to know
//! what the work is.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};

use super::{Stop, bug, start};
use crate::{Error, ErrorKind, Result};

/// Threads that turn items into results. One owner puts items in, and takes the results out.
pub struct Crew<I, O> {
    items: Option<Sender<(I, Sender<Result<O>>)>>,
    under_way: VecDeque<Receiver<Result<O>>>,
    most: usize,
    threads: Vec<JoinHandle<()>>,
    stop: Stop,
}

impl<I: Send + 'static, O: Send + 'static> Crew<I, O> {
    /// Starts `threads` workers, each with what `worker` returns.
    pub fn start<W>(name: &str, threads: usize, stop: &Stop, worker: impl Fn() -> W) -> Result<Self>
    where
        W: FnMut(I) -> Result<O> + Send + 'static,
    {
        let threads = threads.max(1);
        let (items, received) = unbounded::<(I, Sender<Result<O>>)>();
        let mut crew = Self {
            items: Some(items),
            under_way: VecDeque::new(),
            most: 2 * threads,
            threads: Vec::new(),
            stop: stop.clone(),
        };
        for number in 0..threads {
            let (received, mut work) = (received.clone(), worker());
            let name = format!("{name}-{number}");
            let object = name.clone();
            let work = move || {
                for (item, reply) in received {
                    let result = catch_unwind(AssertUnwindSafe(|| work(item)));
                    let result = result.unwrap_or_else(|panic| Err(bug(&object, panic.as_ref())));
                    // Whoever put it in may be gone.
                    drop(reply.send(result));
                }
            };
            crew.threads.push(start(&name, work, drop)?);
        }
        Ok(crew)
    }

    /// Puts one item in; where enough are under way, waits for the oldest result and returns it.
    pub fn put(&mut self, item: I) -> Result<Option<O>> {
        self.stop.check()?;
        let oldest = if self.under_way.len() >= self.most { self.take()? } else { None };
        let (reply, result) = bounded(1);
        let sent = self.items.as_ref().is_some_and(|items| items.send((item, reply)).is_ok());
        if !sent {
            return Err(gone());
        }
        self.under_way.push_back(result);
        Ok(oldest)
    }

    /// Waits for the oldest result that was not yet taken; none where there is none left.
    pub fn take(&mut self) -> Result<Option<O>> {
        let Some(oldest) = self.under_way.pop_front() else { return Ok(None) };
        select! {
            recv(oldest) -> result => result.map_err(|_| gone())?.map(Some),
            recv(self.stop.halted()) -> _ => Err(self.stop.why()),
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Bug, "the workers ended before their input")
}

impl<I, O> Drop for Crew<I, O> {
    /// Waits for the workers: they are never in a wait themselves but for items.
    fn drop(&mut self) {
        self.under_way.clear();
        self.items = None;
        for thread in self.threads.drain(..) {
            // It caught its own panic, and has told.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn all(crew: &mut Crew<u64, u64>, items: u64) -> Result<Vec<u64>> {
        let mut results = Vec::new();
        for item in 0..items {
            results.extend(crew.put(item)?);
        }
        while let Some(result) = crew.take()? {
            results.push(result);
        }
        Ok(results)
    }

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for threads in 0..5 {
            let worker = || {
                |item: u64| {
                    std::thread::sleep(Duration::from_micros(item * 7919 % 300));
                    Ok(item * 2)
                }
            };
            let mut crew = Crew::start("test", threads, &Stop::new(), worker).unwrap();
            assert!(all(&mut crew, 0).unwrap().is_empty());
            assert!(all(&mut crew, 100).unwrap().into_iter().eq((0..100).map(|item| item * 2)));
        }
    }

    #[test]
    fn few_are_under_way() {
        let seen = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&seen);
        let worker = move || {
            let counter = Arc::clone(&counter);
            move |item: u64| {
                counter.fetch_add(1, Ordering::SeqCst);
                Ok(item)
            }
        };
        let mut crew = Crew::start("test", 3, &Stop::new(), worker).unwrap();
        let results: Vec<_> = (0..50).map(|item| crew.put(item).unwrap()).collect();
        assert_eq!(results.iter().position(Option::is_some), Some(6));
        drop(crew);
        assert_eq!(seen.load(Ordering::SeqCst), 50, "whoever is dropped waits for the workers");
    }

    #[test]
    fn errors_panics_and_interruptions_end_it() {
        let failing = || |item: u64| if item == 9 { Err(Error::corrupt("nine")) } else { Ok(item) };
        let mut crew = Crew::start("test", 2, &Stop::new(), failing).unwrap();
        assert_eq!(all(&mut crew, 20).unwrap_err().to_string(), "nine");
        let panicking = || |item: u64| if item == 9 { panic!("nine") } else { Ok(item) };
        let mut crew = Crew::start("test", 2, &Stop::new(), panicking).unwrap();
        assert_eq!(all(&mut crew, 20).unwrap_err().kind(), ErrorKind::Bug);
        let stop = Stop::new();
        let mut crew = Crew::start("test", 2, &stop, || Ok).unwrap();
        stop.interrupt();
        assert_eq!(all(&mut crew, 20).unwrap_err().kind(), ErrorKind::Interrupted);
    }
}
