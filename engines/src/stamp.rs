//! The stamp: when a volume was backed up last, kept in the volume itself, so that of all its clients and agents one makes the
//! next backup. It is the extended attribute `lastBackup` of the root, where JuiceFS's own clients look. How it is read and set at
//! once, each engine knows by itself; what it means is known here alone.

use jiff::Timestamp;
use metaferry_pipeline::{Error, ErrorKind, Result, Stop};

/// The inode that has the attribute: the root.
pub(crate) const INODE: i64 = 1;
/// The name of the attribute.
pub(crate) const NAME: &str = "lastBackup";
/// How often a stamp is read again that another has set in between.
pub(crate) const TRIES: usize = 50;
/// How far clocks may be apart, in seconds: what is further in the future is nobody's backup.
const APART: i64 = 300;
const FORM: &str = "%Y-%m-%dT%H:%M:%SZ";

/// Is given what stands there, and gives what is to stand there; nothing where that is to stay. It is asked again where another
/// was quicker.
pub type Decide<'a> = &'a mut dyn FnMut(Option<&[u8]>) -> Option<Vec<u8>>;

/// What an agent asks of a volume that is in use.
pub trait Stamp: Send {
    /// Reads the stamp and sets it, as one step that no other comes between.
    ///
    /// # Errors
    /// Those of the store.
    fn exchange(&self, decide: Decide<'_>, stop: &Stop) -> Result<()>;

    /// How many inodes the volume says it has.
    ///
    /// # Errors
    /// Those of the store.
    fn inodes(&self, stop: &Stop) -> Result<u64>;
}

/// Who asks whether it is time.
#[derive(Debug, Clone)]
pub struct Asking {
    /// This moment.
    pub now: Timestamp,
    /// How many seconds lie between two backups.
    pub every: i64,
    /// The stamp of a backup that was begun and has not been made.
    pub unfinished: Option<String>,
}

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Ours.
    Ours {
        /// What stands there, or is to stand there, of it.
        stamp: String,
        /// What was wrong with what stood there.
        repaired: Option<String>,
    },
    /// Nobody's yet.
    NotYet {
        /// When it will be time.
        until: Timestamp,
    },
}

impl Asking {
    /// The stamp of this moment: RFC 3339, UTC, whole seconds.
    #[must_use]
    pub fn stamp(&self) -> String {
        self.now.strftime(FORM).to_string()
    }

    /// Whose turn it is where this stands.
    #[must_use]
    pub fn turn(&self, found: Option<&[u8]>) -> Turn {
        let ours = |repaired| Turn::Ours { stamp: self.stamp(), repaired };
        let Some(found) = found else { return ours(None) };
        let text = String::from_utf8_lossy(found);
        if self.unfinished.as_deref() == Some(text.as_ref()) {
            return ours(None);
        }
        let Ok(last) = text.parse::<Timestamp>() else {
            return ours(Some(format!("{NAME} was {text:?}, which is no moment")));
        };
        let (now, last) = (self.now.as_second(), last.as_second());
        if last > now.saturating_add(APART) {
            return ours(Some(format!("{NAME} was {text}, which is in the future")));
        }
        if now.saturating_sub(last) >= self.every {
            return ours(None);
        }
        let until = Timestamp::from_second(last.saturating_add(self.every)).unwrap_or(Timestamp::MAX);
        Turn::NotYet { until }
    }

    /// Whose turn it is; nothing is changed.
    ///
    /// # Errors
    /// Those of the store.
    pub fn look(&self, stamp: &dyn Stamp, stop: &Stop) -> Result<Turn> {
        let mut turn = None;
        let mut decide = |found: Option<&[u8]>| {
            turn = Some(self.turn(found));
            None
        };
        stamp.exchange(&mut decide, stop)?;
        turn.ok_or_else(undecided)
    }

    /// Takes the turn, if it is time: one of all who ask at that moment gets it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn take(&self, stamp: &dyn Stamp, stop: &Stop) -> Result<Turn> {
        let mut turn = None;
        let mut decide = |found: Option<&[u8]>| {
            let set = match turn.insert(self.turn(found)) {
                Turn::Ours { stamp, .. } => Some(stamp.clone().into_bytes()),
                Turn::NotYet { .. } => None,
            };
            // What stands there already is left as it is.
            set.filter(|set| Some(set.as_slice()) != found)
        };
        stamp.exchange(&mut decide, stop)?;
        turn.ok_or_else(undecided)
    }
}

fn undecided() -> Error {
    Error::new(ErrorKind::Bug, "a stamp that nobody was asked about")
}

/// Others set the stamp each time it was read.
pub(crate) fn contended(shown: &str) -> Error {
    Error::new(ErrorKind::Engine, format!("{shown}: {NAME} was changed by others {TRIES} times while it was set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(now: &str, every: i64) -> Asking {
        Asking { now: now.parse().unwrap(), every, unfinished: None }
    }

    fn is_ours(turn: &Turn) -> bool {
        matches!(turn, Turn::Ours { repaired: None, .. })
    }

    #[test]
    fn it_is_time_once_the_period_is_over_and_never_before() {
        let asking = asking("2026-01-31T12:00:00.9Z", 3600);
        assert_eq!(asking.stamp(), "2026-01-31T12:00:00Z");
        assert!(is_ours(&asking.turn(None)));
        assert!(is_ours(&asking.turn(Some(b"2026-01-31T11:00:00Z"))));
        assert!(is_ours(&asking.turn(Some(b"2026-01-31T19:00:00+08:00"))));
        let until = "2026-01-31T12:00:01Z".parse().unwrap();
        assert_eq!(asking.turn(Some(b"2026-01-31T19:00:01+08:00")), Turn::NotYet { until });
    }

    #[test]
    fn what_no_backup_can_have_written_is_repaired() {
        let asking = asking("2026-01-31T12:00:00Z", 3600);
        for wrong in ["2026-01-31T12:05:01Z", "yesterday", "", "1700000000"] {
            let turn = asking.turn(Some(wrong.as_bytes()));
            assert!(matches!(turn, Turn::Ours { repaired: Some(_), .. }), "{wrong}: {turn:?}");
        }
        assert!(matches!(asking.turn(Some(b"2026-01-31T12:05:00Z")), Turn::NotYet { .. }));
    }

    #[test]
    fn a_backup_that_was_not_made_is_begun_again() {
        let mut asking = asking("2026-01-31T12:00:00Z", 3600);
        asking.unfinished = Some("2026-01-31T11:59:00Z".to_owned());
        assert!(is_ours(&asking.turn(Some(b"2026-01-31T11:59:00Z"))));
        assert!(!is_ours(&asking.turn(Some(b"2026-01-31T11:59:01Z"))));
    }
}
