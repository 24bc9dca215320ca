//! Preflight: what is known of a copy before anything is read or written. A source says what it is like, a target what it
//! has room for and what stands in the way; here the one is held against the other.

use std::error::Error as _;

use metaferry_codecs::system::{Kind, Largest, System};

use crate::{Error, Result, Sink, Source, Stop};

/// What a remark means for a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing stands in the way.
    Ok,
    /// It can go on, at a cost that should be known.
    Warning,
    /// It would fail, or do harm.
    Refusal,
}

/// One line of a preflight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What it means.
    pub level: Level,
    /// What it is about, in a word.
    pub subject: &'static str,
    /// What is so.
    pub text: String,
    /// What to do, if there is something.
    pub advice: Option<String>,
}

impl Remark {
    /// Nothing stands in the way.
    pub fn ok(subject: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject, text: text.into(), advice: None }
    }

    /// It can go on, but for what it costs.
    pub fn warning(subject: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warning, subject, text: text.into(), advice: Some(advice.into()) }
    }

    /// It cannot go on.
    pub fn refusal(subject: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Refusal, subject, text: text.into(), advice: Some(advice.into()) }
    }

    /// An error that a copy would end with.
    #[must_use]
    pub fn of(subject: &'static str, error: &Error) -> Self {
        let advice = error.what_to_do().map(str::to_owned);
        let (mut text, mut cause) = (error.to_string(), error.source());
        while let Some(inner) = cause {
            text += &format!(": {inner}");
            cause = inner.source();
        }
        Self { level: Level::Refusal, subject, text, advice }
    }

    /// The error that a refusal is.
    #[must_use]
    pub fn to_error(&self) -> Error {
        let error = Error::refused(self.text.clone());
        self.advice.iter().fold(error, |error, advice| error.hint(advice.clone()))
    }
}

/// What a target has room for in one field: no larger value, no longer bytes, no more items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room<K> {
    /// The kind.
    pub kind: K,
    /// The name of the field, as its declaration has it.
    pub field: &'static str,
    /// The most that fits.
    pub most: u64,
    /// What of the target it is: the column.
    pub place: String,
    /// What to do where something does not fit.
    pub advice: &'static str,
}

/// What a source says of itself before it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook<K> {
    /// What should be known of it.
    pub remarks: Vec<Remark>,
    /// About how many rows it has, where that is known.
    pub rows: Option<u64>,
    /// Sessions of clients that have not expired.
    pub live_sessions: u64,
    /// The largest values, where they are known: none is larger.
    pub largest: Vec<Largest<K>>,
}

impl<K> Default for Outlook<K> {
    fn default() -> Self {
        Self { remarks: Vec::new(), rows: None, live_sessions: 0, largest: Vec::new() }
    }
}

/// Looks at both ends of a copy, without writing anything. `live` says that clients may have the source in use.
///
/// # Errors
/// An end that cannot be looked at; what would be refused is a remark.
pub fn preflight<S: System>(
    source: &dyn Source<S>,
    sink: &dyn Sink<S>,
    live: bool,
    stop: &Stop,
) -> Result<Vec<Remark>> {
    let rooms = sink.rooms();
    let outlook = source.outlook(&rooms, stop)?;
    let mut remarks = outlook.remarks.clone();
    remarks.extend(sessions(outlook.live_sessions, live));
    remarks.extend(sink.preflight(&outlook, stop)?);
    remarks.extend(fits(&rooms, &outlook.largest));
    Ok(remarks)
}

fn sessions(count: u64, live: bool) -> Option<Remark> {
    let text = || format!("{count} live sessions: clients have the source mounted");
    let unmount = "unmount them, or go on with --live; both metadata would hand out the same object names";
    match (count, live) {
        (0, _) => None,
        (_, true) => Some(Remark::warning("sessions", text(), "what they write meanwhile may be missing")),
        (_, false) => Some(Remark::refusal("sessions", text(), unmount)),
    }
}

/// Holds the largest values against the room there is for them.
fn fits<K: Kind>(rooms: &[Room<K>], largest: &[Largest<K>]) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut unknown = 0;
    for room in rooms {
        let known = largest.iter().find(|known| known.kind == room.kind && known.field == room.field);
        match known {
            None => unknown += 1,
            Some(known) if known.value > room.most => {
                let text = format!("{} holds {} at most, and the source has {}", room.place, room.most, known.value);
                remarks.push(Remark::refusal("columns", text, room.advice));
            }
            Some(_) => {}
        }
    }
    if rooms.is_empty() || !remarks.is_empty() {
        return remarks;
    }
    let text = match unknown {
        0 => "what the source has fits",
        _ => {
            "whether all fits is known only when it is read; the first row that does not ends the copy, and nothing is left"
        }
    };
    vec![Remark::ok("columns", text)]
}
