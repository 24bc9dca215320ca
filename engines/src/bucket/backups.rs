//! JuiceFS's own backups in a volume's bucket (`vfs/backup.go`): their names, which there are, one more of them, and one as a
//! stream. What is named otherwise is passed over.

use std::fmt;
use std::io::Read;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use metaferry_codecs::juicefs::envelope;
use metaferry_pipeline::{Error, Result};

use super::Bucket;
use crate::objects::ObjectReader;

const FOLDER: &str = "meta";
/// How one is named, by when it was made in UTC.
const NAME: &str = "dump-%Y-%m-%d-%H%M%S.json.gz";
const MOMENT: &str = "%Y-%m-%dT%H:%M:%SZ";
/// How far one looks to tell whether one is encrypted.
const BEGINNING: u64 = 3;

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeBackup {
    /// When it was made, as RFC 3339 in UTC.
    pub made: String,
    /// Its name, below the folder of backups.
    pub name: String,
    /// Its length, in bytes.
    pub bytes: u64,
}

/// Which of several backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The newest.
    Newest,
    /// The newest that was made then or before; as much of a moment as was given.
    At(String),
    /// The one of this name.
    Named(String),
}

impl Wanted {
    /// Reads what stands behind an address: `latest`, a moment in UTC, or a name. None where it is none of these.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_moment = text.len() >= 4
            && text.contains('-')
            && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b':' | b'T' | b'Z'));
        match text {
            "latest" => Some(Self::Newest),
            _ if moment_of(text).is_some() => Some(Self::Named(text.to_owned())),
            _ if is_moment => Some(Self::At(text.to_owned())),
            _ => None,
        }
    }

    /// Parts an address from which of its backups is meant.
    #[must_use]
    pub fn split(text: &str) -> (&str, Self) {
        match text.rsplit_once('@') {
            Some((address, which)) => match Self::parse(which) {
                Some(wanted) => (address, wanted),
                None => (text, Self::Newest),
            },
            None => (text, Self::Newest),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("@latest"),
            Self::At(which) | Self::Named(which) => write!(f, "@{which}"),
        }
    }
}

/// When what is named so was made, as RFC 3339; none where it is no name of a backup.
fn moment_of(name: &str) -> Option<String> {
    let made = DateTime::strptime(NAME, name).ok()?;
    // Only the exact form: no sign, no missing zero.
    let is_exact = made.strftime(NAME).to_string() == name;
    is_exact.then(|| made.strftime(MOMENT).to_string())
}

/// The name of a backup that is made now, and when that is.
fn name_at(now: Timestamp) -> (String, String) {
    let now = now.to_zoned(TimeZone::UTC);
    (now.strftime(NAME).to_string(), now.strftime(MOMENT).to_string())
}

impl Bucket {
    /// The backups in it, the oldest first.
    ///
    /// # Errors
    /// Those of the store.
    pub fn backups(&self) -> Result<Vec<VolumeBackup>> {
        let objects = self.list(FOLDER)?.into_iter();
        let backup = |name: String, bytes| Some(VolumeBackup { made: moment_of(&name)?, name, bytes });
        let mut backups: Vec<_> = objects.filter_map(|object| backup(object.name, object.length)).collect();
        backups.sort();
        Ok(backups)
    }

    /// The backup that is meant.
    ///
    /// # Errors
    /// Those of the store; where there is none.
    pub fn backup(&self, wanted: &Wanted) -> Result<VolumeBackup> {
        let is_meant = |backup: &VolumeBackup| match wanted {
            Wanted::Newest => true,
            Wanted::At(moment) => backup.made.get(..moment.len()).unwrap_or(&backup.made) <= moment.as_str(),
            Wanted::Named(name) => backup.name == *name,
        };
        let none = || {
            let what = format!("{}: there is no backup {wanted} in {FOLDER}/", self.shown());
            Error::corrupt(what).hint("backups --from-volume lists those that are there")
        };
        self.backups()?.into_iter().rfind(is_meant).ok_or_else(none)
    }

    /// Whether a backup is encrypted, as its first bytes say; a large one that the client made is not.
    ///
    /// # Errors
    /// Those of the store.
    pub fn is_sealed(&self, backup: &VolumeBackup) -> Result<bool> {
        let key = key_of(&backup.name);
        Ok(envelope::is_at(&self.store(&key)?.part(&key, 0, BEGINNING.min(backup.bytes))?))
    }

    /// A backup as it lies there, to be read once, and its length.
    ///
    /// # Errors
    /// Those of the store.
    pub fn open(&self, backup: &VolumeBackup) -> Result<(Box<dyn Read + Send>, u64)> {
        let key = key_of(&backup.name);
        let reader = ObjectReader::open(self.store(&key)?, &key)?;
        let length = reader.length();
        Ok((Box::new(reader), length))
    }

    /// What a backup of this moment is to be called.
    ///
    /// # Errors
    /// Those of the store; where there is one already.
    pub fn name_now(&self) -> Result<VolumeBackup> {
        let (name, made) = name_at(Timestamp::now());
        let key = key_of(&name);
        if self.store(&key)?.has(&key)? {
            let what = format!("{}: there is a backup of this very second", self.shown());
            return Err(Error::refused(what).hint("run again"));
        }
        Ok(VolumeBackup { made, name, bytes: 0 })
    }

    /// Puts a backup there: `length` bytes that come out of `input`. It is there when all of it is.
    ///
    /// # Errors
    /// Those of the store and of the input.
    pub fn put(&self, backup: VolumeBackup, input: &mut dyn Read, length: u64) -> Result<VolumeBackup> {
        let key = key_of(&backup.name);
        self.store(&key)?.upload(&key, input, length)?;
        Ok(VolumeBackup { bytes: length, ..backup })
    }
}

fn key_of(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_the_exact_form() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let (name, made) = name_at(now);
        assert_eq!((name.as_str(), made.as_str()), ("dump-2023-11-14-221320.json.gz", "2023-11-14T22:13:20Z"));
        assert_eq!(moment_of(&name), Some(made));
        for other in [
            "dump-2023-11-14-221320.json",
            "dump-2023-13-14-221320.json.gz",
            "dump-2023-02-30-221320.json.gz",
            "dump-2023-11-14-221361.json.gz",
            "dump-2023-1-14-221320.json.gz",
            "dump-+023-11-14-221320.json.gz",
            "x/dump-2023-11-14-221320.json.gz",
            ".jfs.dump-2023-11-14-221320.json.gz.tmp.1",
            "",
        ] {
            assert_eq!(moment_of(other), None, "{other}");
        }
    }

    #[test]
    fn which_one_is_meant_stands_behind_the_address() {
        let at = |moment: &str| Wanted::At(moment.to_owned());
        for (text, address, wanted) in [
            ("/a/b", "/a/b", Wanted::Newest),
            ("/a/b@latest", "/a/b", Wanted::Newest),
            ("redis://:pw@10.0.0.1:6379/1", "redis://:pw@10.0.0.1:6379/1", Wanted::Newest),
            ("redis://:pw@host-1@2026-01-31T12:00", "redis://:pw@host-1", at("2026-01-31T12:00")),
            ("mysql://u:p@(h:1)/x@2026-01", "mysql://u:p@(h:1)/x", at("2026-01")),
        ] {
            assert_eq!(Wanted::split(text), (address, wanted));
        }
        let name = "dump-2023-11-14-221320.json.gz";
        assert_eq!(Wanted::split(&format!("/a@{name}")), ("/a", Wanted::Named(name.to_owned())));
    }
}
