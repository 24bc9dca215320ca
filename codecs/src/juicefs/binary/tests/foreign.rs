//! Segments of types that nobody knows: carried byte for byte, named by the footer, and held against it like all others.

use super::*;
use crate::juicefs::binary::foreign::PIECE_BYTES;
use crate::juicefs::{FileType, Node};

/// What a footer says of segments: a name, where they begin, how many items they hold.
type Entry<'a> = (&'a str, &'a [u64], u64);

/// A dump of a node and then these segments, whose types and payloads are given; and where each of them begins.
fn segments(foreign: &[(u32, Vec<u8>)]) -> (Vec<u8>, Footer, Vec<u64>) {
    let (sort, payload, items) = segment(&vec![Node { kind: FileType::REGULAR, ..Node::default() }].into());
    let (mut dump, mut footer, mut begins) = (head(sort, payload.len() as u64).to_vec(), Footer::default(), Vec::new());
    footer.add(sort, 0, items);
    dump.extend_from_slice(&payload);
    for (number, payload) in foreign {
        begins.push(dump.len() as u64);
        dump.extend_from_slice(&head(*number, payload.len() as u64));
        dump.extend_from_slice(payload);
    }
    (dump, footer, begins)
}

fn ended(dump: &[u8], footer: &Footer, entries: &[Entry<'_>]) -> Vec<u8> {
    let mut footer = footer.clone();
    for (name, offsets, items) in entries {
        let items = std::iter::once(*items).chain(std::iter::repeat(0));
        offsets.iter().zip(items).for_each(|(offset, items)| footer.add_unknown(name.as_bytes(), *offset, items));
    }
    [dump, &footer.encode()].concat()
}

fn first(segment: u64, number: u32, name: &str, items: u64, length: u64) -> Foreign {
    Foreign { segment, number, name: name.into(), items, length, ..Foreign::default() }
}

#[test]
fn they_are_carried_in_pieces_that_do_not_depend_on_how_the_dump_is_cut() {
    let long: Vec<u8> = (0..2 * PIECE_BYTES + 1000).map(|at| (at * 7 % 251) as u8).collect();
    let even = vec![0xff; PIECE_BYTES as usize];
    let (bytes, footer, at) = segments(&[(16, long.clone()), (0, vec![]), (16, even.clone()), (4000, vec![1])]);
    let whole = ended(&bytes, &footer, &[("new", &[at[0], at[2]], 9), ("", &[at[1]], 0), ("ünlike", &[at[3]], 1)]);
    let piece = |segment, piece, bytes: &[u8]| Foreign { segment, piece, bytes: bytes.to_vec(), ..Foreign::default() };
    let expected = vec![
        first(0, 16, "new", 9, long.len() as u64),
        piece(0, 1, &long[..PIECE_BYTES as usize]),
        piece(0, 2, &long[PIECE_BYTES as usize..2 * PIECE_BYTES as usize]),
        piece(0, 3, &long[2 * PIECE_BYTES as usize..]),
        first(1, 0, "", 0, 0),
        first(2, 16, "new", 0, PIECE_BYTES),
        piece(2, 1, &even),
        first(3, 4000, "ünlike", 1, 1),
        piece(3, 1, &[1]),
    ];
    for (block, step) in [(1 << 20, 1 << 20), (64, 100), (1 << 20, 4096), (1, PIECE_BYTES as usize - 1)] {
        let read = read(&whole, block, step).unwrap();
        assert_eq!(read.left, Left::default());
        assert!(read.foreign == expected, "{block} {step}");
        assert_eq!(read.rows(SegmentType::Node).len(), 1);
    }
}

#[test]
fn the_footer_must_name_each_of_them_once() {
    let (bytes, footer, at) = segments(&[(16, vec![7; 100]), (17, vec![])]);
    assert!(read(&ended(&bytes, &footer, &[("a", &[at[0]], 1), ("b", &[at[1]], 0)]), 64, 7).is_ok());
    assert!(read(&ended(&bytes, &footer, &[("a", &at, 1)]), 64, 7).is_ok());
    let long = "x".repeat(2000);
    let wrong: [&[Entry<'_>]; 7] = [
        &[],
        &[("a", &[at[0]], 1)],
        &[("a", &[at[0], at[0]], 1)],
        &[("a", &[at[0]], 1), ("b", &[at[1] + 1], 0)],
        &[("a", &[at[0]], 1), ("b", &[0], 0)],
        &[("a", &at, 1), ("b", &[at[1]], 0)],
        &[(&long, &at, 1)],
    ];
    for entries in wrong {
        let (place, _) = read(&ended(&bytes, &footer, entries), 64, 7).unwrap_err();
        assert!(place.ends_with("in the footer"), "{entries:?}: {place}");
    }
}

#[test]
fn one_that_is_cut_is_an_error_that_says_where() {
    let (bytes, footer, at) = segments(&[(16, vec![7; 1000])]);
    let whole = ended(&bytes, &footer, &[("a", &at, 1)]);
    for length in at[0] as usize..whole.len() {
        let (place, _) = read(&whole[..length], 64, 90).unwrap_err();
        assert!(place.starts_with(&format!("byte {length}, ")), "{place}");
    }
    let (place, _) = read(&whole[..at[0] as usize + 500], 64, 90).unwrap_err();
    assert!(place.ends_with(&format!("in the segment of unknown type at byte {}", at[0])), "{place}");
}
