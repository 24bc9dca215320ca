//! Envelopes and keys, held against `openssl` and against another implementation of the ciphers.

mod envelopes;
mod keys;

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use super::PrivateKey;

/// Runs `openssl` in a folder; arguments are separated by spaces.
#[track_caller]
fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.expect("openssl must be installed for this test");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A PKCS#1 key of 2048 bits that was made for this run, and its public half.
static KEY: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    openssl(folder.path(), "genrsa -traditional -out key 2048");
    openssl(folder.path(), "rsa -in key -pubout -out public");
    ["key", "public"].map(|name| std::fs::read(folder.path().join(name)).unwrap())
});

/// A folder with the files `key`, `public` and `passphrase`.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let [key, public] = &*KEY;
        folder.write("key", key);
        folder.write("public", public);
        folder.write("passphrase", b"open sesame\n");
        folder
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.0.path().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(name)).unwrap()
    }

    /// Makes the file `name` with `openssl`.
    #[track_caller]
    fn make(&self, name: &str, arguments: &str) -> Vec<u8> {
        openssl(self.0.path(), &format!("{arguments} -out {name}"));
        self.read(name)
    }
}

fn key() -> PrivateKey {
    PrivateKey::read(&KEY[0], None).unwrap()
}
