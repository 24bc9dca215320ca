//! `_image`, which says up to where the change log is in a backup, and `UUID`, the id of an instance, as files and rows hold
//! them (`JdbcMetadataStore`, `ResourceStore`).

use crate::json::{Reader, write_u64};
use crate::{Error, Result};

/// The key of `_image` in the flat layout: in backups alone.
pub const FLAT_IMAGE: &[u8] = b"/_image";
/// The key of `_image` in the typed layout: in backups alone.
pub const TYPED_IMAGE: &[u8] = b"SYSTEM/_image";
/// The key of the id of an instance in the flat layout.
pub const FLAT_UUID: &[u8] = b"/UUID";
/// The key of the id of an instance in the typed layout.
pub const TYPED_UUID: &[u8] = b"SYSTEM/UUID";

const IMAGE: &str = "_image";
const UUID: &str = "UUID";

/// The bytes of an `_image`: the last id of the change log whose effect is in the backup.
#[must_use]
pub fn write_image(offset: u64) -> Vec<u8> {
    let mut out = b"{\"offset\":".to_vec();
    write_u64(offset, &mut out);
    out.push(b'}');
    out
}

/// Reads an `_image`; the typed layout has more in it than the offset.
///
/// # Errors
/// What is no JSON object with an offset.
pub fn read_image(text: &[u8]) -> Result<u64> {
    let mut reader = Reader::new(text);
    let mut offset = None;
    reader.expect(b'{')?;
    let mut is_first = true;
    while !reader.token(b'}') {
        if !is_first {
            reader.expect(b',')?;
        }
        is_first = false;
        let name = reader.string()?;
        reader.expect(b':')?;
        match &*name {
            b"offset" => offset = Some(reader.u64()?),
            _ => drop(reader.skip()?),
        }
    }
    if !reader.at_end() {
        return Err(Error::malformed(IMAGE, "something after it"));
    }
    offset.ok_or_else(|| Error::malformed(IMAGE, "it has no offset"))
}

/// The bytes of a `UUID` of the flat layout: the length in two bytes, big-endian, and the text in Java's modified UTF-8.
///
/// # Errors
/// More than 65535 bytes.
pub fn write_uuid(text: &str) -> Result<Vec<u8>> {
    let mut out = vec![0; 2];
    for unit in text.encode_utf16() {
        let low = |shift: u16| 0x80 | (unit >> shift & 0x3f) as u8;
        match unit {
            1..0x80 => out.push(unit as u8),
            0..0x800 => out.extend_from_slice(&[0xc0 | (unit >> 6) as u8, low(0)]),
            _ => out.extend_from_slice(&[0xe0 | (unit >> 12) as u8, low(6), low(0)]),
        }
    }
    let length =
        u16::try_from(out.len() - 2).map_err(|_| Error::TooLarge { what: UUID, bound: u64::from(u16::MAX) })?;
    out.iter_mut().zip(length.to_be_bytes()).for_each(|(to, from)| *to = from);
    Ok(out)
}

/// Reads the `UUID` of the flat layout.
///
/// # Errors
/// What [`write_uuid`] does not write.
pub fn read_uuid(bytes: &[u8]) -> Result<String> {
    let (length, text) = bytes.split_first_chunk::<2>().ok_or(Error::Truncated(UUID))?;
    match text.len().cmp(&usize::from(u16::from_be_bytes(*length))) {
        std::cmp::Ordering::Less => return Err(Error::Truncated(UUID)),
        std::cmp::Ordering::Greater => return Err(Error::malformed(UUID, "something after it")),
        std::cmp::Ordering::Equal => {}
    }
    let wrong = || Error::malformed(UUID, "it is no modified UTF-8");
    let mut units = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&first) = rest.next() {
        let mut next = || rest.next().filter(|byte| **byte & 0xc0 == 0x80).map(|byte| u16::from(byte & 0x3f));
        units.push(match first {
            ..0x80 => u16::from(first),
            0xc0..0xe0 => u16::from(first & 0x1f) << 6 | next().ok_or_else(wrong)?,
            0xe0..0xf0 => {
                let (middle, last) = (next().ok_or_else(wrong)?, next().ok_or_else(wrong)?);
                u16::from(first & 0xf) << 12 | middle << 6 | last
            }
            _ => return Err(wrong()),
        });
    }
    String::from_utf16(&units).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn images_are_as_kylin_writes_them() {
        assert_eq!(write_image(7), b"{\"offset\":7}");
        assert_eq!(read_image(b"{\"offset\":7}"), Ok(7));
        assert_eq!(read_image(b"{ \"uuid\" : \"x\", \"offset\" : 8, \"name\":{\"offset\":1} }\n"), Ok(8));
        for bad in ["", "{}", "{\"offset\":-1}", "{\"offset\":7", "{\"offset\":7}x", "7", "{\"offset\":\"7\"}"] {
            assert!(read_image(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_as_kylin_writes_them() {
        let id = "c212029c-419e-4a96-badb-01ba9f9dffdc";
        let bytes = [b"\x00\x24", id.as_bytes()].concat();
        assert_eq!(write_uuid(id).unwrap(), bytes);
        assert_eq!(read_uuid(&bytes).unwrap(), id);
        assert_eq!(write_uuid("\0é€😀").unwrap(), b"\x00\x0d\xc0\x80\xc3\xa9\xe2\x82\xac\xed\xa0\xbd\xed\xb8\x80");
        assert_eq!(read_uuid(&bytes[..20]), Err(Error::Truncated(UUID)));
        assert_eq!(read_uuid(b"\0"), Err(Error::Truncated(UUID)));
        for bad in [&b"\0\x01ab"[..], b"\0\x01\x80", b"\0\x01\xc3", b"\0\x03\xed\xa0\xbd", b"\0\x04\xf0\x9f\x98\x80"] {
            assert!(read_uuid(bad).is_err(), "{bad:?}");
        }
        assert!(write_uuid(&"x".repeat(65_536)).is_err());
    }

    proptest! {
        #[test]
        fn both_come_back(offset: u64, text in ".*") {
            prop_assert_eq!(read_image(&write_image(offset)), Ok(offset));
            prop_assert_eq!(read_uuid(&write_uuid(&text).unwrap()), Ok(text));
        }

        #[test]
        fn no_input_panics(bytes in any::<Vec<u8>>()) {
            drop(read_image(&bytes));
            drop(read_uuid(&bytes));
        }
    }
}
