//! Zipmap, the packed hash before Redis 2.6: fields and values, each behind its length, values with slack behind them.

use crate::{Error, Result};

use super::packed::{Entries, Entry};

const END: u8 = 0xff;
/// The length stands in the four little-endian bytes behind this one.
const LONG: u8 = 0xfe;
/// From here on, the number of pairs is not in the header.
const UNCOUNTED: u8 = 0xfe;

/// The fields and values of a zipmap, by turns.
#[derive(Debug)]
pub(super) struct Zipmap<'a> {
    rest: &'a [u8],
    counted: u8,
    passed: u64,
}

fn malformed(why: &str) -> Error {
    Error::malformed("zipmap", why)
}

/// Takes bytes off the front, or says that the zipmap ends too early.
fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count).ok_or_else(|| malformed("ends inside an entry"))?;
    *rest = tail;
    Ok(head)
}

impl<'a> Zipmap<'a> {
    /// Opens a zipmap that fills `blob`.
    pub(super) fn new(blob: &'a [u8]) -> Result<Self> {
        let (&counted, rest) = blob.split_first().ok_or_else(|| malformed("is empty"))?;
        Ok(Self { rest, counted, passed: 0 })
    }

    fn end(&self) -> Result<()> {
        let whole = self.rest.is_empty() && self.passed.is_multiple_of(2);
        match whole && (self.counted >= UNCOUNTED || u64::from(self.counted) * 2 == self.passed) {
            true => Ok(()),
            false => Err(malformed("has another number of pairs, or length, than it says")),
        }
    }
}

impl<'a> Entries<'a> for Zipmap<'a> {
    fn next(&mut self) -> Result<Option<Entry<'a>>> {
        let count = match take(&mut self.rest, 1)? {
            [END] => return self.end().map(|()| None),
            [LONG] => take(&mut self.rest, 4)?.iter().rev().fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte)),
            short => short.iter().map(|&byte| usize::from(byte)).sum(),
        };
        let is_value = !self.passed.is_multiple_of(2);
        let slack = if is_value { take(&mut self.rest, 1)?.iter().map(|&byte| usize::from(byte)).sum() } else { 0 };
        let bytes = take(&mut self.rest, count)?;
        take(&mut self.rest, slack)?;
        self.passed += 1;
        Ok(Some(Entry::Bytes(bytes)))
    }
}
