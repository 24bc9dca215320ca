//! Manifest: what a backup is: where it comes from, when, the root of each kind's tree, its tally. A backup exists when its
//! manifest does.

use super::page::next_line;
use super::{FORMAT, Id};
use crate::json::{write_bytes, write_hex};
use crate::lines::{
    line, read_digits, read_end, read_kind, read_largest, read_sum, understood, write_largest, write_sums,
};
use crate::system::{Kind, Largest};
use crate::tally::{Cell, DIGEST_VERSION};
use crate::{Error, Result};

const WHAT: &str = "backup";

/// What stands for all rows of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root<K> {
    /// The kind.
    pub kind: K,
    /// 0 where it is a blob of rows, else the height of a page.
    pub height: u8,
    /// How many rows there are.
    pub rows: u64,
    /// Which it is.
    pub id: Id,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest<K> {
    /// The system of metadata, such as `juicefs`.
    pub system: String,
    /// Where the rows come from, without secrets.
    pub origin: String,
    /// Whether they are one point in time, whatever writers did.
    pub is_exact: bool,
    /// When it was begun, as RFC 3339 in UTC, in whole seconds.
    pub begun: String,
    /// When its last row was stored.
    pub ended: String,
    /// The program that wrote it.
    pub writer: String,
    /// What it added to the repository, in bytes.
    pub new_bytes: u64,
    /// What all of its blobs and pages take, in bytes.
    pub total_bytes: u64,
    /// The rows, by kind.
    pub roots: Vec<Root<K>>,
    /// The tally of each kind, over all buckets.
    pub tally: Vec<(K, Cell)>,
    /// The largest values.
    pub largest: Vec<Largest<K>>,
}

impl<K> Manifest<K> {
    /// An empty one of this system.
    #[must_use]
    pub fn of(system: &str) -> Self {
        Self {
            system: system.to_owned(),
            origin: String::new(),
            is_exact: false,
            begun: String::new(),
            ended: String::new(),
            writer: String::new(),
            new_bytes: 0,
            total_bytes: 0,
            roots: Vec::new(),
            tally: Vec::new(),
            largest: Vec::new(),
        }
    }

    fn read_head(&mut self, text: &[u8]) -> Result<()> {
        line(text, WHAT, 10..=10, |name, reader| {
            let place = match name {
                b"format" => return understood("repository format", reader.u64()?, FORMAT).map(|()| true),
                b"digest" => return understood("digest", reader.u64()?, DIGEST_VERSION).map(|()| true),
                b"guarantee" => {
                    self.is_exact = match reader.string()?.as_slice() {
                        b"exact" => true,
                        b"fuzzy" => false,
                        other => return Err(Error::malformed("guarantee", String::from_utf8_lossy(other))),
                    };
                    return Ok(true);
                }
                b"newBytes" => {
                    self.new_bytes = reader.u64()?;
                    return Ok(true);
                }
                b"totalBytes" => {
                    self.total_bytes = reader.u64()?;
                    return Ok(true);
                }
                b"system" => &mut self.system,
                b"origin" => &mut self.origin,
                b"begun" => &mut self.begun,
                b"ended" => &mut self.ended,
                b"writer" => &mut self.writer,
                _ => return Ok(false),
            };
            *place = String::from_utf8_lossy(&reader.string()?).into_owned();
            Ok(true)
        })
    }
}

