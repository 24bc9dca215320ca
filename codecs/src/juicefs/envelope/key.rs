//! The RSA key of an encrypted volume, out of every form in which JuiceFS takes it: PEM, PKCS#1 or PKCS#8, protected by a
//! passphrase or not. Neither keys nor passphrases are ever in a text made here.

use std::fmt;

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey};
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{AnyRef, Decode};
use pkcs8::{AlgorithmIdentifierRef, EncryptedPrivateKeyInfoRef, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument};
use zeroize::Zeroizing;

use super::WHAT;
use super::pem::{Block, blocks};
use crate::{Error, Result};

const LABEL: &[u8] = b"keys";
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Why a file gives no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a text in PEM form.
    #[error("it is no key in PEM form: there is no line that begins with -----BEGIN")]
    NotPem,
    /// PEM, but of something else.
    #[error("it holds no private key, but a {0}")]
    NotPrivate(String),
    /// A private key, but not for RSA.
    #[error("it holds no RSA key, but {0}")]
    NotRsa(String),
    /// It is protected, and there was no passphrase.
    #[error("it is protected by a passphrase, and none was given")]
    NeedsPassphrase,
    /// It is protected by another passphrase.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// Protected in a way that is not supported.
    #[error("{0}, which is not supported")]
    Unsupported(String),
    /// A private key that was altered or cut off.
    #[error("it is damaged: {0}")]
    Malformed(String),
}

/// A private RSA key, with its public half.
pub struct PrivateKey {
    private: OaepPrivateDecryptingKey,
    public: OaepPublicEncryptingKey,
}

impl PrivateKey {
    /// Reads the first private key in a PEM text. A passphrase that is not needed does no harm.
    ///
    /// # Errors
    /// What is no private RSA key, or does not open with this passphrase.
    pub fn read(pem: &[u8], passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let blocks = blocks(pem)?;
        let labels: Vec<_> = blocks.iter().map(|block| block.label.to_lowercase()).collect();
        let private = blocks.into_iter().find(|block| block.label.ends_with("PRIVATE KEY"));
        let block = private.ok_or_else(|| KeyError::NotPrivate(labels.join(" and a ")))?;
        let passphrase = passphrase.filter(|passphrase| !passphrase.is_empty());
        match block.label.as_str() {
            "RSA PRIVATE KEY" | "PRIVATE KEY" => {
                let was_protected = block.is_protected();
                let body = block.open(passphrase)?;
                // A wrong passphrase passes the padding once in 256 times.
                Self::from_der(&body).map_err(|error| match error {
                    KeyError::Malformed(_) if was_protected => KeyError::WrongPassphrase,
                    other => other,
                })
            }
            "ENCRYPTED PRIVATE KEY" => Self::from_encrypted(block, passphrase),
            other => Err(KeyError::NotRsa(format!("one of the form {other}"))),
        }
    }

    fn from_encrypted(block: Block, passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let passphrase = passphrase.ok_or(KeyError::NeedsPassphrase)?;
        let body = block.open(None)?;
        let info = EncryptedPrivateKeyInfoRef::from_der(&body);
        let info = info.map_err(|error| KeyError::Malformed(error.to_string()))?;
        let document = info.decrypt(passphrase).map_err(|error| match error {
            pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed) | pkcs8::Error::Asn1(_) => {
                KeyError::WrongPassphrase
            }
            other => KeyError::Unsupported(format!("it is protected in a way of its own ({other})")),
        })?;
        Self::from_der(document.as_bytes())
    }

    /// Of PKCS#8 or of PKCS#1, which are told apart by what they hold.
    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let damaged = |error: pkcs8::der::Error| KeyError::Malformed(error.to_string());
        if let Ok(info) = PrivateKeyInfoRef::from_der(der) {
            if info.algorithm.oid != RSA {
                return Err(KeyError::NotRsa(format!("one of the algorithm {}", name(info.algorithm.oid))));
            }
            return Self::from_pkcs8(der);
        }
        let algorithm = AlgorithmIdentifierRef { oid: RSA, parameters: Some(AnyRef::NULL) };
        let info = PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(der).map_err(damaged)?);
        let wrapped = SecretDocument::encode_msg(&info).map_err(damaged)?;
        Self::from_pkcs8(wrapped.as_bytes())
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let key = PrivateDecryptingKey::from_pkcs8(der).map_err(|error| KeyError::Malformed(error.to_string()))?;
        let broken = |_| KeyError::Malformed("it cannot be used".to_owned());
        let public = OaepPublicEncryptingKey::new(key.public_key()).map_err(broken)?;
        Ok(Self { private: OaepPrivateDecryptingKey::new(key).map_err(broken)?, public })
    }

    /// The key of an envelope.
    pub(super) fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let bytes = self.private.key_size_bytes();
        if wrapped.len() != bytes {
            let why = format!("it was encrypted for a key of {} bits, not of {}", wrapped.len() * 8, bytes * 8);
            return Err(Error::malformed(WHAT, why));
        }
        let mut room = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let opened = self.private.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut room, Some(LABEL));
        let length = opened.map(|opened| opened.len());
        let length = length.map_err(|_| Error::malformed(WHAT, "this key does not open it, or it was altered"))?;
        room.truncate(length);
        Ok(room)
    }

    /// A key, for whoever has this one.
    pub(super) fn wrap(&self, key: &[u8]) -> Result<Vec<u8>> {
        let mut room = vec![0; self.public.ciphertext_size()];
        let wrapped = self.public.encrypt(&OAEP_SHA256_MGF1SHA256, key, &mut room, Some(LABEL));
        let length = wrapped.map(|wrapped| wrapped.len());
        room.truncate(length.map_err(|_| Error::malformed(WHAT, "its key cannot be wrapped"))?);
        Ok(room)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("bits", &self.private.key_size_bits()).finish_non_exhaustive()
    }
}

fn name(algorithm: ObjectIdentifier) -> String {
    match algorithm.to_string().as_str() {
        "1.2.840.10045.2.1" => "EC (elliptic curves, SM2 among them)".to_owned(),
        "1.3.101.110" | "1.3.101.111" | "1.3.101.112" | "1.3.101.113" => "Ed25519 or a like one".to_owned(),
        other => other.to_owned(),
    }
}
