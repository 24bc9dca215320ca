//! Rows of every kind through our messages and through those of `prost`, both ways.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::juicefs::*;

macro_rules! messages {
    ($($message:ident { $($(#[$field:meta])* $name:ident: $type:ty,)* })*) => {
        $(#[derive(Clone, PartialEq, Message)] struct $message { $($(#[$field])* $name: $type,)* })*
    };
}

messages! {
    PbFormat { #[prost(bytes = "vec", tag = "1")] data: Vec<u8>, }
    PbCounter { #[prost(string, tag = "1")] key: String, #[prost(int64, tag = "2")] value: i64, }
    PbSustained { #[prost(uint64, tag = "1")] sid: u64, #[prost(uint64, repeated, tag = "2")] inodes: Vec<u64>, }
    PbDelFile {
        #[prost(uint64, tag = "1")] inode: u64,
        #[prost(uint64, tag = "2")] length: u64,
        #[prost(int64, tag = "3")] expire: i64,
    }
    PbSliceRef {
        #[prost(uint64, tag = "1")] id: u64,
        #[prost(uint32, tag = "2")] size: u32,
        #[prost(int64, tag = "3")] refs: i64,
    }
    PbAcl { #[prost(uint32, tag = "1")] id: u32, #[prost(bytes = "vec", tag = "2")] data: Vec<u8>, }
    PbXattr {
        #[prost(uint64, tag = "1")] inode: u64,
        #[prost(string, tag = "2")] name: String,
        #[prost(bytes = "vec", tag = "3")] value: Vec<u8>,
    }
    PbQuota {
        #[prost(uint64, tag = "1")] key: u64,
        #[prost(int64, tag = "2")] max_space: i64,
        #[prost(int64, tag = "3")] max_inodes: i64,
        #[prost(int64, tag = "4")] used_space: i64,
        #[prost(int64, tag = "5")] used_inodes: i64,
        #[prost(uint32, tag = "6")] class: u32,
    }
    PbStat {
        #[prost(uint64, tag = "1")] inode: u64,
        #[prost(int64, tag = "2")] length: i64,
        #[prost(int64, tag = "3")] space: i64,
        #[prost(int64, tag = "4")] inodes: i64,
    }
    PbNode { #[prost(uint64, tag = "1")] inode: u64, #[prost(bytes = "vec", tag = "2")] data: Vec<u8>, }
    PbEdge {
        #[prost(uint64, tag = "1")] parent: u64,
        #[prost(uint64, tag = "2")] inode: u64,
        #[prost(bytes = "vec", tag = "3")] name: Vec<u8>,
        #[prost(uint32, tag = "4")] kind: u32,
    }
    PbParent {
        #[prost(uint64, tag = "1")] inode: u64,
        #[prost(uint64, tag = "2")] parent: u64,
        #[prost(int64, tag = "3")] count: i64,
    }
    PbChunk {
        #[prost(uint64, tag = "1")] inode: u64,
        #[prost(uint32, tag = "2")] index: u32,
        #[prost(bytes = "vec", tag = "3")] slices: Vec<u8>,
    }
    PbSymlink { #[prost(uint64, tag = "1")] inode: u64, #[prost(bytes = "vec", tag = "2")] target: Vec<u8>, }
    PbBatch {
        #[prost(message, repeated, tag = "1")] nodes: Vec<PbNode>,
        #[prost(message, repeated, tag = "2")] edges: Vec<PbEdge>,
        #[prost(message, repeated, tag = "3")] chunks: Vec<PbChunk>,
        #[prost(message, repeated, tag = "4")] references: Vec<PbSliceRef>,
        #[prost(message, repeated, tag = "5")] xattrs: Vec<PbXattr>,
        #[prost(message, repeated, tag = "6")] parents: Vec<PbParent>,
        #[prost(message, repeated, tag = "7")] symlinks: Vec<PbSymlink>,
        #[prost(message, repeated, tag = "8")] sustained: Vec<PbSustained>,
        #[prost(message, repeated, tag = "9")] delfiles: Vec<PbDelFile>,
        #[prost(message, repeated, tag = "10")] stats: Vec<PbStat>,
        #[prost(message, repeated, tag = "11")] quotas: Vec<PbQuota>,
        #[prost(message, repeated, tag = "12")] acls: Vec<PbAcl>,
        #[prost(message, repeated, tag = "13")] counters: Vec<PbCounter>,
        #[prost(message, repeated, tag = "15")] user_quotas: Vec<PbQuota>,
        #[prost(message, repeated, tag = "16")] group_quotas: Vec<PbQuota>,
    }
    PbInfo { #[prost(uint64, repeated, tag = "1")] offset: Vec<u64>, #[prost(uint64, tag = "2")] num: u64, }
    PbFooter {
        #[prost(uint32, tag = "1")] magic: u32,
        #[prost(uint32, tag = "2")] version: u32,
        #[prost(btree_map = "string, message", tag = "3")] infos: std::collections::BTreeMap<String, PbInfo>,
    }
}

/// What is made of dice: small numbers, large ones, none.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..300_u64, any::<u64>(), Just(u64::MAX), Just(TRASH_INODE)]
}

fn signed() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), -2..300_i64, any::<i64>()]
}

fn bytes(least: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), least..200)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    "\\PC{0,80}".prop_map(String::into_bytes)
}

fn kind() -> impl Strategy<Value = FileType> {
    (1..=7_u64).prop_map(|number| FileType::new(number).unwrap())
}

fn node() -> impl Strategy<Value = Node> {
    let times = (signed(), signed(), signed(), 0..1_000_000_000_u32);
    let ids = (any::<u32>(), any::<u32>(), 0..3_u32, 0..3_u32);
    let sizes = (number(), any::<u32>(), number(), any::<u32>());
    (number(), kind(), 0..0o10000_u16, times, ids, sizes, (any::<u8>(), 0..3_u8)).prop_map(
        |(inode, kind, mode, (atime, mtime, ctime, nanos), ids, (length, nlink, parent, rdev), (flags, tier))| {
            let (uid, gid, access_acl, default_acl) = ids;
            let times = Node { atime, mtime, ctime, atimensec: nanos, mtimensec: nanos / 2, ..Node::default() };
            let owned = Node { uid, gid, access_acl, default_acl, flags, tier, ..times };
            Node { inode, kind, mode, length, nlink, parent, rdev, ..owned }
        },
    )
}

fn slices() -> impl Strategy<Value = Slices> {
    let slice = (any::<u32>(), number(), any::<u32>(), any::<u32>(), any::<u32>());
    let slice = slice.prop_map(|(pos, id, size, off, len)| Slice { pos, id, size, off, len });
    prop::collection::vec(slice, 1..20).prop_map(Slices)
}

fn entries() -> impl Strategy<Value = AclEntries> {
    prop::collection::vec((any::<u32>(), any::<u16>()), 0..4).prop_map(AclEntries)
}

fn quota() -> impl Strategy<Value = Quota> {
    (0..3_u8, number(), signed(), signed(), signed(), signed()).prop_map(
        |(class, id, max_space, max_inodes, used_space, used_inodes)| {
            let (max_space, max_inodes) = (Limit(max_space), Limit(max_inodes));
            Quota { class, id, max_space, max_inodes, used_space, used_inodes }
        },
    )
}

fn rows<T: std::fmt::Debug>(row: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(row, 1..6)
}

/// Rows of any kind that the format holds, sorted where the format groups them.
fn batch() -> impl Strategy<Value = Batch> {
    let rule = (any::<u32>(), any::<[u16; 4]>(), entries(), entries()).prop_map(
        |(id, [owner, group, mask, other], users, groups)| Acl { id, owner, group, mask, other, users, groups },
    );
    let sustained = (0..3_u64, number()).prop_map(|(sid, inode)| Sustained { sid, inode });
    prop_oneof![
        rows(node()).prop_map(Batch::from),
        rows((number(), number(), bytes(1), kind()).prop_map(|(parent, inode, name, kind)| Edge {
            parent,
            inode,
            name,
            kind
        }))
        .prop_map(Batch::from),
        rows((number(), any::<u32>(), slices()).prop_map(|(inode, index, slices)| Chunk { inode, index, slices }))
            .prop_map(Batch::from),
        rows((number(), any::<u32>(), signed()).prop_map(|(id, size, refs)| SliceRef { id, size, refs }))
            .prop_map(Batch::from),
        rows((number(), text(), bytes(0)).prop_map(|(inode, name, value)| Xattr { inode, name, value }))
            .prop_map(Batch::from),
        rows((number(), number(), signed()).prop_map(|(inode, parent, count)| Parent { inode, parent, count }))
            .prop_map(Batch::from),
        rows((number(), bytes(0)).prop_map(|(inode, target)| Symlink { inode, target })).prop_map(Batch::from),
        rows(sustained).prop_map(Batch::from),
        rows((number(), number(), signed()).prop_map(|(inode, length, expire)| DelFile { inode, length, expire }))
            .prop_map(Batch::from),
        rows((number(), signed(), signed(), signed()).prop_map(|(inode, length, space, inodes)| DirStat {
            inode,
            length,
            space,
            inodes
        }))
        .prop_map(Batch::from),
        rows(quota()).prop_map(Batch::from),
        rows(rule).prop_map(Batch::from),
        rows((text(), signed()).prop_map(|(name, value)| Counter { name, value })).prop_map(Batch::from),
    ]
}

fn string(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn each<R, M>(rows: &[R], one: impl Fn(&R) -> M) -> Vec<M> {
    rows.iter().map(one).collect()
}

/// The same rows in the other implementation's messages.
fn theirs(batch: &Batch) -> PbBatch {
    let mut pb = PbBatch::default();
    match batch {
        Batch::Node(rows) => {
            pb.nodes = each(rows, |row| {
                let mut data = Vec::new();
                attr::encode(row, &mut data);
                PbNode { inode: row.inode, data }
            });
        }
        Batch::Edge(rows) => {
            pb.edges = each(rows, |row| PbEdge {
                parent: row.parent,
                inode: row.inode,
                name: row.name.clone(),
                kind: u32::from(row.kind.number()),
            });
        }
        Batch::Chunk(rows) => {
            pb.chunks = each(rows, |row| {
                let mut slices = Vec::new();
                row.slices.encode(&mut slices);
                PbChunk { inode: row.inode, index: row.index, slices }
            });
        }
        Batch::SliceRef(rows) => {
            pb.references = each(rows, |row| PbSliceRef { id: row.id, size: row.size, refs: row.refs });
        }
        Batch::Xattr(rows) => {
            pb.xattrs =
                each(rows, |row| PbXattr { inode: row.inode, name: string(&row.name), value: row.value.clone() });
        }
        Batch::Parent(rows) => {
            pb.parents = each(rows, |row| PbParent { inode: row.inode, parent: row.parent, count: row.count });
        }
        Batch::Symlink(rows) => {
            pb.symlinks = each(rows, |row| PbSymlink { inode: row.inode, target: row.target.clone() });
        }
        Batch::Sustained(rows) => {
            let sessions: Vec<_> = rows.chunk_by(|one, other| one.sid == other.sid).collect();
            pb.sustained = each(&sessions, |rows| PbSustained {
                sid: rows[0].sid,
                inodes: rows.iter().map(|row| row.inode).collect(),
            });
        }
        other => theirs_rare(other, &mut pb),
    }
    pb
}

fn theirs_rare(batch: &Batch, pb: &mut PbBatch) {
    match batch {
        Batch::DelFile(rows) => {
            pb.delfiles = each(rows, |row| PbDelFile { inode: row.inode, length: row.length, expire: row.expire });
        }
        Batch::DirStat(rows) => {
            pb.stats =
                each(rows, |row| PbStat { inode: row.inode, length: row.length, space: row.space, inodes: row.inodes });
        }
        Batch::Acl(rows) => {
            pb.acls = each(rows, |row| {
                let mut data = Vec::new();
                acl::encode(row, &mut data);
                PbAcl { id: row.id, data }
            });
        }
        Batch::Counter(rows) => {
            pb.counters = each(rows, |row| PbCounter { key: string(&row.name), value: row.value });
        }
        Batch::Quota(rows) => {
            for row in rows {
                let quota = PbQuota {
                    key: row.id,
                    max_space: row.max_space.0,
                    max_inodes: row.max_inodes.0,
                    used_space: row.used_space,
                    used_inodes: row.used_inodes,
                    class: u32::from(row.class),
                };
                [&mut pb.quotas, &mut pb.user_quotas, &mut pb.group_quotas][usize::from(row.class)].push(quota);
            }
        }
        other => unreachable!("{other:?} has no message"),
    }
}

fn sorted(batch: &Batch) -> Vec<String> {
    let mut lines = Vec::new();
    batch.write_lines(&mut lines);
    let mut lines: Vec<_> = String::from_utf8(lines).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

proptest! {
    #[test]
    fn rows_are_the_messages_of_another_implementation_and_come_back(batch in batch()) {
        let pb = theirs(&batch);
        let (sort, payload, items) = segment(&batch);
        prop_assert_eq!(PbBatch::decode(payload.as_slice()).unwrap(), pb.clone());
        let whole = read(&dump(&[(sort, pb.encode_to_vec(), items)]), 1 << 20, 1 << 20).unwrap();
        prop_assert!(whole.damaged.is_empty());
        let mut rows = whole.rows(sort);
        rows.sort();
        prop_assert_eq!(rows, sorted(&batch));
    }

    #[test]
    fn the_rows_are_the_same_however_the_dump_is_cut(
        batches in prop::collection::vec(batch(), 0..8),
        block in 1_usize..500,
        step in 1_usize..300,
    ) {
        let whole = dump(&batches.iter().map(segment).collect::<Vec<_>>());
        let (one, other) = (read(&whole, 1 << 20, 1 << 20).unwrap(), read(&whole, block, step).unwrap());
        for sort in SegmentType::ALL {
            prop_assert_eq!(one.rows(*sort), other.rows(*sort));
        }
    }
}

#[test]
fn a_footer_is_the_message_of_another_implementation() {
    let mut footer = Footer::default();
    for index in 0..100 {
        footer.add(SegmentType::Node, index * 1000, 7);
    }
    footer.add(SegmentType::Format, 1 << 40, 1);
    let end = footer.encode();
    let (marker, rest) = end.split_at(4);
    let (message, length) = rest.split_at(rest.len() - 8);
    assert_eq!(marker, [0, 0x74, 0x70, 0x83]);
    assert_eq!(length, (message.len() as u64).to_be_bytes());
    let theirs = PbFooter::decode(message).unwrap();
    assert_eq!((theirs.magic, theirs.version), (0x74_7083, 1));
    let nodes = PbInfo { offset: (0..100).map(|index| index * 1000).collect(), num: 700 };
    let format = PbInfo { offset: vec![1 << 40], num: 1 };
    assert_eq!(theirs.infos, [("node".to_owned(), nodes), ("format".to_owned(), format)].into());
    let mut payload = Vec::new();
    setting_message(b"{}", &mut payload);
    assert_eq!(PbFormat::decode(payload.as_slice()).unwrap().data, b"{}");
}
