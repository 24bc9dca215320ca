//! The sorts of segments, and the twelve bytes in front of each.

use crate::juicefs::Kind;

/// What stands in place of a segment's type behind the last one.
pub const MARKER: u32 = 0x0074_7083;
/// The size of a segment's type and length, in bytes.
pub const HEAD_BYTES: usize = 12;
/// Over this nobody writes a first segment, in bytes: JuiceFS cannot read one over 1 GiB.
const SANE_BYTES: u64 = 1 << 40;

macro_rules! segments {
    ($($(#[$doc:meta])* $number:literal $sort:ident $name:literal $kind:expr, $fields:expr;)*) => {
        /// A sort of segment, by its number.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum SegmentType { $($(#[$doc])* $sort = $number,)* }

        impl SegmentType {
            pub(super) const ALL: &[Self] = &[$(Self::$sort),*];

            /// Its name, as the footer spells it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$sort => $name,)* }
            }

            /// The kind of its rows; `None` where they are not carried.
            #[must_use]
            pub fn kind(self) -> Option<Kind> {
                match self { $(Self::$sort => $kind,)* }
            }

            /// The fields of a `Batch` that are its items.
            pub(super) fn fields(self) -> &'static [u32] {
                match self { $(Self::$sort => &$fields,)* }
            }
        }
    };
}

segments! {
    /// The setting; the only one that is no `Batch`.
    1 Format "format" Some(Kind::Setting), [];
    /// Counters.
    2 Counter "counter" Some(Kind::Counter), [13];
    /// Inodes.
    3 Node "node" Some(Kind::Node), [1];
    /// Entries of directories.
    4 Edge "edge" Some(Kind::Edge), [2];
    /// Slices of files.
    5 Chunk "chunk" Some(Kind::Chunk), [3];
    /// References to slices, where there is not one.
    6 SliceRef "sliceRef" Some(Kind::SliceRef), [4];
    /// Targets of symbolic links.
    7 Symlink "symlink" Some(Kind::Symlink), [7];
    /// Files that are open and have no name.
    8 Sustained "sustained" Some(Kind::Sustained), [8];
    /// Removed files.
    9 DelFile "delFile" Some(Kind::DelFile), [9];
    /// Extended attributes.
    10 Xattr "xattr" Some(Kind::Xattr), [5];
    /// Rules of access control.
    11 Acl "acl" Some(Kind::Acl), [12];
    /// Directory statistics.
    12 Stat "stat" Some(Kind::DirStat), [10];
    /// Quotas of directories, users and groups.
    13 Quota "quota" Some(Kind::Quota), [11, 15, 16];
    /// Parents of inodes with several names.
    14 Parent "parent" Some(Kind::Parent), [6];
    /// Lines of the change log.
    15 ChangeLog "changeLog" None, [14];
}

impl From<SegmentType> for u32 {
    fn from(sort: SegmentType) -> Self {
        sort as Self
    }
}

impl SegmentType {
    /// The sort of this number.
    #[must_use]
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|sort| *sort as u32 == number)
    }

    /// The sort of this name.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|sort| sort.name().as_bytes() == name)
    }

    /// The sort that holds rows of a kind; `None` where the format has no room for them.
    #[must_use]
    pub fn holding(kind: Kind) -> Option<Self> {
        Self::ALL.iter().copied().find(|sort| sort.kind() == Some(kind))
    }
}

/// What stands in front of a segment of this type, by its number if it is not known, and of this length in bytes.
#[must_use]
pub fn head(number: impl Into<u32>, length: u64) -> [u8; HEAD_BYTES] {
    let ([a, b, c, d], [e, f, g, h, i, j, k, l]) = (number.into().to_be_bytes(), length.to_be_bytes());
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// Whether these may be the first bytes of a binary dump: a segment of a known type and of a length that somebody writes.
#[must_use]
pub fn is_start(bytes: &[u8]) -> bool {
    let Some((sort, rest)) = bytes.split_first_chunk::<4>() else { return false };
    let Some(length) = rest.first_chunk::<8>() else { return false };
    SegmentType::of(u32::from_be_bytes(*sort)).is_some() && u64::from_be_bytes(*length) < SANE_BYTES
}
