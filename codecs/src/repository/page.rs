//! Page: entries that each stand for a blob of rows, or for a page of a lower height, in the order of their first keys.

use std::io::BufRead;

use super::{Id, MAX_PAGE};
use crate::json::{read_hex, write_hex, write_u64};
use crate::lines::{line, read_digits, read_kind};
use crate::system::Kind;
use crate::{Error, Result};

const WHAT: &str = "page";
/// The most entries of a page.
pub const MOST_ENTRIES: usize = 1000;
/// What of a first key is kept, in bytes.
const KEPT_KEY: usize = 32;

/// The beginning of a key, as entries keep it.
#[must_use]
pub fn short(key: &[u8]) -> &[u8] {
    key.get(..KEPT_KEY).unwrap_or(key)
}

/// A blob or a page, and what of the rows is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The beginning of its first key, in the form that sorts bytewise.
    pub first: Vec<u8>,
    /// How many rows it holds.
    pub rows: u64,
    /// Which it is.
    pub id: Id,
}

/// Entries of one kind and height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<K> {
    /// The kind of the rows below.
    pub kind: K,
    /// 1 where its entries are blobs, else one more than those of the pages that are its entries.
    pub height: u8,
    /// Its entries.
    pub entries: Vec<Entry>,
}

impl<K: Kind> Page<K> {
    /// Its text.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let (kind, height, count) = (self.kind.info().name, self.height, self.entries.len());
        let mut out =
            format!("{{\"page\":{{\"kind\":\"{kind}\",\"height\":{height},\"entries\":{count}}}}}\n").into_bytes();
        for Entry { first, rows, id } in &self.entries {
            out.extend_from_slice(b"{\"entry\":{\"first\":\"");
            write_hex(first, &mut out);
            out.extend_from_slice(b"\",\"rows\":");
            write_u64(*rows, &mut out);
            out.extend_from_slice(b",\"id\":\"");
            write_hex(id, &mut out);
            out.extend_from_slice(b"\"}}\n");
        }
        out
    }

    /// Reads what [`Page::write`] wrote.
    ///
    /// # Errors
    /// Unknown kinds and fields, more entries than a page has, entries that are not in order, and what is no page.
    pub fn read(mut text: &[u8]) -> Result<Self> {
        let (mut kind, mut height, mut count) = (None, 0, 0);
        line(next_line(&mut text)?, WHAT, 3..=3, |name, reader| {
            match name {
                b"kind" => kind = Some(read_kind(reader)?),
                b"height" => height = reader.u64()?,
                b"entries" => count = reader.u64()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let kind = kind.ok_or(Error::Truncated(WHAT))?;
        let height = u8::try_from(height).ok().filter(|height| *height > 0);
        let height = height.ok_or_else(|| Error::malformed(WHAT, "a height that no page has"))?;
        let mut entries: Vec<Entry> = Vec::new();
        while !text.is_empty() {
            let entry = read_entry(next_line(&mut text)?)?;
            if entries.last().is_some_and(|before| before.first > entry.first) {
                return Err(Error::malformed(WHAT, "its entries are not in order"));
            }
            entries.push(entry);
            if entries.len() > MOST_ENTRIES {
                return Err(Error::TooLarge { what: WHAT, bound: MAX_PAGE as u64 });
            }
        }
        if entries.len() as u64 != count || entries.is_empty() {
            return Err(Error::malformed(WHAT, "its first line promises other entries than it has"));
        }
        Ok(Self { kind, height, entries })
    }
}

fn read_entry(text: &[u8]) -> Result<Entry> {
    let (mut first, mut rows, mut id) = (None, 0, [0; 32]);
    line(text, "entry", 3..=3, |name, reader| {
        match name {
            b"first" => first = read_hex(&reader.string()?).filter(|key| key.len() <= KEPT_KEY),
            b"rows" => rows = reader.u64()?,
            b"id" => id = read_digits(reader)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let first = first.ok_or_else(|| Error::malformed("entry", "a key that is none"))?;
    Ok(Entry { first, rows, id })
}

/// The next line of a text, without its line feed.
pub(super) fn next_line<'a>(text: &mut &'a [u8]) -> Result<&'a [u8]> {
    let end = memchr::memchr(b'\n', text).ok_or(Error::Truncated("line"))?;
    let (head, _) = text.split_at(end);
    text.consume(end + 1);
    Ok(head)
}
