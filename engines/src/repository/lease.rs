//! The lease: of all agents one works on a repository at a time. In a folder a lock on a file, which ends with its process; in
//! an object store an object that is put on a condition, and that runs out unless it is renewed.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use metaferry_codecs::archive::MAX_HEADER;
use metaferry_codecs::repository::{LEASE_NAME, Lease as Text};
use metaferry_pipeline::{Error, ErrorKind, Result, Stop};

use super::RepositoryAddress;
use super::opened::store;
use crate::objects::{Address, Condition, Conditional, Store};

/// How long a lease is good for, in seconds, unless it is renewed.
const LIFE: i64 = 120;
/// How far ahead a lease may run, in seconds: one beyond was written by a clock that is wrong.
const MOST: i64 = 600;

/// What holds a repository for one agent.
pub struct Lease {
    hold: Hold,
    shown: String,
    text: Text,
    unfinished: Option<String>,
}

enum Hold {
    /// A lock on the file at a path.
    Locked { file: File, path: PathBuf },
    /// An object, of this tag.
    Tagged { store: Box<Store>, tag: String },
    /// An object in a store that knows no conditions.
    Plain(Box<Store>),
}

/// What came of asking for the lease.
pub enum Taking {
    /// It is ours.
    Taken(Lease),
    /// Another has it.
    Busy {
        /// Who, where that is known.
        holder: String,
    },
}

impl Lease {
    /// Asks for the lease of the repository at an address, which is there.
    ///
    /// # Errors
    /// Those of the store.
    pub fn take(address: &RepositoryAddress, holder: &str, stop: &Stop) -> Result<Taking> {
        let text = Text { holder: holder.to_owned(), until: moment(LIFE), turn: String::new() };
        match &address.place {
            Address::Folder(folder) => take_file(folder.join(LEASE_NAME), text),
            Address::S3 { .. } => take_object(Box::new(store(address, stop)?), text),
        }
    }

    /// Who works on the repository at an address, where anybody does.
    ///
    /// # Errors
    /// Those of the store.
    pub fn holder(address: &RepositoryAddress, stop: &Stop) -> Result<Option<String>> {
        match &address.place {
            Address::Folder(folder) => {
                let path = folder.join(LEASE_NAME);
                let Ok(mut file) = File::open(&path) else { return Ok(None) };
                match file.try_lock_shared() {
                    Ok(()) => Ok(None),
                    Err(TryLockError::WouldBlock) => Ok(Some(read_file(&mut file, &path)?.holder)),
                    Err(TryLockError::Error(cause)) => Err(failed(&path, cause)),
                }
            }
            Address::S3 { .. } => {
                let found = store(address, stop)?.find(LEASE_NAME, MAX_HEADER)?;
                let text = found.map(|text| Text::read(&text)).transpose()?;
                Ok(text.filter(is_held).map(|text| text.holder))
            }
        }
    }

    /// The stamp of the backup that whoever had it before has begun and not made.
    #[must_use]
    pub fn unfinished(&self) -> Option<&str> {
        self.unfinished.as_deref()
    }

    /// Whether it holds others off; else the store knows no conditions, and it is but a word.
    #[must_use]
    pub fn guards(&self) -> bool {
        !matches!(self.hold, Hold::Plain(_))
    }

    /// When it runs out unless it is renewed.
    #[must_use]
    pub fn until(&self) -> &str {
        &self.text.until
    }

    /// Notes the stamp of a backup before it is begun.
    ///
    /// # Errors
    /// As [`Lease::renew`].
    pub fn begin(&mut self, stamp: &str) -> Result<()> {
        stamp.clone_into(&mut self.text.turn);
        self.renew()
    }

    /// Lets it live on.
    ///
    /// # Errors
    /// Those of the store; of kind `Refused` where another has it by now.
    pub fn renew(&mut self) -> Result<()> {
        self.put(moment(LIFE))
    }

