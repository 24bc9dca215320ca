//! The end of a zip file: where its directory lies. It reads and writes bytes, and no file.

use metaferry_codecs::{Error, Result};

use super::records::{Input, WHAT, wrong};

const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;

/// The length of what comes first in each record, in bytes.
pub(super) const END_BYTES: usize = 22;
pub(super) const LOCATOR64_BYTES: usize = 20;
pub(super) const END64_BYTES: usize = 56;
/// The longest comment behind the end.
pub(super) const MAX_COMMENT: usize = u16::MAX as usize;

/// The directory of a zip file: where it lies, and how many entries it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) entries: u64,
}

impl Directory {
    /// Finds the end of a zip file in its last bytes, and reads it. Where the numbers stand elsewhere in 64 bits: the place
    /// of those, from the beginning of the file.
    ///
    /// # Errors
    /// A file that was cut off, and one of several parts.
    pub(super) fn read_end(tail: &[u8]) -> Result<(usize, Self, Option<u64>)> {
        let is_end = |at: &usize| {
            let record = tail.get(*at..).unwrap_or_default();
            let comment = record.get(20..).and_then(|rest| Input(rest).u16().ok());
            let fits = comment.is_some_and(|comment| record.len() == END_BYTES + usize::from(comment));
            fits && record.starts_with(&END.to_le_bytes())
        };
        let last = tail.len().checked_sub(END_BYTES).ok_or(Error::Truncated(WHAT))?;
        let cut = || wrong("its end is not there: it was cut off, or something was appended");
        let at = (0..=last).rev().find(is_end).ok_or_else(cut)?;
        let mut input = Input(tail.get(at..).unwrap_or_default());
        input.take(4)?;
        let (disk, first, here, entries) = (input.u16()?, input.u16()?, input.u16()?, input.u16()?);
        let (length, offset) = (input.u32()?, input.u32()?);
        let locator = at.checked_sub(LOCATOR64_BYTES).and_then(|from| tail.get(from..at));
        let found = Self { offset: offset.into(), length: length.into(), entries: entries.into() };
        if let Some(locator) = locator.filter(|locator| locator.starts_with(&LOCATOR64.to_le_bytes())) {
            let mut input = Input(locator);
            input.take(4)?;
            let (disk, place, disks) = (input.u32()?, input.u64()?, input.u32()?);
            return if (disk, disks) == (0, 1) { Ok((at, found, Some(place))) } else { Err(parts()) };
        }
        if (disk, first) != (0, 0) || here != entries {
            return Err(parts());
        }
        Ok((at, found, None))
    }

    /// Reads the record with numbers of 64 bits.
    ///
    /// # Errors
    /// One of several parts.
    pub(super) fn read_end64(bytes: &[u8]) -> Result<Self> {
        let mut input = Input(bytes);
        input.signature(END64, "end in 64 bits")?;
        let rest = input.u64()?;
        input.take(4)?;
        let (disk, first, here, entries) = (input.u32()?, input.u32()?, input.u64()?, input.u64()?);
        let (length, offset) = (input.u64()?, input.u64()?);
        if rest != (END64_BYTES - 12) as u64 {
            return Err(wrong("its end in 64 bits is longer than known ones"));
        }
        if (disk, first) != (0, 0) || here != entries {
            return Err(parts());
        }
        Ok(Self { offset, length, entries })
    }

    /// Appends the end of a zip file whose directory it is.
    pub(super) fn put_end(&self, out: &mut Vec<u8>) {
        let short = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let (entries, length, offset) =
            (u16::try_from(self.entries).unwrap_or(u16::MAX), short(self.length), short(self.offset));
        if entries == u16::MAX || length == u32::MAX || offset == u32::MAX {
            let place = self.offset + self.length;
            out.extend(END64.to_le_bytes());
            out.extend((END64_BYTES as u64 - 12).to_le_bytes());
            out.extend([45, 0, 45, 0]);
            out.extend([0; 8]);
            for value in [self.entries, self.entries, self.length, self.offset] {
                out.extend(value.to_le_bytes());
            }
            out.extend(LOCATOR64.to_le_bytes());
            out.extend([0; 4]);
            out.extend(place.to_le_bytes());
            out.extend(1_u32.to_le_bytes());
        }
        out.extend(END.to_le_bytes());
        out.extend([0; 4]);
        out.extend(entries.to_le_bytes());
        out.extend(entries.to_le_bytes());
        out.extend(length.to_le_bytes());
        out.extend(offset.to_le_bytes());
        out.extend([0; 2]);
    }
}

fn parts() -> Error {
    Error::Unsupported { what: "zip", found: "it has several parts".to_owned() }
}
