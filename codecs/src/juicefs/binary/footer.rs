//! The footer: where the segments of each sort begin, and how many items they hold. Written, and held against what was read.

use std::collections::BTreeMap;

use super::segment::{MARKER, SegmentType};
use super::wire::Value::{Bytes, Integer};
use super::wire::{each, integer, put_bytes, put_integer, put_message, put_uint};
use crate::{Error, Result};

/// The version that is written, and the newest that is read.
const VERSION: u64 = 1;

/// What a dump that is being written holds so far.
#[derive(Debug, Clone, Default)]
pub struct Footer {
    segments: BTreeMap<SegmentType, (Vec<u64>, u64)>,
}

impl Footer {
    /// Books a segment that begins at this byte and holds so many items.
    pub fn add(&mut self, sort: SegmentType, offset: u64, items: u64) {
        let (offsets, sum) = self.segments.entry(sort).or_default();
        offsets.push(offset);
        *sum += items;
    }

    /// All that follows the last segment: the marker, the footer, and its length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut end = MARKER.to_be_bytes().to_vec();
        let begin = end.len();
        put_uint(1, u64::from(MARKER), &mut end);
        put_uint(2, VERSION, &mut end);
        for (sort, (offsets, items)) in &self.segments {
            put_message(3, &mut end, |end| {
                put_bytes(1, sort.name().as_bytes(), end);
                put_message(2, end, |end| {
                    put_message(1, end, |end| offsets.iter().for_each(|offset| put_integer(*offset, end)));
                    put_uint(2, *items, end);
                });
            });
        }
        let length = (end.len() - begin) as u64;
        end.extend_from_slice(&length.to_be_bytes());
        end
    }
}

/// What was read of one sort of segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Found {
    segments: u64,
    items: u64,
    /// A digest of where they begin, in their order: the offsets themselves would take memory.
    offsets: u64,
}

impl Found {
    fn segment(&mut self, offset: u64) {
        self.segments += 1;
        self.offsets = (self.offsets.rotate_left(7) ^ offset).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// What was read of a dump.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    known: BTreeMap<SegmentType, Found>,
    /// Segments of unknown types.
    unknown: u64,
}

impl Contents {
    /// Books a segment that begins at this byte; `None` is one of an unknown type.
    pub(super) fn segment(&mut self, sort: Option<SegmentType>, offset: u64) {
        match sort {
            Some(sort) => self.known.entry(sort).or_default().segment(offset),
            None => self.unknown += 1,
        }
    }

    /// Books items of a sort.
    pub(super) fn items(&mut self, sort: SegmentType, count: u64) {
        self.known.entry(sort).or_default().items += count;
    }

    /// Fails unless the footer says that this is what there is.
    ///
    /// # Errors
    /// A footer that is none, is of a newer version, or says something else.
    pub(super) fn check(&self, message: &[u8]) -> Result<()> {
        let promised = Self::read(message)?;
        for sort in SegmentType::ALL {
            let of = |contents: &Self| contents.known.get(sort).copied().unwrap_or_default();
            let (promised, found) = (of(&promised), of(self));
            if (promised.segments, promised.items) != (found.segments, found.items) {
                let why = format!(
                    "it promises {} items in {} segments {}, and {} in {} were read",
                    promised.items,
                    promised.segments,
                    sort.name(),
                    found.items,
                    found.segments
                );
                return Err(Error::malformed("footer", why));
            }
            if promised != found {
                let why = format!("it promises segments {} at other places than they were read at", sort.name());
                return Err(Error::malformed("footer", why));
            }
        }
        if promised.unknown != self.unknown {
            let (promised, found) = (promised.unknown, self.unknown);
            let why = format!("it promises {promised} segments of unknown types, and {found} were read");
            return Err(Error::malformed("footer", why));
        }
        Ok(())
    }

    fn read(message: &[u8]) -> Result<Self> {
        let (mut magic, mut version, mut contents) = (0, 0, Self::default());
        each(message, |number, value| {
            match (number, value) {
                (1, Integer(value)) => magic = value,
                (2, Integer(value)) => version = value,
                (3, Bytes(entry)) => contents.entry(entry)?,
                _ => {}
            }
            Ok(())
        })?;
        if magic != u64::from(MARKER) {
            return Err(Error::malformed("footer", "it does not begin with the number that every footer has"));
        }
        if version != VERSION {
            let found = format!("version {version}, while {VERSION} is the newest understood");
            return Err(Error::Unsupported { what: "binary dump", found });
        }
        Ok(contents)
    }

    fn entry(&mut self, entry: &[u8]) -> Result<()> {
        let (mut name, mut info) = (&[][..], &[][..]);
        each(entry, |number, value| {
            match (number, value) {
                (1, Bytes(value)) => name = value,
                (2, Bytes(value)) => info = value,
                _ => {}
            }
            Ok(())
        })?;
        let mut found = Found::default();
        each(info, |number, value| {
            match (number, value) {
                (1, Integer(offset)) => found.segment(offset),
                (1, Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        found.segment(integer(&mut packed)?);
                    }
                }
                (2, Integer(items)) => found.items = items,
                _ => {}
            }
            Ok(())
        })?;
        match SegmentType::named(name) {
            Some(sort) => drop(self.known.insert(sort, found)),
            None => self.unknown = self.unknown.saturating_add(found.segments),
        }
        Ok(())
    }
}
