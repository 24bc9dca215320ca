//! Opening and sealing of an encrypted object's data, by either algorithm, in the pieces in which a file is read.

use std::error::Error;
use std::hint::black_box;
use std::process::Command;

use criterion::{BenchmarkId, Criterion, Throughput};
use metaferry_codecs::Result;
use metaferry_codecs::juicefs::envelope::{Algorithm, Opener, PrivateKey, Sealer};

const BYTES: usize = 4 << 20;
const PIECE: usize = 64 << 10;

fn seal(key: &PrivateKey, algorithm: Algorithm, content: &[u8], envelope: &mut Vec<u8>) -> Result<()> {
    envelope.clear();
    let mut sealer = Sealer::begin(key, algorithm, envelope)?;
    content.chunks(PIECE).try_for_each(|piece| sealer.seal(piece, envelope))?;
    sealer.finish(envelope)
}

fn open(key: &PrivateKey, algorithm: Algorithm, envelope: &[u8], text: &mut Vec<u8>) -> Result<()> {
    let (mut opener, header) = Opener::begin(envelope, key, algorithm)?;
    for piece in envelope.get(header..).unwrap_or_default().chunks(PIECE) {
        text.clear();
        opener.open(piece, text)?;
        black_box(&text);
    }
    opener.finish(text)
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let key = PrivateKey::read(&Command::new("openssl").args(["genrsa", "2048"]).output()?.stdout, None)?;
    let content = vec![0x5a; BYTES];
    let mut group = criterion.benchmark_group("envelope");
    group.throughput(Throughput::Bytes(BYTES as u64));
    for algorithm in [Algorithm::Aes256Gcm, Algorithm::ChaCha20Poly1305] {
        let (mut envelope, mut text) = (Vec::new(), Vec::with_capacity(2 * PIECE));
        group.bench_function(BenchmarkId::new("seal", algorithm.name()), |bencher| {
            bencher.iter(|| seal(&key, algorithm, &content, &mut envelope));
        });
        seal(&key, algorithm, &content, &mut envelope)?;
        open(&key, algorithm, &envelope, &mut text)?;
        group.bench_function(BenchmarkId::new("open", algorithm.name()), |bencher| {
            bencher.iter(|| open(&key, algorithm, &envelope, &mut text));
        });
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
