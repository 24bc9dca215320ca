//! Reading blobs: those that lie close behind each other come with one request; each is proven by the digest that it is called
//! by. What is wrong with one is said of it alone.

use std::ops::Range;
use std::sync::Arc;

use metaferry_codecs::Error as CodecError;
use metaferry_codecs::archive::{MAX_LONE, Unpacker};
use metaferry_codecs::repository::{Entry, Id, MAX_PAGE, Page, hex};
use metaferry_codecs::system::System;
use metaferry_pipeline::{Error, Result};

use super::known::{Catalog, Known, Location};
use super::opened::{Repository, pack_path};

/// What is asked for with one request at most, in bytes.
const MOST_AT_ONCE: u64 = 4 << 20;
/// What is asked for with it though it is not wanted, in bytes: writers that work side by side lay their blobs by turns.
const MOST_BETWEEN: u64 = 128 << 10;

/// Takes the text of a blob or page, or why it cannot be had.
type Take<'a, P> = &'a mut dyn FnMut(&P, Result<Vec<u8>>) -> Result<()>;

/// Blobs of a repository, by id.
pub(super) struct Blobs {
    pub(super) repository: Arc<Repository>,
    pub(super) known: Known,
}

/// A part of a pack, and the pieces that are in it.
struct Stretch {
    pack: Id,
    bytes: Range<u64>,
    pieces: Range<usize>,
}

impl Stretch {
    /// The bytes of a blob in it; too few where they are not there.
    fn cut<'p>(&self, part: &'p [u8], location: &Location) -> &'p [u8] {
        let from = usize::try_from(location.offset - self.bytes.start).unwrap_or(usize::MAX);
        let to = from.saturating_add(usize::try_from(location.length).unwrap_or(usize::MAX));
        part.get(from..to).unwrap_or_default()
    }
}

impl Blobs {
    /// All that the indexes of a repository say.
    pub(super) fn of(repository: Arc<Repository>) -> Result<Self> {
        Ok(Self { known: Known::to_read(&Catalog::of(&repository)?), repository })
    }

    fn located(&self, id: &Id) -> Result<Location> {
        self.known.location(id).ok_or_else(|| unindexed(id))
    }

    /// The text of one blob or page of at most `bound` bytes.
    pub(super) fn text(&self, id: &Id, unpacker: &mut Unpacker, bound: usize) -> Result<Vec<u8>> {
        let location = self.located(id)?;
        let object = self.repository.store.part(&pack_path(&location.pack), location.offset, location.length)?;
        let place = || place(id, &location);
        self.open(id, &object, unpacker, bound).map_err(|error| Error::from(error).at(place()))
    }

    /// A page.
    pub(super) fn page<S: System>(&self, id: &Id, unpacker: &mut Unpacker) -> Result<Page<S::Kind>> {
        let text = self.text(id, unpacker, MAX_PAGE)?;
        Page::read(&text).map_err(|error| Error::from(error).at(format!("page {}", hex(id))))
    }

    /// Fails where an object is not the blob or page of this id.
    pub(super) fn prove(&self, id: &Id, object: &[u8]) -> Result<()> {
        self.open(id, object, &mut Unpacker::new()?, MAX_LONE)?;
        Ok(())
    }

    fn open(&self, id: &Id, object: &[u8], unpacker: &mut Unpacker, bound: usize) -> Result<Vec<u8>, CodecError> {
        let vault = &self.repository.vault;
        let frame = vault.open(id, object)?;
        let text = unpacker.unpack(&frame, bound)?;
        if vault.id(text) != *id {
            return Err(CodecError::Checksum("blob"));
        }
        Ok(text.to_vec())
    }

    /// Hands out the texts of some blobs or pages, in their order; of one that cannot be had, why. What `take` returns as an
    /// error ends it.
    pub(super) fn each<P: AsRef<Entry>>(
        &self,
        pieces: &[P],
        unpacker: &mut Unpacker,
        bound: usize,
        take: Take<'_, P>,
    ) -> Result<()> {
        let mut next = 0;
        while let Some(piece) = pieces.get(next) {
            let Some(stretch) = self.stretch(pieces, next) else {
                take(piece, Err(unindexed(&piece.as_ref().id)))?;
                next += 1;
                continue;
            };
            let length = stretch.bytes.end - stretch.bytes.start;
            let part = self.repository.store.part(&pack_path(&stretch.pack), stretch.bytes.start, length);
            for piece in pieces.get(stretch.pieces.clone()).unwrap_or_default() {
                let entry = piece.as_ref();
                let text = match &part {
                    Ok(bytes) => self.located(&entry.id).and_then(|location| {
                        let opened = self.open(&entry.id, stretch.cut(bytes, &location), unpacker, bound);
                        opened.map_err(|error| Error::from(error).at(place(&entry.id, &location)))
                    }),
                    // Once for all of them it failed; each is asked for by itself, so that each has its own answer.
                    Err(_) => self.text(&entry.id, unpacker, bound),
                };
                take(piece, text)?;
            }
            next = stretch.pieces.end;
        }
        Ok(())
    }

    /// The blobs from `first` on that lie close behind each other.
    fn stretch<P: AsRef<Entry>>(&self, pieces: &[P], first: usize) -> Option<Stretch> {
        let Location { pack, offset, length } = self.known.location(&pieces.get(first)?.as_ref().id)?;
        let mut stretch = Stretch { pack, bytes: offset..offset + length, pieces: first..first + 1 };
        while let Some(location) =
            pieces.get(stretch.pieces.end).and_then(|piece| self.known.location(&piece.as_ref().id))
        {
            let between = location.offset.checked_sub(stretch.bytes.end).filter(|between| *between <= MOST_BETWEEN);
            let end = location.offset.saturating_add(location.length);
            if location.pack != pack || between.is_none() || end - offset > MOST_AT_ONCE {
                break;
            }
            stretch.bytes.end = end;
            stretch.pieces.end += 1;
        }
        Some(stretch)
    }
}

pub(super) fn unindexed(id: &Id) -> Error {
    Error::corrupt(format!("blob {} is in no index", hex(id)))
}

fn place(id: &Id, location: &Location) -> String {
    format!("blob {} at byte {} of {}", hex(id), location.offset, pack_path(&location.pack))
}
