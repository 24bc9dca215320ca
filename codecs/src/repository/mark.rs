//! Mark: a small object beside what it is about, of the same name: that a backup is pinned, or was verified, or that a pack is
//! doomed; and since when.

use super::FORMAT;
use crate::json::write_bytes;
use crate::lines::{line, understood};
use crate::{Error, Result};

const WHAT: &str = "mark";

/// Since when something is so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mark {
    /// As RFC 3339 in UTC.
    pub since: String,
}

impl Mark {
    /// Its text.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = format!("{{\"{WHAT}\":{{\"format\":{FORMAT},\"since\":").into_bytes();
        write_bytes(self.since.as_bytes(), &mut out);
        out.extend_from_slice(b"}}\n");
        out
    }

    /// Reads what [`Mark::write`] wrote.
    ///
    /// # Errors
    /// A newer format, unknown fields, and what is no mark.
    pub fn read(text: &[u8]) -> Result<Self> {
        let text = text.strip_suffix(b"\n").ok_or(Error::Truncated(WHAT))?;
        let mut mark = Self::default();
        line(text, WHAT, 2..=2, |name, reader| {
            match name {
                b"format" => understood("repository format", reader.u64()?, FORMAT)?,
                b"since" => mark.since = String::from_utf8_lossy(&reader.string()?).into_owned(),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(mark)
    }
}
