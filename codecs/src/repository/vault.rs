//! Vault: how content becomes the bytes of an object and back: as it is, or encrypted under keys that follow from one master
//! key. It names content by a digest, which is keyed where content is secret.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::{Cutter, Id};
use crate::archive::sha256;
use crate::{Error, Result};

const WHAT: &str = "encrypted object";
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// What encryption adds to an object, in bytes.
pub const SEALED_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// Seals and opens what is in a repository.
#[derive(Clone)]
pub struct Vault {
    keys: Option<Keys>,
}

#[derive(Clone)]
struct Keys {
    naming: hmac::Key,
    sealing: hmac::Key,
    seed: u64,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("is_encrypted", &self.keys.is_some()).finish()
    }
}

impl Vault {
    /// One that encrypts nothing.
    #[must_use]
    pub fn plain() -> Self {
        Self { keys: None }
    }

    /// One whose keys all follow from `master`.
    #[must_use]
    pub fn encrypted(master: &Zeroizing<[u8; 32]>) -> Self {
        let master = hmac::Key::new(hmac::HMAC_SHA256, master.as_slice());
        let derived = |label: &[u8]| hmac::sign(&master, label);
        let key = |label: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, derived(label).as_ref());
        let seed = derived(b"metaferry boundaries").as_ref().first_chunk().copied().unwrap_or_default();
        let (naming, sealing) = (key(b"metaferry names"), key(b"metaferry contents"));
        Self { keys: Some(Keys { naming, sealing, seed: u64::from_le_bytes(seed) }) }
    }

    /// Whether it encrypts.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.keys.is_some()
    }

    /// What some content is called.
    #[must_use]
    pub fn id(&self, content: &[u8]) -> Id {
        match &self.keys {
            None => sha256(content),
            Some(keys) => digest(&keys.naming, content),
        }
    }

    /// Where rows are cut.
    #[must_use]
    pub fn cutter(&self) -> Cutter {
        Cutter::new(self.keys.as_ref().map_or(0, |keys| keys.seed))
    }

    /// The bytes of an object, bound to `label`: under another they do not open.
    ///
    /// # Errors
    /// Where there is no randomness to be had.
    pub fn seal(&self, label: &[u8], content: &[u8]) -> Result<Vec<u8>> {
        let Some(keys) = &self.keys else { return Ok(content.to_vec()) };
        let failed = |_| Error::malformed(WHAT, "it cannot be sealed");
        let mut nonce = [0; NONCE_BYTES];
        aws_lc_rs::rand::fill(&mut nonce).map_err(failed)?;
        let mut sealed = Vec::with_capacity(content.len() + SEALED_BYTES);
        sealed.extend_from_slice(content);
        let key = keys.sealing_key(label)?;
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce_of, Aad::from(label), &mut sealed).map_err(failed)?;
        sealed.extend_from_slice(&nonce);
        Ok(sealed)
    }

    /// What [`Vault::seal`] sealed.
    ///
    /// # Errors
    /// What was altered, what lay under another label, another key.
    pub fn open(&self, label: &[u8], object: &[u8]) -> Result<Vec<u8>> {
        let Some(keys) = &self.keys else { return Ok(object.to_vec()) };
        let (sealed, nonce) = object.split_last_chunk::<NONCE_BYTES>().ok_or(Error::Truncated(WHAT))?;
        let mut content = sealed.to_vec();
        let key = keys.sealing_key(label)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.open_in_place(nonce, Aad::from(label), &mut content).map_err(|_| Error::Checksum(WHAT))?;
        let length = opened.len();
        content.truncate(length);
        Ok(content)
    }
}

impl Keys {
    /// Each label has a key of its own, so that no key ever seals so much that nonces by chance would meet.
    fn sealing_key(&self, label: &[u8]) -> Result<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, &digest(&self.sealing, label));
        key.map(LessSafeKey::new).map_err(|_| Error::malformed(WHAT, "a key that is none"))
    }
}

fn digest(key: &hmac::Key, content: &[u8]) -> Id {
    hmac::sign(key, content).as_ref().first_chunk().copied().unwrap_or_default()
}
