//! The byte vectors of JuiceFS 1.4.1, the frozen vectors of the canonical form, and round trips of every kind.

use proptest::prelude::*;

use super::*;
use crate::json::read_hex;
use crate::system::{Batch as _, Kind as _};
use crate::{Error, Tally};

fn bytes(hex: &str) -> Vec<u8> {
    read_hex(hex.replace(' ', "").as_bytes()).unwrap()
}

const RECORD: &str = "0011a4000003e8000003e9000000006553f100075bcd15000000006553f1013ade68b1000000006553f10200000001000000010000000000600000000000000000000000000001";

fn sample() -> Node {
    Node {
        inode: 2,
        kind: FileType::REGULAR,
        mode: 0o644,
        uid: 1000,
        gid: 1001,
        atime: 1_700_000_000,
        mtime: 1_700_000_001,
        ctime: 1_700_000_002,
        atimensec: 123_456_789,
        mtimensec: 987_654_321,
        ctimensec: 1,
        nlink: 1,
        length: 6_291_456,
        parent: 1,
        ..Node::default()
    }
}

#[test]
fn attribute_records_of_all_four_lengths_are_those_of_juicefs() {
    let cases = [
        (sample(), "00", 72),
        (Node { access_acl: 1, ..sample() }, "000000010000000000", 80),
        (Node { tier: 2, ..sample() }, "0200", 73),
        (Node { access_acl: 1, tier: 2, ..sample() }, "00000001000000000200", 81),
    ];
    for (node, suffix, length) in cases {
        let mut record = Vec::new();
        attr::encode(&node, &mut record);
        assert_eq!(record, bytes(&format!("{RECORD}{suffix}")));
        assert_eq!(record.len(), length);
        assert_eq!(attr::decode(2, &record).unwrap(), node);
    }
}

#[test]
fn an_attribute_record_of_an_odd_length_is_damage() {
    let record = bytes(&format!("{RECORD}00"));
    for length in (0..63).chain(74..80).chain(82..100) {
        let mut odd = record.clone();
        odd.resize(length, 0);
        assert!(attr::decode(2, &odd).is_err(), "{length} bytes");
    }
}

#[test]
fn slices_and_rules_are_those_of_juicefs() {
    let stored = bytes("00100000 0000000000000005 00500000 00001000 00400000");
    let slices = Slices::decode(&stored).unwrap();
    assert_eq!(slices.0, [Slice { pos: 1 << 20, id: 5, size: 5 << 20, off: 4096, len: 4 << 20 }]);
    let mut again = Vec::new();
    slices.encode(&mut again);
    assert_eq!(again, stored);
    assert!(Slices::decode(&stored[..12]).is_err(), "half a slice is damage");

    let stored = bytes("0006 0004 0006 0004 00000001 000003e8 0006 00000001 00000064 0004");
    let rule = acl::decode(7, &stored).unwrap();
    assert_eq!((rule.owner, rule.users.0[0], rule.groups.0[0]), (6, (1000, 6), (100, 4)));
    let mut again = Vec::new();
    acl::encode(&rule, &mut again);
    assert_eq!(again, stored);
    for cut in 0..stored.len() {
        assert!(acl::decode(7, &stored[..cut]).is_err());
    }
}

fn tally(batch: impl Into<Batch>) -> Tally<Kind> {
    let mut batch = batch.into();
    let mut tally = Tally::default();
    batch.canonicalize();
    batch.tally(&mut tally);
    tally
}

