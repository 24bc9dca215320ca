//! What a copy does to every row besides moving it: the tally, and the compact form of the spill files.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use metaferry_benches::{ROWS, chunks, edges, nodes};
use metaferry_codecs::Tally;
use metaferry_codecs::juicefs;
use metaferry_codecs::system::{Batch, Kind as _};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let batches = [juicefs::Batch::from(nodes()), juicefs::Batch::from(edges()), juicefs::Batch::from(chunks())];
    for batch in &batches {
        let mut group = criterion.benchmark_group(format!("tally/{}", batch.kind().info().name));
        group.throughput(Throughput::Elements(ROWS));
        group.bench_function("tally", |bencher| {
            bencher.iter(|| {
                let mut tally = Tally::default();
                black_box(batch).tally(&mut tally);
                tally
            });
        });
        let (mut key, mut row) = (Vec::new(), Vec::new());
        group.bench_function("pack", |bencher| {
            bencher.iter(|| {
                key.clear();
                row.clear();
                for index in 0..black_box(batch).len() {
                    batch.pack(index, &mut key, &mut row);
                }
                black_box((key.len(), row.len()))
            });
        });
        group.finish();
    }
    criterion.final_summary();
}
