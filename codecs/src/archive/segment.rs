//! Segment: one frame of rows of one kind: the line it begins with, and what the manifest says of it.

use super::{MAX_LONE, MAX_SEGMENT, Sha256, frame_bound, line, read_digits, read_kind};
use crate::json::{read_hex, write_hex, write_u64};
use crate::system::Kind;
use crate::{Error, Result};

/// The longest key that a manifest holds, in bytes.
pub const MAX_KEY: usize = 1024;

/// The line a segment begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<K> {
    /// Its number: every segment of an archive has another one, from 0 on without a gap.
    pub number: u64,
    /// The kind of its rows.
    pub kind: K,
    /// How many lines follow.
    pub rows: u64,
}

impl<K: Kind> Head<K> {
    /// The line, with its line feed.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let Self { number, kind, rows } = self;
        format!("{{\"segment\":{{\"number\":{number},\"kind\":\"{}\",\"rows\":{rows}}}}}\n", kind.info().name)
            .into_bytes()
    }

    /// Reads the line, without its line feed.
    ///
    /// # Errors
    /// An unknown kind or field, and what is no such line.
    pub fn read(text: &[u8]) -> Result<Self> {
        let (mut number, mut kind, mut rows) = (0, None, 0);
        line(text, "segment", 3..=3, |name, reader| {
            match name {
                b"number" => number = reader.u64()?,
                b"kind" => kind = Some(read_kind(reader)?),
                b"rows" => rows = reader.u64()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let kind = kind.ok_or(Error::Truncated("segment"))?;
        Ok(Self { number, kind, rows })
    }
}

/// The first and the last key of a segment whose rows ascend, in the form that sorts bytewise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first key.
    pub first: Vec<u8>,
    /// The last key.
    pub last: Vec<u8>,
}

/// What the manifest says of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<K> {
    /// What its first line says.
    pub head: Head<K>,
    /// Where its frame begins, in bytes from the beginning of the archive.
    pub offset: u64,
    /// The length of its frame, in bytes.
    pub length: u64,
    /// The length of its text, first line included, in bytes.
    pub bytes: u64,
    /// The checksum of its frame.
    pub sha256: Sha256,
    /// Its keys, where its rows are known to ascend.
    pub span: Option<Span>,
}

impl<K: Kind> Entry<K> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Head { number, kind, rows } = self.head;
        out.extend_from_slice(b"{\"segment\":{\"number\":");
        write_u64(number, out);
        out.extend_from_slice(format!(",\"kind\":\"{}\"", kind.info().name).as_bytes());
        for (name, value) in [("rows", rows), ("offset", self.offset), ("length", self.length), ("bytes", self.bytes)] {
            out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
        }
        out.extend_from_slice(b",\"sha256\":\"");
        write_hex(&self.sha256, out);
        if let Some(span) = &self.span {
            out.extend_from_slice(b"\",\"first\":\"");
            write_hex(&span.first, out);
            out.extend_from_slice(b"\",\"last\":\"");
            write_hex(&span.last, out);
        }
        out.extend_from_slice(b"\"}}\n");
    }

    pub(super) fn read(text: &[u8]) -> Result<Self> {
        let (mut number, mut kind, mut rows) = (0, None, 0);
        let (mut offset, mut length, mut bytes, mut sha256) = (0, 0, 0, [0; 32]);
        let (mut first, mut last) = (None, None);
        let key = |text: Vec<u8>| read_hex(&text).ok_or_else(|| Error::malformed("key", "bad hexadecimal digits"));
        line(text, "segment", 7..=9, |name, reader| {
            match name {
                b"number" => number = reader.u64()?,
                b"kind" => kind = Some(read_kind(reader)?),
                b"rows" => rows = reader.u64()?,
                b"offset" => offset = reader.u64()?,
                b"length" => length = reader.u64()?,
                b"bytes" => bytes = reader.u64()?,
                b"sha256" => sha256 = read_digits(reader)?,
                b"first" => first = Some(key(reader.string()?)?),
                b"last" => last = Some(key(reader.string()?)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let span = match (first, last) {
            (Some(first), Some(last)) => Some(Span { first, last }),
            (None, None) => None,
            _ => return Err(Error::malformed("segment", "one key where there are two or none")),
        };
        let kind = kind.ok_or(Error::Truncated("segment"))?;
        let bound = if rows == 1 { MAX_LONE } else { MAX_SEGMENT };
        if bytes > bound as u64 || length > frame_bound(bound) as u64 || rows > bytes {
            return Err(Error::TooLarge { what: "segment", bound: bound as u64 });
        }
        Ok(Self { head: Head { number, kind, rows }, offset, length, bytes, sha256, span })
    }
}
