//! The one stage: producers, a queue bounded in bytes, consumers; the first error stops all of them. Beside it, what one
//! end of a stage may use by itself: a reader that reads ahead, and a crew. The only place that spawns threads and queues.
//! It refuses to know what is produced.
//!
//! Whoever waits, for an item, for room or for a turn, waits in one `select!` with the stop: nothing polls or sleeps.

mod ahead;
mod budget;
mod crew;
mod ordered;
mod stop;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select, unbounded};

use crate::{Error, ErrorKind, Result};

pub use ahead::{ReadAhead, read_ahead};
use budget::Budget;
pub use budget::Permit;
pub use crew::Crew;
pub use ordered::{Lane, Turnstile};
pub use stop::Stop;

/// Says how much memory an item is, for the queue's budget.
pub trait Weighed {
    /// The bytes, roughly.
    fn bytes(&self) -> usize;
}

/// Runs every producer and every consumer in a thread of its own until all have ended, and returns what they returned,
/// in their order.
///
/// At most `budget_bytes` are under way, from the moment an item is sent until its [`Permit`] is dropped; an item that is
/// larger passes alone. The first error, a panic or `stop` ends all of them: then sending and receiving fail, and the
/// first error is returned. Every item sent is received, unless there is an error. Of stages that share a stop, only one
/// returns that error, and the others one of kind `Stopped`.
pub fn run<T, A, B, P, C>(
    budget_bytes: usize,
    stop: &Stop,
    producers: Vec<P>,
    consumers: Vec<C>,
) -> Result<(Vec<A>, Vec<B>)>
where
    T: Weighed + Send,
    A: Send,
    B: Send,
    P: FnOnce(&Outbox<T>) -> Result<A> + Send,
    C: FnOnce(&Inbox<T>) -> Result<B> + Send,
{
    let (sender, receiver) = unbounded();
    let budget = Budget::new(budget_bytes);
    let (produced, consumed) = std::thread::scope(|scope| {
        let consumers = consumers.into_iter().enumerate().map(|(number, consume)| {
            let inbox = Inbox { receiver: receiver.clone(), stop: stop.clone() };
            spawn(scope, format!("consumer-{number}"), stop, inbox, consume)
        });
        let consumers: Vec<_> = consumers.collect();
        drop(receiver);
        let producers = producers.into_iter().enumerate().map(|(number, produce)| {
            let outbox = Outbox { sender: sender.clone(), budget: budget.clone(), stop: stop.clone() };
            spawn(scope, format!("producer-{number}"), stop, outbox, produce)
        });
        let producers: Vec<_> = producers.collect();
        drop(sender);
        (join(producers), join(consumers))
    });
    match stop.take_reason() {
        Some(error) => Err(error),
        None => produced.zip(consumed).ok_or_else(|| stop.why()),
    }
}

/// Runs every worker in a thread of its own, without a queue, and returns what they returned, in their order. Errors stop
/// all of them, as in [`run`].
pub fn run_alone<A, W>(stop: &Stop, workers: Vec<W>) -> Result<Vec<A>>
where
    A: Send,
    W: FnOnce() -> Result<A> + Send,
{
    type Nobody = fn(&Inbox<Nothing>) -> Result<()>;
    let workers = workers.into_iter().map(|work| |_: &Outbox<Nothing>| work());
    Ok(run(1, stop, workers.collect(), Vec::<Nobody>::new())?.0)
}

/// What is never sent.
enum Nothing {}

impl Weighed for Nothing {
    fn bytes(&self) -> usize {
        match *self {}
    }
}

/// Where a producer puts its items.
pub struct Outbox<T> {
    sender: Sender<(T, Permit)>,
    budget: Budget,
    stop: Stop,
}

impl<T: Weighed> Outbox<T> {
    /// Sends one item, once there is room for it.
    pub fn send(&self, item: T) -> Result<()> {
        let permit = self.budget.take(item.bytes(), &self.stop)?;
        self.sender.send((item, permit)).map_err(|_| {
            let early = Error::new(ErrorKind::Bug, "the consumers ended before their input");
            self.stop.check().err().unwrap_or(early)
        })
    }

    /// The stop of this stage, for long loops.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }
}

/// Where the consumers take their items from.
pub struct Inbox<T> {
    receiver: Receiver<(T, Permit)>,
    stop: Stop,
}

impl<T> Inbox<T> {
    /// The next item of any producer, or none once all have ended. Keep the permit for as long as the item is in memory,
    /// and for no longer: a consumer that collects permits may wait for room that it holds itself.
    pub fn recv(&self) -> Result<Option<(T, Permit)>> {
        self.recv_or(Duration::MAX, &mut || Ok(()))
    }

    /// The same; `idle` is called again and again where nothing comes for so long.
    pub fn recv_or(&self, patience: Duration, idle: &mut dyn FnMut() -> Result<()>) -> Result<Option<(T, Permit)>> {
        loop {
            self.stop.check()?;
            let received = select! {
                recv(self.receiver) -> received => received.ok(),
                recv(self.stop.halted()) -> _ => None,
                default(patience) => {
                    idle()?;
                    continue;
                }
            };
            if received.is_none() {
                self.stop.check()?;
            }
            return Ok(received);
        }
    }

    /// The stop of this stage, for long loops.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }
}

type Handle<'scope, R> = Option<ScopedJoinHandle<'scope, Option<R>>>;

/// Starts a worker that owns its `end` of the queue, and sets the stop if it fails.
fn spawn<'scope, E, R>(
    scope: &'scope Scope<'scope, '_>,
    name: String,
    stop: &Stop,
    end: E,
    work: impl FnOnce(&E) -> Result<R> + Send + 'scope,
) -> Handle<'scope, R>
where
    E: Send + 'scope,
    R: Send + 'scope,
{
    let (object, on_error) = (name.clone(), stop.clone());
    let worker = move || {
        let result = catch_unwind(AssertUnwindSafe(|| work(&end)));
        let result = result.unwrap_or_else(|panic| Err(bug(&object, panic.as_ref())));
        let result = result.map_err(|error| on_error.fail(error)).ok();
        // Only now: whoever sees this end gone, sees that there was an error.
        drop(end);
        result
    };
    let started = Builder::new().name(name.clone()).spawn_scoped(scope, worker);
    started.map_err(|error| stop.fail(Error::engine(format!("thread {name}"), error))).ok()
}

/// Starts a thread that nobody's scope waits for: it has to end with its queue. `on_panic` learns of a panic.
fn start(
    name: &str,
    work: impl FnOnce() + Send + 'static,
    on_panic: impl FnOnce(Error) + Send + 'static,
) -> Result<JoinHandle<()>> {
    let object = name.to_owned();
    let worker = move || {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            on_panic(bug(&object, panic.as_ref()));
        }
    };
    Builder::new().name(name.to_owned()).spawn(worker).map_err(|error| Error::engine(format!("thread {name}"), error))
}

fn join<R>(workers: Vec<Handle<'_, R>>) -> Option<Vec<R>> {
    let joined: Vec<Option<R>> =
        workers.into_iter().map(|worker| worker.and_then(|worker| worker.join().ok().flatten())).collect();
    joined.into_iter().collect()
}

fn bug(worker: &str, panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text");
    Error::new(ErrorKind::Bug, format!("{worker} panicked: {text}"))
}
