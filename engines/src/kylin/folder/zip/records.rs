//! The records of an entry of a zip file, as far as one of Kylin's has them: in front of it, behind it, and in the directory.
//! It reads and writes bytes, and no file. Numbers are little-endian.

use metaferry_codecs::{Error, Result};

pub(super) const WHAT: &str = "zip";

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;

/// The length of what comes first in each record, in bytes.
pub(super) const LOCAL_BYTES: usize = 30;
pub(super) const CENTRAL_BYTES: usize = 46;

/// Flags of an entry: what follows it says how long it is; its name is UTF-8.
pub(super) const STREAMED: u16 = 1 << 3;
const UTF8: u16 = 1 << 11;
/// It is encrypted, in one way or another, or a patch of something else.
const SECRET: u16 = 1 | 1 << 5 | 1 << 6 | 1 << 13;

pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;

/// Where a number stands in 64 bits behind the name.
const EXTRA64: u16 = 1;
/// Where the time of a file stands in seconds.
const EXTRA_TIME: u16 = 0x5455;

/// An entry, as the directory at the end has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) flags: u16,
    pub(super) method: u16,
    /// Its time, in local time: the date above, the time below.
    pub(super) dos: u32,
    /// Its time in seconds since 1970, where it has that too.
    pub(super) seconds: Option<i32>,
    pub(super) crc: u32,
    /// The length of its data, in bytes.
    pub(super) packed: u64,
    /// The length of its content, in bytes.
    pub(super) length: u64,
    /// Where it begins.
    pub(super) offset: u64,
}

pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Error::Truncated(WHAT))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Error::Truncated(WHAT))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn signature(&mut self, expected: u32, what: &str) -> Result<()> {
        if self.u32()? == expected { Ok(()) } else { Err(wrong(format!("there is no {what} where one must be"))) }
    }
}

pub(super) fn wrong(why: impl Into<String>) -> Error {
    Error::malformed(WHAT, why)
}

/// The fields behind a name, each with its number.
fn extras(mut bytes: &[u8], each: &mut dyn FnMut(u16, &[u8]) -> Result<()>) -> Result<()> {
    // Some writers end with a few bytes that are no field.
    while bytes.len() >= 4 {
        let mut input = Input(bytes);
        let (number, length) = (input.u16()?, input.u16()?);
        each(number, input.take(usize::from(length))?)?;
        bytes = input.0;
    }
    Ok(())
}

fn seconds(field: &[u8]) -> Option<i32> {
    let (flags, rest) = field.split_first()?;
    let (seconds, _) = rest.split_first_chunk::<4>()?;
    (flags & 1 == 1).then(|| i32::from_le_bytes(*seconds))
}

impl Entry {
    /// How long the record that begins so is; `bytes` are its first [`CENTRAL_BYTES`].
    pub(super) fn central_length(bytes: &[u8]) -> Result<usize> {
        let mut input = Input(bytes);
        input.signature(CENTRAL, "entry of the directory")?;
        input.take(24)?;
        let variable = [input.u16()?, input.u16()?, input.u16()?].map(usize::from);
        Ok(CENTRAL_BYTES + variable.iter().sum::<usize>())
    }

    /// Reads a record of the directory.
    ///
    /// # Errors
    /// What no Kylin could read: what is encrypted, on another disk, or packed in another way.
    pub(super) fn read_central(bytes: &[u8]) -> Result<Self> {
        let mut input = Input(bytes);
        input.signature(CENTRAL, "entry of the directory")?;
        input.take(4)?;
        let (flags, method, dos, crc) = (input.u16()?, input.u16()?, input.u32()?, input.u32()?);
        let (packed, length) = (input.u32()?, input.u32()?);
        let [name, extra, comment] = [input.u16()?, input.u16()?, input.u16()?].map(usize::from);
        let disk = input.u16()?;
        input.take(6)?;
        let offset = input.u32()?;
        let (name, extra) = (input.take(name)?, input.take(extra)?);
        input.take(comment)?;
        let mut entry = Self {
            name: name.to_vec(),
            flags,
            method,
            dos,
            seconds: None,
            crc,
            packed: packed.into(),
            length: length.into(),
            offset: offset.into(),
        };
        extras(extra, &mut |number, field| {
            let mut field = Input(field);
            match number {
                EXTRA64 => {
                    for value in [&mut entry.length, &mut entry.packed, &mut entry.offset] {
                        if *value == u64::from(u32::MAX) {
                            *value = field.u64()?;
                        }
                    }
                }
                EXTRA_TIME => entry.seconds = seconds(field.0),
                _ => {}
            }
            Ok(())
        })?;
        entry.check(disk)?;
        Ok(entry)
    }

    fn check(&self, disk: u16) -> Result<()> {
        let unsupported = |found: &str| Err(Error::Unsupported { what: "zip", found: found.to_owned() });
        match self.method {
            _ if self.flags & SECRET != 0 => return unsupported("an entry is encrypted"),
            DEFLATED => {}
            STORED if self.flags & STREAMED != 0 => return unsupported("an entry is stored, and of unknown length"),
            STORED => {}
            other => return unsupported(&format!("an entry is packed by method {other}, not by deflate")),
        }
        if disk != 0 && disk != u16::MAX {
            return unsupported("it has several parts");
        }
        if self.method == STORED && self.packed != self.length {
            return Err(wrong("an entry is stored, and has two lengths"));
        }
        Ok(())
    }

