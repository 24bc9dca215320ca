//! Sealing: what is read comes out in the envelope of a volume's objects, a piece at a time.

use std::io::{self, Read};

use metaferry_codecs::juicefs::envelope::{Sealer, TRAILER};
use metaferry_pipeline::{Error, Result};

use super::EnvelopeKey;

const PIECE_BYTES: usize = 128 << 10;

/// Reads what is in another reader, sealed.
pub struct Sealing<R> {
    input: R,
    /// None once the envelope was ended.
    sealer: Option<Sealer>,
    piece: Vec<u8>,
    sealed: Vec<u8>,
    taken: usize,
}

impl<R: Read> Sealing<R> {
    /// Seals what comes out of `input`, `length` bytes; and how long the envelope is.
    ///
    /// # Errors
    /// A system without random numbers.
    pub fn begin(input: R, length: u64, key: &EnvelopeKey) -> Result<(Self, u64)> {
        let mut sealed = Vec::new();
        let sealer = Sealer::begin(&key.key, key.algorithm, &mut sealed)?;
        let whole = length + (sealed.len() + TRAILER) as u64;
        Ok((Self { input, sealer: Some(sealer), piece: vec![0; PIECE_BYTES], sealed, taken: 0 }, whole))
    }

    fn refill(&mut self) -> io::Result<()> {
        let Some(mut sealer) = self.sealer.take() else { return Ok(()) };
        self.sealed.clear();
        self.taken = 0;
        let failed = |error: metaferry_codecs::Error| io::Error::from(Error::from(error));
        let length = self.input.read(&mut self.piece)?;
        if length == 0 {
            return sealer.finish(&mut self.sealed).map_err(failed);
        }
        sealer.seal(self.piece.get(..length).unwrap_or_default(), &mut self.sealed).map_err(failed)?;
        self.sealer = Some(sealer);
        Ok(())
    }
}

impl<R: Read> Read for Sealing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken >= self.sealed.len() && self.sealer.is_some() {
            self.refill()?;
        }
        let length = self.sealed.get(self.taken..).unwrap_or_default().read(out)?;
        self.taken += length;
        Ok(length)
    }
}
