//! The agent: makes a backup of one volume each period, as long as it lives. Whose turn it is, the volume's stamp says; that one
//! works at a time, the repository's lease; when it tries again, this.

mod apart;
mod health;
mod keeper;
mod listen;
mod log;
mod options;
mod rhythm;
mod tidy;
mod turn;

use std::marker::PhantomData;
use std::time::Duration;

use jiff::Timestamp;
use metaferry_engines::repository::{Repository, RepositoryAddress};
use metaferry_engines::stamp::Stamp;
use metaferry_pipeline::{Error, ErrorKind, Result, Stop};
use serde_json::json;

use crate::Outcome;
use crate::context::Context;
use crate::open::Place;
use crate::served::Served;
use apart::Known;
use health::Health;
use log::{Level, Log};
use options::LogStyle;
use turn::Done;

pub(crate) use options::AgentArgs;

/// How long a store is waited for once the agent is to end.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How often whoever found another at work looks again, in seconds: at most and at least.
const BUSY: (i64, i64) = (1, 30);

/// One agent.
struct Agent<'a, S> {
    system: PhantomData<S>,
    context: &'a Context,
    args: AgentArgs,
    source: Place,
    address: RepositoryAddress,
    stamp: Option<Box<dyn Stamp>>,
    /// What its backups say they are of.
    origin: String,
    /// What it is called, in the lease.
    holder: String,
    log: Log,
    health: Health,
    /// Set some time after the agent is to end.
    patience: Stop,
    has_told_of_lease: bool,
}

/// Runs an agent until it is told to end.
pub(crate) fn run<S: Served>(context: &Context, args: AgentArgs) -> Result<Outcome> {
    if apart::is_turn() {
        let args = AgentArgs { listen: None, ..args };
        return apart::take(&context.stop, || Agent::<S>::new(context, args)).map(|()| Outcome::Holds);
    }
    let mut agent = Agent::<S>::new(context, args)?;
    if agent.args.once { agent.once() } else { agent.forever() }
}

impl<'a, S: Served> Agent<'a, S> {
    fn new(context: &'a Context, args: AgentArgs) -> Result<Self> {
        let (source, address) = (Place::parse(&args.source)?, RepositoryAddress::parse(&args.repository)?);
        let stamp = S::stamp(&source);
        if stamp.is_none() && ((S::HAS_STAMPS && !args.no_shared_timestamp) || args.skip_above.is_some()) {
            return Err(Error::config(format!("{source} is no database that clients write to"))
                .hint("with --no-shared-timestamp, and without --skip-above, it is backed up all the same"));
        }
        context.keys()?;
        let as_json = if context.common.json { LogStyle::Json } else { LogStyle::Text };
        let log = Log { style: args.log.unwrap_or(as_json), quiet: context.common.quiet };
        let health = Health::new(args.every);
        if let Some(address) = args.listen {
            let bound = listen::listen(address, health.clone())?;
            let fields = json!({ "address": bound.to_string() });
            log.say(Level::Info, "listening", &format!("/metrics and /healthz are at http://{bound}"), fields);
        }
        let patience = Stop::new();
        let (outer, last) = (context.stop.clone(), patience.clone());
        let watch = move || {
            while !outer.is_set() {
                std::thread::sleep(Duration::from_secs(1));
            }
            std::thread::sleep(LAST_WORDS);
            last.interrupt();
        };
        let spawned = std::thread::Builder::new().name("patience".to_owned()).spawn(watch);
        spawned.map_err(|cause| Error::engine("a thread", cause))?;
        let (origin, holder) = (source.to_string(), holder()?);
        Ok(Self {
            system: PhantomData,
            context,
            args,
            source,
            address,
            stamp,
            origin,
            holder,
            log,
            health,
            patience,
            has_told_of_lease: false,
        })
    }

