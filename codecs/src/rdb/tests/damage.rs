//! Streams that were cut or altered: always an error, never a panic, and never another content.

use proptest::prelude::*;

use super::encodings::{stream, string};
use super::*;

const STREAMS: [&str; 3] = ["rdb/default.rdb", "rdb/plain.rdb", "rdb/packed.rdb"];

/// Decodes what it can and drops it.
fn try_all(blocks: &[Block]) {
    let mut scratch = Scratch::default();
    for piece in blocks.iter().flat_map(Block::pieces) {
        drop(elements(&piece, &mut scratch));
    }
}

#[test]
fn cut_anywhere() {
    let stream = data("rdb/packed.rdb");
    for end in 0..stream.len() {
        let found = split(&stream[..end], 4096, &mut Splitter::new());
        assert!(matches!(found, Err(Error::Truncated(_))), "cut at {end}");
    }
}

#[test]
fn altered_anywhere() {
    let whole = data("rdb/default.rdb");
    for at in 0..whole.len() {
        let mut stream = whole.clone();
        stream[at] ^= 1 << (at % 8);
        match split(&stream, usize::MAX / 2, &mut Splitter::new()) {
            Err(_) => {}
            Ok(_) => panic!("the altered byte {at} was not found"),
        }
    }
}

/// Where the checksum is left out, what is altered must still be decoded without a panic.
#[test]
fn altered_and_unchecked() {
    for path in STREAMS {
        let mut whole = data(path);
        let end = whole.len() - 8;
        whole[end..].fill(0);
        for at in 0..end {
            whole[at] ^= 1 << (at % 8);
            let mut input = whole.as_slice();
            let (mut splitter, mut blocks) = (Splitter::new().with_block_bytes(4096), Vec::new());
            while let Ok(Some(block)) = splitter.split(&mut input, &everything) {
                blocks.push(block);
            }
            try_all(&blocks);
            whole[at] ^= 1 << (at % 8);
        }
    }
}

/// A length promises what never comes: nothing is set aside for it.
#[test]
fn promises() {
    for bytes in [&b"\x81\0\0\0\0\x3f\xff\xff\xff"[..], b"\xc3\x02\x80\x3f\xff\xff\xff\x01a"] {
        let stream = stream("REDIS0010", &[b"\0\x01k", bytes]);
        let found = load(&stream, 10, 1 << 20);
        assert!(matches!(found, Err(Error::Truncated(_) | Error::Malformed { .. })), "{found:?}");
    }
    let large = stream("REDIS0010", &[b"\0\x01k\x81\0\0\0\0\x40\0\0\x01"]);
    assert!(matches!(load(&large, 10, 1 << 20), Err(Error::TooLarge { .. })));
    let many = stream("REDIS0010", &[b"\x04\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a\x01b"]);
    assert!(load(&many, 10, 1 << 20).is_err());
}

proptest! {
    #[test]
    fn noise(code in 0_u8..26, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for value in [bytes.clone(), string(&bytes)] {
            let stream = stream("REDIS0012", &[&[code, 1, b'k'], &value]);
            let (mut splitter, mut input) = (Splitter::new(), stream.as_slice());
            while let Ok(Some(block)) = splitter.split(&mut input, &everything) {
                try_all(&[block]);
            }
        }
    }

    #[test]
    fn alteration(at in any::<prop::sample::Index>(), bits in 1_u8..) {
        let mut stream = data("tour/redis/store.rdb");
        let at = at.index(stream.len());
        stream[at] ^= bits;
        prop_assert!(split(&stream, 5000, &mut Splitter::new()).is_err());
    }
}
