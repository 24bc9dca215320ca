//! Content as rows store it (Kylin's `CompressionUtils`): plain bytes, or the mark `GZIP` and a zlib stream of them (RFC 1950,
//! not gzip). Files of a backup are always plain. It knows no key and no row.

use std::borrow::Cow;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::{Error, Result};

/// What compressed content begins with.
pub const MARK: &[u8; 4] = b"GZIP";

/// The bound for callers that have no other, in bytes of plain content: 256 MiB, the packet size up to which Kylin's own
/// message tells to raise MySQL (`KE-010000010`).
pub const BOUND: usize = 256 << 20;

const WHAT: &str = "compressed content";
/// Plain bytes made room for at a time, at least.
const STEP: usize = 4096;
/// Memory that is kept from one content to the next, in bytes.
const KEPT: usize = 1 << 20;

/// The form in which a row stores `plain`. As Kylin does, empty content and content that already begins with the mark stay
/// as they are, whatever `compress` says; what is compressed is so at level 1.
#[must_use]
pub fn store(plain: &[u8], compress: bool) -> Cow<'_, [u8]> {
    if !is_deflated(plain, compress) {
        return Cow::Borrowed(plain);
    }
    let mut stored = Vec::new();
    // Rows that are not compressed are valid too.
    deflate(&mut new_deflate(), plain, &mut stored).map_or(Cow::Borrowed(plain), |()| Cow::Owned(stored))
}

/// Stores one content after the other. Its state is made once: for content of some kilobytes that is a fifth of the work.
#[derive(Debug)]
pub struct Storer {
    state: Compress,
    stored: Vec<u8>,
}

impl Default for Storer {
    fn default() -> Self {
        Self { state: new_deflate(), stored: Vec::new() }
    }
}

impl Storer {
    /// As [`store`].
    pub fn store<'s>(&'s mut self, plain: &'s [u8], compress: bool) -> &'s [u8] {
        if !is_deflated(plain, compress) {
            return plain;
        }
        self.state.reset();
        clear(&mut self.stored);
        deflate(&mut self.state, plain, &mut self.stored).map_or(plain, |()| &self.stored)
    }
}

fn is_deflated(plain: &[u8], compress: bool) -> bool {
    compress && !plain.is_empty() && !plain.starts_with(MARK)
}

fn new_deflate() -> Compress {
    Compress::new(Compression::fast(), true)
}

fn deflate(state: &mut Compress, plain: &[u8], stored: &mut Vec<u8>) -> Option<()> {
    stored.extend_from_slice(MARK);
    let mut rest = plain;
    loop {
        stored.reserve((rest.len() / 2).max(64));
        let before = state.total_in();
        let status = state.compress_vec(rest, stored, FlushCompress::Finish).ok()?;
        let taken = usize::try_from(state.total_in() - before).ok()?;
        rest = rest.get(taken..)?;
        if status == Status::StreamEnd {
            return Some(());
        }
    }
}

/// The plain bytes of what a row stores: `stored` itself unless it is longer than the mark and begins with it. Bytes after
/// the end of the stream mean nothing, as to Kylin.
///
/// # Errors
/// A stream that is no zlib stream, that ends early (Kylin's reader loops on one for ever), or that holds more than `bound`
/// bytes; no more memory than that is taken.
pub fn plain(stored: &[u8], bound: usize) -> Result<Cow<'_, [u8]>> {
    let Some(stream) = stream_of(stored, bound)? else { return Ok(Cow::Borrowed(stored)) };
    let mut plain = Vec::new();
    inflate(&mut Decompress::new(true), stream, bound, &mut plain)?;
    Ok(Cow::Owned(plain))
}

/// Reads one stored content after the other. Its state and its memory are had once, which is a sixth of the work for content of
/// some kilobytes.
#[derive(Debug)]
pub struct Opener {
    state: Decompress,
    plain: Vec<u8>,
}

impl Default for Opener {
    fn default() -> Self {
        Self { state: Decompress::new(true), plain: Vec::new() }
    }
}

impl Opener {
    /// As [`plain`].
    ///
    /// # Errors
    /// As [`plain`].
    pub fn plain<'s>(&'s mut self, stored: &'s [u8], bound: usize) -> Result<&'s [u8]> {
        let Some(stream) = stream_of(stored, bound)? else { return Ok(stored) };
        self.state.reset(true);
        clear(&mut self.plain);
        inflate(&mut self.state, stream, bound, &mut self.plain)?;
        Ok(&self.plain)
    }
}

/// Empties memory that is used again; what only a large content needed is given back.
fn clear(bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.shrink_to(KEPT);
}

/// The stream behind the mark; none where content is stored plain.
fn stream_of(stored: &[u8], bound: usize) -> Result<Option<&[u8]>> {
    match stored.strip_prefix(MARK) {
        Some(stream) if !stream.is_empty() => Ok(Some(stream)),
        _ if stored.len() > bound => Err(too_large(bound)),
        _ => Ok(None),
    }
}

