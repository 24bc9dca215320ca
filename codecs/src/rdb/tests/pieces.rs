//! How a stream falls into pieces and blocks.

use proptest::prelude::*;

use super::encodings::{stream, string};
use super::*;

fn pieces(stream: &[u8], chunk: usize, block_bytes: usize) -> Vec<String> {
    let blocks = split(stream, chunk, &mut Splitter::new().with_block_bytes(block_bytes)).unwrap();
    let describe =
        |(at, block): (usize, &Block)| block.pieces().map(|piece| format!("{at} {piece:?}")).collect::<Vec<_>>();
    blocks.iter().enumerate().flat_map(describe).collect()
}

#[test]
fn every_cut_of_the_input() {
    let stream = data("rdb/default.rdb");
    let expected = pieces(&stream, usize::MAX / 2, 500).len();
    for cut in 1..stream.len() {
        let (mut splitter, mut begin, mut found) = (Splitter::new().with_block_bytes(500), 0, 0);
        for end in [cut, stream.len()] {
            let mut input = &stream[begin..end];
            while let Some(block) = splitter.split(&mut input, &everything).unwrap() {
                found += block.len();
                splitter.recycle(block);
            }
            begin = end - input.len();
        }
        assert!(splitter.is_end() && found == expected, "cut at {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_size_of_input(chunk in 1_usize..5000, block_bytes in 1_usize..20_000) {
        let stream = data("rdb/default.rdb");
        prop_assert_eq!(pieces(&stream, chunk, block_bytes), pieces(&stream, usize::MAX / 2, block_bytes));
    }
}

fn wide_hash(fields: usize) -> Vec<u8> {
    let mut value = [&[4][..], &string(b"wide"), &[0x80], &(fields as u32).to_be_bytes()].concat();
    for field in 0..fields {
        value.extend(string(format!("field-{field}").as_bytes()));
        value.extend(string(&field.to_le_bytes()));
    }
    stream("REDIS0010", &[&value, b"\0\x04last\x01x"])
}

/// A value over the size of a block is cut where an element ends, and no block grows much beyond its size.
#[test]
fn wide_values() {
    let stream = wide_hash(300_000);
    let blocks = split(&stream, 70_000, &mut Splitter::new()).unwrap();
    let (mut elements_found, mut scratch) = (0, Scratch::default());
    for (part, block) in blocks.iter().enumerate() {
        assert!(block.weight() < (1 << 20) + 1000);
        let piece = block.pieces().next().unwrap();
        assert_eq!((piece.key, piece.part), (&b"wide"[..], part as u64));
        assert_eq!(piece.last, part + 1 == blocks.len());
        assert_eq!(elements(&piece, &mut scratch).unwrap().len() as u64, piece.elements);
        elements_found += piece.elements;
    }
    assert!(blocks.len() > 5);
    assert_eq!(elements_found, 300_000);
    assert_eq!(blocks.last().unwrap().pieces().last().unwrap().key, b"last");
}

/// What is not wanted is not kept, however wide.
#[test]
fn wide_values_unwanted() {
    let stream = wide_hash(100_000);
    let (mut splitter, mut begin) = (Splitter::new(), 0);
    for end in (0..stream.len()).step_by(10_000).chain([stream.len()]) {
        let mut input = &stream[begin..end];
        let block = splitter.split(&mut input, &|_, key| key == b"last").unwrap();
        assert!(input.len() < 32, "what is left of the input stays small");
        begin = end - input.len();
        if let Some(block) = block {
            assert_eq!(block.len(), 1);
        }
    }
    assert!(splitter.is_end());
    assert_eq!((splitter.kept(), splitter.skipped()), (1, 1));
}

#[test]
fn recycled_blocks_are_empty() {
    let stream = wide_hash(1000);
    let (mut splitter, mut input, mut keys) = (Splitter::new().with_block_bytes(1000), stream.as_slice(), 0);
    while let Some(block) = splitter.split(&mut input, &everything).unwrap() {
        keys += block.pieces().filter(|piece| piece.last).count();
        assert!(block.weight() < 2000);
        splitter.recycle(block);
    }
    assert_eq!(keys, 2);
}
