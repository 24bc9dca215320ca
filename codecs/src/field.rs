//! Field: what a type must do to be a field of a record: be zero, have a canonical form, be JSON.

use crate::json::{Reader, write_bytes, write_i64, write_u64};
use crate::{Error, Result};

/// A type that can be a field of a record.
pub(crate) trait Field: Sized + Default {
    /// Whether its form in a key is an unsigned integer of 8 bytes.
    const IS_NUMBER: bool = false;
    /// Whether it is left out of the canonical form and of JSON.
    fn is_zero(&self) -> bool;
    /// Appends its tag and its canonical value.
    fn put(&self, number: u8, out: &mut Vec<u8>);
    /// Appends what is compared: its tag and canonical value, but for what two spellings hold to be equal.
    fn put_compared(&self, number: u8, out: &mut Vec<u8>) {
        self.put(number, out);
    }
    /// Reads the canonical value behind a tag whose three low bits are `short`.
    fn take(short: u8, input: &mut &[u8]) -> Result<Self>;
    /// Appends its JSON value.
    fn write_json(&self, out: &mut Vec<u8>);
    /// Reads its JSON value.
    fn read_json(reader: &mut Reader<'_>) -> Result<Self>;
    /// Appends the form that sorts bytewise; only keys need one.
    fn put_key(&self, out: &mut Vec<u8>) {
        self.put(0, out);
    }
    /// Its value, its length, or how many items it has: what another store may have no room for.
    fn size(&self) -> u64 {
        0
    }
    /// What it holds outside the row itself, in bytes.
    fn weight(&self) -> usize {
        0
    }
}

/// Appends a tag and an integer: the tag is the field's number times eight plus the number of value bytes less one; the
/// value follows in little-endian order without its leading zero bytes.
#[inline]
pub(crate) fn put_uint(number: u8, value: u64, out: &mut Vec<u8>) {
    let bytes = (71 - (value | 1).leading_zeros() as usize) / 8;
    out.push(number << 3 | (bytes as u8 - 1));
    let [b0, b1, b2, b3, b4, b5, b6, b7] = value.to_le_bytes();
    let end = out.len() + bytes;
    out.extend_from_slice(&[b0, b1, b2, b3, b4, b5, b6, b7]);
    out.truncate(end);
}

/// Reads an integer of `short` plus one little-endian bytes.
#[inline]
pub(crate) fn take_uint(short: u8, input: &mut &[u8]) -> Result<u64> {
    let (head, rest) = input.split_at_checked(usize::from(short) + 1).ok_or(Error::Truncated("canonical integer"))?;
    *input = rest;
    let mut bytes = [0_u8; 8];
    bytes.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
    Ok(u64::from_le_bytes(bytes))
}

/// Appends a tag, a length in four little-endian bytes, and bytes.
#[inline]
pub(crate) fn put_bytes(number: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3);
    out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(value);
}

/// Reads a length and that many bytes.
#[inline]
pub(crate) fn take_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8]> {
    let (length, rest) = input.split_first_chunk::<4>().ok_or(Error::Truncated("canonical length"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let (head, rest) = rest.split_at_checked(length).ok_or(Error::Truncated("canonical bytes"))?;
    *input = rest;
    Ok(head)
}

macro_rules! unsigned {
    ($($type:ty),*) => {$(
        impl Field for $type {
            const IS_NUMBER: bool = true;
            #[inline]
            fn is_zero(&self) -> bool { *self == 0 }
            #[inline]
            fn put(&self, number: u8, out: &mut Vec<u8>) { put_uint(number, u64::from(*self), out); }
            #[inline]
            fn take(short: u8, input: &mut &[u8]) -> Result<Self> {
                Self::try_from(take_uint(short, input)?).map_err(|_| Error::malformed("canonical integer", "out of range"))
            }
            #[inline]
            fn write_json(&self, out: &mut Vec<u8>) { write_u64(u64::from(*self), out); }
            #[inline]
            fn read_json(reader: &mut Reader<'_>) -> Result<Self> {
                Self::try_from(reader.u64()?).map_err(|_| Error::malformed("JSON number", "out of range"))
            }
            fn put_key(&self, out: &mut Vec<u8>) { out.extend_from_slice(&u64::from(*self).to_be_bytes()); }
            #[inline]
            fn size(&self) -> u64 { u64::from(*self) }
        }
    )*};
}
unsigned!(u8, u16, u32, u64);

impl Field for i64 {
    #[inline]
    fn is_zero(&self) -> bool {
        *self == 0
    }
    #[inline]
    fn put(&self, number: u8, out: &mut Vec<u8>) {
        put_uint(number, self.cast_unsigned(), out);
    }
    #[inline]
    fn take(short: u8, input: &mut &[u8]) -> Result<Self> {
        Ok(take_uint(short, input)?.cast_signed())
    }
    #[inline]
    fn write_json(&self, out: &mut Vec<u8>) {
        write_i64(*self, out);
    }
    #[inline]
    fn read_json(reader: &mut Reader<'_>) -> Result<Self> {
        reader.i64()
    }
    fn put_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.cast_unsigned() ^ 1 << 63).to_be_bytes());
    }
    #[inline]
    fn size(&self) -> u64 {
        self.unsigned_abs()
    }
}

impl Field for Vec<u8> {
    #[inline]
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
    #[inline]
    fn put(&self, number: u8, out: &mut Vec<u8>) {
        put_bytes(number, self, out);
    }
    #[inline]
    fn take(_short: u8, input: &mut &[u8]) -> Result<Self> {
        Ok(take_bytes(input)?.to_vec())
    }
    #[inline]
    fn write_json(&self, out: &mut Vec<u8>) {
        write_bytes(self, out);
    }
    #[inline]
    fn read_json(reader: &mut Reader<'_>) -> Result<Self> {
        reader.bytes()
    }
    fn put_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    #[inline]
    fn size(&self) -> u64 {
        self.len() as u64
    }
    fn weight(&self) -> usize {
        self.capacity()
    }
}

/// What may be absent: absent is its zero, and a zero that is there is kept.
impl<T: Field> Field for Option<T> {
    fn is_zero(&self) -> bool {
        self.is_none()
    }
    fn put(&self, number: u8, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.put(number, out);
        }
    }
    fn put_compared(&self, number: u8, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.put_compared(number, out);
        }
    }
    fn take(short: u8, input: &mut &[u8]) -> Result<Self> {
        T::take(short, input).map(Some)
    }
    fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write_json(out),
            None => out.extend_from_slice(b"null"),
        }
    }
    fn read_json(reader: &mut Reader<'_>) -> Result<Self> {
        if reader.literal(b"null") { Ok(None) } else { T::read_json(reader).map(Some) }
    }
    fn size(&self) -> u64 {
        self.as_ref().map_or(0, Field::size)
    }
    fn weight(&self) -> usize {
        self.as_ref().map_or(0, Field::weight)
    }
}
