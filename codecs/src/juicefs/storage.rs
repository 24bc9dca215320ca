//! Where a volume keeps its objects and what opens them, as its setting says (`cmd/format.go: createStorage`), and how their
//! keys look. It opens secrets, shows none, and knows no store.

use std::fmt;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::secret;
use super::setting::{self, REMOVED};
use crate::{Error, Result};

/// A secret of a setting, in the clear.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Secret {
    /// There is none.
    #[default]
    Absent,
    /// A dump took it out.
    Removed,
    /// What it is.
    Known(Zeroizing<String>),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Removed => "Removed",
            Self::Known(_) => "Known",
        })
    }
}

impl Secret {
    /// The text; empty where there is none.
    ///
    /// # Errors
    /// It was taken out; `name` says which.
    pub fn text(&self, name: &str) -> Result<Zeroizing<String>> {
        match self {
            Self::Absent => Ok(Zeroizing::default()),
            Self::Removed => Err(Error::malformed("setting", format!("its {name} was taken out"))),
            Self::Known(text) => Ok(text.clone()),
        }
    }
}

/// Where a volume keeps its objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Storage {
    /// The name of the volume: every key begins with it.
    pub volume: String,
    /// Its UUID.
    pub uuid: String,
    /// The kind of store, in lower case.
    pub kind: String,
    /// Where it is, in the form of that kind.
    pub bucket: String,
    /// How many buckets there are; 0 and 1 are one.
    pub shards: u32,
    /// The public half of the key, or a user's name.
    pub access_key: String,
    /// Its other half, or a password.
    pub secret_key: Secret,
    /// A token that goes with both.
    pub session_token: Secret,
    /// The private key in PEM form that objects are encrypted for, where they are.
    pub encrypt_key: Secret,
    /// How they are encrypted.
    pub encrypt_algorithm: String,
}

impl Storage {
    /// Reads it out of a setting.
    ///
    /// # Errors
    /// What is no setting, and a secret that cannot be opened.
    pub fn read(document: &[u8]) -> Result<Self> {
        let summary = setting::read(document)?;
        let fields = setting::parse(document)?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let shards = fields.get("Shards").and_then(Value::as_u64).unwrap_or_default();
        Ok(Self {
            volume: summary.name,
            uuid: summary.uuid,
            kind: summary.storage.to_lowercase(),
            bucket: summary.bucket,
            shards: u32::try_from(shards)
                .map_err(|_| Error::malformed("setting", "its Shards are no number of buckets"))?,
            access_key: text("AccessKey"),
            secret_key: opened(&fields, "SecretKey")?,
            session_token: opened(&fields, "SessionToken")?,
            encrypt_key: opened(&fields, "EncryptKey")?,
            encrypt_algorithm: text("EncryptAlgo"),
        })
    }
}

fn opened(fields: &Map<String, Value>, name: &str) -> Result<Secret> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let is_sealed = fields.get("KeyEncrypted").and_then(Value::as_bool).unwrap_or(false);
    match text(name) {
        "" => Ok(Secret::Absent),
        REMOVED => Ok(Secret::Removed),
        stored if is_sealed => {
            let secret = secret::open(stored, text("UUID"), text("EncryptAlgo"))?;
            let text = std::str::from_utf8(&secret)
                .map_err(|_| Error::malformed("setting", format!("its {name} is not UTF-8")))?;
            Ok(Secret::Known(Zeroizing::new(text.to_owned())))
        }
        plain => Ok(Secret::Known(Zeroizing::new(plain.to_owned()))),
    }
}

/// Which of several buckets holds a key, the name of the volume included (`object/sharding.go`): FNV-1a of 32 bits.
#[must_use]
pub fn shard_of(key: &str, shards: usize) -> usize {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash as usize).checked_rem(shards).unwrap_or_default()
}

/// The slice that a block is of, by the last part of its key: `ID_INDEX_SIZE` (`chunk/cached_store.go`).
#[must_use]
pub fn slice_of(name: &str) -> Option<u64> {
    let mut parts = name.split('_').map(number);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Some(id)), Some(Some(_)), Some(Some(_)), None) => Some(id),
        _ => None,
    }
}

/// A number as keys have it: digits alone.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: &str = r#"{"Name":"myjfs","UUID":"faa27c8f-edab-4791-a4e0-1620b732b343","Storage":"S3","Bucket":"b",
        "AccessKey":"AK","SecretKey":"AQSttslKOSE/hQT/gmaMniCsdPF8JdPRfoYK6zFkdUOnifYwBA==","SessionToken":"removed",
        "KeyEncrypted":true,"Shards":3}"#;

    #[test]
    fn a_setting_says_where_objects_are() {
        let storage = Storage::read(SETTING.as_bytes()).unwrap();
        assert_eq!((storage.kind.as_str(), storage.shards, storage.volume.as_str()), ("s3", 3, "myjfs"));
        assert_eq!(storage.secret_key.text("SecretKey").unwrap().as_str(), "foobarbaz");
        assert!(
            storage.session_token.text("SessionToken").unwrap_err().to_string().contains("SessionToken was taken out")
        );
        assert_eq!(storage.encrypt_key, Secret::Absent);
        assert!(!format!("{storage:?}").contains("foobarbaz"));
        let plain = SETTING.replace("\"KeyEncrypted\":true,", "");
        assert!(Storage::read(plain.as_bytes()).unwrap().secret_key.text("SecretKey").unwrap().starts_with("AQS"));
        let altered = SETTING.replace("AQSt", "BQSt");
        assert!(Storage::read(altered.as_bytes()).is_err());
    }

    #[test]
    fn keys_are_spread_as_juicefs_does() {
        // FNV-1a of 32 bits: vectors of its authors.
        assert_eq!(shard_of("", usize::MAX), 0x811c_9dc5);
        assert_eq!(shard_of("a", usize::MAX), 0xe40c_292c);
        assert_eq!(shard_of("foobar", usize::MAX), 0xbf9c_f968);
        assert_eq!(shard_of("foobar", 7), 0xbf9c_f968 % 7);
        assert_eq!(shard_of("foobar", 0), 0);
    }

    #[test]
    fn a_block_names_its_slice() {
        assert_eq!(slice_of("1234567_0_4194304"), Some(1_234_567));
        for other in ["", "1_2", "1_2_3_4", "x_0_1", "1_0_", ".jfs.1_0_4.tmp.3", "+1_0_4", "99999999999999999999_0_1"] {
            assert_eq!(slice_of(other), None, "{other}");
        }
    }
}
