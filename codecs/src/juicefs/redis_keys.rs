//! How a volume lies in Redis (`pkg/meta/redis.go`): which key holds what, and the small encodings of fields and values.
//! Key names are without the `{N}` that stands before them in a cluster.

use super::{FileType, counter, quota_class};
use crate::rdb::Kind;
use crate::{Error, Result};

/// The lock of a load under way; it has a time to live.
pub const LOCK: &[u8] = b"metaferry";
/// The mark of a load that has not been committed.
pub const MARK: &[u8] = b"metaferry:loading";
/// The setting; without it there is no volume.
pub const SETTING: &[u8] = b"setting";
/// Sessions by the time they expire.
pub const ALL_SESSIONS: &[u8] = b"allSessions";
/// What sessions say of themselves.
pub const SESSION_INFOS: &[u8] = b"sessionInfos";
/// Counts of references to slices.
pub const SLICE_REFS: &[u8] = b"sliceRef";
/// Removed files whose data waits to be freed.
pub const DEL_FILES: &[u8] = b"delfiles";
/// Slices kept after a compaction.
pub const DEL_SLICES: &[u8] = b"delSlices";
/// Tops of directories that are being cloned.
pub const DETACHED: &[u8] = b"detachedNodes";
/// Rules of access control.
pub const ACLS: &[u8] = b"acl";
/// Delegation tokens.
pub const TOKENS: &[u8] = b"krbToken";
/// Directory statistics: length, space and inodes, in three hashes.
pub const DIR_STATS: [&[u8]; 3] = [b"dirDataLength", b"dirUsedSpace", b"dirUsedInodes"];
/// Quotas by class: limits, used space and used inodes, in three hashes.
pub const QUOTAS: [[&[u8]; 3]; 3] = [
    [b"dirQuota", b"dirQuotaUsedSpace", b"dirQuotaUsedInodes"],
    [b"userQuota", b"userQuotaUsedSpace", b"userQuotaUsedInodes"],
    [b"groupQuota", b"groupQuotaUsedSpace", b"groupQuotaUsedInodes"],
];

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The setting.
    Setting,
    /// A counter, by its name elsewhere.
    Counter(&'static [u8]),
    /// The attributes of an inode.
    Node(u64),
    /// The entries of a directory.
    Directory(u64),
    /// The slices of a chunk of an inode.
    Chunk(u64, u32),
    /// The target of a symbolic link.
    Symlink(u64),
    /// The extended attributes of an inode.
    Xattrs(u64),
    /// The parents of an inode.
    Parents(u64),
    /// References by slice.
    SliceRefs,
    /// The references of one slice of this id and size, from before 1.0.
    OldSliceRef(u64, u32),
    /// Removed files.
    DelFiles,
    /// Delayed slices.
    DelSlices,
    /// Detached nodes.
    Detached,
    /// The inodes that a session keeps from being removed.
    Sustained(u64),
    /// ACL rules.
    Acls,
    /// Delegation tokens.
    Tokens,
    /// One of the three hashes of directory statistics.
    DirStats(usize),
    /// One of the three hashes of the quotas of a class.
    Quotas(u8, usize),
    /// What is not carried: what it is called, if it is counted, and the type of its value.
    Left(Option<&'static str>, Kind),
}

impl Key {
    /// What a key of this name holds; `None` where JuiceFS has none of this name.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<Self> {
        let (first, rest) = name.split_first()?;
        if !rest.first().is_some_and(u8::is_ascii_digit) {
            return Self::named(name);
        }
        match first {
            b'i' => decimal(rest).map(Self::Node),
            b'c' => two_decimals(rest).map(|(inode, index)| Self::Chunk(inode, index)),
            b'd' => decimal(rest).map(Self::Directory),
            b's' => decimal(rest).map(Self::Symlink),
            b'x' => decimal(rest).map(Self::Xattrs),
            b'p' => decimal(rest).map(Self::Parents),
            b'k' => two_decimals(rest).map(|(id, size)| Self::OldSliceRef(id, size)),
            _ => None,
        }
    }

    fn named(name: &[u8]) -> Option<Self> {
        if let Some(key) = Self::singleton(name) {
            return Some(key);
        }
        let numbered = |start: &[u8]| name.strip_prefix(start).and_then(decimal);
        if let Some(sid) = numbered(b"session") {
            return Some(Self::Sustained(sid));
        }
        if numbered(b"lockf").or_else(|| numbered(b"lockp")).is_some() {
            return Some(Self::Left(Some("locks"), Kind::Hash));
        }
        if numbered(b"locked").is_some() {
            return Some(Self::Left(None, Kind::Set));
        }
        let part_of = |names: &[&[u8]]| names.iter().position(|known| *known == name);
        if let Some(part) = part_of(&DIR_STATS) {
            return Some(Self::DirStats(part));
        }
        for (class, names) in [quota_class::DIRECTORY, quota_class::USER, quota_class::GROUP].into_iter().zip(&QUOTAS) {
            if let Some(part) = part_of(names) {
                return Some(Self::Quotas(class, part));
            }
        }
        counter::ALL.into_iter().find(|counter| counter_name(counter) == name).map(Self::Counter)
    }

    fn singleton(name: &[u8]) -> Option<Self> {
        Some(match name {
            SETTING => Self::Setting,
            SLICE_REFS => Self::SliceRefs,
            DEL_FILES => Self::DelFiles,
            DEL_SLICES => Self::DelSlices,
            DETACHED => Self::Detached,
            ACLS => Self::Acls,
            TOKENS => Self::Tokens,
            ALL_SESSIONS => Self::Left(None, Kind::Zset),
            SESSION_INFOS => Self::Left(Some("sessions"), Kind::Hash),
            b"sessions" => Self::Left(Some("sessions"), Kind::Zset),
            b"txnLog" => Self::Left(Some("change log lines"), Kind::List),
            b"txnLastLog" | LOCK | MARK => Self::Left(None, Kind::String),
            _ => return None,
        })
    }

    /// The type of its value.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Setting | Self::Counter(_) | Self::Node(_) | Self::Symlink(_) | Self::OldSliceRef(..) => Kind::String,
            Self::Chunk(..) => Kind::List,
            Self::Sustained(_) => Kind::Set,
            Self::DelFiles | Self::Detached => Kind::Zset,
            Self::Left(_, kind) => kind,
            _ => Kind::Hash,
        }
    }
}

