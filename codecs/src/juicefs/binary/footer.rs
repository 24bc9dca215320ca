//! The footer: where the segments of each sort begin, and how many items they hold. Written, and held against what was read.

use std::collections::BTreeMap;

use super::foreign::Unknown;
use super::segment::{MARKER, SegmentType};
use super::wire::Value::{Bytes, Integer};
use super::wire::{each, integer, put_bytes, put_integer, put_message, put_uint};
use crate::{Error, Result};

/// The version that is written, and the newest that is read.
const VERSION: u64 = 1;

/// What a dump that is being written holds so far.
#[derive(Debug, Clone, Default)]
pub struct Footer {
    known: BTreeMap<SegmentType, Entry>,
    /// By the names of their types.
    unknown: BTreeMap<Vec<u8>, Entry>,
}

/// Where segments of one sort begin, and how many items are in all of them.
type Entry = (Vec<u64>, u64);

impl Footer {
    /// Books a segment that begins at this byte and holds so many items.
    pub fn add(&mut self, sort: SegmentType, offset: u64, items: u64) {
        Self::book(self.known.entry(sort).or_default(), offset, items);
    }

    /// Books a segment of an unknown type by the name of that.
    pub fn add_unknown(&mut self, name: &[u8], offset: u64, items: u64) {
        Self::book(self.unknown.entry(name.to_vec()).or_default(), offset, items);
    }

    fn book((offsets, sum): &mut Entry, offset: u64, items: u64) {
        offsets.push(offset);
        *sum = sum.saturating_add(items);
    }

    /// All that follows the last segment: the marker, the footer, and its length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut end = MARKER.to_be_bytes().to_vec();
        let begin = end.len();
        put_uint(1, u64::from(MARKER), &mut end);
        put_uint(2, VERSION, &mut end);
        let known = self.known.iter().map(|(sort, entry)| (sort.name().as_bytes(), entry));
        let unknown = self.unknown.iter().map(|(name, entry)| (name.as_slice(), entry));
        for (name, (offsets, items)) in known.chain(unknown) {
            put_message(3, &mut end, |end| {
                put_bytes(1, name, end);
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
    pub(super) unknown: Unknown,
}

impl Contents {
    /// Books a segment that begins at this byte.
    pub(super) fn segment(&mut self, sort: SegmentType, offset: u64) {
        self.known.entry(sort).or_default().segment(offset);
    }

    /// Books items of a sort.
    pub(super) fn items(&mut self, sort: SegmentType, count: u64) {
        self.known.entry(sort).or_default().items += count;
    }

    /// Fails unless the footer says that this is what there is. Learns the names of what is not known.
    ///
    /// # Errors
    /// A footer that is none, is of a newer version, or says something else.
    pub(super) fn check(&mut self, message: &[u8]) -> Result<()> {
        let promised = self.read(message)?;
        for sort in SegmentType::ALL {
            let of = |contents: &BTreeMap<_, Found>| contents.get(sort).copied().unwrap_or_default();
            let (promised, found) = (of(&promised), of(&self.known));
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
        self.unknown.check()
    }

    /// What the footer promises of what is known.
    fn read(&mut self, message: &[u8]) -> Result<BTreeMap<SegmentType, Found>> {
        let (mut magic, mut version, mut promised) = (0, 0, BTreeMap::new());
        each(message, |number, value| {
            match (number, value) {
                (1, Integer(value)) => magic = value,
                (2, Integer(value)) => version = value,
                (3, Bytes(entry)) => self.entry(entry, &mut promised)?,
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
        Ok(promised)
    }

    fn entry(&mut self, entry: &[u8], promised: &mut BTreeMap<SegmentType, Found>) -> Result<()> {
        let (mut name, mut info) = (&[][..], &[][..]);
        each(entry, |number, value| {
            match (number, value) {
                (1, Bytes(value)) => name = value,
                (2, Bytes(value)) => info = value,
                _ => {}
            }
            Ok(())
        })?;
        let Some(sort) = SegmentType::named(name) else {
            return self.unknown.entry(name, |segment| offsets(info, segment));
        };
        let mut found = Found::default();
        found.items = offsets(info, &mut |offset| found.segment(offset))?;
        promised.insert(sort, found);
        Ok(())
    }
}

/// Hands on where each segment of an entry begins, and returns the number of its items.
fn offsets(info: &[u8], segment: &mut dyn FnMut(u64)) -> Result<u64> {
    let mut items = 0;
    each(info, |number, value| {
        match (number, value) {
            (1, Integer(offset)) => segment(offset),
            (1, Bytes(mut packed)) => {
                while !packed.is_empty() {
                    segment(integer(&mut packed)?);
                }
            }
            (2, Integer(value)) => items = value,
            _ => {}
        }
        Ok(())
    })?;
    Ok(items)
}
