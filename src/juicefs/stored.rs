//! A volume's own bucket, and a backup that JuiceFS keeps there, ready to be read: by the engine that holds the volume, or by
//! the bucket's own address where the engine is lost.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use metaferry_codecs::juicefs::storage::{Secret, Storage};
use metaferry_codecs::juicefs::{Batch, JuiceFs};
use metaferry_engines::bucket::{Bucket, VolumeBackup, Wanted};
use metaferry_engines::wrapping::EnvelopeKey;
use metaferry_pipeline::{Error, Result, Source};

use crate::context::Context;
use crate::files;
use crate::open::Place;

/// A volume's bucket.
pub(crate) struct VolumeBucket {
    pub(crate) bucket: Arc<Bucket>,
    /// What the volume's setting says of it; nothing where the bucket itself was named.
    storage: Option<Storage>,
}

impl VolumeBucket {
    /// The bucket at an address: the bucket's own, or that of the volume's engine.
    pub(crate) fn open(context: &Context, text: &str) -> Result<Self> {
        if Bucket::is_at(text) {
            return Ok(Self { bucket: Arc::new(Bucket::at(text, &context.stop)?), storage: None });
        }
        let place = Place::parse(text)?;
        if !place.is_engine() {
            return Err(Error::config(format!("{place} is neither an engine nor a bucket"))
                .hint("name the engine that holds the volume, or the folder of its name in its bucket"));
        }
        Self::of(context, &place)
    }

    /// The bucket that a volume's setting names.
    pub(crate) fn of(context: &Context, place: &Place) -> Result<Self> {
        let document = setting(context, place)?;
        let storage = Storage::read(&document).map_err(|error| Error::from(error).at(place))?;
        let bucket = Bucket::of_volume(&storage, &context.stop)?;
        bucket.must_be_of(&storage.uuid)?;
        Ok(Self { bucket: Arc::new(bucket), storage: Some(storage) })
    }

    /// The key that the volume's objects are encrypted for, where they are.
    pub(crate) fn key(&self, context: &Context) -> Result<Option<EnvelopeKey>> {
        let storage = self.storage.as_ref().filter(|storage| storage.encrypt_key != Secret::Absent);
        let Some(storage) = storage else { return files::key(context) };
        let name = format!("the EncryptKey of the volume {}", storage.volume);
        match (&storage.encrypt_key, files::key(context)?) {
            (Secret::Known(pem), _) => {
                let passphrase = files::passphrase();
                let passphrase = passphrase.as_ref().map(|text| text.as_bytes());
                EnvelopeKey::of(pem.as_bytes(), &name, &storage.encrypt_algorithm, passphrase).map(Some)
            }
            (_, None) => Err(Error::config(format!("{name} was taken out of its setting"))
                .hint("name the private RSA key of the volume with --encrypt-rsa-key")),
            (_, given) => Ok(given),
        }
    }

    /// One of its backups, ready to be read.
    pub(crate) fn backup(&self, context: &Context, wanted: &Wanted) -> Result<StoredBackup> {
        let backup = self.bucket.backup(wanted)?;
        // A large one that the client made is not encrypted, whatever the volume is.
        let key = match (self.bucket.is_sealed(&backup)?, files::key(context)?) {
            (false, _) => None,
            (true, None) => self.key(context)?,
            (true, given) => given,
        };
        Ok(StoredBackup { bucket: Arc::clone(&self.bucket), backup, key: key.map(Arc::new) })
    }
}

/// The setting of a volume as it is stored.
pub(crate) fn setting(context: &Context, place: &Place) -> Result<Vec<u8>> {
    let none = || Error::corrupt(format!("{place}: there is no setting in it"));
    match place.source::<JuiceFs>(context)?.seal(&context.stop)? {
        Some(Batch::Setting(rows)) => rows.into_iter().next().map(|row| row.document.0).ok_or_else(none),
        _ => Err(none()),
    }
}

/// One of JuiceFS's own backups.
pub(crate) struct StoredBackup {
    bucket: Arc<Bucket>,
    pub(crate) backup: VolumeBackup,
    key: Option<Arc<EnvelopeKey>>,
}

impl StoredBackup {
    pub(crate) fn source(&self, context: &Context) -> Result<Box<dyn Source<JuiceFs>>> {
        let (input, _) = self.bucket.open(&self.backup)?;
        files::stream(self.to_string(), input, self.key.as_deref(), context)
    }
}

impl fmt::Display for StoredBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.bucket.shown(), self.backup.name)
    }
}
