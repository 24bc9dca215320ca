//! Keys: what protects the master key of an encrypted repository: a passphrase, or keys of age. Neither they nor the master key
//! are ever in a text made here.

use std::fmt;
use std::io::{Read, Write};
use std::path::PathBuf;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::SecretString;
use age::{Decryptor, Encryptor, Identity, IdentityFile, Recipient, scrypt, x25519};
use metaferry_pipeline::{Error, ErrorKind, Result};
use zeroize::Zeroizing;

/// The longest wrapped key that is unwrapped, in bytes.
const MOST_WRAPPED: usize = 64 << 10;

/// What opens an encrypted repository, or is to protect one that is made.
#[derive(Clone, Default)]
pub struct RepositoryKeys {
    /// A passphrase, by itself.
    pub passphrase: Option<Zeroizing<String>>,
    /// A file of identities, as `age-keygen` writes it.
    pub identities: Option<PathBuf>,
    /// Public keys, `age1…`, that are to open a new repository beside those identities.
    pub recipients: Vec<String>,
}

impl fmt::Debug for RepositoryKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepositoryKeys").field("are_given", &self.are_given()).finish_non_exhaustive()
    }
}

impl RepositoryKeys {
    /// Whether there is anything to encrypt with.
    #[must_use]
    pub fn are_given(&self) -> bool {
        self.passphrase.is_some() || self.identities.is_some()
    }

    fn identities(&self) -> Result<Option<IdentityFile<age::NoCallbacks>>> {
        let Some(path) = &self.identities else { return Ok(None) };
        let wrong = |cause: std::io::Error| Error::config(format!("identities in {}", path.display())).because(cause);
        IdentityFile::from_file(path.display().to_string()).map(Some).map_err(wrong)
    }

    /// A master key, wrapped for whoever is to open it.
    pub(super) fn wrap(&self, master: &[u8; 32]) -> Result<String> {
        let wrong = |cause: age::EncryptError| Error::config("the key of a new repository").because(cause);
        let mut to: Vec<Box<dyn Recipient + Send>> = Vec::new();
        if let Some(passphrase) = &self.passphrase {
            to.push(Box::new(scrypt::Recipient::new(SecretString::from(passphrase.as_str()))));
        }
        if let Some(file) = self.identities()? {
            to.extend(file.to_recipients().map_err(wrong)?);
        }
        for text in &self.recipients {
            let recipient: x25519::Recipient =
                text.parse().map_err(|why: &str| Error::config(format!("{text} is no public key of age: {why}")))?;
            to.push(Box::new(recipient));
        }
        let encryptor = Encryptor::with_recipients(to.iter().map(|recipient| recipient.as_ref() as &dyn Recipient));
        let encryptor = encryptor.map_err(wrong)?;
        let write = || {
            let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?)?;
            writer.write_all(master)?;
            writer.finish()?.finish()
        };
        let wrapped = write().map_err(|cause| Error::engine("wrap the key of a repository", cause))?;
        String::from_utf8(wrapped).map_err(|cause| Error::engine("wrap the key of a repository", cause))
    }

    /// The master key that was wrapped so.
    pub(super) fn unwrap(&self, wrapped: &str) -> Result<Zeroizing<[u8; 32]>> {
        if !self.are_given() {
            return Err(Error::config("the repository is encrypted")
                .hint("give its passphrase in METAFERRY_PASSPHRASE or --passphrase-file, or --identity FILE"));
        }
        let mut identities: Vec<Box<dyn Identity + Send + Sync>> = Vec::new();
        if let Some(passphrase) = &self.passphrase {
            identities.push(Box::new(scrypt::Identity::new(SecretString::from(passphrase.as_str()))));
        }
        if let Some(file) = self.identities()? {
            let wrong = |cause: age::DecryptError| Error::config("the identities").because(cause);
            identities.extend(file.into_identities().map_err(wrong)?);
        }
        let damaged = || Error::corrupt("the wrapped key of the repository is damaged");
        let input = ArmoredReader::new(wrapped.as_bytes().get(..MOST_WRAPPED).unwrap_or(wrapped.as_bytes()));
        let decryptor = Decryptor::new_buffered(input).map_err(|cause| damaged().because(cause))?;
        let reader = decryptor.decrypt(identities.iter().map(|identity| identity.as_ref() as &dyn Identity));
        let mut reader = reader.map_err(|cause| match cause {
            age::DecryptError::NoMatchingKeys
            | age::DecryptError::KeyDecryptionFailed
            | age::DecryptError::DecryptionFailed => {
                Error::new(ErrorKind::Config, "this key does not open the repository")
            }
            other => damaged().because(other),
        })?;
        let mut master = Zeroizing::new([0; 32]);
        reader.read_exact(master.as_mut_slice()).map_err(|cause| damaged().because(cause))?;
        Ok(master)
    }
}