fn inflate(state: &mut Decompress, stream: &[u8], bound: usize, plain: &mut Vec<u8>) -> Result<()> {
    let mut rest = stream;
    loop {
        // One byte more than the bound tells what is over it.
        let room = bound.saturating_add(1).saturating_sub(plain.len());
        plain.reserve_exact(room.min(plain.len().max(STEP)));
        let before = state.total_in();
        let status = state
            .decompress_vec(rest, plain, FlushDecompress::None)
            .map_err(|error| Error::malformed(WHAT, error.to_string()))?;
        if plain.len() > bound {
            return Err(too_large(bound));
        }
        if status == Status::StreamEnd {
            return Ok(());
        }
        let taken = usize::try_from(state.total_in() - before).unwrap_or(usize::MAX);
        rest = rest.get(taken..).unwrap_or_default();
        if rest.is_empty() && plain.len() < plain.capacity() {
            return Err(Error::Truncated(WHAT));
        }
    }
}

fn too_large(bound: usize) -> Error {
    Error::TooLarge { what: "content", bound: bound as u64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::read_hex;

    fn hex(text: &str) -> Vec<u8> {
        read_hex(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_kylin_stored_is_read() {
        let image = hex("475a49507801ab56ca4f4b2b4e2d51b232af05001c4a0435");
        assert_eq!(*plain(&image, BOUND).unwrap(), *b"{\"offset\":7}");
        let uuid =
            hex("475a495078016350493632343230b24cd63531b44cd53549b434d34d4a4c49d235304c4ab44cb34c494b4b490600b1020a52");
        assert_eq!(*plain(&uuid, BOUND).unwrap(), *b"\x00\x24c212029c-419e-4a96-badb-01ba9f9dffdc");
    }

    #[test]
    fn what_is_stored_is_as_kylin_stores_it() {
        let stored = store(b"{\"offset\":7}", true);
        assert!(stored.starts_with(b"GZIP\x78\x01"), "{stored:?}");
        assert_eq!(*store(b"", true), *b"");
        assert_eq!(*store(b"GZIP", true), *b"GZIP");
        assert_eq!(*store(&stored, true), *stored);
        assert_eq!(*store(b"{}", false), *b"{}");
    }

    #[test]
    fn what_has_no_mark_or_nothing_behind_it_is_itself() {
        for stored in [&b""[..], b"{}", b"GZI", b"GZIP", b"gzip\x78\x01", b" GZIPx"] {
            assert_eq!(*plain(stored, BOUND).unwrap(), *stored);
        }
    }

    #[test]
    fn every_truncation_and_more_than_the_bound_is_refused() {
        let text = b"one line and another one, and one line more";
        let stored = store(text, true);
        for length in 5..stored.len() {
            assert_eq!(plain(&stored[..length], BOUND), Err(Error::Truncated(WHAT)), "{length}");
        }
        assert!(plain(b"GZIPno stream at all", BOUND).unwrap_err().to_string().contains("malformed"));
        assert!(plain(&stored, text.len()).is_ok());
        assert_eq!(plain(&stored, text.len() - 1), Err(too_large(text.len() - 1)));
        assert_eq!(plain(b"{}", 1), Err(too_large(1)));
        let followed = [&stored, &b"more"[..]].concat();
        assert_eq!(*plain(&followed, BOUND).unwrap(), *text);
    }

    #[test]
    fn a_bomb_is_refused_in_bounded_memory() {
        let bomb = store(&vec![0; 64 << 20], true).into_owned();
        assert!(bomb.len() < 1 << 20);
        assert_eq!(plain(&bomb, 1 << 16), Err(too_large(1 << 16)));
    }

    #[test]
    fn one_content_after_the_other_is_as_each_by_itself() {
        let (mut storer, mut opener) = (Storer::default(), Opener::default());
        let texts = [b"{}".repeat(2_000_000), b"one line and one line more".to_vec(), Vec::new(), b"GZIPx".to_vec()];
        for text in texts.iter().chain(&texts) {
            for compress in [true, false] {
                let stored = storer.store(text, compress);
                assert_eq!(stored, &*store(text, compress));
                assert_eq!(opener.plain(stored, BOUND).ok(), plain(stored, BOUND).ok().as_deref());
                // What fails leaves nothing behind for the next.
                assert!(opener.plain(b"GZIP\x78\x01\x2b", BOUND).is_err());
            }
        }
        assert!(opener.plain.capacity() <= 2 * KEPT && storer.stored.capacity() <= 2 * KEPT);
    }

    proptest! {
        #[test]
        fn plain_of_stored_is_what_was_stored(text in any::<Vec<u8>>(), times in 1..400_usize, compress: bool) {
            let text = text.repeat(times);
            prop_assume!(!text.starts_with(MARK));
            let stored = store(&text, compress);
            prop_assert_eq!(&*plain(&stored, BOUND).unwrap(), &*text);
        }

        #[test]
        fn no_input_panics(mut stream in any::<Vec<u8>>(), head: bool) {
            if head {
                stream.splice(0..0, *b"GZIP\x78\x01");
            }
            drop(plain(&stream, 1 << 20));
        }
    }
}