    /// One backup, if it is time.
    fn once(&mut self) -> Result<Outcome> {
        match self.turn(true)? {
            Done::Made { is_troubled: true, .. } | Done::Skipped => Ok(Outcome::Found),
            Done::Made { .. } => Ok(Outcome::Holds),
            Done::NotYet(until) => {
                self.say_waiting(until);
                Ok(Outcome::Holds)
            }
            Done::Busy(holder) => {
                self.say_busy(&holder);
                Ok(Outcome::Holds)
            }
        }
    }

    fn forever(&mut self) -> Result<Outcome> {
        let (source, address, every) = (&self.source, &self.address, self.args.every);
        let text = format!("backs up {source} into {address} every {every} s");
        self.log.say(Level::Info, "begun", &text, json!({ "every": every, "holder": self.holder }));
        // What an agent before this one has begun and not made is made first.
        let (mut resumes, mut failures, mut is_first, mut told) = (true, 0_u32, true, None);
        loop {
            let done = apart::turn(self, resumes);
            if self.context.stop.is_set() {
                break;
            }
            let next = match done {
                Ok(Done::Made { next, .. }) => (false, rhythm::about(next, every)),
                Ok(Done::NotYet(until)) => {
                    self.say_waiting(until);
                    (false, rhythm::about(until, every))
                }
                // Whoever is at work may die of it.
                Ok(Done::Busy(holder)) => {
                    if told.as_ref() != Some(&holder) {
                        self.say_busy(&holder);
                        told = Some(holder);
                    }
                    (true, rhythm::after((every / 10).clamp(BUSY.0, BUSY.1)))
                }
                Ok(Done::Skipped) => (false, rhythm::after(every)),
                Err(error) if is_first && is_final(&error) => return Err(error),
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.health.state().failures += 1;
                    let pause = rhythm::pause(failures, every);
                    self.log.failed("failed", &format!("no backup was made, the next try is in {pause} s"), &error);
                    (true, rhythm::after(pause))
                }
            };
            is_first = false;
            if !matches!(next, (true, _)) {
                (failures, told) = (0, None);
            }
            resumes = next.0;
            if rhythm::wait(next.1, &self.context.stop).is_err() {
                break;
            }
        }
        self.log.say(Level::Info, "ended", "ended, as it was told to", json!({}));
        Ok(Outcome::Holds)
    }

    /// What it knows, for the next turn.
    fn known(&self) -> Known {
        Known {
            state: self.health.state().clone(),
            origin: self.origin.clone(),
            has_told_of_lease: self.has_told_of_lease,
        }
    }

    /// Knows what a turn before, or another process, has learned.
    fn recall(&mut self, known: Known) {
        *self.health.state() = known.state;
        (self.origin, self.has_told_of_lease) = (known.origin, known.has_told_of_lease);
    }

    fn say_waiting(&self, until: Timestamp) {
        let fields = json!({ "until": until.to_string() });
        self.log.say(Level::Info, "waiting", &format!("it is not time yet: the next backup is due at {until}"), fields);
    }

    fn say_busy(&self, holder: &str) {
        let text = format!("another is at work on {}: {holder}", self.address);
        self.log.say(Level::Info, "busy", &text, json!({ "holder": holder }));
    }

    /// What others may have done meanwhile.
    fn learn_anew(&self) {
        let learned = self.context.keys().and_then(|keys| {
            let repository = Repository::find(&self.address, &keys, &self.context.stop)?;
            repository.map_or(Ok(()), |repository| self.learn(&repository))
        });
        if let Err(error) = learned {
            self.log.failed("unknown", "what is in the repository is not known", &error);
        }
    }
}

/// Whether it is the same next time, whatever the rest of the world does.
fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Config | ErrorKind::Refused | ErrorKind::Unsupported)
}

/// What this agent is called: unlike any other, and telling to a person.
fn holder() -> Result<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".to_owned());
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|cause| Error::engine("random bytes", cause))?;
    let (host, process, chance) = (host.trim(), std::process::id(), u64::from_le_bytes(bytes));
    Ok(format!("host {host}, process {process}, {chance:016x}"))
}
