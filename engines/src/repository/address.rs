//! The address of a repository: where it is, and which of its backups is meant. Secrets have no place in it.

use std::fmt;

use metaferry_pipeline::{Error, Result};

use crate::objects::Address;

const SCHEME: &str = "repo+";

/// Where a repository is, and which of its backups is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryAddress {
    pub(super) place: Address,
    /// Which backup.
    pub which: Which,
}

/// Which of several backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// None was named: the newest.
    Newest,
    /// The newest that was begun then or before; as much of a moment as was given.
    At(String),
    /// The one whose id begins so.
    Id(String),
}

impl RepositoryAddress {
    /// Whether a URL is one of a repository.
    #[must_use]
    pub fn is_at(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// Reads `repo+file:///folder` or `repo+s3://bucket/prefix`, with `@` and a moment, an id or `latest` behind it.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let (text, which) = match text.rsplit_once('@') {
            Some((text, which)) if !which.contains(['/', '=']) => (text, Which::parse(which)?),
            _ => (text, Which::Newest),
        };
        let unknown = || {
            Error::config(format!("{text} is no address of a repository"))
                .hint("repo+file:///folder or repo+s3://bucket/prefix?endpoint=…&region=…")
        };
        let place = Address::parse(text.strip_prefix(SCHEME).unwrap_or_default())?.ok_or_else(unknown)?;
        Ok(Self { place, which })
    }

    /// The same repository, and another of its backups.
    #[must_use]
    pub fn meaning(&self, which: Which) -> Self {
        Self { place: self.place.clone(), which }
    }
}

impl Which {
    fn parse(text: &str) -> Result<Self> {
        let is_moment = text.len() >= 4
            && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b':' | b'T' | b'Z'))
            && text.contains('-');
        // The name of a manifest ends with the id.
        let id = text.rsplit_once("Z-").map_or(text, |(_, id)| id);
        let is_id = id.len() >= 4 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match text {
            "latest" => Ok(Self::Newest),
            _ if is_moment => Ok(Self::At(text.to_owned())),
            _ if is_id => Ok(Self::Id(id.to_owned())),
            _ => Err(Error::config(format!("@{text} names no backup")).hint(
                "a moment in UTC such as @2026-01-31 or @2026-01-31T12:00, an id of 4 digits or more, or @latest",
            )),
        }
    }
}

impl fmt::Display for RepositoryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.place)?;
        match &self.which {
            Which::Newest => Ok(()),
            Which::At(which) | Which::Id(which) => write!(f, "@{which}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_alike() {
        for text in [
            "repo+file:///backups",
            "repo+file://a/b@2026-01-31",
            "repo+file:///a@2026-01-31T12:00:00Z",
            "repo+file:///a@0123abcd",
            "repo+s3://bucket/some/prefix",
            "repo+s3://bucket/p?endpoint=http://127.0.0.1:9000&region=eu-1@2026-01-31T12:00",
        ] {
            assert!(RepositoryAddress::is_at(text));
            assert_eq!(RepositoryAddress::parse(text).unwrap().to_string(), text);
        }
        let named = RepositoryAddress::parse("repo+file:///a@20260131T120000Z-0123456789abcdef").unwrap();
        assert_eq!(named.which, Which::Id("0123456789abcdef".to_owned()));
        assert_eq!(RepositoryAddress::parse("repo+file:///a@latest").unwrap().which, Which::Newest);
        assert_eq!(RepositoryAddress::parse("repo+file:///a@b/c").unwrap().which, Which::Newest);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "repo+file://",
            "repo+ftp://host/a",
            "repo+s3://key:secret@bucket/a",
            "repo+s3://bucket/a?acl=public",
            "repo+file:///a@yesterday",
            "repo+file:///a@ab",
        ] {
            assert!(RepositoryAddress::parse(text).is_err(), "{text}");
        }
    }
}
