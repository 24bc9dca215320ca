//! The spool: blocks of bytes put aside as they come, compressed, and read back one by one as often as needed. It knows no
//! record and no order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metaferry_codecs::archive::{MAX_MANIFEST, Packer, Unpacker};

use super::SpillDir;
use super::file::SpillFile;
use crate::{Error, Result};

/// The largest block, in bytes.
const MAX_BLOCK: usize = MAX_MANIFEST;

/// A file without a name that workers append blocks to.
pub struct Spool {
    dir: SpillDir,
    file: Arc<SpillFile>,
    end: AtomicU64,
}

/// Where a block lies in its spool.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    at: u64,
    length: usize,
}

impl Spool {
    /// An empty spool in `dir`.
    pub fn new(dir: &SpillDir) -> Result<Self> {
        Ok(Self { dir: dir.clone(), file: dir.create_file()?, end: AtomicU64::new(0) })
    }

    /// A worker's hand on it.
    pub fn writer(&self) -> Result<SpoolWriter<'_>> {
        Ok(SpoolWriter { spool: self, packer: Packer::new()? })
    }

    /// What a block holds; its checksum is looked at.
    pub fn read(&self, block: Block) -> Result<Vec<u8>> {
        let mut frame = vec![0; block.length];
        self.file.read(&mut frame, block.at).map_err(|error| self.dir.error(error))?;
        let mut unpacker = Unpacker::new()?;
        let bytes = unpacker.unpack(&frame, MAX_BLOCK).map_err(|error| Error::from(error).at("spool"))?;
        Ok(bytes.to_vec())
    }
}

/// Appends blocks to a [`Spool`]; compresses in its own worker.
pub struct SpoolWriter<'a> {
    spool: &'a Spool,
    packer: Packer,
}

impl SpoolWriter<'_> {
    /// Appends one block.
    pub fn append(&mut self, bytes: &[u8]) -> Result<Block> {
        let Spool { dir, file, end } = self.spool;
        let frame = self.packer.pack(bytes, MAX_BLOCK).map_err(|error| Error::from(error).at("spool"))?;
        let mut frame = frame.to_vec();
        let at = end.fetch_add(frame.len() as u64, Ordering::Relaxed);
        file.write(&mut frame, at).map_err(|error| dir.error(error))?;
        dir.count(frame.len());
        Ok(Block { at, length: frame.len() })
    }
}
