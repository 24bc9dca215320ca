//! Lines of which each is one JSON object under one name, read strictly. What the archive's and the repository's documents
//! are made of; it knows neither.

use crate::declare::{any_field, unknown};
use crate::json::{Reader, read_hex};
use crate::system::Kind;
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
