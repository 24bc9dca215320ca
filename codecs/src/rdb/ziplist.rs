//! Ziplist, the packed list before Redis 7: total bytes, offset of the last entry, number of entries, then entries that
//! each begin with the length of the one before.

use crate::{Error, Result};

use super::bytes::integer;
use super::packed::{Entries, Entry};

const WHAT: &str = "ziplist";
/// Four bytes of total length, four of the last entry's offset, two of the number of entries.
const HEADER_BYTES: usize = 10;
const END: u8 = 0xff;
/// The length of the entry before stands in the four bytes behind this one.
const LONG: u8 = 0xfe;
/// The number of entries is not in the header, there being too many.
const UNCOUNTED: u16 = u16::MAX;

/// The entries of a ziplist.
#[derive(Debug)]
pub(super) struct Ziplist<'a> {
    rest: &'a [u8],
    total: usize,
    last: usize,
    counted: u16,
    passed: u64,
    before: usize,
}

fn malformed(why: &str) -> Error {
    Error::malformed(WHAT, why)
}

/// Takes bytes off the front, or says that the ziplist ends too early.
fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count).ok_or_else(|| malformed("ends inside an entry"))?;
    *rest = tail;
    Ok(head)
}

impl<'a> Ziplist<'a> {
    /// Opens a ziplist that fills `blob`.
    pub(super) fn new(blob: &'a [u8]) -> Result<Self> {
        let Some((&[t0, t1, t2, t3, l0, l1, l2, l3, c0, c1], rest)) = blob.split_first_chunk::<HEADER_BYTES>() else {
            return Err(malformed("is shorter than its header"));
        };
        let total = u32::from_le_bytes([t0, t1, t2, t3]) as usize;
        if total != blob.len() {
            return Err(malformed("has another length than it says"));
        }
        let last = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        Ok(Self { rest, total, last, counted: u16::from_le_bytes([c0, c1]), passed: 0, before: 0 })
    }

    fn end(&self) -> Result<()> {
        if self.rest.len() != 1 {
            return Err(malformed("ends before its last byte"));
        }
        if self.last + self.before + 1 != self.total {
            return Err(malformed("has another last entry than it says"));
        }
        match self.counted == UNCOUNTED || u64::from(self.counted) == self.passed {
            true => Ok(()),
            false => Err(malformed("has another number of entries than it says")),
        }
    }
}

impl<'a> Entries<'a> for Ziplist<'a> {
    fn next(&mut self) -> Result<Option<Entry<'a>>> {
        let begin = self.rest.len();
        let mut rest = self.rest;
        let before = match take(&mut rest, 1)? {
            [END] => return self.end().map(|()| None),
            [LONG] => integer(take(&mut rest, 4)?),
            short => integer(short) & 0xff,
        };
        if usize::try_from(before).ok() != Some(self.before) {
            return Err(malformed("has an entry with a wrong length of the one before"));
        }
        let entry = entry(&mut rest)?;
        (self.before, self.rest) = (begin - rest.len(), rest);
        self.passed += 1;
        Ok(Some(entry))
    }
}

/// Reads an entry behind the length of the one before.
fn entry<'a>(rest: &mut &'a [u8]) -> Result<Entry<'a>> {
    let first = take(rest, 1)?.first().copied().unwrap_or(END);
    let low = usize::from(first & 0x3f);
    Ok(match first {
        0..=0x3f => Entry::Bytes(take(rest, low)?),
        0x40..=0x7f => {
            let next = take(rest, 1)?.first().copied().unwrap_or(0);
            Entry::Bytes(take(rest, low << 8 | usize::from(next))?)
        }
        0x80 => {
            let count = take(rest, 4)?.iter().fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte));
            Entry::Bytes(take(rest, count)?)
        }
        0xc0 => Entry::Integer(integer(take(rest, 2)?)),
        0xd0 => Entry::Integer(integer(take(rest, 4)?)),
        0xe0 => Entry::Integer(integer(take(rest, 8)?)),
        0xf0 => Entry::Integer(integer(take(rest, 3)?)),
        0xfe => Entry::Integer(integer(take(rest, 1)?)),
        0xf1..=0xfd => Entry::Integer(i64::from(first & 0x0f) - 1),
        _ => return Err(malformed("has an entry of an unknown form")),
    })
}
