//! Every kind of JuiceFS's metadata, declared once: its fields, key and class. Rows, batches, the canonical form and JSON
//! follow from the declaration; the field names are those of the JuiceFS dump where it has one.

use super::types::{AclEntries, DelayedSlices, Document, FileType, Limit, Slices};
use crate::declare::kinds;

kinds! {
    /// The setting of the volume: one JSON document.
    0 Setting "setting" Primary {
        1 key document: Document = "setting",
    }
    /// A counter; next inode and next slice hold the next free one, as SQL stores them.
    1 Counter "counter" Derived unless super::canonical::is_clock {
        1 key name: Vec<u8> = "name",
        2 plain value: i64 = "value",
    }
    /// An inode with its attributes.
    2 Node "node" Primary by inode {
        1 key inode: u64 = "inode",
        2 plain flags: u8 = "flags",
        3 plain kind: FileType = "type",
        4 plain mode: u16 = "mode",
        5 plain uid: u32 = "uid",
        6 plain gid: u32 = "gid",
        7 plain atime: i64 = "atime",
        8 plain mtime: i64 = "mtime",
        9 plain ctime: i64 = "ctime",
        10 plain atimensec: u32 = "atimensec",
        11 plain mtimensec: u32 = "mtimensec",
        12 plain ctimensec: u32 = "ctimensec",
        13 derived nlink: u32 = "nlink",
        14 plain length: u64 = "length",
        15 plain rdev: u32 = "rdev",
        16 plain parent: u64 = "parent",
        17 plain access_acl: u32 = "accessACL",
        18 plain default_acl: u32 = "defaultACL",
        19 plain tier: u8 = "tier",
    }
    /// An entry of a directory.
    3 Edge "edge" Primary by parent {
        1 key parent: u64 = "parent",
        2 key name: Vec<u8> = "name",
        3 plain inode: u64 = "inode",
        4 plain kind: FileType = "type",
    }
    /// The slices of 64 MiB of a file, oldest first.
    4 Chunk "chunk" Primary by inode {
        1 key inode: u64 = "inode",
        2 key index: u32 = "index",
        3 plain slices: Slices = "slices",
    }
    /// How often a slice is referred to. Absent where that is once.
    5 SliceRef "sliceRef" Derived by id {
        1 key id: u64 = "id",
        2 plain size: u32 = "size",
        3 plain refs: i64 = "refs",
    }
    /// The target of a symbolic link.
    6 Symlink "symlink" Primary by inode {
        1 key inode: u64 = "inode",
        2 plain target: Vec<u8> = "target",
    }
    /// An extended attribute.
    7 Xattr "xattr" Primary by inode unless super::canonical::is_last_backup {
        1 key inode: u64 = "inode",
        2 key name: Vec<u8> = "name",
        3 plain value: Vec<u8> = "value",
    }
    /// How many names a file that is or was hard-linked has in a directory.
    8 Parent "parent" Derived by inode {
        1 key inode: u64 = "inode",
        2 key parent: u64 = "parent",
        3 plain count: i64 = "count",
    }
    /// A rule of access control that nodes refer to by its id.
    9 Acl "acl" Primary {
        1 key id: u32 = "id",
        2 plain owner: u16 = "owner",
        3 plain group: u16 = "group",
        4 plain mask: u16 = "mask",
        5 plain other: u16 = "other",
        6 plain users: AclEntries = "users",
        7 plain groups: AclEntries = "groups",
    }
    /// Statistics of the direct children of a directory.
    10 DirStat "dirStat" Derived by inode {
        1 key inode: u64 = "inode",
        2 plain length: i64 = "dataLength",
        3 plain space: i64 = "usedSpace",
        4 plain inodes: i64 = "usedInodes",
    }
    /// A quota: class 0 of a directory, 1 of a user, 2 of a group; a limit of −1 is none.
    11 Quota "quota" Primary by id {
        1 key class: u8 = "class",
        2 key id: u64 = "id",
        3 plain max_space: Limit = "maxSpace",
        4 plain max_inodes: Limit = "maxInodes",
        5 derived used_space: i64 = "usedSpace",
        6 derived used_inodes: i64 = "usedInodes",
    }
    /// A file that was removed while a session had it open.
    12 Sustained "sustained" Primary by inode {
        1 key sid: u64 = "sid",
        2 key inode: u64 = "inode",
    }
    /// A removed file whose data waits to be freed.
    13 DelFile "delFile" Primary by inode {
        1 key inode: u64 = "inode",
        2 key length: u64 = "length",
        3 plain expire: i64 = "expire",
    }
    /// Slices kept after a compaction while the trash is on.
    14 DelSlices "delSlices" Primary by id {
        1 key id: u64 = "id",
        2 key deleted: i64 = "deleted",
        3 plain slices: DelayedSlices = "slices",
    }
    /// The top of a directory that is being cloned.
    15 Detached "detached" Primary by inode {
        1 key inode: u64 = "inode",
        2 plain added: i64 = "added",
    }
    /// A Kerberos delegation token; without its bytes where a dump took them out.
    16 Token "token" Primary {
        1 key id: u32 = "id",
        2 secret token: Vec<u8> = "token",
    }
    /// What only a census can know of a node; amends it, and is never stored.
    17 Links "links" Derived by inode {
        1 key inode: u64 = "inode",
        2 derived nlink: u32 = "nlink",
    }
    /// A segment that a later JuiceFS wrote into a binary dump, of a type that is not known: piece 0 says what it is, the
    /// others are its bytes.
    18 Foreign "foreign" Primary {
        1 key segment: u64 = "segment",
        2 key piece: u64 = "piece",
        3 plain number: u32 = "type",
        4 plain name: Vec<u8> = "name",
        5 plain items: u64 = "items",
        6 plain length: u64 = "length",
        7 plain bytes: Vec<u8> = "bytes",
    }
}
