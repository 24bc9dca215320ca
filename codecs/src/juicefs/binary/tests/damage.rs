//! Dumps that are cut, altered, in another order, or hold what nobody knows.

use proptest::prelude::*;

use super::example::example;
use super::*;
use crate::juicefs::{Node, Parent, Xattr};

/// Segments, without an end.
fn segments(dump: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let (mut rest, mut segments) = (dump, Vec::new());
    loop {
        let number = u32::from_be_bytes(*rest.first_chunk().unwrap());
        if number == MARKER {
            return segments;
        }
        let length = u64::from_be_bytes(*rest[4..].first_chunk().unwrap()) as usize;
        segments.push((number, rest[HEAD_BYTES..HEAD_BYTES + length].to_vec()));
        rest = &rest[HEAD_BYTES + length..];
    }
}

/// The rows of all sorts, sorted.
fn all(read: &Read) -> Vec<String> {
    let mut rows: Vec<_> = SegmentType::ALL.iter().flat_map(|sort| read.rows(*sort)).collect();
    rows.sort();
    rows
}

#[test]
fn a_dump_cut_anywhere_is_an_error_that_says_where() {
    let bytes = example();
    for length in 0..bytes.len() {
        let (place, _) = read(&bytes[..length], 64, 100).unwrap_err();
        assert!(place.starts_with(&format!("byte {length}, ")), "{length}: {place}");
    }
    let (place, _) = read(&bytes[..0x200], 64, 100).unwrap_err();
    assert_eq!(place, "byte 512, in the segment node at byte 489");
}

#[test]
fn what_follows_the_end_is_refused() {
    let mut bytes = example();
    bytes.push(0);
    assert!(read(&bytes, 64, 100).is_err());
    bytes.extend_from_slice(&example());
    assert!(read(&bytes, 64, 100).is_err());
}

#[test]
fn no_flipped_bit_makes_it_panic_and_none_outside_of_values_goes_unseen() {
    let bytes = example();
    let values = all(&read(&bytes, 64, 100).unwrap());
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut altered = bytes.clone();
            altered[place] ^= 1 << bit;
            match read(&altered, 64, 100) {
                Err((place, error)) => assert!(place.starts_with("byte "), "{error}"),
                Ok(read) => assert!(
                    !read.damaged.is_empty() || read.left.strays > 0 || all(&read) != values,
                    "byte {place:#x}, bit {bit}"
                ),
            }
        }
    }
}

#[test]
fn lines_of_the_change_log_are_counted_and_passed_over() {
    let node = segment(&vec![Node::default(); 1].into());
    let mut log = Vec::new();
    for version in 0..5 {
        wire::put_message(14, &mut log, |log| {
            wire::put_uint(1, version, log);
            wire::put_bytes(2, &[b'x'; 300], log);
        });
    }
    let read = read(&dump(&[(SegmentType::ChangeLog, log, 5), node]), 64, 7).unwrap();
    assert_eq!(read.left, Left { log_lines: 5, ..Left::default() });
}

#[test]
fn segments_come_in_any_order_repeated_and_empty() {
    let mut parts = segments(&example());
    let expected = all(&read(&example(), 64, 100).unwrap());
    for turn in 0..parts.len() {
        parts.rotate_left(turn);
        let sorts = parts.iter().map(|(number, payload)| {
            let sort = SegmentType::of(*number).unwrap();
            let one = (sort, payload.clone(), if sort == SegmentType::Format { 1 } else { count(payload) });
            [one, (if sort == SegmentType::Format { SegmentType::Edge } else { sort }, Vec::new(), 0)]
        });
        let turned = dump(&sorts.flatten().collect::<Vec<_>>());
        assert_eq!(all(&read(&turned, 64, 11).unwrap()), expected);
    }
}

fn count(payload: &[u8]) -> u64 {
    let mut count = 0;
    wire::each(payload, |_, _| {
        count += 1;
        Ok(())
    })
    .unwrap();
    count
}

#[test]
fn a_footer_that_promises_something_else_is_an_error() {
    let node = segment(&vec![Node { kind: crate::juicefs::FileType::REGULAR, ..Node::default() }].into());
    let (sort, payload, _) = node.clone();
    assert!(read(&dump(&[node]), 64, 100).is_ok());
    assert!(read(&dump(&[(sort, payload.clone(), 2)]), 64, 100).is_err());
    let mut bytes = head(sort, payload.len() as u64).to_vec();
    bytes.extend_from_slice(&payload);
    let mut elsewhere = Footer::default();
    elsewhere.add(sort, 1, 1);
    for footer in [elsewhere, Footer::default()] {
        let (place, _) = read(&[bytes.clone(), footer.encode()].concat(), 64, 100).unwrap_err();
        assert!(place.ends_with("in the footer"), "{place}");
    }
}

#[test]
fn a_field_that_does_not_belong_to_its_segment_is_passed_over_and_counted() {
    let (_, mut payload, _) = segment(&vec![Parent { inode: 1, parent: 2, count: 3 }].into());
    payload.extend_from_slice(&segment(&vec![Xattr { inode: 1, name: vec![b'x'; 200], value: vec![] }].into()).1);
    payload.extend_from_slice(&[0x08, 0x07]);
    payload.extend_from_slice(&segment(&vec![Parent { inode: 4, parent: 5, count: 6 }].into()).1);
    let read = read(&dump(&[(SegmentType::Parent, payload, 2)]), 1 << 20, 9).unwrap();
    assert_eq!(read.left, Left { strays: 2, ..Left::default() });
    assert_eq!(read.rows(SegmentType::Parent).len(), 2);
}

#[test]
fn lengths_over_their_bounds_are_errors_before_anything_is_kept() {
    let endless = |sort, inner: &[u8]| {
        let mut bytes = head(sort, u64::MAX - 12).to_vec();
        bytes.extend_from_slice(inner);
        bytes.resize(200, 0);
        bytes
    };
    let giant = [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f];
    for bytes in [endless(SegmentType::Node, &giant), endless(SegmentType::Format, &[])] {
        assert!(matches!(read(&bytes, 64, 100).unwrap_err().1, Error::TooLarge { .. }));
    }
    let over = [&head(SegmentType::Node, u64::MAX)[..], &[0; 100]].concat();
    assert!(matches!(read(&over, 64, 100).unwrap_err().1, Error::Malformed { .. }));
}

#[test]
fn a_damaged_row_is_told_by_its_place_and_the_others_are_read() {
    let (_, good, _) = segment(&vec![Node { kind: crate::juicefs::FileType::REGULAR, ..Node::default() }].into());
    let mut payload = good.clone();
    let begin = (HEAD_BYTES + payload.len()) as u64;
    wire::put_message(1, &mut payload, |out| {
        wire::put_uint(1, 77, out);
        wire::put_bytes(2, &[1; 50], out);
    });
    payload.extend_from_slice(&good);
    let read = read(&dump(&[(SegmentType::Node, payload, 3)]), 1 << 20, 1 << 20).unwrap();
    assert_eq!(read.rows(SegmentType::Node).len(), 2);
    let (place, error) = &read.damaged[0];
    assert_eq!(*place, begin);
    assert!(error.to_string().contains("inode 77"), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_or_a_dump(bytes in prop::collection::vec(any::<u8>(), 0..400), sort in 0_u32..18) {
        let mut dump = sort.to_be_bytes().to_vec();
        dump.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        dump.extend_from_slice(&bytes);
        drop(read(&dump, 64, 13));
        drop(read(&bytes, 64, 13));
    }
}