/// The name of a counter's key: three of them are in lower case.
#[must_use]
pub fn counter_name(counter: &[u8]) -> &[u8] {
    match counter {
        counter::NEXT_INODE => b"nextinode",
        counter::NEXT_CHUNK => b"nextchunk",
        counter::NEXT_SESSION => b"nextsession",
        other => other,
    }
}

/// Reads a decimal number as JuiceFS writes it: no sign, no zeros before it.
#[inline]
#[must_use]
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 || (text.len() > 1 && text.first() == Some(&b'0')) {
        return None;
    }
    let mut value = 0_u64;
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// Reads a signed decimal number, a value of a counter.
///
/// # Errors
/// What is none, or does not fit.
pub fn signed(text: &[u8]) -> Result<i64> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| Error::malformed("number", format!("{:?}", String::from_utf8_lossy(text))))
}

/// Reads a decimal number that names something, in a field or a member.
///
/// # Errors
/// What is none, or does not fit.
pub fn id(text: &[u8]) -> Result<u64> {
    decimal(text).ok_or_else(|| Error::malformed("id", format!("{:?}", String::from_utf8_lossy(text))))
}

/// Reads `1_2`.
fn two_decimals(text: &[u8]) -> Option<(u64, u32)> {
    let at = memchr::memchr(b'_', text)?;
    let (first, second) = text.split_at_checked(at)?;
    Some((decimal(first)?, u32::try_from(decimal(second.get(1..)?)?).ok()?))
}

/// Reads the field `k1_2` of a slice: its id and size.
#[must_use]
pub fn slice_field(field: &[u8]) -> Option<(u64, u32)> {
    two_decimals(field.strip_prefix(b"k")?)
}

/// Reads the member `1:2` of a removed file: its inode and length.
///
/// # Errors
/// What is none.
pub fn del_file(member: &[u8]) -> Result<(u64, u64)> {
    two_ids(member, b':', "removed file")
}

/// Reads the field `1_2` of delayed slices: the compacted slice and when that was.
///
/// # Errors
/// What is none.
pub fn del_slices(field: &[u8]) -> Result<(u64, i64)> {
    let (id, deleted) = two_ids(field, b'_', "delayed slices")?;
    Ok((id, i64::try_from(deleted).unwrap_or(i64::MAX)))
}