    /// How much follows the first [`LOCAL_BYTES`] of what is in front of an entry, which are `bytes`.
    pub(super) fn local_rest(bytes: &[u8]) -> Result<usize> {
        let mut input = Input(bytes);
        input.signature(LOCAL, "entry")?;
        input.take(22)?;
        Ok(usize::from(input.u16()?) + usize::from(input.u16()?))
    }

    /// Holds what is in front of the entry against the directory: who reads from the front has to see the same.
    ///
    /// # Errors
    /// Any difference.
    pub(super) fn check_local(&self, bytes: &[u8]) -> Result<()> {
        let mut input = Input(bytes);
        input.signature(LOCAL, "entry")?;
        input.take(2)?;
        let (flags, method, _dos, crc) = (input.u16()?, input.u16()?, input.u32()?, input.u32()?);
        let (mut packed, mut length) = (u64::from(input.u32()?), u64::from(input.u32()?));
        let (name, extra) = (usize::from(input.u16()?), usize::from(input.u16()?));
        let (name, extra) = (input.take(name)?, input.take(extra)?);
        extras(extra, &mut |number, field| {
            if number == EXTRA64 {
                let mut field = Input(field);
                for value in [&mut length, &mut packed] {
                    if *value == u64::from(u32::MAX) {
                        *value = field.u64()?;
                    }
                }
            }
            Ok(())
        })?;
        // What is streamed need not know any of it in front.
        let is_streamed = self.flags & STREAMED != 0;
        let agrees = |here: u64, there: u64| here == there || (is_streamed && here == 0);
        let is_same = (flags ^ self.flags) & !UTF8 == 0
            && method == self.method
            && name == self.name
            && agrees(crc.into(), self.crc.into())
            && agrees(packed, self.packed)
            && agrees(length, self.length);
        if is_same { Ok(()) } else { Err(wrong("what is in front of the entry is not what the directory says of it")) }
    }

    /// Holds what follows the entry against the directory; nothing may, but where it is streamed.
    ///
    /// # Errors
    /// Any difference.
    pub(super) fn check_descriptor(&self, bytes: &[u8]) -> Result<()> {
        if self.flags & STREAMED == 0 {
            return if bytes.is_empty() { Ok(()) } else { Err(wrong("something lies between it and the next")) };
        }
        let mut input = Input(bytes);
        if matches!(bytes.len(), 16 | 24) {
            input.signature(DESCRIPTOR, "length behind the entry")?;
        }
        let crc = input.u32()?;
        let (packed, length) = match input.0.len() {
            8 => (input.u32()?.into(), input.u32()?.into()),
            16 => (input.u64()?, input.u64()?),
            _ => return Err(wrong("something lies between it and the next")),
        };
        let is_same = (crc, packed, length) == (self.crc, self.packed, self.length);
        if is_same { Ok(()) } else { Err(wrong("what is behind the entry is not what the directory says of it")) }
    }

    /// Appends what is in front of a streamed entry.
    pub(super) fn put_local(&self, out: &mut Vec<u8>) {
        out.extend(LOCAL.to_le_bytes());
        self.put_common(&[0; 12], out);
        out.extend(self.extra_time().map_or(0_u16, |extra| extra.len() as u16).to_le_bytes());
        out.extend(&self.name);
        out.extend(self.extra_time().iter().flatten());
    }

    /// Appends what follows a streamed entry.
    pub(super) fn put_descriptor(&self, out: &mut Vec<u8>) {
        out.extend(DESCRIPTOR.to_le_bytes());
        out.extend(self.lengths());
    }

    /// Appends the record of the directory.
    pub(super) fn put_central(&self, out: &mut Vec<u8>) {
        let mut extra = self.extra_time().map_or_else(Vec::new, Vec::from);
        let offset = u32::try_from(self.offset).unwrap_or(u32::MAX);
        if offset == u32::MAX {
            extra.extend(EXTRA64.to_le_bytes());
            extra.extend(8_u16.to_le_bytes());
            extra.extend(self.offset.to_le_bytes());
        }
        out.extend(CENTRAL.to_le_bytes());
        out.extend(if offset == u32::MAX { 45_u16 } else { 20 }.to_le_bytes());
        self.put_common(&self.lengths(), out);
        out.extend((extra.len() as u16).to_le_bytes());
        out.extend([0; 10]);
        out.extend(offset.to_le_bytes());
        out.extend(&self.name);
        out.extend(extra);
    }

    fn put_common(&self, lengths: &[u8; 12], out: &mut Vec<u8>) {
        out.extend(20_u16.to_le_bytes());
        out.extend((STREAMED | UTF8).to_le_bytes());
        out.extend(DEFLATED.to_le_bytes());
        out.extend(self.dos.to_le_bytes());
        out.extend(lengths);
        out.extend((self.name.len() as u16).to_le_bytes());
    }

    /// Content is never as long as 32 bits can say.
    fn lengths(&self) -> [u8; 12] {
        let mut lengths = [0; 12];
        let values = [self.crc, self.packed as u32, self.length as u32];
        lengths.iter_mut().zip(values.iter().flat_map(|value| value.to_le_bytes())).for_each(|(to, from)| *to = from);
        lengths
    }

    fn extra_time(&self) -> Option<[u8; 9]> {
        let [a, b, c, d] = self.seconds?.to_le_bytes();
        let [low, high] = EXTRA_TIME.to_le_bytes();
        Some([low, high, 5, 0, 1, a, b, c, d])
    }
}
