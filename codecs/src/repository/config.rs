//! Config: the one object by which a repository is known: its format, its id, and the wrapped key where it is encrypted.

use super::{FORMAT, hex};
use crate::json::write_bytes;
use crate::lines::{line, read_digits, understood};
use crate::{Error, Result};

const WHAT: &str = "repository";
/// The name of the object.
pub const CONFIG_NAME: &str = "metaferry-repository";

/// What a repository says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Its id, given once.
    pub id: [u8; 16],
    /// When it was made, as RFC 3339 in UTC.
    pub created: String,
    /// The master key, wrapped as a text of age; none where nothing is encrypted.
    pub wrapped_key: Option<String>,
}

impl Config {
    /// Its text.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out =
            format!("{{\"{WHAT}\":{{\"format\":{FORMAT},\"id\":\"{}\",\"created\":", hex(&self.id)).into_bytes();
        write_bytes(self.created.as_bytes(), &mut out);
        if let Some(key) = &self.wrapped_key {
            out.extend_from_slice(b",\"key\":");
            write_bytes(key.as_bytes(), &mut out);
        }
        out.extend_from_slice(b"}}\n");
        out
    }

    /// Reads what [`Config::write`] wrote.
    ///
    /// # Errors
    /// A newer format, unknown fields, and what is no config.
    pub fn read(text: &[u8]) -> Result<Self> {
        let text = text.strip_suffix(b"\n").ok_or(Error::Truncated(WHAT))?;
        let mut config = Self::default();
        line(text, WHAT, 3..=4, |name, reader| {
            match name {
                b"format" => understood("repository format", reader.u64()?, FORMAT)?,
                b"id" => config.id = read_digits(reader)?,
                b"created" => config.created = String::from_utf8_lossy(&reader.string()?).into_owned(),
                b"key" => config.wrapped_key = Some(String::from_utf8_lossy(&reader.string()?).into_owned()),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(config)
    }
}
