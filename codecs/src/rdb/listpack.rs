//! Listpack: total bytes, number of entries, then entries that each end in their own length, so as to be read backwards.

use crate::{Error, Result};

use super::bytes::integer;
use super::packed::{Entries, Entry};

const WHAT: &str = "listpack";
/// Four bytes of total length, two of the number of entries.
const HEADER_BYTES: usize = 6;
const END: u8 = 0xff;
/// The number of entries is not in the header, there being too many.
const UNCOUNTED: u16 = u16::MAX;

/// The entries of a listpack.
#[derive(Debug)]
pub(super) struct Listpack<'a> {
    rest: &'a [u8],
    counted: u16,
    passed: u64,
}

fn malformed(why: &str) -> Error {
    Error::malformed(WHAT, why)
}

impl<'a> Listpack<'a> {
    /// Opens a listpack that fills `blob`.
    #[inline]
    pub(super) fn new(blob: &'a [u8]) -> Result<Self> {
        let Some((&[t0, t1, t2, t3, c0, c1], rest)) = blob.split_first_chunk::<HEADER_BYTES>() else {
            return Err(malformed("is shorter than its header"));
        };
        if u64::from(u32::from_le_bytes([t0, t1, t2, t3])) != blob.len() as u64 {
            return Err(malformed("has another length than it says"));
        }
        Ok(Self { rest, counted: u16::from_le_bytes([c0, c1]), passed: 0 })
    }

    fn end(&self) -> Result<()> {
        if self.rest.len() != 1 {
            return Err(malformed("ends before its last byte"));
        }
        match self.counted == UNCOUNTED || u64::from(self.counted) == self.passed {
            true => Ok(()),
            false => Err(malformed("has another number of entries than it says")),
        }
    }
}

impl<'a> Entries<'a> for Listpack<'a> {
    #[inline]
    fn next(&mut self) -> Result<Option<Entry<'a>>> {
        let &first = self.rest.first().ok_or_else(|| malformed("has no end"))?;
        if first == END {
            return self.end().map(|()| None);
        }
        let (head, bytes, integer_bytes) = shape(self.rest, first)?;
        let short = || malformed("ends inside an entry");
        let (_, body) = self.rest.split_at_checked(head).ok_or_else(short)?;
        let (body, rest) = body.split_at_checked(bytes).ok_or_else(short)?;
        self.rest = back_length(rest, head + bytes)?;
        self.passed += 1;
        let entry = match (integer_bytes, body) {
            (false, _) => Entry::Bytes(body),
            (true, []) => Entry::Integer(i64::from(first)),
            (true, &[low]) if first < 0xf0 => {
                let bits = u16::from(first & 0x1f) << 8 | u16::from(low);
                Entry::Integer(i64::from((bits << 3).cast_signed() >> 3))
            }
            (true, _) => Entry::Integer(integer(body)),
        };
        Ok(Some(entry))
    }
}

/// The bytes of the head and of the body of the entry that starts with `first`, and whether it is an integer.
#[inline]
fn shape(rest: &[u8], first: u8) -> Result<(usize, usize, bool)> {
    Ok(match first {
        0..=0x7f => (1, 0, true),
        0x80..=0xbf => (1, usize::from(first & 0x3f), false),
        0xc0..=0xdf => (1, 1, true),
        0xe0..=0xef => match rest {
            [_, low, ..] => (2, usize::from(first & 0x0f) << 8 | usize::from(*low), false),
            _ => return Err(malformed("ends inside an entry")),
        },
        0xf0 => match rest {
            [_, a, b, c, d, ..] => (5, u32::from_le_bytes([*a, *b, *c, *d]) as usize, false),
            _ => return Err(malformed("ends inside an entry")),
        },
        0xf1 => (1, 2, true),
        0xf2 => (1, 3, true),
        0xf3 => (1, 4, true),
        0xf4 => (1, 8, true),
        _ => return Err(malformed("has an entry of an unknown form")),
    })
}

/// Passes the length at the end of an entry of `length` bytes: seven bits a byte, the highest first, all but the first
/// byte marked.
#[inline]
fn back_length(rest: &[u8], length: usize) -> Result<&[u8]> {
    let wrong = || malformed("has an entry with a wrong length at its end");
    if length < 128 {
        let (&last, rest) = rest.split_first().ok_or_else(wrong)?;
        return if usize::from(last) == length { Ok(rest) } else { Err(wrong()) };
    }
    // Redis counts these bytes with "less than" two to the 14th, 21st and 28th, less one.
    let count = match length {
        0..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    let (tail, rest) = rest.split_at_checked(count).ok_or_else(wrong)?;
    let found = tail.iter().fold(0_usize, |sum, &byte| sum << 7 | usize::from(byte & 0x7f));
    let marked = tail.iter().skip(1).all(|byte| byte & 0x80 != 0);
    if found == length && marked { Ok(rest) } else { Err(wrong()) }
}
