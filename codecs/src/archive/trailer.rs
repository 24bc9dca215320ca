//! Trailer: the skippable frame that ends an archive, of fixed size: where the manifest is, and the checksums of the two
//! frames that the manifest cannot vouch for.

use super::{FORMAT, Sha256, sha256, understood};
use crate::{Error, Result};

/// The length of the trailer, in bytes.
pub const TRAILER_BYTES: usize = 144;
/// The magic of its skippable frame, as it stands in the file.
pub(super) const SKIPPABLE: [u8; 4] = 0x184D_2A5A_u32.to_le_bytes();

const WHAT: &str = "trailer";
const MAGIC: &[u8; 12] = b"metaferry\0\0\0";

/// What the trailer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// The length of the header's frame, which begins the archive, in bytes.
    pub header_length: u64,
    /// The checksum of the header's frame.
    pub header_sha256: Sha256,
    /// Where the manifest's frame begins, in bytes.
    pub manifest_offset: u64,
    /// The length of the manifest's frame, in bytes.
    pub manifest_length: u64,
    /// The checksum of the manifest's frame.
    pub manifest_sha256: Sha256,
}

impl Trailer {
    /// Its bytes, of the newest format.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(TRAILER_BYTES);
        out.extend_from_slice(&SKIPPABLE);
        out.extend_from_slice(&(TRAILER_BYTES as u32 - 8).to_le_bytes());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.header_length.to_le_bytes());
        out.extend_from_slice(&self.header_sha256);
        out.extend_from_slice(&self.manifest_offset.to_le_bytes());
        out.extend_from_slice(&self.manifest_length.to_le_bytes());
        out.extend_from_slice(&self.manifest_sha256);
        let checksum = sha256(&out);
        out.extend_from_slice(&checksum);
        out
    }

    /// Whether these bytes begin as a trailer does, whole or not.
    #[must_use]
    pub fn is_at(bytes: &[u8]) -> bool {
        bytes.starts_with(&SKIPPABLE) && bytes.get(8..).is_some_and(|rest| rest.starts_with(MAGIC))
    }

    /// Reads a trailer.
    ///
    /// # Errors
    /// Anything altered, and a newer format.
    pub fn decode(bytes: &[u8; TRAILER_BYTES]) -> Result<Self> {
        let (body, checksum) = bytes.split_at(TRAILER_BYTES - 32);
        if !Self::is_at(bytes) {
            return Err(Error::malformed(WHAT, "its magic is not there"));
        }
        if checksum != sha256(body) {
            return Err(Error::Checksum(WHAT));
        }
        let mut rest = body;
        let _frame: [u8; 4] = take(&mut rest)?;
        let size = u32::from_le_bytes(take(&mut rest)?);
        let _magic: [u8; 12] = take(&mut rest)?;
        understood("archive format", u64::from(u32::from_le_bytes(take(&mut rest)?)), FORMAT)?;
        if size as usize != TRAILER_BYTES - 8 {
            return Err(Error::malformed(WHAT, "its size is not that of a trailer"));
        }
        Ok(Self {
            header_length: u64::from_le_bytes(take(&mut rest)?),
            header_sha256: take(&mut rest)?,
            manifest_offset: u64::from_le_bytes(take(&mut rest)?),
            manifest_length: u64::from_le_bytes(take(&mut rest)?),
            manifest_sha256: take(&mut rest)?,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(Error::Truncated(WHAT))?;
    *rest = tail;
    Ok(*head)
}
