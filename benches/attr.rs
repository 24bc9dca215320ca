//! The attribute record: both ways, a batch of nodes at a time.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use metaferry_benches::{ROWS, nodes};
use metaferry_codecs::juicefs::attr;

fn main() -> metaferry_codecs::Result<()> {
    let nodes = nodes();
    let records: Vec<(u64, Vec<u8>)> = nodes
        .iter()
        .map(|node| {
            let mut record = Vec::new();
            attr::encode(node, &mut record);
            (node.inode, record)
        })
        .collect();
    for (inode, record) in &records {
        attr::decode(*inode, record)?;
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("attr");
    group.throughput(Throughput::Elements(ROWS));
    let mut out = Vec::new();
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            black_box(&nodes).iter().for_each(|node| attr::encode(node, &mut out));
            black_box(out.len())
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            for (inode, record) in black_box(&records) {
                black_box(attr::decode(*inode, record).is_ok());
            }
        });
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}
