//! Intset: the width of the integers, their number, the integers, all little-endian.

use crate::{Error, Result};

use super::bytes::integer;
use super::packed::{Entries, Entry};

const WHAT: &str = "intset";
/// Four bytes of width, four of number.
const HEADER_BYTES: usize = 8;

/// The integers of an intset.
#[derive(Debug)]
pub(super) struct Intset<'a> {
    rest: &'a [u8],
    width: usize,
}

impl<'a> Intset<'a> {
    /// Opens an intset that fills `blob`.
    pub(super) fn new(blob: &'a [u8]) -> Result<Self> {
        let Some((&[w0, w1, w2, w3, n0, n1, n2, n3], rest)) = blob.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Error::malformed(WHAT, "is shorter than its header"));
        };
        let width = u32::from_le_bytes([w0, w1, w2, w3]) as usize;
        if ![2, 4, 8].contains(&width) {
            return Err(Error::malformed(WHAT, format!("has integers of {width} bytes")));
        }
        let number = u32::from_le_bytes([n0, n1, n2, n3]) as usize;
        match number.checked_mul(width) == Some(rest.len()) {
            true => Ok(Self { rest, width }),
            false => Err(Error::malformed(WHAT, "has another length than it says")),
        }
    }
}

impl<'a> Entries<'a> for Intset<'a> {
    fn next(&mut self) -> Result<Option<Entry<'a>>> {
        let Some((head, rest)) = self.rest.split_at_checked(self.width) else { return Ok(None) };
        self.rest = rest;
        Ok(Some(Entry::Integer(integer(head))))
    }
}
