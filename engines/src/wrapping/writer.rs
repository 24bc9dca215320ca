//! The writer: compresses on all cores what goes into a file, by the name of the file or as the user says. What was not
//! finished is incomplete, and whoever decompresses it sees that.

use std::io::{self, Write};
use std::path::Path;

use metaferry_pipeline::{Error, Result, Stop};
use zstd::stream::write::Encoder;

use super::gzip::Gzip;

/// Of all levels this one is the fastest and, on metadata, hardly larger than the next; JuiceFS uses it too.
const ZSTD_LEVEL: i32 = 1;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip
    Gzip,
    /// zstd
    Zstd,
}

impl Compression {
    /// What the name of a file asks for: `.gz`, and `.zst` or JuiceFS's `.zstd`.
    #[must_use]
    pub fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "gz" => Some(Self::Gzip),
            "zst" | "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Compresses what is written to it. Memory is a few MiB a core.
pub struct Compressor<W: Write> {
    inner: Inner<W>,
}

enum Inner<W: Write> {
    Plain(W),
    Gzip(Box<Gzip<W>>),
    Zstd(Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    /// Compresses into `out` with `threads` workers, or passes on what comes where there is no compression.
    ///
    /// # Errors
    /// An output that cannot be written, and threads that cannot be started.
    pub fn new(out: W, compression: Option<Compression>, threads: usize, stop: &Stop) -> Result<Self> {
        let inner = match compression {
            None => Inner::Plain(out),
            Some(Compression::Gzip) => Inner::Gzip(Box::new(Gzip::new(out, threads, stop)?)),
            Some(Compression::Zstd) => Inner::Zstd(zstd(out, threads).map_err(|cause| Error::io("zstd", cause))?),
        };
        Ok(Self { inner })
    }

    /// The output, where nothing is compressed.
    pub fn plain(&self) -> Option<&W> {
        match &self.inner {
            Inner::Plain(out) => Some(out),
            _ => None,
        }
    }

    /// Compresses what is left, and gives back the output, which now holds all of it.
    ///
    /// # Errors
    /// An output that cannot be written, and the stop.
    pub fn finish(self) -> Result<W> {
        match self.inner {
            Inner::Plain(out) => Ok(out),
            Inner::Gzip(gzip) => gzip.finish(),
            Inner::Zstd(encoder) => encoder.finish().map_err(|cause| Error::io("zstd", cause)),
        }
    }
}

/// One frame, with a checksum.
fn zstd<W: Write>(out: W, threads: usize) -> io::Result<Encoder<'static, W>> {
    let mut encoder = Encoder::new(out, ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    if threads > 1 {
        encoder.multithread(u32::try_from(threads).unwrap_or(1))?;
    }
    Ok(encoder)
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.inner {
            Inner::Plain(out) => out.write(bytes),
            Inner::Gzip(gzip) => Ok(gzip.write(bytes)?),
            Inner::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Does nothing: only what is finished is whole.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