/// The canonical form is normative: if one of these changes, the digest's version must.
#[test]
fn the_canonical_form_is_frozen() {
    use crate::declare::Row as _;
    let mut form = Vec::new();
    sample().put_primary(&mut form);
    assert_eq!(
        form,
        bytes(
            "02 0802 1801 21a401 29e803 31e903 3b00f15365 4301f15365 4b02f15365 5315cd5b07 5bb168de3a 6001 720000 60 8001"
        )
    );
    assert_eq!(tally(vec![sample()]).of(Kind::Node).digest, 270_700_174_784_201_332_539_956_245_740_028_604_815);
    let first = Foreign { segment: 1, number: 16, name: b"new".to_vec(), items: 9, length: 300, ..Foreign::default() };
    let piece = Foreign { segment: 1, piece: 1, bytes: b"\xff\0".to_vec(), ..Foreign::default() };
    for (row, expected) in
        [(&first, "12 0801 1000 1810 20030000006e6577 2809 312c01"), (&piece, "12 0801 1001 3802000000ff00")]
    {
        form.clear();
        row.put_primary(&mut form);
        assert_eq!(form, bytes(expected));
    }
    assert_eq!(tally(vec![first, piece]).of(Kind::Foreign).digest, 58_403_885_120_192_441_220_937_625_940_584_417_962);
}

#[test]
fn what_is_equal_on_two_engines_has_one_tally() {
    let chunk = |slices| Chunk { inode: 2, index: 0, slices: Slices(slices) };
    assert_eq!(tally(vec![chunk(vec![])]), Tally::default());
    let reference = |id, refs| SliceRef { id, size: 4096, refs };
    assert_eq!(tally(vec![reference(5, 1), reference(0, 15)]), Tally::default());
    assert_ne!(tally(vec![reference(5, 0)]), Tally::default());
    let counter = |name: &[u8], value| Counter { name: name.to_vec(), value };
    assert_eq!(tally(vec![counter(b"nextInode", 1)]), tally(vec![counter(b"nextInode", 2)]));
    assert_eq!(tally(vec![counter(b"nextChunk", 0)]), tally(vec![counter(b"nextChunk", 1)]));
    assert_eq!(tally(vec![counter(b"usedSpace", 0)]), Tally::default());
    assert_eq!(tally(vec![counter(b"lastCleanupFiles", 1_700_000_000)]), Tally::default());
    let quota = |limit| Quota { id: 3, max_space: Limit(limit), max_inodes: Limit(5), ..Quota::default() };
    assert_eq!(tally(vec![quota(0)]), tally(vec![quota(-1)]));
    let parent = |count| Parent { inode: 2, parent: 1, count };
    assert_eq!(tally(vec![parent(0), parent(-1)]), Tally::default());
    let token = |bytes: &[u8]| Token { id: 1, token: bytes.to_vec() };
    assert_eq!(tally(vec![token(b"secret")]), tally(vec![token(b"")]));
    let xattr = |inode, name: &[u8]| Xattr { inode, name: name.to_vec(), value: b"v".to_vec() };
    assert_eq!(tally(vec![xattr(1, b"lastBackup")]), Tally::default());
    assert_ne!(tally(vec![xattr(2, b"lastBackup")]), Tally::default());
}

#[test]
fn doubled_swapped_and_moved_rows_show() {
    let edge = |parent, name: &[u8], inode| Edge { parent, name: name.to_vec(), inode, kind: FileType::REGULAR };
    let plain = tally(vec![edge(1, b"a", 2), edge(1, b"b", 3)]);
    assert_eq!(plain, tally(vec![edge(1, b"b", 3), edge(1, b"a", 2)]), "the order must not matter");
    for other in [
        vec![edge(1, b"a", 2), edge(1, b"b", 3), edge(1, b"b", 3)],
        vec![edge(1, b"a", 3), edge(1, b"b", 2)],
        vec![edge(1, b"a", 2), edge(1 << 16, b"b", 3)],
        vec![edge(1, b"a", 2)],
    ] {
        assert!(!plain.differences(&tally(other)).is_empty());
    }
    let links = |nlink| tally(vec![Node { nlink, ..sample() }]);
    let difference = links(1).differences(&links(2));
    assert_eq!(difference, [(Kind::Node, 0, crate::system::Class::Derived)], "a link count is derived");
}