    /// Gives it back, with the stamp of what was begun and is not made.
    ///
    /// # Errors
    /// As [`Lease::renew`].
    pub fn release(mut self, unfinished: &str) -> Result<()> {
        unfinished.clone_into(&mut self.text.turn);
        self.put(moment(0))
    }

    fn put(&mut self, until: String) -> Result<()> {
        self.text.until = until;
        let bytes = self.text.write();
        let lost = || Error::refused(format!("{}: another has taken the lease", self.shown));
        match &mut self.hold {
            Hold::Locked { file, path } => {
                if !is_at(file, path) {
                    return Err(lost());
                }
                write_file(file, &bytes).map_err(|cause| failed(path, cause))
            }
            Hold::Tagged { store, tag } => match store.put_if(LEASE_NAME, bytes, Condition::Is(tag))? {
                Conditional::Put(Some(now)) => {
                    *tag = now;
                    Ok(())
                }
                // An answer may have been lost, and what was put is there.
                Conditional::Put(None) | Conditional::Refused | Conditional::Unknown => {
                    match store.find_tagged(LEASE_NAME, MAX_HEADER)? {
                        Some((there, Some(now))) if there == self.text.write() => {
                            *tag = now;
                            Ok(())
                        }
                        _ => Err(lost()),
                    }
                }
            },
            Hold::Plain(store) => store.put(LEASE_NAME, bytes),
        }
    }
}

fn take_file(path: PathBuf, text: Text) -> Result<Taking> {
    loop {
        let opened = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = opened.map_err(|cause| failed(&path, cause))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = read_file(&mut file, &path).map(|text| text.holder);
                return Ok(Taking::Busy { holder: holder.unwrap_or_default() });
            }
            Err(TryLockError::Error(cause)) => return Err(failed(&path, cause)),
        }
        if is_at(&file, &path) {
            // What a dead holder has cut off says nothing.
            let before = read_file(&mut file, &path).unwrap_or_default();
            let shown = path.display().to_string();
            let unfinished = Some(before.turn).filter(|turn| !turn.is_empty());
            let mut lease = Lease { hold: Hold::Locked { file, path }, shown, text, unfinished };
            lease.renew()?;
            return Ok(Taking::Taken(lease));
        }
    }
}

fn take_object(store: Box<Store>, text: Text) -> Result<Taking> {
    let found = store.find_tagged(LEASE_NAME, MAX_HEADER)?;
    let before = match &found {
        // What is no lease of this version is of a newer one, and not ours to replace.
        Some((bytes, _)) => Text::read(bytes).map_err(|error| Error::from(error).at(store.shown()))?,
        None => Text::default(),
    };
    if is_held(&before) {
        return Ok(Taking::Busy { holder: before.holder });
    }
    let bytes = text.write();
    let put = match &found {
        Some((_, Some(tag))) => store.put_if(LEASE_NAME, bytes.clone(), Condition::Is(tag))?,
        Some((_, None)) => Conditional::Unknown,
        None => store.put_if(LEASE_NAME, bytes.clone(), Condition::Absent)?,
    };
    let shown = store.shown().to_owned();
    let hold = match put {
        Conditional::Put(Some(tag)) if heeds(&store, &bytes)? => Hold::Tagged { store, tag },
        Conditional::Put(_) => Hold::Plain(store),
        Conditional::Unknown => {
            store.put(LEASE_NAME, bytes)?;
            Hold::Plain(store)
        }
        Conditional::Refused => match store.find_tagged(LEASE_NAME, MAX_HEADER)? {
            // An answer was lost.
            Some((there, Some(tag))) if there == bytes => Hold::Tagged { store, tag },
            there => {
                let holder = there.and_then(|(there, _)| Text::read(&there).ok()).unwrap_or_default().holder;
                return Ok(Taking::Busy { holder });
            }
        },
    };
    let unfinished = Some(before.turn).filter(|turn| !turn.is_empty());
    Ok(Taking::Taken(Lease { hold, shown, text, unfinished }))
}

