//! Authenticated encryption, a piece at a time: AES-256-GCM and ChaCha20-Poly1305 over data of any length in flat memory.
//! It knows no envelope. What it decrypts is proven only by the tag at the end.

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use chacha20::ChaCha20;
use ctr::Ctr32BE;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use poly1305::Poly1305;

use super::{Algorithm, WHAT};
use crate::{Error, Result};

pub(super) const KEY_BYTES: usize = 32;
pub(super) const NONCE_BYTES: usize = 12;
pub(super) const TAG_BYTES: usize = 16;
pub(super) const BLOCK: usize = 16;
/// Hashed and decrypted at once, so that the second finds it in the nearest cache.
const PIECE: usize = 8 << 10;
/// 2³² − 2 blocks of 16 bytes; ChaCha20's bound is higher, and nothing here is.
const MOST_BYTES: u64 = ((1 << 32) - 2) * 16;

/// One stream under one key and nonce, in one direction.
pub(super) struct Aead {
    cipher: Cipher,
    length: u64,
}

enum Cipher {
    Aes { stream: Box<Ctr32BE<Aes256>>, hash: Box<GHash>, mask: [u8; TAG_BYTES] },
    ChaCha { stream: Box<ChaCha20>, hash: Box<Poly1305> },
}

impl Aead {
    pub(super) fn new(algorithm: Algorithm, key: &[u8; KEY_BYTES], nonce: &[u8; NONCE_BYTES]) -> Self {
        let cipher = match algorithm {
            Algorithm::Aes256Gcm => aes(key, nonce),
            Algorithm::ChaCha20Poly1305 => {
                let mut stream = Box::new(ChaCha20::new(key.into(), nonce.into()));
                // Block 0 of the stream is the hash's key, and what is left of it.
                let mut block = [[0; KEY_BYTES]; 2];
                stream.apply_keystream(block.as_flattened_mut());
                let hash = Box::new(Poly1305::new((&block[0]).into()));
                Cipher::ChaCha { stream, hash }
            }
        };
        Self { cipher, length: 0 }
    }

    /// Decrypts in place. All but the last call are of whole blocks.
    pub(super) fn open(&mut self, data: &mut [u8]) -> Result<()> {
        self.count(data)?;
        for piece in data.chunks_mut(PIECE) {
            self.cipher.hash(piece);
            self.cipher.apply(piece)?;
        }
        Ok(())
    }

    /// Encrypts in place. All but the last call are of whole blocks.
    pub(super) fn seal(&mut self, data: &mut [u8]) -> Result<()> {
        self.count(data)?;
        for piece in data.chunks_mut(PIECE) {
            self.cipher.apply(piece)?;
            self.cipher.hash(piece);
        }
        Ok(())
    }

    /// The tag of all that passed.
    pub(super) fn finish(self) -> [u8; TAG_BYTES] {
        let mut lengths = [0; BLOCK];
        let place = lengths.last_chunk_mut::<8>();
        match self.cipher {
            Cipher::Aes { mut hash, mask, .. } => {
                if let Some(place) = place {
                    *place = (self.length * 8).to_be_bytes();
                }
                hash.update(&[lengths.into()]);
                let mut tag: [u8; TAG_BYTES] = hash.finalize().into();
                tag.iter_mut().zip(mask).for_each(|(tag, mask)| *tag ^= mask);
                tag
            }
            Cipher::ChaCha { mut hash, .. } => {
                if let Some(place) = place {
                    *place = self.length.to_le_bytes();
                }
                hash.update(&[lengths.into()]);
                hash.finalize().into()
            }
        }
    }

    fn count(&mut self, data: &[u8]) -> Result<()> {
        self.length = self.length.saturating_add(data.len() as u64);
        if self.length > MOST_BYTES {
            return Err(Error::TooLarge { what: WHAT, bound: MOST_BYTES });
        }
        Ok(())
    }
}

fn aes(key: &[u8; KEY_BYTES], nonce: &[u8; NONCE_BYTES]) -> Cipher {
    let cipher = Aes256::new(key.into());
    let mut hash_key = aes::Block::default();
    cipher.encrypt_block(&mut hash_key);
    let mut counter = [0; BLOCK];
    counter.iter_mut().zip(nonce).for_each(|(to, from)| *to = *from);
    counter[BLOCK - 1] = 1;
    let mut stream = Box::new(Ctr32BE::<Aes256>::new(key.into(), &counter.into()));
    // The first block of the stream masks the tag.
    let mut mask = [0; TAG_BYTES];
    stream.apply_keystream(&mut mask);
    Cipher::Aes { stream, hash: Box::new(GHash::new(&hash_key)), mask }
}

impl Cipher {
    fn hash(&mut self, ciphertext: &[u8]) {
        match self {
            Self::Aes { hash, .. } => hash.update_padded(ciphertext),
            Self::ChaCha { hash, .. } => hash.update_padded(ciphertext),
        }
    }

    fn apply(&mut self, data: &mut [u8]) -> Result<()> {
        let applied = match self {
            Self::Aes { stream, .. } => stream.try_apply_keystream(data),
            Self::ChaCha { stream, .. } => stream.try_apply_keystream(data),
        };
        applied.map_err(|_| Error::TooLarge { what: WHAT, bound: MOST_BYTES })
    }
}
