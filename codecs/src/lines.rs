//! Lines of which each is one JSON object under one name, read strictly. What the archive's and the repository's documents
//! are made of; it knows neither.

use crate::declare::{any_field, unknown};
use crate::json::{Reader, read_hex};
use crate::system::{Kind, Largest};
use crate::tally::Cell;
use crate::{Error, Result};

/// Refuses a version of the format that is newer than this program.
pub(crate) fn understood(what: &'static str, version: u64, newest: u32) -> Result<()> {
    match version {
        0 => Err(Error::malformed(what, "version 0")),
        version if version > u64::from(newest) => Err(Error::Unsupported {
            what,
            found: format!("version {version}, while {newest} is the newest understood"),
        }),
        _ => Ok(()),
    }
}

/// Reads an object, each field once, by `field`, which says whether it knows the name. Returns how many there were.
fn object(
    reader: &mut Reader<'_>,
    what: &'static str,
    mut field: impl FnMut(&[u8], &mut Reader<'_>) -> Result<bool>,
) -> Result<usize> {
    reader.expect(b'{')?;
    let mut names: Vec<Vec<u8>> = Vec::new();
    while let Some(name) = any_field(reader, names.is_empty())? {
        if names.contains(&name) {
            return Err(Error::malformed(what, "a field comes twice"));
        }
        if !field(&name, reader)? {
            return Err(unknown(what, &name));
        }
        names.push(name);
    }
    Ok(names.len())
}

/// Reads a line of the form `{"name":{…}}`, all of it: `field` reads the fields of the inner object, of which there must
/// be as many as `count` says.
pub(crate) fn line(
    text: &[u8],
    what: &'static str,
    count: std::ops::RangeInclusive<usize>,
    field: impl FnMut(&[u8], &mut Reader<'_>) -> Result<bool>,
) -> Result<()> {
    let mut reader = Reader::new(text);
    reader.expect(b'{')?;
    if reader.string()? != what.as_bytes() {
        return Err(Error::malformed(what, "the line is something else"));
    }
    reader.expect(b':')?;
    let found = object(&mut reader, what, field)?;
    reader.expect(b'}')?;
    if !count.contains(&found) {
        return Err(Error::malformed(what, format!("{found} fields where {} are needed", count.start())));
    }
    if !reader.at_end() {
        return Err(Error::malformed(what, "something after it on the line"));
    }
    Ok(())
}

/// A kind, by its name.
pub(crate) fn read_kind<K: Kind>(reader: &mut Reader<'_>) -> Result<K> {
    let name = reader.string()?;
    K::named(&name)
        .ok_or_else(|| Error::Unsupported { what: "kind", found: String::from_utf8_lossy(&name).into_owned() })
}

/// Hexadecimal digits, of one length.
pub(crate) fn read_digits<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N]> {
    let bytes = read_hex(&reader.string()?).and_then(|bytes| <[u8; N]>::try_from(bytes).ok());
    bytes.ok_or_else(|| Error::malformed("hexadecimal digits", "not of the length they must have"))
}

/// Appends the sums of a cell, as fields of the line it is in.
pub(crate) fn write_sums(cell: &Cell, out: &mut Vec<u8>) {
    let Cell { rows, bytes, digest, derived } = cell;
    let sums =
        format!(",\"rows\":{rows},\"bytes\":{bytes},\"digest\":\"{digest:032x}\",\"derived\":\"{derived:032x}\"");
    out.extend_from_slice(sums.as_bytes());
}

/// Reads one of them; false where the field is none.
pub(crate) fn read_sum(name: &[u8], reader: &mut Reader<'_>, cell: &mut Cell) -> Result<bool> {
    match name {
        b"rows" => cell.rows = reader.u64()?,
        b"bytes" => cell.bytes = reader.u64()?,
        b"digest" => cell.digest = u128::from_be_bytes(read_digits(reader)?),
        b"derived" => cell.derived = u128::from_be_bytes(read_digits(reader)?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Appends the line of a largest value.
pub(crate) fn write_largest<K: Kind>(largest: &Largest<K>, out: &mut Vec<u8>) {
    let Largest { kind, field, value } = largest;
    let kind = kind.info().name;
    let text = format!("{{\"largest\":{{\"kind\":\"{kind}\",\"field\":\"{field}\",\"value\":{value}}}}}\n");
    out.extend_from_slice(text.as_bytes());
}

/// Reads it.
pub(crate) fn read_largest<K: Kind>(text: &[u8]) -> Result<Largest<K>> {
    let (mut kind, mut field, mut value) = (None, Vec::new(), 0);
    line(text, "largest", 3..=3, |name, reader| {
        match name {
            b"kind" => kind = Some(read_kind(reader)?),
            b"field" => field = reader.string()?,
            b"value" => value = reader.u64()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let kind = kind.ok_or(Error::Truncated("largest"))?;
    Ok(Largest { kind, field: String::from_utf8_lossy(&field).into_owned(), value })
}

/// Reads the line that ends a manifest.
pub(crate) fn read_end(text: &[u8], of: &str) -> Result<()> {
    if !text.starts_with(b"{\"end\"") {
        let near = String::from_utf8_lossy(text.get(..40).unwrap_or(text)).into_owned();
        return Err(Error::Unsupported { what: "line of a manifest", found: near });
    }
    line(text, "end", 1..=1, |name, reader| Ok(name == b"of" && reader.string()? == of.as_bytes()))
}
