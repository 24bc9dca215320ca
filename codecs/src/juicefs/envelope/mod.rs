//! The envelope around every object of an encrypted volume (`pkg/object/encrypt.go`): a key of its own, wrapped by the
//! volume's RSA key, a nonce, the ciphertext and its tag. It is opened and sealed a piece at a time, and does no I/O.
//!
//! What an [`Opener`] hands out is proven by [`Opener::finish`] and by nothing before it.

mod aead;
mod key;
mod pem;

#[cfg(test)]
mod tests;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

pub use key::{KeyError, PrivateKey};

use crate::{Error, Result};
use aead::{Aead, BLOCK, KEY_BYTES, NONCE_BYTES, TAG_BYTES};

const WHAT: &str = "encrypted object";
/// Two bytes for the length of the wrapped key, one for that of the nonce.
const LENGTHS: usize = 3;
/// Wrapped keys are as long as the RSA key: from 512 bits, which nobody uses, to twice what anybody does.
const WRAPPED_BYTES: std::ops::RangeInclusive<usize> = 64..=2048;
/// The longest beginning of an envelope, up to its first byte of ciphertext.
pub const MAX_HEADER: usize = LENGTHS + 2048 + NONCE_BYTES;

/// How much longer an envelope is than its header and its content, in bytes.
pub const TRAILER: usize = TAG_BYTES;

/// How the data of an envelope is encrypted; the envelope itself does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// `aes256gcm-rsa`
    #[default]
    Aes256Gcm,
    /// `chacha20-rsa`
    ChaCha20Poly1305,
}

impl Algorithm {
    /// The algorithm that JuiceFS calls by this name; its setting leaves the first one empty.
    ///
    /// # Errors
    /// SM4, which is not supported, and names that JuiceFS does not know.
    pub fn named(name: &str) -> Result<Self> {
        let found = match name {
            "" | "aes256gcm-rsa" => return Ok(Self::Aes256Gcm),
            "chacha20-rsa" => return Ok(Self::ChaCha20Poly1305),
            "sm4gcm" => "sm4gcm (SM4 with SM2 keys), while aes256gcm-rsa and chacha20-rsa are understood".to_owned(),
            other => format!("{other}, while aes256gcm-rsa and chacha20-rsa are understood"),
        };
        Err(Error::Unsupported { what: "encryption algorithm", found })
    }

    /// JuiceFS's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes256gcm-rsa",
            Self::ChaCha20Poly1305 => "chacha20-rsa",
        }
    }
}

/// Whether a file or a stream that begins like this can be an envelope. Nothing else that holds metadata begins so.
#[must_use]
pub fn is_at(beginning: &[u8]) -> bool {
    lengths(beginning).is_some_and(|(wrapped, nonce)| WRAPPED_BYTES.contains(&wrapped) && nonce == NONCE_BYTES)
}

fn lengths(beginning: &[u8]) -> Option<(usize, usize)> {
    let [high, low, nonce] = *beginning.first_chunk()?;
    Some((usize::from(u16::from_be_bytes([high, low])), usize::from(nonce)))
}

/// Opens one envelope.
pub struct Opener {
    aead: Aead,
    /// What may be the tag, and what fills no block before it.
    held: Vec<u8>,
}

impl Opener {
    /// Reads the header at the beginning of `bytes`, and says how long it is; [`Opener::open`] takes what follows.
    ///
    /// # Errors
    /// What is no envelope, was cut off, or was not sealed for this key.
    pub fn begin(bytes: &[u8], key: &PrivateKey, algorithm: Algorithm) -> Result<(Self, usize)> {
        let (wrapped_length, nonce_length) = lengths(bytes).ok_or(Error::Truncated(WHAT))?;
        if !is_at(bytes) {
            let why = format!("a wrapped key of {wrapped_length} bytes and a nonce of {nonce_length}");
            return Err(Error::malformed(WHAT, why));
        }
        let (_, rest) = bytes.split_at_checked(LENGTHS).ok_or(Error::Truncated(WHAT))?;
        let (wrapped, rest) = rest.split_at_checked(wrapped_length).ok_or(Error::Truncated(WHAT))?;
        let nonce = rest.first_chunk().ok_or(Error::Truncated(WHAT))?;
        let data_key = key.unwrap(wrapped)?;
        let data_key = data_key.as_slice().try_into();
        let data_key: &[u8; KEY_BYTES] = data_key.map_err(|_| Error::malformed(WHAT, "its key is not of 32 bytes"))?;
        let aead = Aead::new(algorithm, data_key, nonce);
        Ok((Self { aead, held: Vec::new() }, LENGTHS + wrapped_length + NONCE_BYTES))
    }

