//! One layer: how it is told by the first bytes, and a reader of what is in it. Whatever is wrong in it is an error of kind
//! `Corrupt` that says where.

use std::fmt;
use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use metaferry_codecs::juicefs::envelope::{Opener, is_at};
use metaferry_pipeline::{Error, Result};
use zstd::stream::read::Decoder;

use super::EnvelopeKey;
use super::peeked::{Counted, MOST, Peeked, broken};

const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const GZIP: &[u8] = &[0x1f, 0x8b, 0x08];
/// How the text of every archive begins, of any version.
const ARCHIVE: &[u8] = b"{\"metaferry\":";

/// What a file is wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// gzip, of one or more members.
    Gzip,
    /// zstd, of one or more frames.
    Zstd,
    /// The encryption of the objects of a JuiceFS volume.
    Encrypted,
}

impl Layer {
    /// The layer that begins so; none where it is an archive, or something that is not wrapped.
    #[must_use]
    pub fn at(beginning: &[u8]) -> Option<Self> {
        match beginning {
            _ if beginning.starts_with(GZIP) => Some(Self::Gzip),
            _ if beginning.starts_with(ZSTD) && !is_archive(beginning) => Some(Self::Zstd),
            _ if is_at(beginning) => Some(Self::Encrypted),
            _ => None,
        }
    }

    /// How much of a file one has to look at, for [`Layer::at`].
    pub const BEGINNING: usize = MOST;

    pub(super) fn open(self, input: Peeked, key: Option<&EnvelopeKey>) -> Result<Box<dyn Read + Send>> {
        let counted = |input| Counted { input, taken: 0 };
        Ok(match self {
            Self::Gzip => Box::new(Gzip(MultiGzDecoder::new(counted(input)))),
            Self::Zstd => {
                let decoder = Decoder::with_buffer(counted(input));
                Box::new(Zstd(decoder.map_err(|cause| Error::engine("zstd", cause))?))
            }
            Self::Encrypted => Box::new(Encrypted::begin(input, key)?),
        })
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Encrypted => "encrypted",
        })
    }
}

/// Whether what begins as zstd is an archive. One that was cut or damaged within its first frame is taken for an archive
/// too: whoever reads those says best what is wrong.
fn is_archive(beginning: &[u8]) -> bool {
    let Ok(decoder) = Decoder::with_buffer(beginning) else { return true };
    let (mut decoder, mut text, mut length) = (decoder.single_frame(), [0; ARCHIVE.len()], 0);
    while let Some(room) = text.get_mut(length..).filter(|room| !room.is_empty()) {
        match decoder.read(room) {
            Ok(0) => return length > 2 && text.get(..length).is_some_and(|text| ARCHIVE.starts_with(text)),
            Ok(more) => length += more,
            Err(_) => {
                return beginning.len() < MOST && text.get(..length).is_some_and(|text| ARCHIVE.starts_with(text));
            }
        }
    }
    text == *ARCHIVE
}

struct Gzip(MultiGzDecoder<Counted>);

impl Read for Gzip {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out).map_err(|error| broken("gzip", self.0.get_ref().taken, error))
    }
}

struct Zstd(Decoder<'static, Counted>);

impl Read for Zstd {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out).map_err(|error| broken("zstd", self.0.get_ref().taken, error))
    }
}

/// Hands out what is decrypted, and ends only where all of it was proven.
struct Encrypted {
    input: Peeked,
    state: State,
    text: Vec<u8>,
    at: usize,
}

enum State {
    Opening(Box<Opener>),
    Proven,
    Failed,
}

impl Encrypted {
    fn begin(mut input: Peeked, key: Option<&EnvelopeKey>) -> Result<Self> {
        let Some(EnvelopeKey { key, algorithm }) = key else {
            return Err(Error::config("it is encrypted, and no key was named")
                .hint("name the private RSA key of its volume with --encrypt-rsa-key"));
        };
        let (opener, header) = Opener::begin(input.beginning(), key, *algorithm)?;
        input.consume(header);
        Ok(Self { input, state: State::Opening(Box::new(opener)), text: Vec::new(), at: 0 })
    }

    fn refill(&mut self) -> io::Result<()> {
        (self.at, self.state) = match std::mem::replace(&mut self.state, State::Failed) {
            State::Failed => return Err(io::Error::other("an earlier read failed")),
            State::Proven => (self.text.len(), State::Proven),
            State::Opening(mut opener) => {
                self.text.clear();
                let bytes = self.input.fill_buf()?;
                let length = bytes.len();
                if length == 0 {
                    opener.finish(&mut self.text).map_err(|error| io::Error::from(Error::from(error)))?;
                    (0, State::Proven)
                } else {
                    opener.open(bytes, &mut self.text).map_err(|error| io::Error::from(Error::from(error)))?;
                    self.input.consume(length);
                    (0, State::Opening(opener))
                }
            }
        };
        Ok(())
    }
}

impl Read for Encrypted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.text.len() && !matches!(self.state, State::Proven) {
            self.refill()?;
        }
        let length = self.text.get(self.at..).unwrap_or_default().read(out)?;
        self.at += length;
        Ok(length)
    }
}
