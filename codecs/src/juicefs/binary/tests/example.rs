//! The complete example of the reference: a volume with one file, as JuiceFS 1.4.1 dumps it from SQL.

use sha2::{Digest, Sha256};

use super::*;
use crate::juicefs::{Edge, FileType, Kind, Xattr, setting};

const EXAMPLE: &str = "\
AAAAAQAAAAAAAAFfCtwCewoiTmFtZSI6ICJkZW1vIiwKIlVVSUQiOiAiNWYwYzJmNmUtMWI3YS00YzhlLTlhNTMtMGQ5YzZmMWUy\
YTNiIiwKIlN0b3JhZ2UiOiAiZmlsZSIsCiJUaWVycyI6IHsKIjAiOiB7CiJJRCI6IDAsCiJTdG9yYWdlQ2xhc3MiOiAiIiwKIlRh\
ZyI6ICIiCn0KfSwKIkJ1Y2tldCI6ICIvZGF0YS9qZnMvIiwKIkJsb2NrU2l6ZSI6IDQwOTYsCiJDb21wcmVzc2lvbiI6ICJub25l\
IiwKIkVuY3J5cHRBbGdvIjogImFlczI1NmdjbS1yc2EiLAoiVHJhc2hEYXlzIjogMCwKIk1ldGFWZXJzaW9uIjogMSwKIk1pbkNs\
aWVudFZlcnNpb24iOiAiMS4xLjAtQSIsCiJEaXJTdGF0cyI6IHRydWUsCiJFbmFibGVBQ0wiOiBmYWxzZQp9AAAAAgAAAAAAAABm\
ag4KCXVzZWRTcGFjZRCAIGoPCgt0b3RhbElub2RlcxABag0KCW5leHRJbm9kZRBlag4KCW5leHRDaHVuaxCBIGoPCgtuZXh0U2Vz\
c2lvbhADahMKEW5leHRDbGVhbnVwU2xpY2VzAAAAAwAAAAAAAAAAAAAAAwAAAAAAAACcCkwIARJIACH/AAAAAAAAAAAAAAAAZVPx\
AAAAAAAAAAAAZVPxAAAAAAAAAAAAZVPxAAAAAAAAAAACAAAAAAAAEAAAAAAAAAAAAAAAAAEACkwIAhJIABGkAAAD6AAAA+gAAAAA\
ZVPxAAAAAAAAAAAAZVPxAAAAAAAAAAAAZVPxAAAAAAAAAAABAAAAAAAAAAUAAAAAAAAAAAAAAAEAAAAABQAAAAAAAAAeGhwIAhoY\
AAAAAAAAAAAAAAABAAAABQAAAAAAAAAFAAAABAAAAAAAAAANEgsIARACGgNoaf8gAQAAAA4AAAAAAAAAAAAAAAcAAAAAAAAAAAAA\
AAgAAAAAAAAAAAAAAAkAAAAAAAAAAAAAAAYAAAAAAAAAAAAAAAsAAAAAAAAAAAAAAAoAAAAAAAAAESoPCAISBnVzZXIuaxoDdiAx\
AAAADAAAAAAAAAALUgkIARAFGIAgIAEAdHCDCIPh0QMQARoLCgNhY2wSBAoCkAYaDwoFY2h1bmsSBgoCkQUQARoRCgdjb3VudGVy\
EgYKAusCEAYaDwoHZGVsRmlsZRIECgL4BRoOCgRlZGdlEgYKArsFEAEaDwoGZm9ybWF0EgUKAQAQARoQCgRub2RlEggKBN0D6QMQ\
AhoOCgZwYXJlbnQSBAoC1AUaEAoIc2xpY2VSZWYSBAoChAYaDgoEc3RhdBIGCgK5BhABGhEKCXN1c3RhaW5lZBIECgLsBRoPCgdz\
eW1saW5rEgQKAuAFGg8KBXhhdHRyEgYKApwGEAEAAAAAAAAA4w==\
";

pub(super) fn example() -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |byte: &u8| DIGITS.iter().position(|digit| digit == byte).unwrap() as u32;
    let digits: Vec<_> = EXAMPLE.bytes().filter(|byte| *byte != b'=').collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let bits = four.iter().enumerate().fold(0, |bits, (index, byte)| bits | digit(byte) << (18 - 6 * index));
        bits.to_be_bytes()[1..four.len()].to_vec()
    });
    bytes.collect()
}

#[test]
fn the_example_is_that_of_the_reference() {
    let bytes = example();
    assert_eq!(bytes.len(), 1087);
    let hex: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "065f26d10dd42d9c4a34be2e214b7385bb3764dfc35ce76c2ebf4554f3a8f173");
    assert!(is_start(&bytes));
}

#[test]
fn every_row_of_the_example_is_read_at_its_place() {
    let read = read(&example(), 1 << 20, 1 << 20).unwrap();
    assert_eq!((read.damaged.len(), read.left), (0, Left::default()));
    let places: Vec<_> = read.batches.iter().map(|(sort, segment, batch)| (*sort, *segment, batch.len())).collect();
    let expected = [
        (SegmentType::Format, 0, 1),
        (SegmentType::Counter, 0x16b, 6),
        (SegmentType::Node, 0x1e9, 2),
        (SegmentType::Chunk, 0x291, 1),
        (SegmentType::Edge, 0x2bb, 1),
        (SegmentType::Xattr, 0x31c, 1),
        (SegmentType::Stat, 0x339, 1),
    ];
    assert_eq!(places, expected);
    let Batch::Setting(settings) = &read.batches[0].2 else { unreachable!("the first segment is the setting") };
    assert_eq!(settings[0].document.0.len(), 348);
    assert_eq!(setting::read(&settings[0].document.0).unwrap().name, "demo");
    let edge = Edge { parent: 1, inode: 2, name: b"hi\xff".to_vec(), kind: FileType::REGULAR };
    assert_eq!(read.batches[4].2, vec![edge].into());
    let xattr = Xattr { inode: 2, name: b"user.k".to_vec(), value: b"v 1".to_vec() };
    assert_eq!(read.batches[5].2, vec![xattr].into());
    assert_eq!(read.rows(SegmentType::Counter)[3], "{\"name\":\"nextChunk\",\"value\":4097}");
    assert_eq!(read.rows(SegmentType::Counter)[5], "{\"name\":\"nextCleanupSlices\"}");
}

#[test]
fn what_is_read_of_the_example_is_written_as_the_same_bytes() {
    let bytes = example();
    let read = read(&bytes, 1 << 20, 1 << 20).unwrap();
    for (sort, segment, batch) in &read.batches {
        let mut payload = Vec::new();
        let items = match batch {
            Batch::Setting(rows) => {
                setting_message(&rows[0].document.0, &mut payload);
                1
            }
            batch => encode(batch, &mut payload),
        };
        let begin = *segment as usize;
        assert_eq!(items, batch.len() as u64);
        assert_eq!(bytes[begin..begin + HEAD_BYTES], head(*sort, payload.len() as u64));
        assert_eq!(bytes[begin + HEAD_BYTES..][..payload.len()], payload, "{sort:?}");
    }
    assert!(Kind::DelSlices != Kind::Node && SegmentType::holding(Kind::DelSlices).is_none());
}
