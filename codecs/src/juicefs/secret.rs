//! A secret as a setting stores it (`pkg/meta/config.go: Encrypt, Decrypt`): base64 of nonce, ciphertext and tag, under a
//! key that anyone who knows the volume's UUID can work out. It hides secrets from a glance, and from nothing else.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64ct::{Base64, Encoding};
use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::envelope::Algorithm;
use super::setting::REMOVED;
use crate::{Error, Result};

const WHAT: &str = "secret in the setting";
const NONCE_BYTES: usize = 12;

/// Opens a secret that the setting of the volume `uuid` stores; `algorithm` is the setting's `EncryptAlgo`.
///
/// # Errors
/// What was removed, altered, or stored for another volume, and SM4.
pub fn open(stored: &str, uuid: &str, algorithm: &str) -> Result<Zeroizing<Vec<u8>>> {
    if stored == REMOVED {
        return Err(Error::malformed(WHAT, "it was taken out of the dump"));
    }
    let key = key(uuid, algorithm)?;
    let decoded = Base64::decode_vec(stored).map_err(|_| Error::malformed(WHAT, "it is no base64"))?;
    let mut bytes = Zeroizing::new(decoded);
    let (nonce, sealed) = bytes.split_first_chunk_mut::<NONCE_BYTES>().ok_or(Error::Truncated(WHAT))?;
    let opened = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), sealed);
    Ok(Zeroizing::new(opened.map_err(|_| Error::Checksum(WHAT))?.to_vec()))
}

/// The form in which the setting of the volume `uuid` stores a secret.
///
/// # Errors
/// SM4, and a system without random numbers.
pub fn seal(secret: &[u8], uuid: &str, algorithm: &str) -> Result<String> {
    let key = key(uuid, algorithm)?;
    let mut nonce = [0; NONCE_BYTES];
    let failed = |_| Error::malformed(WHAT, "it cannot be encrypted on this system");
    aws_lc_rs::rand::fill(&mut nonce).map_err(failed)?;
    let mut sealed = secret.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed).map_err(failed)?;
    Ok(Base64::encode_string(&[&nonce, sealed.as_slice()].concat()))
}

fn key(uuid: &str, algorithm: &str) -> Result<LessSafeKey> {
    Algorithm::named(algorithm)?;
    let key = UnboundKey::new(&AES_128_GCM, &Md5::digest(uuid)).map_err(|_| Error::malformed(WHAT, "no key"))?;
    Ok(LessSafeKey::new(key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "faa27c8f-edab-4791-a4e0-1620b732b343";
    /// Stored by JuiceFS.
    const STORED: &str = "AQSttslKOSE/hQT/gmaMniCsdPF8JdPRfoYK6zFkdUOnifYwBA==";

    #[test]
    fn what_juicefs_stored_is_opened() {
        assert_eq!(open(STORED, UUID, "").unwrap().as_slice(), b"foobarbaz");
        assert_eq!(open(STORED, UUID, "chacha20-rsa").unwrap().as_slice(), b"foobarbaz");
    }

    #[test]
    fn what_cannot_be_opened_is_said_to_be_so() {
        assert_eq!(open(STORED, "another", "").unwrap_err(), Error::Checksum(WHAT));
        assert!(open(STORED, UUID, "sm4gcm").unwrap_err().to_string().contains("sm4gcm"));
        assert!(open(REMOVED, UUID, "").unwrap_err().to_string().contains("taken out"));
        assert!(open("not base64", UUID, "").is_err());
        assert_eq!(open("AQSt", UUID, "").unwrap_err(), Error::Truncated(WHAT));
        assert_eq!(open("", UUID, "").unwrap_err(), Error::Truncated(WHAT));
    }

    proptest! {
        #[test]
        fn sealed_opens_again_and_differs_each_time(secret in any::<Vec<u8>>(), uuid in ".*") {
            let stored = seal(&secret, &uuid, "").unwrap();
            prop_assert_eq!(open(&stored, &uuid, "").unwrap().to_vec(), secret.clone());
            prop_assert_ne!(seal(&secret, &uuid, "").unwrap(), stored);
        }
    }
}
