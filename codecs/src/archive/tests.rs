//! Decoders of the archive given anything: they return what was written or an error.

use proptest::prelude::*;

use super::*;
use crate::Error;
use crate::Tally;
use crate::juicefs::Kind as Juice;
use crate::system::Largest;

fn entry(number: u64, kind: Juice, keys: Option<(u8, u8)>) -> Entry<Juice> {
    let span = keys.map(|(first, last)| Span { first: vec![first], last: vec![last] });
    Entry {
        head: Head { number, kind, rows: 2 },
        offset: 70 + 90 * number,
        length: 90,
        bytes: 400,
        sha256: [7; 32],
        span,
    }
}

fn manifest(segments: Vec<Entry<Juice>>) -> Manifest<Juice> {
    let mut tally = Tally::default();
    tally.cell(Juice::Node, 4095).rows = u64::MAX;
    tally.cell(Juice::Edge, 0).digest = u128::MAX - 1;
    let largest = vec![Largest { kind: Juice::Node, field: "uid".to_owned(), value: u64::MAX }];
    Manifest { segments, tally, largest }
}

#[test]
fn a_manifest_comes_back_and_every_cut_of_it_is_an_error() {
    let whole = manifest(vec![entry(1, Juice::Node, Some((1, 2))), entry(0, Juice::Edge, None)]);
    let mut text = Vec::new();
    whole.write(&mut text);
    assert!(is_manifest(&text));
    assert_eq!(Manifest::read(text.as_slice()).unwrap(), whole);
    for length in 0..text.len() {
        assert!(Manifest::<Juice>::read(&text[..length]).is_err(), "{length} bytes");
    }
    text.push(b'\n');
    assert!(Manifest::<Juice>::read(text.as_slice()).is_err());
}

#[test]
fn numbers_that_do_not_count_and_lines_without_end_are_errors() {
    for numbers in [[0, 0], [1, 2]] {
        let mut text = Vec::new();
        manifest(numbers.map(|number| entry(number, Juice::Node, None)).to_vec()).write(&mut text);
        assert!(Manifest::<Juice>::read(text.as_slice()).is_err());
    }
    let mut endless = b"{\"manifest\":{\"segments\":0".to_vec();
    endless.resize(1 << 20, b' ');
    assert_eq!(Manifest::<Juice>::read(endless.as_slice()), Err(Error::Truncated("manifest")));
}

#[test]
fn rows_come_by_key_only_where_every_segment_ascends_and_none_overlap() {
    let node = |number, keys| entry(number, Juice::Node, keys);
    let edge = |number, keys| entry(number, Juice::Edge, keys);
    let is_by_key = |segments| {
        let manifest = manifest(segments);
        [Juice::Node, Juice::Edge].into_iter().all(|kind| manifest.is_by_key(kind))
    };
    assert!(is_by_key(vec![]));
    assert!(is_by_key(vec![node(0, Some((5, 9))), edge(1, Some((1, 9))), node(2, Some((1, 4)))]));
    assert!(!is_by_key(vec![node(0, Some((4, 9))), node(1, Some((1, 4)))]), "one key twice");
    assert!(!is_by_key(vec![node(0, Some((1, 9))), node(1, Some((2, 3)))]), "one within the other");
    assert!(!is_by_key(vec![node(0, None)]));
}

#[test]
fn frames_come_back_and_their_ends_are_found_without_unpacking() {
    let mut packer = Packer::new().unwrap();
    let mut unpacker = Unpacker::new().unwrap();
    let noise: Vec<u8> = (0_u32..400_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    for text in [&b""[..], b"{}\n", &[b'a'; 300], &vec![b' '; 3 << 20], &noise] {
        let frame = packer.pack(text, MAX_SEGMENT).unwrap().to_vec();
        assert!(frame.len() <= frame_bound(text.len()));
        assert_eq!(unpacker.unpack(&frame, text.len()).unwrap(), text);
        if let Some(less) = text.len().checked_sub(1) {
            assert!(matches!(unpacker.unpack(&frame, less), Err(Error::TooLarge { .. })));
        }
        let mut scan = FrameScan::new(MAX_MANIFEST);
        let mut length = 0;
        loop {
            match scan.more(&frame[..length]).unwrap() {
                0 => break,
                more => length += more,
            }
        }
        assert_eq!((length, scan.content()), (frame.len(), text.len()));
        assert!(unpacker.unpack(&[frame.clone(), frame].concat(), 1 << 30).is_err(), "two frames are not one");
    }
    assert!(packer.pack(&[0; 9], 8).is_err());
}

#[test]
fn an_archive_is_known_by_its_beginning() {
    let mut text = Vec::new();
    Header { system: "kylin".to_owned(), origin: "mysql://ü".to_owned(), ..Header::default() }.write(&mut text);
    let frame = Packer::new().unwrap().pack(&text, MAX_HEADER).unwrap().to_vec();
    assert!(Header::is_at(&[&frame, b"anything".as_slice()].concat()));
    assert!(!Header::is_at(&frame[..frame.len() - 1]));
    let other = Packer::new().unwrap().pack(b"{\"Setting\":{}}\n", MAX_HEADER).unwrap().to_vec();
    assert!(!Header::is_at(&other) && !Header::is_at(b"{\"Setting\"") && !Header::is_at(b""));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, line in "\\{\"(segment|cell|largest|manifest|metaferry|end)\":\\{.{0,60}\n") {
        let magic = [0x28, 0xb5, 0x2f, 0xfd];
        for input in [bytes.clone(), [&magic[..], &bytes].concat(), line.clone().into_bytes()] {
            drop(FrameScan::new(MAX_MANIFEST).more(&input));
            drop(Unpacker::new().unwrap().unpack(&input, MAX_SEGMENT).map(<[u8]>::len));
            drop(Head::<Juice>::read(&input));
            drop(Header::read(&input));
            drop(Manifest::<Juice>::read(input.as_slice()));
            let text = [b"{\"manifest\":{\"segments\":1,\"rows\":1,\"bytes\":1,\"cells\":0,\"largest\":0}}\n".as_slice(), &input].concat();
            prop_assert!(Manifest::<Juice>::read(text.as_slice()).is_err());
            prop_assert!(!Header::is_at(&input));
        }
    }
}
