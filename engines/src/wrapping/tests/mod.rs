//! Wrappings in any nesting, cut, altered, without their key; and what is written, read by others.

mod keys;
mod reading;
mod sealing;
mod writing;

use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use metaferry_codecs::juicefs::envelope::{Algorithm, PrivateKey, Sealer};
use metaferry_pipeline::{Error, Result, Stop};

use super::{EnvelopeKey, Unwrapped, unwrap};

/// Runs `openssl` in a folder; arguments are separated by spaces.
#[track_caller]
fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.expect("openssl must be installed for this test");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A key that was made for this run.
static PEM: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    openssl(folder.path(), "genrsa -out key 2048");
    std::fs::read(folder.path().join("key")).unwrap()
});

fn key() -> EnvelopeKey {
    EnvelopeKey { key: PrivateKey::read(&PEM, None).unwrap(), algorithm: Algorithm::default() }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 1).unwrap()
}

fn sealed(content: &[u8]) -> Vec<u8> {
    let (key, mut envelope) = (key(), Vec::new());
    let mut sealer = Sealer::begin(&key.key, key.algorithm, &mut envelope).unwrap();
    sealer.seal(content, &mut envelope).unwrap();
    sealer.finish(&mut envelope).unwrap();
    envelope
}

fn opened(bytes: Vec<u8>, key: Option<&EnvelopeKey>) -> Result<Unwrapped> {
    unwrap("dump", Box::new(Cursor::new(bytes)), key, &Stop::new())
}

/// All that is inside.
fn inside(bytes: Vec<u8>, key: Option<&EnvelopeKey>) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    opened(bytes, key)?.read_to_end(&mut content).map_err(|cause| Error::io("dump", cause))?;
    Ok(content)
}

/// Some bytes that compress about as metadata does.
fn lines(length: usize) -> Vec<u8> {
    let line = |n: usize| format!("{{\"inode\":{},\"name\":\"file-{n}\",\"length\":{}}}\n", n * 17, n * 7919 % 100_003);
    (0..).flat_map(|n| line(n).into_bytes()).take(length).collect()
}
