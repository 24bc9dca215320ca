//! The key that opens encrypted files, and how they are encrypted: as the user names both. It never shows either.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use metaferry_codecs::juicefs::envelope::{Algorithm, KeyError, PrivateKey};
use metaferry_pipeline::{Error, Result};
use zeroize::Zeroizing;

/// A private key of 16384 bits in PEM form, and a chain of certificates beside it.
const MOST_BYTES: u64 = 256 << 10;

/// What opens the encrypted objects of one volume.
#[derive(Debug)]
pub struct EnvelopeKey {
    pub(super) key: PrivateKey,
    pub(super) algorithm: Algorithm,
}

impl EnvelopeKey {
    /// Reads the private key in the file `path`, for data encrypted by JuiceFS's `algorithm`.
    ///
    /// # Errors
    /// What is no private RSA key, needs another passphrase, or is used with an algorithm that is not supported.
    pub fn read(path: &Path, algorithm: &str, passphrase: Option<&[u8]>) -> Result<Self> {
        let name = format!("the key {}", path.display());
        let mut pem = Zeroizing::new(Vec::new());
        let read = File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut pem));
        read.map_err(|cause| Error::config(format!("{name} cannot be read")).because(cause))?;
        Self::of(&pem, &name, algorithm, passphrase)
    }

    /// The private key in a PEM text, which messages call `name`.
    ///
    /// # Errors
    /// As [`EnvelopeKey::read`].
    pub fn of(pem: &[u8], name: &str, algorithm: &str, passphrase: Option<&[u8]>) -> Result<Self> {
        let algorithm = Algorithm::named(algorithm).map_err(|error| Error::config(error.to_string()))?;
        let key = PrivateKey::read(pem, passphrase).map_err(|error| {
            let refused = Error::config(format!("{name}: {error}"));
            match error {
                KeyError::NeedsPassphrase => refused.hint("set the environment variable JFS_RSA_PASSPHRASE"),
                KeyError::WrongPassphrase => refused.hint("correct the environment variable JFS_RSA_PASSPHRASE"),
                KeyError::NotPem | KeyError::NotPrivate(_) | KeyError::NotRsa(_) => {
                    refused.hint("name the private RSA key that the volume was formatted with")
                }
                _ => refused,
            }
        })?;
        Ok(Self { key, algorithm })
    }
}
