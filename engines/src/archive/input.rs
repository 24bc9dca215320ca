//! Input: the frames of an archive as they come, one after another, found without being decompressed. It says how far an
//! incomplete archive goes.

use std::io::{BufReader, Read};

use metaferry_codecs::Error as CodecError;
use metaferry_codecs::archive::{
    FrameScan, Header, MAX_HEADER, MAX_MANIFEST, TRAILER_BYTES, Trailer, Unpacker, sha256,
};
use metaferry_pipeline::{Error, ErrorKind, Result};

/// An archive that is read in order.
pub(super) struct Input {
    reader: BufReader<Box<dyn Read + Send>>,
    offset: u64,
    frames: u64,
    trailer: Option<Trailer>,
    /// The largest frame that is read, decompressed, in bytes.
    bound: usize,
}

impl Input {
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self {
            reader: BufReader::with_capacity(256 << 10, reader),
            offset: 0,
            frames: 0,
            trailer: None,
            bound: MAX_MANIFEST,
        }
    }

    /// Reads on with room for frames that hold so much, in bytes.
    pub(super) fn make_room(&mut self, bound: usize) {
        self.bound = bound.max(self.bound);
    }

    /// Reads the header, which comes first, and its frame.
    pub(super) fn header(&mut self, frame: &mut Vec<u8>) -> Result<Header> {
        if self.next(frame)?.is_none() {
            return Err(Error::corrupt("a trailer where the header must be"));
        }
        let mut unpacker = Unpacker::new()?;
        let text = unpacker.unpack(frame, MAX_HEADER).map_err(not_an_archive)?;
        if !text.starts_with(b"{\"metaferry\":") {
            return Err(Error::config("it is no archive: it does not begin with a header"));
        }
        Ok(Header::read(text)?)
    }

    /// Reads the next frame of data into `frame` and says where it begins; `None` where the archive ends as it should.
    pub(super) fn next(&mut self, frame: &mut Vec<u8>) -> Result<Option<u64>> {
        frame.clear();
        if self.trailer.is_some() {
            return Ok(None);
        }
        let mut scan = FrameScan::new(self.bound);
        loop {
            let missing = match scan.more(frame) {
                Ok(0) => break,
                Ok(missing) => missing,
                Err(error) if self.frames == 0 => return Err(not_an_archive(error)),
                Err(error) => return Err(Error::from(error).at(self.place())),
            };
            let got = (&mut self.reader).take(missing as u64).read_to_end(frame);
            let got = got.map_err(|cause| Error::io(format!("read after byte {}", self.offset), cause))?;
            if got < missing {
                return Err(self.incomplete(frame.len()));
            }
        }
        if scan.is_trailer() {
            return self.end(frame).map(|()| None);
        }
        let offset = self.offset;
        self.offset += frame.len() as u64;
        self.frames += 1;
        Ok(Some(offset))
    }

    /// The trailer, once it was reached.
    pub(super) fn trailer(&self) -> Option<&Trailer> {
        self.trailer.as_ref()
    }

    fn end(&mut self, frame: &[u8]) -> Result<()> {
        let bytes: &[u8; TRAILER_BYTES] = frame.first_chunk().ok_or(CodecError::Truncated("trailer"))?;
        let trailer = Trailer::decode(bytes).map_err(|error| Error::from(error).at(self.place()))?;
        self.offset += TRAILER_BYTES as u64;
        let mut more = [0_u8; 1];
        let more = self.reader.read(&mut more);
        if more.map_err(|cause| Error::io(format!("read after byte {}", self.offset), cause))? > 0 {
            return Err(Error::corrupt(format!(
                "something follows the end of the archive, which is at byte {}",
                self.offset
            )));
        }
        self.trailer = Some(trailer);
        Ok(())
    }

    fn place(&self) -> String {
        format!("frame {} at byte {}", self.frames, self.offset)
    }

    fn incomplete(&self, cut: usize) -> Error {
        if self.offset == 0 && cut == 0 {
            return Error::corrupt("it is empty");
        }
        let Self { frames, offset, .. } = self;
        let cut = if cut == 0 { String::new() } else { format!(", and {cut} bytes of another") };
        Error::corrupt(format!("the archive is incomplete: it ends after {frames} whole frames, at byte {offset}{cut}"))
            .hint("whatever wrote it was stopped, or it was not copied to its end")
    }
}

fn not_an_archive(error: CodecError) -> Error {
    let kind =
        if matches!(error, CodecError::Unsupported { .. }) { ErrorKind::Unsupported } else { ErrorKind::Corrupt };
    Error::new(kind, "it is no archive, or its header was altered").because(error)
}

/// Fails unless the trailer vouches for these two frames and is right about where they are.
pub(super) fn check_trailer(trailer: &Trailer, header: &[u8], manifest_offset: u64, manifest: &[u8]) -> Result<()> {
    if (trailer.header_length, trailer.header_sha256) != (header.len() as u64, sha256(header)) {
        return Err(CodecError::Checksum("header").into());
    }
    if trailer.manifest_offset != manifest_offset
        || trailer.manifest_length != manifest.len() as u64
        || trailer.manifest_sha256 != sha256(manifest)
    {
        return Err(CodecError::Checksum("manifest").into());
    }
    Ok(())
}
