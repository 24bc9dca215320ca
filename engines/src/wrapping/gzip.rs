//! gzip on many cores: one member whose blocks are compressed side by side, each by itself, so that one cut anywhere is
//! seen to be incomplete. It knows no file.

use std::io::Write;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use metaferry_pipeline::stage::Crew;
use metaferry_pipeline::{Error, ErrorKind, Result, Stop};

/// What is compressed by itself. A distance is at most 32 KiB, so that little is lost.
const BLOCK_BYTES: usize = 1 << 20;
/// deflate, no name, no time, fastest, no system: what Go writes.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 0xff];
/// A last block that is empty.
const LAST: [u8; 2] = [3, 0];

/// One member that grows.
pub(super) struct Gzip<W> {
    out: W,
    crew: Crew<Vec<u8>, Block>,
    input: Vec<u8>,
    sum: Crc,
    length: u64,
    spare: Vec<Vec<u8>>,
}

/// A compressed block, and the input it was made of, whose memory is used again.
struct Block {
    deflated: Vec<u8>,
    sum: Crc,
    input: Vec<u8>,
}

impl<W: Write> Gzip<W> {
    pub(super) fn new(mut out: W, threads: usize, stop: &Stop) -> Result<Self> {
        out.write_all(&HEADER).map_err(|cause| Error::io("gzip", cause))?;
        let worker = || {
            let mut deflate = Compress::new(Compression::fast(), false);
            move |input| block(&mut deflate, input)
        };
        let crew = Crew::start("gzip", threads, stop, worker)?;
        Ok(Self { out, crew, input: Vec::with_capacity(BLOCK_BYTES), sum: Crc::new(), length: 0, spare: Vec::new() })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let room = BLOCK_BYTES.saturating_sub(self.input.len());
        let now = bytes.get(..room).unwrap_or(bytes);
        self.input.extend_from_slice(now);
        if self.input.len() >= BLOCK_BYTES {
            self.put()?;
        }
        Ok(now.len())
    }

    fn put(&mut self) -> Result<()> {
        let empty = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK_BYTES));
        let full = std::mem::replace(&mut self.input, empty);
        self.length += full.len() as u64;
        match self.crew.put(full)? {
            Some(block) => self.append(block),
            None => Ok(()),
        }
    }

    fn append(&mut self, mut block: Block) -> Result<()> {
        self.out.write_all(&block.deflated).map_err(|cause| Error::io("gzip", cause))?;
        self.sum.combine(&block.sum);
        block.input.clear();
        self.spare.push(block.input);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<W> {
        self.put()?;
        while let Some(block) = self.crew.take()? {
            self.append(block)?;
        }
        let length = self.length as u32;
        let end = [&LAST[..], &self.sum.sum().to_le_bytes(), &length.to_le_bytes()].concat();
        self.out.write_all(&end).map_err(|cause| Error::io("gzip", cause))?;
        Ok(self.out)
    }
}

/// Compresses one block, up to a whole byte, so that the next may follow.
fn block(deflate: &mut Compress, input: Vec<u8>) -> Result<Block> {
    let failed = |why: String| Error::new(ErrorKind::Bug, format!("gzip: {why}"));
    let mut sum = Crc::new();
    sum.update(&input);
    deflate.reset();
    let mut deflated = Vec::with_capacity(input.len() / 2 + 1024);
    loop {
        let taken = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX);
        let rest = input.get(taken..).unwrap_or_default();
        let status = deflate.compress_vec(rest, &mut deflated, FlushCompress::Sync);
        let status = status.map_err(|error| failed(error.to_string()))?;
        if deflate.total_in() == input.len() as u64 && deflated.len() < deflated.capacity() {
            break;
        }
        if status == Status::StreamEnd {
            return Err(failed("it ended early".to_owned()));
        }
        deflated.reserve(deflated.capacity());
    }
    Ok(Block { deflated, sum, input })
}
