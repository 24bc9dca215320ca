//! The one error of the pipeline and the engines. Its kind says what the caller can do; its text is one line that names
//! the object, in lower case without a final stop; the cause travels as the source; the hint says what to do.

use std::error::Error as StdError;
use std::fmt;
use std::io;

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call is wrong: an address, an option.
    Config,
    /// Refused before anything was changed: a target with anything in it, a live lock, live sessions.
    Refused,
    /// This store, format or version is not supported.
    Unsupported,
    /// The bytes read cannot be right: stop, and report the place.
    Corrupt,
    /// The store failed: network, disk, server.
    Engine,
    /// The user interrupted.
    Interrupted,
    /// Another worker failed first; never the one that is reported.
    Stopped,
    /// A mistake in this program.
    Bug,
}

/// An error with its kind, its object, its cause and what to do.
pub struct Error {
    kind: ErrorKind,
    what: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of everything that touches a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without a cause. `what` names the object.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), hint: None, source: None }
    }

    /// A store's failure, with its cause.
    pub fn engine(what: impl Into<String>, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Engine, what).because(cause)
    }

    /// A failed read or write. Where an error of ours came through the standard library's, it is that one, at `what`.
    pub fn io(what: impl Into<String>, cause: io::Error) -> Self {
        match cause.downcast::<Self>() {
            Ok(error) => error.at(what.into()),
            Err(cause) => Self::engine(what, cause),
        }
    }

    /// Bytes that cannot be right.
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, what)
    }

    /// A refusal before anything changed.
    pub fn refused(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, what)
    }

    /// A wrong call.
    pub fn config(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, what)
    }

    /// Something that is not supported.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, what)
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts this error under a wider object, keeping its kind and hint: `object: what it was`.
    #[must_use]
    pub fn at(mut self, object: impl fmt::Display) -> Self {
        self.what = format!("{object}: {}", self.what);
        self
    }

    /// What the caller can do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do, if there is something.
    #[must_use]
    pub fn what_to_do(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<metaferry_codecs::Error> for Error {
    fn from(error: metaferry_codecs::Error) -> Self {
        let kind = match error {
            metaferry_codecs::Error::Unsupported { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::Corrupt,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<Error> for io::Error {
    /// Carries it through a reader or a writer; [`Error::io`] gives it back.
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}