/// Whether a store that took a condition heeds it: what is there cannot be put as new.
fn heeds(store: &Store, bytes: &[u8]) -> Result<bool> {
    Ok(store.put_if(LEASE_NAME, bytes.to_vec(), Condition::Absent)? == Conditional::Refused)
}

/// Whether somebody has it, who may still be at work.
fn is_held(text: &Text) -> bool {
    let now = Timestamp::now().as_second();
    text.until.parse::<Timestamp>().is_ok_and(|until| (now..=now + MOST).contains(&until.as_second()))
}

/// So many seconds from now; what is now itself holds nobody off.
fn moment(seconds: i64) -> String {
    let at = Timestamp::now().as_second().saturating_add(if seconds == 0 { -1 } else { seconds });
    Timestamp::from_second(at).unwrap_or(Timestamp::MAX).to_string()
}

/// Whether the file at a path is still this one.
fn is_at(file: &File, path: &Path) -> bool {
    let same = |one: fs::Metadata, other: fs::Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    file.metadata().is_ok_and(|ours| fs::metadata(path).is_ok_and(|there| same(ours, there)))
}

fn read_file(file: &mut File, path: &Path) -> Result<Text> {
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.take(MAX_HEADER as u64).read_to_end(&mut bytes));
    read.map_err(|cause| failed(path, cause))?;
    // While it is written anew, there is nothing to read.
    Ok(Text::read(&bytes).unwrap_or_default())
}

fn write_file(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(bytes)?;
    file.sync_data()
}

fn failed(path: &Path, cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Engine, format!("{}: the lease", path.display())).because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(address: &RepositoryAddress, holder: &str) -> Result<Lease, String> {
        match Lease::take(address, holder, &Stop::new()).unwrap() {
            Taking::Taken(lease) => Ok(lease),
            Taking::Busy { holder } => Err(holder),
        }
    }

    #[test]
    fn one_has_it_at_a_time_and_what_it_leaves_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let address = RepositoryAddress::parse(&format!("repo+file://{}", folder.path().display())).unwrap();
        let holder = || Lease::holder(&address, &Stop::new()).unwrap();
        assert_eq!(holder(), None);
        let mut lease = take(&address, "one").unwrap();
        assert!(lease.guards() && lease.unfinished().is_none());
        assert_eq!((take(&address, "two").err(), holder()), (Some("one".to_owned()), Some("one".to_owned())));
        lease.begin("a stamp").unwrap();
        lease.renew().unwrap();
        // As if its process had died.
        drop(lease);
        assert_eq!(holder(), None);
        let lease = take(&address, "two").unwrap();
        assert_eq!(lease.unfinished(), Some("a stamp"));
        lease.release("").unwrap();
        let mut lease = take(&address, "three").unwrap();
        assert_eq!(lease.unfinished(), None);
        // Whose file was taken away does not have it any more.
        fs::remove_file(folder.path().join(LEASE_NAME)).unwrap();
        let mut other = take(&address, "four").unwrap();
        assert_eq!(lease.renew().unwrap_err().kind(), ErrorKind::Refused);
        other.renew().unwrap();
    }

    #[test]
    fn what_is_cut_off_or_from_a_wrong_clock_holds_nobody_off() {
        let folder = tempfile::tempdir().unwrap();
        let address = RepositoryAddress::parse(&format!("repo+file://{}", folder.path().display())).unwrap();
        fs::write(folder.path().join(LEASE_NAME), b"{\"lease\":{\"form").unwrap();
        assert_eq!(take(&address, "one").unwrap().unfinished(), None);
        let until = |until: &str| Text { until: until.to_owned(), ..Text::default() };
        assert!(is_held(&until(&moment(LIFE))));
        for not_held in ["", "2999-01-31T12:00:00Z", "2001-01-31T12:00:00Z", &moment(0), &moment(MOST + 60)] {
            assert!(!is_held(&until(not_held)), "{not_held}");
        }
    }
}