fn round_trip<R: crate::declare::Row + PartialEq + std::fmt::Debug>(row: &R) {
    let mut text = Vec::new();
    row.write_json(&mut text);
    assert_eq!(&R::read_json(&text).unwrap(), row, "{}", String::from_utf8_lossy(&text));
    let mut packed = Vec::new();
    row.pack(&mut packed);
    assert_eq!(&R::unpack(&packed).unwrap(), row);
}

proptest! {
    #[test]
    fn nodes_survive_every_form(inode: u64, flags: u8, kind in 1_u64..8, mode in 0_u16..0o10000, numbers: [u32; 6], times: [i64; 3],
                                nsec in prop::array::uniform3(0_u32..1_000_000_000), length: u64, parent: u64, tier: u8) {
        let node = Node {
            inode, flags, kind: FileType::new(kind).unwrap(), mode, uid: numbers[0], gid: numbers[1], nlink: numbers[2], rdev: numbers[3],
            access_acl: numbers[4], default_acl: numbers[5], atime: times[0], mtime: times[1], ctime: times[2],
            atimensec: nsec[0], mtimensec: nsec[1], ctimensec: nsec[2], length, parent, tier,
        };
        round_trip(&node);
        let mut record = Vec::new();
        attr::encode(&node, &mut record);
        prop_assert_eq!(attr::decode(inode, &record).unwrap(), node);
    }

    #[test]
    fn rows_of_bytes_survive_every_form(id: u64, name: Vec<u8>, number: i64, narrow: u32, records in prop::collection::vec(any::<[u32; 5]>(), 0..9)) {
        round_trip(&Edge { parent: id, name: name.clone(), inode: id / 2, kind: FileType::SYMLINK });
        round_trip(&Xattr { inode: id, name: name.clone(), value: name.clone() });
        round_trip(&Symlink { inode: id, target: name.clone() });
        round_trip(&Foreign { segment: id, piece: id / 3, number: narrow, name: name.clone(), items: id, length: 7, bytes: name.clone() });
        round_trip(&Counter { name: name.clone(), value: number });
        round_trip(&Token { id: narrow, token: name });
        let slices = records.iter().map(|r| Slice { pos: r[0], id: u64::from(r[1]) << 32, size: r[2], off: r[3], len: r[4] }).collect();
        round_trip(&Chunk { inode: id, index: narrow, slices: Slices(slices) });
        let entries: Vec<_> = records.iter().map(|r| (r[0], r[1] as u16)).collect();
        round_trip(&Acl { id: narrow, owner: 7, group: 0, mask: u16::MAX, other: 5, users: AclEntries(entries.clone()), groups: AclEntries(entries) });
        let delayed = records.iter().map(|r| (u64::from(r[0]), r[1])).collect();
        round_trip(&DelSlices { id, deleted: number, slices: DelayedSlices(delayed) });
        round_trip(&Quota { class: 2, id, max_space: Limit(number), used_space: -1, ..Quota::default() });
        round_trip(&DirStat { inode: id, length: number, space: 4096, inodes: 1 });
    }

    #[test]
    fn no_line_panics(line: Vec<u8>) {
        for &kind in Kind::all() {
            drop(Batch::empty(kind).read_line(&line));
            drop(Batch::empty(kind).unpack(&line));
        }
    }
}

#[test]
fn fields_in_any_order_are_read_and_unknown_ones_refused() {
    let line = br#"{ "type":"regular", "name":"a", "inode":3, "parent":1 }"#;
    let mut batch = Batch::empty(Kind::Edge);
    batch.read_line(line).unwrap();
    assert_eq!(batch, vec![Edge { parent: 1, name: b"a".to_vec(), inode: 3, kind: FileType::REGULAR }].into());
    let unknown = batch.read_line(br#"{"parent":1,"name":"a","inode":3,"colour":"red"}"#);
    assert_eq!(unknown, Err(Error::Unsupported { what: "field", found: "edge.colour".to_owned() }));
    assert!(batch.read_line(br#"{"parent":1,"parent":1,"name":"a"}"#).is_err());
    assert!(batch.read_line(br#"{"name":"a"}"#).is_err(), "a key must be there");
}
