//! Lease: the object that says which agent works on a repository, until when, and what it has begun.

use super::FORMAT;
use crate::json::write_bytes;
use crate::lines::{line, understood};
use crate::{Error, Result};

const WHAT: &str = "lease";
/// Its name, in every version.
pub const LEASE_NAME: &str = "lease";

/// Who may work, until when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lease {
    /// Unlike any other, and telling to a person.
    pub holder: String,
    /// As RFC 3339 in UTC; what lies in the past holds nobody off.
    pub until: String,
    /// The stamp of the backup that was begun under it and is not made; empty where there is none.
    pub turn: String,
}

impl Lease {
    /// Its text.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = format!("{{\"{WHAT}\":{{\"format\":{FORMAT}").into_bytes();
        for (name, value) in [("holder", &self.holder), ("until", &self.until), ("turn", &self.turn)] {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            write_bytes(value.as_bytes(), &mut out);
        }
        out.extend_from_slice(b"}}\n");
        out
    }

    /// Reads what [`Lease::write`] wrote.
    ///
    /// # Errors
    /// A newer format, unknown fields, and what is no lease.
    pub fn read(text: &[u8]) -> Result<Self> {
        let text = text.strip_suffix(b"\n").ok_or(Error::Truncated(WHAT))?;
        let mut lease = Self::default();
        line(text, WHAT, 4..=4, |name, reader| {
            let place = match name {
                b"format" => return understood("repository format", reader.u64()?, FORMAT).map(|()| true),
                b"holder" => &mut lease.holder,
                b"until" => &mut lease.until,
                b"turn" => &mut lease.turn,
                _ => return Ok(false),
            };
            *place = String::from_utf8_lossy(&reader.string()?).into_owned();
            Ok(true)
        })?;
        Ok(lease)
    }
}
