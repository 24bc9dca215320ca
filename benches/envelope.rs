//! Opening and sealing of an encrypted object's data, by either algorithm, in the pieces in which a file is read.

use std::hint::black_box;
use std::process::Command;

use criterion::{BenchmarkId, Criterion, Throughput};
use metaferry_codecs::juicefs::envelope::{Algorithm, Opener, PrivateKey, Sealer};

const BYTES: usize = 4 << 20;
const PIECE: usize = 64 << 10;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let pem = Command::new("openssl").args(["genrsa", "2048"]).output().expect("openssl on the PATH").stdout;
    let key = PrivateKey::read(&pem, None).expect("a whole key");
    let content = vec![0x5a; BYTES];
    let mut group = criterion.benchmark_group("envelope");
    group.throughput(Throughput::Bytes(BYTES as u64));
    for algorithm in [Algorithm::Aes256Gcm, Algorithm::ChaCha20Poly1305] {
        let mut envelope = Vec::new();
        group.bench_function(BenchmarkId::new("seal", algorithm.name()), |bencher| {
            bencher.iter(|| {
                envelope.clear();
                let mut sealer = Sealer::begin(&key, algorithm, &mut envelope).expect("random numbers");
                content.chunks(PIECE).try_for_each(|piece| sealer.seal(piece, &mut envelope)).expect("a small content");
                sealer.finish(&mut envelope).expect("a small content");
            });
        });
        let mut text = Vec::with_capacity(2 * PIECE);
        group.bench_function(BenchmarkId::new("open", algorithm.name()), |bencher| {
            bencher.iter(|| {
                let (mut opener, header) = Opener::begin(&envelope, &key, algorithm).expect("a whole envelope");
                for piece in envelope.get(header..).unwrap_or_default().chunks(PIECE) {
                    text.clear();
                    opener.open(piece, &mut text).expect("a small content");
                    black_box(&text);
                }
                opener.finish(&mut text).expect("nothing was altered");
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
