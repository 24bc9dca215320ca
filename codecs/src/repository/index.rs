//! Index: which packs a run wrote, and where in them each blob lies. What is in no index is in no pack.

use super::page::next_line;
use super::{Id, MAX_INDEX};
use crate::json::{write_hex, write_u64};
use crate::lines::{line, read_digits};
use crate::{Error, Result};

const WHAT: &str = "index";
/// What stands for the random bytes a pack begins with, where a blob has its id: by them no pack is like one that was removed.
pub const SALT: Placed = Placed { id: [0; 32], length: 16 };

/// Packs, each with its blobs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Index {
    /// The packs.
    pub packs: Vec<Pack>,
}

/// An object in which blobs lie one behind the other, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// The checksum of its bytes, which is its name.
    pub id: Id,
    /// Its blobs, in their order.
    pub blobs: Vec<Placed>,
}

/// A blob in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Which it is.
    pub id: Id,
    /// Its length in the pack, in bytes.
    pub length: u32,
}

impl Pack {
    /// Its length, in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.blobs.iter().map(|blob| u64::from(blob.length)).sum()
    }
}

impl Index {
    /// Its text.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let blobs: usize = self.packs.iter().map(|pack| pack.blobs.len()).sum();
        let mut out = format!("{{\"index\":{{\"packs\":{},\"blobs\":{blobs}}}}}\n", self.packs.len()).into_bytes();
        for pack in &self.packs {
            out.extend_from_slice(b"{\"pack\":{\"id\":\"");
            write_hex(&pack.id, &mut out);
            let (length, blobs) = (pack.length(), pack.blobs.len());
            out.extend_from_slice(format!("\",\"length\":{length},\"blobs\":{blobs}}}}}\n").as_bytes());
            for blob in &pack.blobs {
                out.extend_from_slice(b"{\"blob\":{\"id\":\"");
                write_hex(&blob.id, &mut out);
                out.extend_from_slice(b"\",\"length\":");
                write_u64(u64::from(blob.length), &mut out);
                out.extend_from_slice(b"}}\n");
            }
        }
        out
    }

    /// Reads what [`Index::write`] wrote.
    ///
    /// # Errors
    /// Numbers and lengths that do not hold, unknown fields, and what is no index.
    pub fn read(mut text: &[u8]) -> Result<Self> {
        if text.len() > MAX_INDEX {
            return Err(Error::TooLarge { what: WHAT, bound: MAX_INDEX as u64 });
        }
        let (mut packs, mut all) = (0, 0);
        line(next_line(&mut text)?, WHAT, 2..=2, |name, reader| {
            match name {
                b"packs" => packs = reader.u64()?,
                b"blobs" => all = reader.u64()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let mut index = Self::default();
        while !text.is_empty() {
            index.packs.push(read_pack(&mut text)?);
        }
        let found: usize = index.packs.iter().map(|pack| pack.blobs.len()).sum();
        if (index.packs.len() as u64, found as u64) != (packs, all) {
            return Err(Error::malformed(WHAT, "its first line promises something else than its lines hold"));
        }
        Ok(index)
    }
}

fn read_pack(text: &mut &[u8]) -> Result<Pack> {
    let (mut id, mut length, mut count) = ([0; 32], 0, 0);
    line(next_line(text)?, "pack", 3..=3, |name, reader| {
        match name {
            b"id" => id = read_digits(reader)?,
            b"length" => length = reader.u64()?,
            b"blobs" => count = reader.u64()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let mut pack = Pack { id, blobs: Vec::new() };
    for _ in 0..count {
        pack.blobs.push(read_placed(next_line(text)?)?);
    }
    if pack.length() != length {
        return Err(Error::malformed("pack", "its blobs do not fill it"));
    }
    Ok(pack)
}

fn read_placed(text: &[u8]) -> Result<Placed> {
    let (mut id, mut length) = ([0; 32], 0);
    line(text, "blob", 2..=2, |name, reader| {
        match name {
            b"id" => id = read_digits(reader)?,
            b"length" => length = reader.u64()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let length = u32::try_from(length).map_err(|_| Error::TooLarge { what: "blob", bound: u64::from(u32::MAX) })?;
    Ok(Placed { id, length })
}
