//! The primitives of the format: lengths, string heads and strings, read from the front of a slice.
//!
//! [`Error::Truncated`] means that the slice ends too early and nothing else; while splitting, it means "wait for more".

use crate::{Error, Result};

use super::lzf;

/// The largest string that is kept, in bytes, compressed or not: Redis's own bound of a listpack, twice that of a string.
pub const MAX_STRING_BYTES: u64 = 1 << 30;

const WHAT: &str = "RDB stream";

/// Reads `N` bytes.
#[inline]
pub(super) fn array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N]> {
    let (head, rest) = input.split_first_chunk::<N>().ok_or(Error::Truncated(WHAT))?;
    *input = rest;
    Ok(*head)
}

/// Reads one byte.
#[inline]
pub(super) fn byte(input: &mut &[u8]) -> Result<u8> {
    let (&head, rest) = input.split_first().ok_or(Error::Truncated(WHAT))?;
    *input = rest;
    Ok(head)
}

/// Reads `count` bytes.
#[inline]
pub(super) fn slice<'a>(input: &mut &'a [u8], count: u64) -> Result<&'a [u8]> {
    let count = usize::try_from(count).map_err(|_| Error::TooLarge { what: "RDB string", bound: MAX_STRING_BYTES })?;
    let (head, rest) = input.split_at_checked(count).ok_or(Error::Truncated(WHAT))?;
    *input = rest;
    Ok(head)
}

/// What stands in front of a string's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// So many bytes, as they are.
    Raw(u64),
    /// So many bytes of a little-endian signed integer.
    Integer(u64),
    /// An LZF-compressed string: its bytes as stored, and unpacked.
    Lzf { packed: u64, unpacked: u64 },
}

impl Head {
    /// How many bytes follow the head.
    pub(super) fn stored(self) -> u64 {
        match self {
            Self::Raw(bytes) | Self::Integer(bytes) => bytes,
            Self::Lzf { packed, .. } => packed,
        }
    }

    /// Refuses a string over [`MAX_STRING_BYTES`].
    pub(super) fn bounded(self) -> Result<Self> {
        let unpacked = if let Self::Lzf { unpacked, .. } = self { unpacked } else { 0 };
        match self.stored().max(unpacked) > MAX_STRING_BYTES {
            true => Err(Error::TooLarge { what: "RDB string", bound: MAX_STRING_BYTES }),
            false => Ok(self),
        }
    }
}

/// Reads a length, or the head of a specially encoded string.
#[inline]
pub(super) fn head(input: &mut &[u8]) -> Result<Head> {
    match input.split_first() {
        Some((&first @ 0..0x40, rest)) => {
            *input = rest;
            Ok(Head::Raw(u64::from(first)))
        }
        _ => long_head(input),
    }
}

/// A head that is not one byte of length.
fn long_head(input: &mut &[u8]) -> Result<Head> {
    let first = byte(input)?;
    Ok(match first {
        0..0x40 => Head::Raw(u64::from(first)),
        0x40..0x80 => Head::Raw(u64::from(u16::from_be_bytes([first & 0x3f, byte(input)?]))),
        0x80 => Head::Raw(u64::from(u32::from_be_bytes(array(input)?))),
        0x81 => Head::Raw(u64::from_be_bytes(array(input)?)),
        0xc0 => Head::Integer(1),
        0xc1 => Head::Integer(2),
        0xc2 => Head::Integer(4),
        0xc3 => Head::Lzf { packed: length(input)?, unpacked: length(input)? },
        _ => return Err(Error::malformed("RDB length", format!("starts with byte {first:#04x}"))),
    })
}

/// Reads a length or another plain number.
#[inline]
pub(super) fn length(input: &mut &[u8]) -> Result<u64> {
    match head(input)? {
        Head::Raw(length) => Ok(length),
        _ => Err(Error::malformed("RDB length", "a string encoding stands where a number must")),
    }
}

/// A string as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text<'a> {
    Raw(&'a [u8]),
    Integer(i64),
    Lzf { packed: &'a [u8], unpacked: u64 },
}

impl<'a> Text<'a> {
    /// Reads a string.
    #[inline]
    pub(super) fn read(input: &mut &'a [u8]) -> Result<Self> {
        let head = head(input)?.bounded()?;
        let stored = slice(input, head.stored())?;
        Ok(match head {
            Head::Raw(_) => Self::Raw(stored),
            Head::Integer(_) => Self::Integer(integer(stored)),
            Head::Lzf { unpacked, .. } => Self::Lzf { packed: stored, unpacked },
        })
    }

    /// Its bytes, in place where they can be, else put into `scratch`.
    #[inline]
    pub(super) fn bytes<'s>(self, scratch: &'s mut Vec<u8>) -> Result<&'s [u8]>
    where
        'a: 's,
    {
        match self {
            Self::Raw(bytes) => return Ok(bytes),
            Self::Integer(number) => {
                scratch.clear();
                scratch.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
            Self::Lzf { packed, unpacked } => lzf::decompress(packed, unpacked, scratch)?,
        }
        Ok(scratch)
    }
}

/// The value of one to eight little-endian bytes in two's complement.
#[inline]
pub(super) fn integer(bytes: &[u8]) -> i64 {
    let bits = bytes.iter().rev().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
    let spare = 64 - 8 * bytes.len().clamp(1, 8) as u32;
    (bits << spare).cast_signed() >> spare
}
