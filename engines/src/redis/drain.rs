//! Drain: takes in what a server sends as fast as it sends, however slowly that is read: a server that sends its snapshot
//! without a file keeps its fork, and what is written meanwhile, in memory until it has sent all.

use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metaferry_codecs::juicefs::JuiceFs;
use metaferry_pipeline::spill::{Backlog, SpillDir};
use metaferry_pipeline::{About, Emit, Partition, Result, Scope, Snapshot, Stop};

use super::stream::{Stream, StreamSnapshot};

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;
/// Bytes held in memory.
const KEPT_BYTES: usize = 8 << 20;
/// How often whoever waits for bytes looks up.
const LOOK_UP: Duration = Duration::from_millis(100);

/// What the one who takes in and those who read share.
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    stop: Stop,
}

struct State {
    backlog: Backlog,
    /// How the input ended.
    end: Option<io::Result<()>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes everything in. The end is told whoever reads, however it comes.
    fn fill(&self, input: &mut dyn Read) -> Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = self.stop.check().map_err(io::Error::other).and_then(|()| input.read(&mut buffer));
            let mut state = self.state();
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(count @ 1..) => {
                    let pushed = state.backlog.push(buffer.get_mut(..count).unwrap_or_default());
                    if let Err(error) = pushed {
                        state.end = Some(Err(io::Error::other("what was taken in could not be kept")));
                        self.changed.notify_all();
                        return Err(error);
                    }
                }
                end => state.end = Some(end.map(drop)),
            }
            self.changed.notify_all();
            if state.end.is_some() {
                return Ok(());
            }
        }
    }
}

/// What was taken in, to be read once.
struct Drained(Arc<Shared>);

impl Read for Drained {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        loop {
            let count = state.backlog.pop(out).map_err(io::Error::other)?;
            if count > 0 {
                return Ok(count);
            }
            match &mut state.end {
                // An error must not turn into an end: it is told again as one.
                Some(end @ Err(_)) => return std::mem::replace(end, Err(io::ErrorKind::Other.into())).map(|()| 0),
                Some(Ok(())) => return Ok(0),
                None => self.0.stop.check().map_err(io::Error::other)?,
            }
            let waited = self.0.changed.wait_timeout(state, LOOK_UP);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A stream that the first of its readers takes in, while the others read, and then reads too.
pub(super) struct DrainedSnapshot {
    snapshot: StreamSnapshot,
    input: Mutex<Option<Box<dyn Read + Send>>>,
    shared: Arc<Shared>,
}

impl DrainedSnapshot {
    pub(super) fn new(mut stream: Stream, readers: usize, spill: &SpillDir, stop: &Stop) -> Self {
        let state = Mutex::new(State { backlog: Backlog::new(spill, KEPT_BYTES), end: None });
        let shared = Arc::new(Shared { state, changed: Condvar::new(), stop: stop.clone() });
        let input = std::mem::replace(&mut stream.input, Box::new(Drained(Arc::clone(&shared))));
        Self { snapshot: StreamSnapshot::new(stream, readers, spill), input: Mutex::new(Some(input)), shared }
    }
}

impl Snapshot<JuiceFs> for DrainedSnapshot {
    fn about(&self) -> About {
        self.snapshot.about()
    }

    fn plan(&self, scope: &Scope<JuiceFs>) -> Result<Vec<Partition<JuiceFs>>> {
        self.snapshot.plan(scope)
    }

    fn scan(&self, share: &Partition<JuiceFs>, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let input = self.input.lock().unwrap_or_else(PoisonError::into_inner).take();
        input.map_or(Ok(()), |mut input| self.shared.fill(&mut input))?;
        self.snapshot.scan(share, out)
    }

    fn finish(&self) -> Result<()> {
        self.snapshot.finish()
    }
}
