//! What every command works with: its options, its stop, its monitor. Ctrl-C sets the stop.

use std::sync::Arc;

use metaferry_codecs::system::Advance;
use metaferry_engines::repository::RepositoryKeys;
use metaferry_pipeline::copy;
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{Error, Monitor, Result, Stop};

use zeroize::Zeroizing;

use crate::args::{Common, CopyArgs};
use crate::secrets;

/// The passphrase of an encrypted repository.
const PASSPHRASE: &str = "METAFERRY_PASSPHRASE";

/// The surroundings of one command.
pub(crate) struct Context {
    pub(crate) common: Common,
    pub(crate) stop: Stop,
    pub(crate) monitor: Arc<Monitor>,
}

impl Context {
    pub(crate) fn new(common: Common) -> Result<Self> {
        if let Some(dir) = common.spill_dir.as_ref().filter(|dir| !dir.is_dir()) {
            return Err(Error::config(format!("--spill-dir {}: there is no such folder", dir.display())));
        }
        let stop = Stop::new();
        let on_signal = stop.clone();
        let mut signals =
            signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])
                .map_err(|error| Error::engine("signals", error))?;
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let mut interrupts = 0;
                for _ in signals.forever() {
                    on_signal.interrupt();
                    interrupts += 1;
                    if interrupts > 1 {
                        std::process::exit(130);
                    }
                }
            })
            .map_err(|error| Error::engine("thread for signals", error))?;
        Ok(Self { common, stop, monitor: Arc::default() })
    }

    /// The same surroundings for work that ends by itself.
    pub(crate) fn stopped_by(&self, stop: &Stop) -> Self {
        Self { common: self.common.clone(), stop: stop.clone(), monitor: Arc::default() }
    }

    pub(crate) fn threads(&self) -> usize {
        usize::from(self.common.threads)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.common.memory as usize * (1 << 20)
    }

    pub(crate) fn spill(&self) -> SpillDir {
        self.common.spill_dir.as_ref().map_or_else(SpillDir::default, SpillDir::new)
    }

    /// What opens an encrypted repository, where that was given.
    pub(crate) fn keys(&self) -> Result<RepositoryKeys> {
        let Common { passphrase_file, identity, .. } = &self.common;
        let passphrase = match passphrase_file {
            Some(path) => Some(secrets::read(path)?),
            None if identity.is_some() => None,
            None => std::env::var(PASSPHRASE)
                .ok()
                .filter(|given| !given.is_empty())
                .map(|given| Zeroizing::new(given.into())),
        };
        let as_text = |bytes: Zeroizing<Vec<u8>>| match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err(Error::config("the passphrase is not UTF-8")),
        };
        let passphrase = passphrase.map(as_text).transpose()?;
        Ok(RepositoryKeys { passphrase, identities: identity.clone(), recipients: Vec::new() })
    }

    pub(crate) fn copy_options(&self, copy: &CopyArgs) -> copy::Options {
        copy::Options {
            threads: self.threads(),
            memory_bytes: self.memory_bytes(),
            spill: self.spill(),
            keep_secrets: copy.keep_secrets,
            keep_counters: false,
            advance: Advance::default(),
            mend: false,
            skip_damaged: copy.skip_damaged,
            prove: false,
            live: true,
            strict: false,
        }
    }
}
