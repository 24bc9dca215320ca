//! Segments of unknown types: where each lies, and what the footer says of it. What is in them is carried in pieces, byte
//! for byte, and never looked at.

use crate::juicefs::Foreign;
use crate::{Error, Result};

/// The length of every piece but the last, in bytes: part of the canonical form, however a dump is cut.
pub(super) const PIECE_BYTES: u64 = 64 << 10;
/// How many such segments are read at most: what is known of each is held until the footer names it.
const MAX_SEGMENTS: usize = 1 << 20;
/// The longest name of a type, in bytes.
const MAX_NAME: usize = 1 << 10;

/// The segments of unknown types, in the order of the dump.
#[derive(Debug, Clone, Default)]
pub(super) struct Unknown {
    segments: Vec<Segment>,
    /// The entries of the footer that name any of them: a name and a number of items.
    entries: Vec<(Vec<u8>, u64)>,
    promised: u64,
    is_misplaced: bool,
}

#[derive(Debug, Clone)]
struct Segment {
    number: u32,
    offset: u64,
    length: u64,
    /// Which of the entries names it.
    entry: Option<usize>,
}

impl Unknown {
    /// Books a segment behind all others.
    ///
    /// # Errors
    /// Where there are too many.
    pub(super) fn add(&mut self, number: u32, offset: u64, length: u64) -> Result<()> {
        if self.segments.len() == MAX_SEGMENTS {
            return Err(Error::malformed("binary dump", format!("over {MAX_SEGMENTS} segments of unknown types")));
        }
        self.segments.push(Segment { number, offset, length, entry: None });
        Ok(())
    }

    /// The piece that begins at this byte of the dump, in the last segment: which segment, and which piece.
    pub(super) fn piece(&self, ahead: u64) -> (u64, u64) {
        (self.segments.len().saturating_sub(1) as u64, 1 + ahead / PIECE_BYTES)
    }

    /// Takes in an entry of the footer, which `offsets` reads: it hands on where each segment begins, and returns the items.
    ///
    /// # Errors
    /// Those of `offsets`, and a name over its bound.
    pub(super) fn entry(
        &mut self,
        name: &[u8],
        offsets: impl FnOnce(&mut dyn FnMut(u64)) -> Result<u64>,
    ) -> Result<()> {
        let entry = self.entries.len();
        let mut is_used = false;
        let items = offsets(&mut |offset| {
            self.promised += 1;
            let at = self.segments.binary_search_by_key(&offset, |segment| segment.offset);
            match at.ok().and_then(|at| self.segments.get_mut(at)).filter(|segment| segment.entry.is_none()) {
                Some(segment) => (segment.entry, is_used) = (Some(entry), true),
                None => self.is_misplaced = true,
            }
        })?;
        if name.len() > MAX_NAME {
            return Err(Error::TooLarge { what: "name of a type of segments", bound: MAX_NAME as u64 });
        }
        if is_used {
            self.entries.push((name.to_vec(), items));
        }
        Ok(())
    }

    /// Fails unless the footer names each of them once.
    ///
    /// # Errors
    /// Where it does not.
    pub(super) fn check(&self) -> Result<()> {
        let (promised, found) = (self.promised, self.segments.len() as u64);
        if promised != found {
            let why = format!("it promises {promised} segments of unknown types, and {found} were read");
            return Err(Error::malformed("footer", why));
        }
        if self.is_misplaced {
            let why = "it promises segments of unknown types at other places than they were read at";
            return Err(Error::malformed("footer", why));
        }
        Ok(())
    }

    /// The first piece of each. The items of an entry are those of all its segments together; the first has them.
    pub(super) fn into_rows(self) -> impl Iterator<Item = Foreign> {
        let Self { segments, mut entries, .. } = self;
        (0..).zip(segments).map(move |(segment, Segment { number, length, entry, .. })| {
            let entry = entry.and_then(|entry| entries.get_mut(entry));
            let (name, items) = entry.map(|(name, items)| (name.clone(), std::mem::take(items))).unwrap_or_default();
            Foreign { segment, number, name, items, length, ..Foreign::default() }
        })
    }
}
