//! Blob: a stretch of rows of one kind in the order of their keys, as lines. It begins with a line that names the kind, so
//! that equal lines of two kinds are two blobs.

use memchr::memchr;

use crate::lines::{line, read_kind};
use crate::system::Kind;
use crate::{Error, Result};

const WHAT: &str = "blob";

/// Appends the line a blob begins with; its rows follow, a line each.
pub fn begin_blob<K: Kind>(kind: K, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"blob\":{\"kind\":\"");
    out.extend_from_slice(kind.info().name.as_bytes());
    out.extend_from_slice(b"\"}}\n");
}

/// The kind of a blob, and the lines of its rows.
///
/// # Errors
/// An unknown kind, and what is no blob.
pub fn blob_rows<K: Kind>(text: &[u8]) -> Result<(K, &[u8])> {
    let end = memchr(b'\n', text).ok_or(Error::Truncated(WHAT))?;
    let (head, rows) = text.split_at(end);
    let mut kind = None;
    line(head, WHAT, 1..=1, |name, reader| {
        if name == b"kind" {
            kind = Some(read_kind(reader)?);
        }
        Ok(name == b"kind")
    })?;
    Ok((kind.ok_or(Error::Truncated(WHAT))?, rows.get(1..).unwrap_or_default()))
}
