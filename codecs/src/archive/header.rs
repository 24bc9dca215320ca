//! Header: the first frame of an archive, one line: which system, from where, how it was had. Known before the first row.

use super::{FORMAT, FrameScan, MAX_HEADER, Unpacker, line, understood};
use crate::json::write_bytes;
use crate::tally::DIGEST_VERSION;
use crate::{Error, Result};

const WHAT: &str = "metaferry";

/// What an archive says before its first row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// The system of metadata, such as `juicefs`.
    pub system: String,
    /// Whether it is one point in time for the whole volume, whatever writers did.
    pub is_exact: bool,
    /// Where the rows come from, without secrets.
    pub origin: String,
    /// When it was begun, as RFC 3339 in UTC.
    pub created: String,
    /// The program that wrote it.
    pub writer: String,
}

impl Header {
    /// Appends its line, of the newest format.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{{\"{WHAT}\":{{\"format\":{FORMAT},\"digest\":{DIGEST_VERSION}").as_bytes());
        let guarantee = if self.is_exact { "exact" } else { "fuzzy" };
        for (name, value) in [
            ("system", self.system.as_str()),
            ("guarantee", guarantee),
            ("origin", &self.origin),
            ("created", &self.created),
            ("writer", &self.writer),
        ] {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            write_bytes(value.as_bytes(), out);
        }
        out.extend_from_slice(b"}}\n");
    }

    /// Reads what [`Header::write`] wrote.
    ///
    /// # Errors
    /// A newer format, an unknown field, and what is no header.
    pub fn read(text: &[u8]) -> Result<Self> {
        let text = text.strip_suffix(b"\n").ok_or(Error::Truncated("header"))?;
        let mut header = Self::default();
        line(text, WHAT, 7..=7, |name, reader| {
            let place = match name {
                b"format" => return understood("archive format", reader.u64()?, FORMAT).map(|()| true),
                b"digest" => return understood("digest", reader.u64()?, DIGEST_VERSION).map(|()| true),
                b"guarantee" => {
                    header.is_exact = match reader.string()?.as_slice() {
                        b"exact" => true,
                        b"fuzzy" => false,
                        other => return Err(Error::malformed("guarantee", String::from_utf8_lossy(other))),
                    };
                    return Ok(true);
                }
                b"system" => &mut header.system,
                b"origin" => &mut header.origin,
                b"created" => &mut header.created,
                b"writer" => &mut header.writer,
                _ => return Ok(false),
            };
            *place = String::from_utf8_lossy(&reader.string()?).into_owned();
            Ok(true)
        })?;
        Ok(header)
    }

    /// Whether a file or a stream that begins like this is an archive, of any version.
    #[must_use]
    pub fn is_at(beginning: &[u8]) -> bool {
        let mut scan = FrameScan::new(MAX_HEADER);
        let mut length = 5;
        while let Some(frame) = beginning.get(..length) {
            match scan.more(frame) {
                Ok(0) => {
                    let text = Unpacker::new().and_then(|mut unpacker| {
                        Ok(unpacker.unpack(frame, MAX_HEADER)?.starts_with(b"{\"metaferry\":"))
                    });
                    return text.unwrap_or(false);
                }
                Ok(more) => length += more,
                Err(_) => return false,
            }
        }
        false
    }
}
