//! Segments of nodes, edges and chunks: a batch as JSON lines in one frame with its checksum, and back, in bytes of text.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use metaferry_benches::{chunks, edges, nodes};
use metaferry_codecs::archive::{Head, MAX_SEGMENT, Packer, Unpacker, sha256};
use metaferry_codecs::juicefs;
use metaferry_codecs::system::{Batch, Kind as _};
use metaferry_codecs::{Error, Result};

/// Writes the frame of a batch into `frame`, by way of `text`.
fn encode(batch: &juicefs::Batch, packer: &mut Packer, text: &mut Vec<u8>, frame: &mut Vec<u8>) -> Result<[u8; 32]> {
    text.clear();
    text.extend_from_slice(&Head { number: 0, kind: batch.kind(), rows: batch.len() as u64 }.line());
    batch.write_lines(text);
    frame.clear();
    frame.extend_from_slice(packer.pack(text, MAX_SEGMENT)?);
    Ok(sha256(frame))
}

fn decode(frame: &[u8], checksum: [u8; 32], unpacker: &mut Unpacker) -> Result<juicefs::Batch> {
    if sha256(frame) != checksum {
        return Err(Error::Truncated("segment"));
    }
    let mut lines = unpacker.unpack(frame, MAX_SEGMENT)?.split(|byte| *byte == b'\n');
    let head = Head::<juicefs::Kind>::read(lines.next().unwrap_or_default())?;
    let mut batch = juicefs::Batch::empty(head.kind);
    lines.filter(|line| !line.is_empty()).try_for_each(|line| batch.read_line(line))?;
    Ok(batch)
}

fn main() -> Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let batches = [juicefs::Batch::from(nodes()), juicefs::Batch::from(edges()), juicefs::Batch::from(chunks())];
    let (mut packer, mut unpacker) = (Packer::new()?, Unpacker::new()?);
    for batch in &batches {
        let (mut text, mut frame) = (Vec::new(), Vec::new());
        let checksum = encode(batch, &mut packer, &mut text, &mut frame)?;
        assert_eq!(decode(&frame, checksum, &mut unpacker)?, *batch, "what is read is what was written");
        let mut group = criterion.benchmark_group(format!("segment/{}", batch.kind().info().name));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function("encode", |bencher| {
            bencher.iter(|| black_box(encode(black_box(batch), &mut packer, &mut text, &mut frame)));
        });
        group.bench_function("decode", |bencher| {
            bencher.iter(|| black_box(decode(black_box(&frame), checksum, &mut unpacker)));
        });
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}
