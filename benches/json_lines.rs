//! JSON lines of nodes, edges and chunks: both ways, a batch at a time, in bytes of JSON.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use metaferry_benches::{chunks, edges, nodes};
use metaferry_codecs::Result;
use metaferry_codecs::juicefs;
use metaferry_codecs::system::{Batch, Kind as _};

fn read(kind: juicefs::Kind, text: &[u8]) -> Result<juicefs::Batch> {
    let mut batch = juicefs::Batch::empty(kind);
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        batch.read_line(line)?;
    }
    Ok(batch)
}

fn main() -> Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let batches = [juicefs::Batch::from(nodes()), juicefs::Batch::from(edges()), juicefs::Batch::from(chunks())];
    for batch in &batches {
        let mut text = Vec::new();
        batch.write_lines(&mut text);
        assert_eq!(read(batch.kind(), &text)?, *batch, "what is read is what was written");
        let mut group = criterion.benchmark_group(format!("json_lines/{}", batch.kind().info().name));
        group.throughput(Throughput::Bytes(text.len() as u64));
        let mut out = Vec::with_capacity(text.len());
        group.bench_function("write", |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(batch).write_lines(&mut out);
                black_box(out.len())
            });
        });
        group.bench_function("read", |bencher| {
            bencher.iter(|| black_box(read(batch.kind(), black_box(&text))));
        });
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}