    /// Takes the next bytes of the envelope, and appends to `text` what can be decrypted.
    ///
    /// # Errors
    /// An envelope larger than any can be.
    pub fn open(&mut self, bytes: &[u8], text: &mut Vec<u8>) -> Result<()> {
        let from = text.len();
        text.append(&mut self.held);
        text.extend_from_slice(bytes);
        let whole = (text.len() - from).saturating_sub(TAG_BYTES) / BLOCK * BLOCK;
        self.held = text.split_off(from + whole);
        self.aead.open(text.get_mut(from..).unwrap_or_default())
    }

    /// Ends the envelope: appends the rest to `text`, and proves all of it.
    ///
    /// # Errors
    /// An envelope that was cut off, altered, or sealed by another algorithm.
    pub fn finish(mut self, text: &mut Vec<u8>) -> Result<()> {
        let (rest, tag) = self.held.split_last_chunk_mut::<TAG_BYTES>().ok_or(Error::Truncated(WHAT))?;
        self.aead.open(rest)?;
        verify_slices_are_equal(&self.aead.finish(), tag).map_err(|_| Error::Checksum(WHAT))?;
        text.extend_from_slice(rest);
        Ok(())
    }
}

/// Seals one envelope, under a fresh key and nonce.
pub struct Sealer {
    aead: Aead,
    /// What fills no block.
    held: Vec<u8>,
}

impl Sealer {
    /// Begins an envelope for whoever has `key`: appends its header to `out`.
    ///
    /// # Errors
    /// A system without random numbers.
    pub fn begin(key: &PrivateKey, algorithm: Algorithm, out: &mut Vec<u8>) -> Result<Self> {
        let mut data_key = Zeroizing::new([0; KEY_BYTES]);
        let mut nonce = [0; NONCE_BYTES];
        let no_chance = |_| Error::malformed(WHAT, "the system gives no random numbers");
        aws_lc_rs::rand::fill(data_key.as_mut_slice()).map_err(no_chance)?;
        aws_lc_rs::rand::fill(&mut nonce).map_err(no_chance)?;
        let wrapped = key.wrap(data_key.as_slice())?;
        let length = u16::try_from(wrapped.len());
        let length = length.map_err(|_| Error::TooLarge { what: WHAT, bound: u64::from(u16::MAX) })?;
        out.extend_from_slice(&length.to_be_bytes());
        out.push(NONCE_BYTES as u8);
        out.extend_from_slice(&wrapped);
        out.extend_from_slice(&nonce);
        Ok(Self { aead: Aead::new(algorithm, &data_key, &nonce), held: Vec::new() })
    }

    /// Takes the next bytes of the content, and appends to `out` what can be encrypted.
    ///
    /// # Errors
    /// A content larger than an envelope can hold.
    pub fn seal(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let from = out.len();
        out.append(&mut self.held);
        out.extend_from_slice(bytes);
        let whole = (out.len() - from) / BLOCK * BLOCK;
        self.held = out.split_off(from + whole);
        self.aead.seal(out.get_mut(from..).unwrap_or_default())
    }

    /// Ends the envelope.
    ///
    /// # Errors
    /// As [`Sealer::seal`].
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<()> {
        self.aead.seal(&mut self.held)?;
        out.append(&mut self.held);
        out.extend_from_slice(&self.aead.finish());
        Ok(())
    }
}
