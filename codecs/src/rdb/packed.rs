//! What the packed encodings have in common: one blob that yields its entries one by one, strings or integers.

use crate::{Error, Result};

/// An entry of a packed blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    Bytes(&'a [u8]),
    Integer(i64),
}

impl<'a> Entry<'a> {
    /// Its bytes; those of an integer are its decimal digits, put into `digits`.
    #[inline]
    pub(super) fn bytes<'s>(self, digits: &'s mut itoa::Buffer) -> &'s [u8]
    where
        'a: 's,
    {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Integer(number) => digits.format(number).as_bytes(),
        }
    }

    /// The score it stands for.
    pub(super) fn score(self) -> Result<f64> {
        match self {
            Self::Bytes(bytes) => score(bytes),
            Self::Integer(number) => Ok(number as f64),
        }
    }
}

/// Yields the entries of a packed blob, and checks it as it goes.
pub(super) trait Entries<'a> {
    /// The next entry; none at the end of the blob, whose header and length have been found true by then.
    fn next(&mut self) -> Result<Option<Entry<'a>>>;
}

/// Reads a score in decimal.
pub(super) fn score(bytes: &[u8]) -> Result<f64> {
    let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<f64>().ok());
    finite_or_infinite(number.ok_or_else(|| Error::malformed("score", "is not a number"))?)
}

/// Refuses what is not a number.
pub(super) fn finite_or_infinite(score: f64) -> Result<f64> {
    match score.is_nan() {
        true => Err(Error::malformed("score", "is not a number")),
        false => Ok(score),
    }
}