fn two_ids(text: &[u8], between: u8, what: &'static str) -> Result<(u64, u64)> {
    let found = memchr::memchr(between, text).and_then(|at| text.split_at_checked(at));
    let ids = found.and_then(|(first, second)| decimal(first).zip(decimal(second.get(1..)?)));
    ids.ok_or_else(|| Error::malformed(what, format!("{:?}", String::from_utf8_lossy(text))))
}

/// Reads the value of a directory entry.
///
/// # Errors
/// What is not 9 bytes, or has a type that does not exist.
#[inline]
pub fn entry(value: &[u8]) -> Result<(FileType, u64)> {
    let bytes: &[u8; 9] = value
        .try_into()
        .map_err(|_| Error::malformed("directory entry", format!("{} bytes, where 9 are written", value.len())))?;
    let [kind, a, b, c, d, e, f, g, h] = *bytes;
    Ok((FileType::new(u64::from(kind))?, u64::from_be_bytes([a, b, c, d, e, f, g, h])))
}

/// The value of a directory entry.
#[inline]
#[must_use]
pub fn entry_value(kind: FileType, inode: u64) -> [u8; 9] {
    let [a, b, c, d, e, f, g, h] = inode.to_be_bytes();
    [kind.number(), a, b, c, d, e, f, g, h]
}

/// Reads the limits of a quota: space and inodes.
///
/// # Errors
/// What is not 16 bytes.
pub fn limits(value: &[u8]) -> Result<(i64, i64)> {
    let (space, inodes) = value.split_first_chunk::<8>().unwrap_or((&[0; 8], value));
    let inodes = <[u8; 8]>::try_from(inodes)
        .map_err(|_| Error::malformed("quota", format!("{} bytes, where 16 are written", value.len())))?;
    Ok((i64::from_be_bytes(*space), i64::from_be_bytes(inodes)))
}

/// The limits of a quota as they are stored.
#[must_use]
pub fn limits_value(space: i64, inodes: i64) -> [u8; 16] {
    let mut value = [0; 16];
    let (first, second) = value.split_at_mut(8);
    first.copy_from_slice(&space.to_be_bytes());
    second.copy_from_slice(&inodes.to_be_bytes());
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_by_their_whole_names() {
        let told = |name: &str| Key::of(name.as_bytes());
        assert_eq!(told("i9223372032828243968"), Some(Key::Node(super::super::TRASH_INODE)));
        assert_eq!(told("c12_3"), Some(Key::Chunk(12, 3)));
        assert_eq!(told("k7_4096"), Some(Key::OldSliceRef(7, 4096)));
        assert_eq!(told("session12"), Some(Key::Sustained(12)));
        assert_eq!(told("nextinode"), Some(Key::Counter(counter::NEXT_INODE)));
        assert_eq!(told("krbTokenMaxId"), Some(Key::Counter(counter::TOKEN_MAX_ID)));
        assert_eq!(told("dirUsedInodes"), Some(Key::DirStats(2)));
        assert_eq!(told("groupQuotaUsedSpace"), Some(Key::Quotas(quota_class::GROUP, 1)));
        assert_eq!(told("lockp5"), Some(Key::Left(Some("locks"), Kind::Hash)));
        for foreign in
            ["", "i", "ix", "i01", "i1x", "c1", "c1_", "c1_4294967296", "nextInode", "d-1", "i99999999999999999999"]
        {
            assert_eq!(told(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn values_of_the_reference() {
        let bytes = entry_value(FileType::REGULAR, 2);
        assert_eq!(bytes, [1, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(entry(&bytes).unwrap(), (FileType::REGULAR, 2));
        assert!(entry(&bytes[..8]).is_err());
        let bytes = limits_value(1 << 30, -1);
        assert_eq!(bytes, [0, 0, 0, 0, 0x40, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(limits(&bytes).unwrap(), (1 << 30, -1));
        assert!(limits(&bytes[..15]).is_err() && limits(&[0; 24]).is_err() && limits(&[0; 3]).is_err());
        assert_eq!(slice_field(b"k5_5242880"), Some((5, 5_242_880)));
        assert_eq!(slice_field(b"krbTokenMaxId"), None);
        assert_eq!(del_file(b"2:6291456").unwrap(), (2, 6_291_456));
        assert_eq!(del_slices(b"7_1700000000").unwrap(), (7, 1_700_000_000));
        assert!(del_file(b"2").is_err() && del_slices(b"_").is_err());
    }
}
