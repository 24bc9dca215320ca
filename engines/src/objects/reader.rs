//! An object as a stream: some MiB of it in memory, whatever its length. A part that does not come is asked for again below.

use std::io::{self, Read};
use std::sync::Arc;

use metaferry_pipeline::Result;

use super::Store;

/// What is asked for at once, in bytes.
const PART_BYTES: u64 = 4 << 20;

/// Reads an object from its beginning.
pub(crate) struct ObjectReader {
    store: Arc<Store>,
    path: String,
    length: u64,
    /// Where the next part begins.
    next: u64,
    part: Vec<u8>,
    /// How much of the part was handed out.
    taken: usize,
}

impl ObjectReader {
    /// The object of this name, which must be there.
    pub(crate) fn open(store: &Arc<Store>, path: &str) -> Result<Self> {
        let length = store.length(path)?;
        Ok(Self { store: Arc::clone(store), path: path.to_owned(), length, next: 0, part: Vec::new(), taken: 0 })
    }

    /// Its length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }
}

impl Read for ObjectReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken >= self.part.len() && self.next < self.length {
            let length = PART_BYTES.min(self.length - self.next);
            self.part = self.store.part(&self.path, self.next, length)?;
            self.next += length;
            self.taken = 0;
        }
        let length = self.part.get(self.taken..).unwrap_or_default().read(out)?;
        self.taken += length;
        Ok(length)
    }
}
