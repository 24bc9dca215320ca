//! Counters (`pkg/meta/utils.go: counterNames`): their names, and how Redis counts two of them one lower.

/// The next free inode.
pub const NEXT_INODE: &[u8] = b"nextInode";
/// The next free slice id.
pub const NEXT_CHUNK: &[u8] = b"nextChunk";
/// The last session id used.
pub const NEXT_SESSION: &[u8] = b"nextSession";
/// The last trash hour used.
pub const NEXT_TRASH: &[u8] = b"nextTrash";
/// Bytes used, each inode rounded up to 4 KiB.
pub const USED_SPACE: &[u8] = b"usedSpace";
/// Inodes used, the root and the trash root not counted.
pub const TOTAL_INODES: &[u8] = b"totalInodes";
/// The last ACL id used; where SQL counts by itself, the largest id there is.
pub const ACL_MAX_ID: &[u8] = b"aclMaxId";
/// The last delegation token id used; as with ACLs.
pub const TOKEN_MAX_ID: &[u8] = b"krbTokenMaxId";

/// When background jobs last ran: carried, never compared.
pub const CLOCKS: [&[u8]; 5] =
    [b"lastCleanupSessions", b"lastCleanupFiles", b"nextCleanupSlices", b"lastCleanupTrash", b"lastCleanupChangelog"];

/// Every counter that a volume can have.
pub const ALL: [&[u8]; 13] = [
    NEXT_INODE,
    NEXT_CHUNK,
    NEXT_SESSION,
    NEXT_TRASH,
    USED_SPACE,
    TOTAL_INODES,
    ACL_MAX_ID,
    TOKEN_MAX_ID,
    b"lastCleanupSessions",
    b"lastCleanupFiles",
    b"nextCleanupSlices",
    b"lastCleanupTrash",
    b"lastCleanupChangelog",
];

/// The value as it is compared: never below the first that is ever handed out.
#[must_use]
pub fn at_least_first(name: &[u8], value: i64) -> i64 {
    match name {
        NEXT_INODE => value.max(2),
        NEXT_CHUNK => value.max(1),
        _ => value,
    }
}

/// How much lower Redis stores it (`redis.go: incrCounter`): it holds the last one handed out, not the next.
#[must_use]
pub fn redis_offset(name: &[u8]) -> i64 {
    i64::from(name == NEXT_INODE || name == NEXT_CHUNK)
}
