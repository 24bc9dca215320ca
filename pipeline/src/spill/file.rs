//! A file that something was spilled to: without a name, and encrypted under a key that is only in this process's memory,
//! so that nothing which was decrypted or taken out of an engine can be read off the disk. It knows nothing of runs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aes::Aes256Enc;
use aes::cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherSeek};
use ctr::{Ctr64BE, CtrCore, flavors};

/// Each place is written once: the key is the file's own, and the stream's block belongs to the place in the file.
pub(super) struct SpillFile {
    file: File,
    cipher: Aes256Enc,
}

impl SpillFile {
    /// A new file in the directory `path`.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut key = aes::cipher::Key::<Aes256Enc>::default();
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let cipher = Aes256Enc::new(&key);
        key.fill(0);
        Ok(Self { file: tempfile::tempfile_in(path)?, cipher })
    }

    /// Encrypts the bytes in place and writes them.
    pub(super) fn write(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.apply(bytes, offset)?;
        self.file.write_all_at(bytes, offset)
    }

    /// Fills `bytes` with what was written there.
    pub(super) fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)?;
        self.apply(bytes, offset)
    }

    fn apply(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let core = CtrCore::<_, flavors::Ctr64BE>::inner_iv_init(self.cipher.clone(), &[0; 16].into());
        let mut stream = Ctr64BE::from_core(core);
        stream.try_seek(offset).and_then(|()| stream.try_apply_keystream(bytes)).map_err(io::Error::other)
    }
}
