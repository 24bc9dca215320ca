//! RDB streams: cutting into blocks, and cutting and decoding every element, of a stream made here in Redis's plainest
//! encodings and of one that a Redis server wrote.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use metaferry_benches::{chunks, edges, nodes};
use metaferry_codecs::juicefs::attr;
use metaferry_codecs::rdb::{Scratch, Splitter};
use metaferry_codecs::{Error, Result};

/// What a Redis server wrote of a small volume, in its packed encodings.
static WRITTEN_BY_REDIS: &[u8] = include_bytes!("../tests/data/tour/redis/store.rdb");

const STRING: u8 = 0;
const LIST: u8 = 1;
const HASH: u8 = 4;

fn put_length(length: usize, out: &mut Vec<u8>) {
    out.push(0x80);
    out.extend_from_slice(&(length as u32).to_be_bytes());
}

fn put_string(text: &[u8], out: &mut Vec<u8>) {
    put_length(text.len(), out);
    out.extend_from_slice(text);
}

/// A volume of 4096 files, without a checksum.
fn plain_stream() -> Vec<u8> {
    let mut out = b"REDIS0011\xfe\x00".to_vec();
    let mut value = Vec::new();
    for node in nodes() {
        value.clear();
        attr::encode(&node, &mut value);
        out.push(STRING);
        put_string(format!("i{}", node.inode).as_bytes(), &mut out);
        put_string(&value, &mut out);
    }
    let edges = edges();
    for entries in edges.chunk_by(|left, right| left.parent == right.parent) {
        let parent = entries.first().map_or(0, |edge| edge.parent);
        out.push(HASH);
        put_string(format!("d{parent}").as_bytes(), &mut out);
        put_length(entries.len(), &mut out);
        for edge in entries {
            put_string(&edge.name, &mut out);
            put_string(&[[edge.kind.number()].as_slice(), &edge.inode.to_be_bytes()].concat(), &mut out);
        }
    }
    for chunk in chunks() {
        out.push(LIST);
        put_string(format!("c{}_{}", chunk.inode, chunk.index).as_bytes(), &mut out);
        put_length(chunk.slices.0.len(), &mut out);
        for slice in &chunk.slices.0 {
            value.clear();
            slice.encode(&mut value);
            put_string(&value, &mut out);
        }
    }
    out.push(0xff);
    out.extend_from_slice(&[0; 8]);
    out
}

/// Cuts a stream, decodes what comes if that is wanted, and counts keys and elements.
fn read(mut stream: &[u8], decode: bool) -> Result<(u64, u64)> {
    let (mut splitter, mut scratch) = (Splitter::new(), Scratch::default());
    let mut elements = 0;
    while let Some(block) = splitter.split(&mut stream, &|_, _| true)? {
        if decode {
            for piece in block.pieces() {
                piece.each(&mut scratch, |element| {
                    black_box(element);
                    elements += 1;
                    Ok(())
                })?;
            }
        }
        splitter.recycle(block);
    }
    splitter.finish()?;
    Ok((splitter.kept(), elements))
}

fn main() -> Result<()> {
    let plain = plain_stream();
    let mut criterion = Criterion::default().configure_from_args();
    for (name, stream) in [("plain", plain.as_slice()), ("redis", WRITTEN_BY_REDIS)] {
        let (keys, elements) = read(stream, true)?;
        if elements < keys {
            return Err(Error::Truncated("RDB stream of the benchmark"));
        }
        let mut group = criterion.benchmark_group(format!("rdb/{name}"));
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function("split", |bencher| bencher.iter(|| black_box(read(black_box(stream), false))));
        group.bench_function("decode", |bencher| bencher.iter(|| black_box(read(black_box(stream), true))));
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}
