//! The one error of the codecs: what was wrong with some bytes. It names no store and no file; the caller adds the place.

/// What was wrong with the bytes given to a decoder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input ends before the value does.
    #[error("truncated: {0}")]
    Truncated(&'static str),
    /// The bytes are there, but cannot mean anything.
    #[error("malformed {what}: {why}")]
    Malformed {
        /// The thing being decoded, such as `attribute record`.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A checksum does not match: the bytes were altered.
    #[error("checksum mismatch in {0}: the bytes were altered")]
    Checksum(&'static str),
    /// Written by a newer version of the format than this program reads.
    #[error("unsupported {what}: {found}")]
    Unsupported {
        /// The thing being decoded.
        what: &'static str,
        /// What was found, and what is understood.
        found: String,
    },
    /// A declared size is over the bound that keeps memory flat.
    #[error("{what} is larger than its bound of {bound} bytes")]
    TooLarge {
        /// The thing being decoded.
        what: &'static str,
        /// The bound, in bytes.
        bound: u64,
    },
}

impl Error {
    /// A [`Error::Malformed`] in fewer words.
    pub fn malformed(what: &'static str, why: impl Into<String>) -> Self {
        Self::Malformed { what, why: why.into() }
    }
}

/// The result of a decoder.
pub type Result<T, E = Error> = std::result::Result<T, E>;
