//! The slice records of chunks: both ways, a batch of chunks at a time.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use metaferry_benches::{ROWS, chunks};
use metaferry_codecs::juicefs::Slices;

fn main() -> metaferry_codecs::Result<()> {
    let chunks = chunks();
    let encode = |slices: &Slices| {
        let mut record = Vec::new();
        slices.encode(&mut record);
        record
    };
    let records: Vec<Vec<u8>> = chunks.iter().map(|chunk| encode(&chunk.slices)).collect();
    for record in &records {
        Slices::decode(record)?;
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("slices");
    group.throughput(Throughput::Elements(ROWS));
    let mut out = Vec::new();
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            black_box(&chunks).iter().for_each(|chunk| chunk.slices.encode(&mut out));
            black_box(out.len())
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            for record in black_box(&records) {
                drop(black_box(Slices::decode(record)));
            }
        });
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}