impl<K: Kind> Manifest<K> {
    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.roots.iter().fold(0, |sum, root| sum.saturating_add(root.rows))
    }

    /// Its text.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = format!("{{\"{WHAT}\":{{\"format\":{FORMAT},\"digest\":{DIGEST_VERSION}").into_bytes();
        let guarantee = if self.is_exact { "exact" } else { "fuzzy" };
        for (name, value) in [
            ("system", self.system.as_str()),
            ("guarantee", guarantee),
            ("origin", &self.origin),
            ("begun", &self.begun),
            ("ended", &self.ended),
            ("writer", &self.writer),
        ] {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            write_bytes(value.as_bytes(), &mut out);
        }
        let (new, total) = (self.new_bytes, self.total_bytes);
        out.extend_from_slice(format!(",\"newBytes\":{new},\"totalBytes\":{total}}}}}\n").as_bytes());
        self.roots.iter().for_each(|root| write_root(root, &mut out));
        self.tally.iter().for_each(|(kind, cell)| write_cell(*kind, cell, &mut out));
        self.largest.iter().for_each(|largest| write_largest(largest, &mut out));
        out.extend_from_slice(b"{\"end\":{\"of\":\"backup\"}}\n");
        out
    }

    /// Reads what [`Manifest::write`] wrote.
    ///
    /// # Errors
    /// A newer format, unknown kinds and fields, and what is no manifest.
    pub fn read(mut text: &[u8]) -> Result<Self> {
        let mut manifest = Self::of("");
        manifest.read_head(next_line(&mut text)?)?;
        loop {
            let line = next_line(&mut text)?;
            if line.starts_with(b"{\"root\"") {
                let root = read_root(line)?;
                if manifest.roots.iter().any(|other| other.kind == root.kind) {
                    return Err(Error::malformed(WHAT, "a kind has two roots"));
                }
                manifest.roots.push(root);
            } else if line.starts_with(b"{\"tally\"") {
                manifest.tally.push(read_cell(line)?);
            } else if line.starts_with(b"{\"largest\"") {
                manifest.largest.push(read_largest(line)?);
            } else {
                read_end(line, "backup")?;
                break;
            }
        }
        if !text.is_empty() {
            return Err(Error::malformed(WHAT, "something after its end"));
        }
        Ok(manifest)
    }
}

/// The name of the system whose metadata a backup holds, from the first line of its manifest: that names no kind.
///
/// # Errors
/// A newer format, and what begins as no manifest.
pub fn system_of(mut text: &[u8]) -> Result<String> {
    let mut manifest = Manifest::<()>::of("");
    manifest.read_head(next_line(&mut text)?)?;
    Ok(manifest.system)
}

fn write_root<K: Kind>(root: &Root<K>, out: &mut Vec<u8>) {
    let Root { kind, height, rows, id } = root;
    let kind = kind.info().name;
    out.extend_from_slice(
        format!("{{\"root\":{{\"kind\":\"{kind}\",\"height\":{height},\"rows\":{rows},\"id\":\"").as_bytes(),
    );
    write_hex(id, out);
    out.extend_from_slice(b"\"}}\n");
}

fn read_root<K: Kind>(text: &[u8]) -> Result<Root<K>> {
    let (mut kind, mut height, mut rows, mut id) = (None, 0, 0, [0; 32]);
    line(text, "root", 4..=4, |name, reader| {
        match name {
            b"kind" => kind = Some(read_kind(reader)?),
            b"height" => height = reader.u64()?,
            b"rows" => rows = reader.u64()?,
            b"id" => id = read_digits(reader)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let height = u8::try_from(height).map_err(|_| Error::malformed("root", "a height that no tree has"))?;
    Ok(Root { kind: kind.ok_or(Error::Truncated("root"))?, height, rows, id })
}

fn write_cell<K: Kind>(kind: K, cell: &Cell, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"tally\":{{\"kind\":\"{}\"", kind.info().name).as_bytes());
    write_sums(cell, out);
    out.extend_from_slice(b"}}\n");
}

fn read_cell<K: Kind>(text: &[u8]) -> Result<(K, Cell)> {
    let (mut kind, mut cell) = (None, Cell::default());
    line(text, "tally", 5..=5, |name, reader| {
        match name {
            b"kind" => kind = Some(read_kind(reader)?),
            _ => return read_sum(name, reader, &mut cell),
        }
        Ok(true)
    })?;
    Ok((kind.ok_or(Error::Truncated("tally"))?, cell))
}

/// The name of the object a manifest is in: when the backup was begun, and the beginning of the checksum of the object.
#[must_use]
pub fn name_of(begun: &str, checksum: &Id) -> String {
    let moment: String = begun.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{moment}-{}", super::hex(checksum.get(..8).unwrap_or_default()))
}

/// When a backup of this name was begun, as RFC 3339; none where it is no name of a backup.
#[must_use]
pub fn moment_of(name: &str) -> Option<String> {
    let (moment, checksum) = name.split_once('-')?;
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if checksum.len() != 16 || !checksum.bytes().all(is_hex) || moment.len() != 16 || !moment.is_ascii() {
        return None;
    }
    let (date, time) = moment.strip_suffix('Z')?.split_once('T')?;
    let digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(date, 8) || !digits(time, 6) {
        return None;
    }
    let (year, month, day) = (date.get(..4)?, date.get(4..6)?, date.get(6..)?);
    let (hour, minute, second) = (time.get(..2)?, time.get(2..4)?, time.get(4..)?);
    Some(format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
}
