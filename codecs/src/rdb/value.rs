//! The elements of a piece, whatever its encoding.

use crate::{Error, Result};

use super::block::Piece;
use super::bytes::{Text, array, byte, length, slice};
use super::encoding::Encoding;
use super::intset::Intset;
use super::listpack::Listpack;
use super::packed::{Entries, finite_or_infinite, score};
use super::ziplist::Ziplist;
use super::zipmap::Zipmap;

/// An element of a value. Integers come as their decimal digits, as Redis itself would hand them out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Element<'a> {
    /// The whole of a string.
    Value(&'a [u8]),
    /// An item of a list, head first, or a member of a set.
    Item(&'a [u8]),
    /// A field of a hash and its value.
    Field(&'a [u8], &'a [u8]),
    /// A member of a sorted set and its score, which may be infinite.
    Scored(&'a [u8], f64),
}

/// Room for what must be unpacked; made once and used for many pieces.
#[derive(Debug, Default)]
pub struct Scratch {
    first: Vec<u8>,
    second: Vec<u8>,
}

impl Piece<'_> {
    /// Hands each element of the piece to `visit`, in the order of the stream.
    ///
    /// # Errors
    /// [`Error::Malformed`] or [`Error::Truncated`] where the bytes are damaged, [`Error::TooLarge`] where a string is
    /// over [`MAX_STRING_BYTES`](super::MAX_STRING_BYTES), [`Error::Unsupported`] for a stream or a module's value, and
    /// whatever `visit` returns: the first error ends the walk.
    pub fn each<F>(&self, scratch: &mut Scratch, mut visit: F) -> Result<()>
    where
        F: FnMut(Element<'_>) -> Result<()>,
    {
        let mut input = self.bytes;
        match self.encoding {
            Encoding::String => visit(Element::Value(Text::read(&mut input)?.bytes(&mut scratch.first)?))?,
            Encoding::List | Encoding::Set => {
                for _ in 0..self.elements {
                    visit(Element::Item(Text::read(&mut input)?.bytes(&mut scratch.first)?))?;
                }
            }
            Encoding::ListQuicklist | Encoding::ListQuicklist2 => self.nodes(&mut input, scratch, &mut visit)?,
            Encoding::Zset | Encoding::ZsetText => self.scored(&mut input, scratch, &mut visit)?,
            Encoding::Hash | Encoding::HashExpiry | Encoding::HashExpiryPreview | Encoding::HashExpiryValkey => {
                self.fields(&mut input, scratch, &mut visit)?;
            }
            Encoding::Stream(_) | Encoding::Module => {
                return Err(Error::Unsupported { what: "RDB value", found: format!("{:?}", self.encoding.kind()) });
            }
            _ => self.packed(&mut input, scratch, &mut visit)?,
        }
        match input.is_empty() {
            true => Ok(()),
            false => Err(Error::malformed("RDB value", "is longer than its elements")),
        }
    }

    /// Fields and values as strings, with or without their expiries.
    fn fields<F>(&self, input: &mut &[u8], scratch: &mut Scratch, visit: &mut F) -> Result<()>
    where
        F: FnMut(Element<'_>) -> Result<()>,
    {
        for _ in 0..self.elements {
            if matches!(self.encoding, Encoding::HashExpiry | Encoding::HashExpiryPreview) {
                length(input)?;
            }
            let field = Text::read(input)?.bytes(&mut scratch.first)?;
            let value = Text::read(input)?.bytes(&mut scratch.second)?;
            if self.encoding == Encoding::HashExpiryValkey {
                array::<8>(input)?;
            }
            visit(Element::Field(field, value))?;
        }
        Ok(())
    }

    /// Members as strings, with their scores.
    fn scored<F>(&self, input: &mut &[u8], scratch: &mut Scratch, visit: &mut F) -> Result<()>
    where
        F: FnMut(Element<'_>) -> Result<()>,
    {
        for _ in 0..self.elements {
            let member = Text::read(input)?.bytes(&mut scratch.first)?;
            let score = match self.encoding {
                Encoding::Zset => finite_or_infinite(f64::from_le_bytes(array(input)?))?,
                _ => text_score(input)?,
            };
            visit(Element::Scored(member, score))?;
        }
        Ok(())
    }

    /// The nodes of a quicklist: packed ones, and in its second version plain ones.
    fn nodes<F>(&self, input: &mut &[u8], scratch: &mut Scratch, visit: &mut F) -> Result<()>
    where
        F: FnMut(Element<'_>) -> Result<()>,
    {
        for _ in 0..self.elements {
            let second = self.encoding == Encoding::ListQuicklist2;
            let container = if second { length(input)? } else { PACKED };
            let node = Text::read(input)?.bytes(&mut scratch.first)?;
            match (container, second) {
                (PLAIN, _) => visit(Element::Item(node))?,
                (PACKED, true) => items(Listpack::new(node)?, visit)?,
                (PACKED, false) => items(Ziplist::new(node)?, visit)?,
                _ => return Err(Error::malformed("quicklist", format!("has a node of kind {container}"))),
            }
        }
        Ok(())
    }

    /// One blob that holds everything.
    fn packed<F>(&self, input: &mut &[u8], scratch: &mut Scratch, visit: &mut F) -> Result<()>
    where
        F: FnMut(Element<'_>) -> Result<()>,
    {
        if self.encoding == Encoding::HashListpackExpiry {
            array::<8>(input)?;
        }
        let blob = Text::read(input)?.bytes(&mut scratch.first)?;
        match self.encoding {
            Encoding::ListZiplist => items(Ziplist::new(blob)?, visit),
            Encoding::SetListpack => items(Listpack::new(blob)?, visit),
            Encoding::SetIntset => items(Intset::new(blob)?, visit),
            Encoding::ZsetZiplist => pairs_scored(Ziplist::new(blob)?, visit),
            Encoding::ZsetListpack => pairs_scored(Listpack::new(blob)?, visit),
            Encoding::HashZipmap => pairs(Zipmap::new(blob)?, 0, visit),
            Encoding::HashZiplist => pairs(Ziplist::new(blob)?, 0, visit),
            Encoding::HashListpackExpiry | Encoding::HashListpackExpiryPreview => pairs(Listpack::new(blob)?, 1, visit),
            _ => pairs(Listpack::new(blob)?, 0, visit),
        }
    }
}

/// Kinds of node of the second quicklist.
const PLAIN: u64 = 1;
const PACKED: u64 = 2;

fn odd() -> Error {
    Error::malformed("packed value", "ends inside a pair")
}

#[inline]
fn items<'a, F>(mut entries: impl Entries<'a>, visit: &mut F) -> Result<()>
where
    F: FnMut(Element<'_>) -> Result<()>,
{
    while let Some(item) = entries.next()? {
        visit(Element::Item(item.bytes(&mut itoa::Buffer::new())))?;
    }
    Ok(())
}

/// Fields and values by turns, behind each pair so many entries that are passed over.
#[inline]
fn pairs<'a, F>(mut entries: impl Entries<'a>, passed_over: usize, visit: &mut F) -> Result<()>
where
    F: FnMut(Element<'_>) -> Result<()>,
{
    while let Some(field) = entries.next()? {
        let value = entries.next()?.ok_or_else(odd)?;
        visit(Element::Field(field.bytes(&mut itoa::Buffer::new()), value.bytes(&mut itoa::Buffer::new())))?;
        for _ in 0..passed_over {
            entries.next()?.ok_or_else(odd)?;
        }
    }
    Ok(())
}

/// Members and scores by turns.
fn pairs_scored<'a, F>(mut entries: impl Entries<'a>, visit: &mut F) -> Result<()>
where
    F: FnMut(Element<'_>) -> Result<()>,
{
    while let Some(member) = entries.next()? {
        let score = entries.next()?.ok_or_else(odd)?.score()?;
        visit(Element::Scored(member.bytes(&mut itoa::Buffer::new()), score))?;
    }
    Ok(())
}

/// A score in decimal: its length in one byte, where the largest lengths stand for what has no digits.
fn text_score(input: &mut &[u8]) -> Result<f64> {
    match byte(input)? {
        255 => Ok(f64::NEG_INFINITY),
        254 => Ok(f64::INFINITY),
        253 => finite_or_infinite(f64::NAN),
        count => score(slice(input, u64::from(count))?),
    }
}
