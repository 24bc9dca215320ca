//! The sink that is a server: claims an empty database, loads it over several connections, and makes it a volume by
//! writing the setting.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metaferry_codecs::juicefs::{Batch, JuiceFs, Kind};
use metaferry_pipeline::preflight::{Outlook, Remark};
use metaferry_pipeline::{
    About, Commit, Error, ErrorKind, Findings, KindSet, Loader, Needs, Result, Sieve, Sink, Snapshot, Stop,
};

use super::address::Address;
use super::claim::Claim;
use super::connection::Connection;
use super::loader::{Hand, Hands, RedisLoader};
use super::preflight;
use super::source::{Reading, RedisOptions};
use super::volume::Volume;
use crate::foreign;

/// Connections that load at once: the server's one thread is the limit, not these.
const LOADERS: usize = 4;
/// How long a server may be silent while what it was sent is awaited, or what it holds is cleared.
const SILENCE: Duration = Duration::from_secs(5);
/// How long the keys of a load that failed are cleared before the rest is left to the next one.
const CLEARING: Duration = Duration::from_secs(30);

/// Writes a volume into an empty database of a server.
pub struct RedisSink {
    address: Address,
    /// How it is read back.
    options: RedisOptions,
    claim: Option<Claim>,
    hands: Hands,
    stop: Stop,
}

impl RedisSink {
    /// The database at an address; `options` say how it is read back before it is committed.
    #[must_use]
    pub fn new(address: Address, options: RedisOptions) -> Self {
        Self { address, options, claim: None, hands: Hands::default(), stop: Stop::new() }
    }

    fn claimed(&self) -> Result<&Claim> {
        self.claim.as_ref().ok_or_else(|| Error::new(ErrorKind::Bug, "a Redis sink was not prepared"))
    }
}

impl Sink<JuiceFs> for RedisSink {
    fn needs(&self) -> Needs {
        Needs {
            loaders: LOADERS,
            ordered: KindSet::NONE,
            affine: false,
            works_out: KindSet::NONE,
            mends: true,
            defaults: false,
            strips_secrets: false,
        }
    }

    fn sieve(&self) -> Option<Sieve<JuiceFs>> {
        Some(foreign::sift)
    }

    fn preflight(&self, outlook: &Outlook<Kind>, stop: &Stop) -> Result<Vec<Remark>> {
        preflight::target(&self.address, outlook, stop)
    }

    fn prepare(&mut self, about: &About, stop: &Stop) -> Result<()> {
        let mut connection = Connection::open(&self.address, stop)?;
        let volume = Volume::at(self.address.database(), connection.prefix());
        self.stop = stop.clone();
        self.claim = Some(Claim::take(&mut connection, volume, &about.origin, &|| stop.check())?);
        Ok(())
    }

    fn loader(&mut self) -> Result<Box<dyn Loader<JuiceFs>>> {
        let claim = self.claimed()?.clone();
        let hand = Hand::new(Connection::open(&self.address, &self.stop)?, claim, self.stop.clone());
        Ok(Box::new(RedisLoader::new(hand, &self.hands)))
    }

    fn uncommitted(&mut self) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        let mut connection = Connection::open(&self.address, &self.stop)?;
        self.claimed()?.renew_for_proof(&mut connection)?;
        let volume = Volume::at(self.address.database(), connection.prefix());
        let readers = std::thread::available_parallelism().map_or(1, usize::from);
        let (address, options, stop) = (self.address.clone(), self.options.clone(), self.stop.clone());
        Reading { address, options, readers, sealed: false, stop }.open(connection, volume)
    }

    fn commit(mut self: Box<Self>, commit: Commit<JuiceFs>) -> Result<Findings> {
        let Batch::Setting(rows) = &commit.seal else {
            return Err(Error::new(ErrorKind::Bug, "the seal is no setting"));
        };
        let document = rows.first().map(|row| row.document.0.as_slice()).unwrap_or_default();
        let mut connection = Connection::open(&self.address, &self.stop)?;
        self.claimed()?.commit(&mut connection, document)?;
        self.claim = None;
        Ok(Findings::default())
    }
}

impl std::fmt::Debug for RedisSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisSink").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for RedisSink {
    /// What was not committed is cleared, as far as that goes; its mark stays where it does not, for the next load. Nobody
    /// stops this, since it is what a stop leads to; but a server that is silent is not waited for, and left as it is.
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else { return };
        let (begun, mut address) = (Instant::now(), self.address.clone());
        address.timeouts.read = Some(SILENCE);
        let hands = std::mem::take(&mut *self.hands.lock().unwrap_or_else(PoisonError::into_inner));
        let rest = |hand: &Arc<Mutex<Hand>>| hand.lock().unwrap_or_else(PoisonError::into_inner).rest(begun + SILENCE);
        // Every one of them is told to rest, whatever the others say.
        let resting = hands.iter().filter(|hand| rest(hand)).count();
        if resting == hands.len() {
            let clear = |mut connection: Connection| claim.abandon(&mut connection, begun + CLEARING);
            drop(Connection::open(&address, &Stop::new()).and_then(clear));
        }
    }
}
