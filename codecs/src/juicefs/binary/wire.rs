//! The wire format of protobuf, as far as these messages need it. Whatever the bytes, it ends in a value or an error.

use crate::{Error, Result};

const WHAT: &str = "protobuf message";
/// The largest number that a field can have.
const MAX_NUMBER: u64 = (1 << 29) - 1;

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// An integer.
    Integer(u64),
    /// A message, a string, bytes, or packed integers.
    Bytes(&'a [u8]),
    /// Four or eight bytes, which no field here has.
    Fixed,
}

/// How the value behind a key is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Integer,
    Bytes,
    /// Of so many bytes.
    Fixed(usize),
}

/// Reads an integer of at most ten bytes.
#[inline]
pub(super) fn integer(input: &mut &[u8]) -> Result<u64> {
    let mut value = 0_u64;
    for (index, &byte) in input.iter().take(10).enumerate() {
        if index == 9 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *input = input.get(index + 1..).unwrap_or_default();
            return Ok(value);
        }
    }
    if input.len() < 10 { Err(Error::Truncated(WHAT)) } else { Err(Error::malformed(WHAT, "an integer over 64 bits")) }
}

/// Reads the key in front of a value: the number of the field and the layout of the value.
#[inline]
pub(super) fn key(input: &mut &[u8]) -> Result<(u32, Layout)> {
    let key = integer(input)?;
    let layout = match key & 7 {
        0 => Layout::Integer,
        1 => Layout::Fixed(8),
        2 => Layout::Bytes,
        5 => Layout::Fixed(4),
        other => return Err(Error::malformed(WHAT, format!("a value of wire type {other}"))),
    };
    match key >> 3 {
        number @ 1..=MAX_NUMBER => Ok((number as u32, layout)),
        number => Err(Error::malformed(WHAT, format!("a field of number {number}"))),
    }
}

/// Reads one field.
#[inline]
pub(super) fn field<'a>(input: &mut &'a [u8]) -> Result<(u32, Value<'a>)> {
    let (number, layout) = key(input)?;
    let length = match layout {
        Layout::Integer => return Ok((number, Value::Integer(integer(input)?))),
        Layout::Bytes => usize::try_from(integer(input)?).unwrap_or(usize::MAX),
        Layout::Fixed(length) => length,
    };
    let (bytes, rest) = input.split_at_checked(length).ok_or(Error::Truncated(WHAT))?;
    *input = rest;
    Ok((number, if layout == Layout::Bytes { Value::Bytes(bytes) } else { Value::Fixed }))
}

/// Calls `take` with every field of a message, in the order they stand.
#[inline]
pub(super) fn each<'a>(mut message: &'a [u8], mut take: impl FnMut(u32, Value<'a>) -> Result<()>) -> Result<()> {
    while !message.is_empty() {
        let (number, value) = field(&mut message)?;
        take(number, value)?;
    }
    Ok(())
}

/// A number of 32 bits.
#[inline]
pub(super) fn narrow(value: u64) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::malformed(WHAT, format!("{value}, where 32 bits belong")))
}

#[inline]
pub(super) fn put_integer(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends an integer, unless it is zero.
#[inline]
pub(super) fn put_uint(number: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        put_integer(u64::from(number << 3), out);
        put_integer(value, out);
    }
}

/// Appends a signed integer, unless it is zero.
#[inline]
pub(super) fn put_int(number: u32, value: i64, out: &mut Vec<u8>) {
    put_uint(number, value.cast_unsigned(), out);
}

/// Appends bytes, unless there are none.
#[inline]
pub(super) fn put_bytes(number: u32, value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        put_integer(u64::from(number << 3 | 2), out);
        put_integer(value.len() as u64, out);
        out.extend_from_slice(value);
    }
}

/// Appends what `body` writes as a message. Most are under 128 bytes, so that their length takes the one byte left for it.
#[inline]
pub(super) fn put_message(number: u32, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    put_integer(u64::from(number << 3 | 2), out);
    let place = out.len();
    out.push(0);
    body(out);
    let length = out.len() - place - 1;
    if length < 0x80 {
        if let Some(byte) = out.get_mut(place) {
            *byte = length as u8;
        }
    } else {
        let mut bytes = Vec::with_capacity(10);
        put_integer(length as u64, &mut bytes);
        out.splice(place..=place, bytes);
    }
}
