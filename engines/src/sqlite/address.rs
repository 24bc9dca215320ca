//! The address of a volume in SQLite: JuiceFS's URL, or a path. It opens nothing.

use std::fmt;
use std::path::{Path, PathBuf};

use metaferry_codecs::juicefs::tables;
use metaferry_pipeline::{Error, Result};

use crate::sql::prefix_of;

/// A file and the prefix of the tables in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteAddress {
    path: PathBuf,
    table_prefix: String,
}

impl SqliteAddress {
    /// The volume with the usual table names in the file at a path.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), table_prefix: String::new() }
    }

    /// Reads `sqlite3://relative.db` or `sqlite3:///absolute.db`, with `?table_prefix=…`; anything else is a path. Other
    /// parameters are those of JuiceFS's driver, and mean nothing here.
    ///
    /// # Errors
    /// An empty path, a prefix that is no part of a name.
    pub fn parse(text: &str) -> Result<Self> {
        let Some(rest) = text.strip_prefix("sqlite3://") else { return Ok(Self::file(text)) };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if path.is_empty() {
            return Err(Error::config(format!("{text}: it names no file"))
                .hint("write sqlite3://relative.db or sqlite3:///absolute.db"));
        }
        let parameters = url::form_urlencoded::parse(query.as_bytes());
        let table_prefix =
            parameters.filter(|(name, _)| name == "table_prefix").last().map(|(_, value)| value.into_owned());
        let table_prefix = prefix_of(&table_prefix.unwrap_or_default());
        let table_prefix = table_prefix.map_err(|problem| Error::config(format!("{text}: {problem}")))?;
        Ok(Self { path: PathBuf::from(path), table_prefix })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same tables in another file.
    pub(super) fn with_path(&self, path: &Path) -> Self {
        Self { path: path.to_owned(), table_prefix: self.table_prefix.clone() }
    }

    /// What comes before the names of its tables.
    pub(super) fn prefix(&self) -> String {
        tables::prefix(&self.table_prefix)
    }
}

impl fmt::Display for SqliteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite3://{}", self.path.display())?;
        if !self.table_prefix.is_empty() {
            write!(f, "?table_prefix={}", self.table_prefix)?;
        }
        Ok(())
    }
}
