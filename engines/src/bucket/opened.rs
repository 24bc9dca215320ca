//! A bucket that is open: one store, or several that a volume's keys are spread over.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use metaferry_codecs::juicefs::storage::{Storage, shard_of};
use metaferry_pipeline::{Error, Result, Stop};

use super::service::service;
use crate::address::redact;
use crate::objects::{Address, Object, Service, Store};

/// How many buckets a volume has at most: JuiceFS takes 256.
const MOST_SHARDS: u32 = 256;

/// What holds the UUID of the volume (`cmd/format.go`), and how long it may be, encrypted.
const UUID: &str = "juicefs_uuid";
const MOST_UUID: usize = 4096;

/// The objects of a volume.
pub struct Bucket {
    shards: Vec<Arc<Store>>,
    /// What every key begins with; nothing where the volume's name is not known, nor needed.
    prefix: String,
    shown: String,
}

impl Bucket {
    /// The bucket that a volume's setting names. Nothing is read yet.
    ///
    /// # Errors
    /// A kind of storage that is not known, secrets that were taken out, and a folder that is not there.
    pub fn of_volume(storage: &Storage, stop: &Stop) -> Result<Self> {
        let env = |name: &str| std::env::var(name).ok();
        let count = storage.shards.max(1);
        if count > MOST_SHARDS {
            return Err(Error::corrupt(format!("the volume {} has {count} buckets", storage.volume)));
        }
        let mut shards: Vec<Arc<Store>> = Vec::new();
        for number in 0..count {
            let bucket = if count > 1 { numbered(&storage.bucket, number)? } else { storage.bucket.clone() };
            let shown = format!("{} {}", storage.kind, redact(&bucket));
            let service = service(storage, &bucket, &env).map_err(|error| error.at(&shown))?;
            // Whoever opens a folder makes it; and a volume has none on the wrong machine.
            if let Service::Folder { root, .. } = &service
                && !Path::new(root).is_dir()
            {
                let what = format!("there is no folder {root}, where the volume {} has its objects", storage.volume);
                return Err(Error::config(what).hint("run where it is mounted"));
            }
            shards.push(Arc::new(match shards.first() {
                None => Store::open(&service, shown, stop)?,
                Some(first) => first.beside(&service, shown)?,
            }));
        }
        let shown = format!("{} {} of the volume {}", storage.kind, redact(&storage.bucket), storage.volume);
        Ok(Self { shards, prefix: format!("{}/", storage.volume), shown })
    }

    /// Fails where the bucket says that it is another volume's, or cannot be asked.
    ///
    /// # Errors
    /// Those of the store.
    pub fn must_be_of(&self, uuid: &str) -> Result<()> {
        // That of a volume which encrypts its objects is encrypted too, and says nothing.
        match self.store(UUID)?.find(UUID, MOST_UUID)? {
            Some(found) if found.len() == uuid.len() && found != uuid.as_bytes() => {
                let found = String::from_utf8_lossy(&found);
                Err(Error::refused(format!("{}: it belongs to the volume {found}, not {uuid}", self.shown))
                    .hint("look at the Bucket in the volume's setting"))
            }
            _ => Ok(()),
        }
    }

    /// Whether an address is one of what a volume has in its bucket: a folder, or a bucket of S3.
    #[must_use]
    pub fn is_at(text: &str) -> bool {
        text.starts_with("s3://") || folder(text).is_dir()
    }

    /// The objects of a volume at an address that ends with the volume's name.
    ///
    /// # Errors
    /// An address that is none.
    pub fn at(text: &str, stop: &Stop) -> Result<Self> {
        let address = match Address::parse(text)? {
            Some(address) => address,
            None => Address::Folder(folder(text)),
        };
        if let Address::Folder(path) = &address
            && !path.is_dir()
        {
            return Err(Error::config(format!("{}: there is no such folder", path.display())));
        }
        let shown = address.to_string();
        let store = Store::open(&address.foreign_service()?, shown.clone(), stop)?;
        Ok(Self { shards: vec![Arc::new(store)], prefix: String::new(), shown })
    }

    /// Its address, for messages.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The store that has a key.
    pub(super) fn store(&self, key: &str) -> Result<&Arc<Store>> {
        let number = shard_of(&format!("{}{key}", self.prefix), self.shards.len());
        self.shards.get(number).ok_or_else(|| Error::corrupt(format!("{}: it has no bucket", self.shown)))
    }

    /// All of its stores.
    pub(super) fn stores(&self) -> &[Arc<Store>] {
        &self.shards
    }

    /// What is below a folder, in no order.
    pub(super) fn list(&self, folder: &str) -> Result<Vec<Object>> {
        let mut objects = Vec::new();
        for store in &self.shards {
            objects.extend(store.list(folder)?);
        }
        Ok(objects)
    }
}

fn folder(text: &str) -> PathBuf {
    Path::new(text.strip_prefix("file://").unwrap_or(text)).to_owned()
}

/// The name of one of several buckets: the number stands where Go's `%d` is.
fn numbered(bucket: &str, number: u32) -> Result<String> {
    let wrong = || Error::corrupt(format!("the bucket {} of several has no %d in its name", redact(bucket)));
    let (before, rest) = bucket.split_once('%').ok_or_else(wrong)?;
    let (width, after) = rest.split_once('d').ok_or_else(wrong)?;
    if !width.bytes().all(|digit| digit.is_ascii_digit()) || width.len() > 2 || after.contains('%') {
        return Err(wrong());
    }
    let padded = width.strip_prefix('0');
    let places = width.parse().unwrap_or_default();
    Ok(match padded {
        Some(_) => format!("{before}{number:0places$}{after}"),
        None => format!("{before}{number:places$}{after}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_buckets_has_its_number_in_its_name() {
        assert_eq!(numbered("/a/b%d/", 7).unwrap(), "/a/b7/");
        assert_eq!(numbered("b-%02d.host", 7).unwrap(), "b-07.host");
        assert_eq!(numbered("b-%3d.host", 7).unwrap(), "b-  7.host");
        for wrong in ["b", "b%", "b%x", "b%d%d", "b%-d"] {
            assert!(numbered(wrong, 1).is_err(), "{wrong}");
        }
    }
}
