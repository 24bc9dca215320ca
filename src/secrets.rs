//! Secrets in files.

use std::path::Path;

use metaferry_pipeline::{Error, Result};
use zeroize::Zeroizing;

/// The longest secret, in bytes.
const MOST_BYTES: u64 = 64 << 10;

/// Reads the secret in the file at `path`; white space around it is none of it.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let unreadable = |cause| Error::config(format!("the secret in {} cannot be read", path.display())).because(cause);
    let mut text = Zeroizing::new(Vec::new());
    let file = std::fs::File::open(path).map_err(unreadable)?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MOST_BYTES), &mut text).map_err(unreadable)?;
    match text.trim_ascii() {
        [] => Err(Error::config(format!("there is no secret in {}", path.display()))),
        secret => Ok(Zeroizing::new(secret.to_vec())),
    }
}
