//! Rows of JuiceFS as they lie in tables of SQL: the table and the columns of each kind, and how it is decoded from the
//! cells of a row. It knows no dialect, and no statement.

use metaferry_codecs::juicefs::tables::{self, Table, time_of_columns};
use metaferry_codecs::juicefs::{
    Acl, AclEntries, Chunk, Counter, DelFile, DelSlices, DelayedSlices, Detached, DirStat, Document, Edge, FileType,
    Limit, Links, Node, Parent, Quota, Setting, SliceRef, Slices, Sustained, Symlink, Token, Xattr, quota_class,
};
use metaferry_codecs::{Error, Result};

/// A kind of row as it lies in one table.
pub(crate) trait Stored: Sized {
    /// The table it is in.
    const TABLE: Table;
    /// The columns it is read from and written to.
    const COLUMNS: &'static [&'static str];
    /// How many of these, from the first on, say which row it is.
    const KEYS: usize = 1;

    /// Decodes one row.
    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self>;

    /// About how many bytes it holds besides itself.
    fn extra(&self) -> usize {
        0
    }
}

/// A cell that holds something of another sort.
pub(crate) struct Mismatch;

/// The cells of one row as a dialect has them, by their place in [`Stored::COLUMNS`].
pub(crate) trait Cells {
    /// An integer of whatever width; `None` where there is NULL.
    fn integer(&self, index: usize) -> Result<Option<i64>, Mismatch>;

    /// Bytes or text; `None` where there is NULL.
    fn bytes(&self, index: usize) -> Result<Option<&[u8]>, Mismatch>;

    /// A cell for a person.
    fn shown(&self, index: usize) -> String;
}

/// The cells of one row, and what their columns are called.
pub(crate) struct Row<'c, C> {
    cells: &'c C,
    columns: &'static [&'static str],
}

impl<'c, C: Cells> Row<'c, C> {
    pub(crate) fn new(cells: &'c C, columns: &'static [&'static str]) -> Self {
        Self { cells, columns }
    }

    #[cold]
    fn wrong(&self, index: usize) -> Error {
        let column = self.columns.get(index).copied().unwrap_or("column");
        Error::malformed(column, format!("{} cannot be", self.cells.shown(index)))
    }

    /// An integer of whatever width.
    #[inline]
    fn int<T: TryFrom<i64>>(&self, index: usize) -> Result<T> {
        match self.cells.integer(index) {
            Ok(Some(integer)) => T::try_from(integer).map_err(|_| self.wrong(index)),
            _ => Err(self.wrong(index)),
        }
    }

    /// An integer that rows older than the column have not.
    #[inline]
    fn int_or_zero<T: TryFrom<i64> + Default>(&self, index: usize) -> Result<T> {
        match self.cells.integer(index) {
            Ok(None) => Ok(T::default()),
            _ => self.int(index),
        }
    }

    #[inline]
    fn bytes(&self, index: usize) -> Result<&'c [u8]> {
        match self.cells.bytes(index) {
            Ok(Some(bytes)) => Ok(bytes),
            _ => Err(self.wrong(index)),
        }
    }

    fn bytes_or_empty(&self, index: usize) -> Result<&'c [u8]> {
        match self.cells.bytes(index) {
            Ok(None) => Ok(&[]),
            _ => self.bytes(index),
        }
    }

    fn kind(&self, index: usize) -> Result<FileType> {
        FileType::new(self.int(index)?)
    }

    #[inline]
    fn time(&self, microseconds: usize, nanoseconds: usize) -> Result<(i64, u32)> {
        let (micros, nanos) = (self.int(microseconds)?, self.int_or_zero(nanoseconds)?);
        time_of_columns(micros, nanos).ok_or_else(|| self.wrong(microseconds))
    }

    /// Which row it is, for a person: `jfs_chunk inode 5 indx 0`.
    pub(crate) fn place(&self, table: &str, keys: usize) -> String {
        let cells = self.columns.iter().enumerate().take(keys);
        let key = |(index, column)| format!(" {column} {}", self.cells.shown(index));
        table.to_owned() + &cells.map(key).collect::<String>()
    }
}

/// Bytes for a person: the first of them.
pub(crate) fn shown(bytes: &[u8]) -> String {
    format!("'{}'", bytes.get(..64).unwrap_or(bytes).escape_ascii())
}

impl Stored for Setting {
    const TABLE: Table = tables::SETTING;
    const COLUMNS: &'static [&'static str] = &["name", "value"];

    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self { document: Document(cells.bytes(1)?.to_vec()) })
    }
}

impl Stored for Counter {
    const TABLE: Table = tables::COUNTER;
    const COLUMNS: &'static [&'static str] = &["name", "value"];

    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self { name: cells.bytes(0)?.to_vec(), value: cells.int(1)? })
    }
}

impl Stored for Node {
    const TABLE: Table = tables::NODE;
    const COLUMNS: &'static [&'static str] = &[
        "inode",
        "type",
        "flags",
        "mode",
        "uid",
        "gid",
        "atime",
        "mtime",
        "ctime",
        "atimensec",
        "mtimensec",
        "ctimensec",
        "nlink",
        "length",
        "rdev",
        "parent",
        "access_acl_id",
        "default_acl_id",
        "tier_id",
    ];

    #[inline]
    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        let (atime, atimensec) = cells.time(6, 9)?;
        let (mtime, mtimensec) = cells.time(7, 10)?;
        let (ctime, ctimensec) = cells.time(8, 11)?;
        Ok(Self {
            inode: cells.int(0)?,
            kind: cells.kind(1)?,
            flags: cells.int(2)?,
            mode: cells.int(3)?,
            uid: cells.int(4)?,
            gid: cells.int(5)?,
            atime,
            mtime,
            ctime,
            atimensec,
            mtimensec,
            ctimensec,
            nlink: cells.int(12)?,
            length: cells.int(13)?,
            rdev: cells.int_or_zero(14)?,
            parent: cells.int_or_zero(15)?,
            access_acl: cells.int_or_zero(16)?,
            default_acl: cells.int_or_zero(17)?,
            tier: cells.int_or_zero(18)?,
        })
    }
}

/// As a node is amended by it.
impl Stored for Links {
    const TABLE: Table = tables::NODE;
    const COLUMNS: &'static [&'static str] = &["inode", "nlink"];

    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self { inode: cells.int(0)?, nlink: cells.int(1)? })
    }
}

impl Stored for Edge {
    const TABLE: Table = tables::EDGE;
    const COLUMNS: &'static [&'static str] = &["parent", "name", "inode", "type"];
    const KEYS: usize = 2;

    #[inline]
    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        let (parent, name) = (cells.int(0)?, cells.bytes(1)?.to_vec());
        Ok(Self { parent, name, inode: cells.int(2)?, kind: cells.kind(3)? })
    }

    fn extra(&self) -> usize {
        self.name.len()
    }
}

impl Stored for Chunk {
    const TABLE: Table = tables::CHUNK;
    const COLUMNS: &'static [&'static str] = &["inode", "indx", "slices"];
    const KEYS: usize = 2;

    #[inline]
    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self { inode: cells.int(0)?, index: cells.int(1)?, slices: Slices::decode(cells.bytes(2)?)? })
    }

    fn extra(&self) -> usize {
        size_of_val(self.slices.0.as_slice())
    }
}

impl Stored for SliceRef {
    const TABLE: Table = tables::CHUNK_REF;
    const COLUMNS: &'static [&'static str] = &["chunkid", "size", "refs"];

    #[inline]
    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self { id: cells.int(0)?, size: cells.int(1)?, refs: cells.int(2)? })
    }
}

impl Stored for Symlink {
    const TABLE: Table = tables::SYMLINK;
    const COLUMNS: &'static [&'static str] = &["inode", "target"];

    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self { inode: cells.int(0)?, target: cells.bytes(1)?.to_vec() })
    }

    fn extra(&self) -> usize {
        self.target.len()
    }
}

impl Stored for Xattr {
    const TABLE: Table = tables::XATTR;
    const COLUMNS: &'static [&'static str] = &["inode", "name", "value"];
    const KEYS: usize = 2;

    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self { inode: cells.int(0)?, name: cells.bytes(1)?.to_vec(), value: cells.bytes(2)?.to_vec() })
    }

    fn extra(&self) -> usize {
        self.name.len() + self.value.len()
    }
}

/// As a query counts them: they have no table.
impl Stored for Parent {
    const TABLE: Table = tables::EDGE;
    const COLUMNS: &'static [&'static str] = &["inode", "parent", "count"];
    const KEYS: usize = 2;

    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self { inode: cells.int(0)?, parent: cells.int(1)?, count: cells.int(2)? })
    }
}

impl Stored for Acl {
    const TABLE: Table = tables::ACL;
    const COLUMNS: &'static [&'static str] = &["id", "owner", "group", "mask", "other", "named_users", "named_groups"];

    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self {
            id: cells.int(0)?,
            owner: cells.int_or_zero(1)?,
            group: cells.int_or_zero(2)?,
            mask: cells.int_or_zero(3)?,
            other: cells.int_or_zero(4)?,
            users: AclEntries::decode(cells.bytes_or_empty(5)?)?,
            groups: AclEntries::decode(cells.bytes_or_empty(6)?)?,
        })
    }
}

impl Stored for DirStat {
    const TABLE: Table = tables::DIR_STATS;
    const COLUMNS: &'static [&'static str] = &["inode", "data_length", "used_space", "used_inodes"];

    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self { inode: cells.int(0)?, length: cells.int(1)?, space: cells.int(2)?, inodes: cells.int(3)? })
    }
}

impl Stored for Quota {
    /// Those of users and groups are written as they are, those of directories as [`DirQuota`].
    const TABLE: Table = tables::USER_GROUP_QUOTA;
    const COLUMNS: &'static [&'static str] = &["qtype", "qkey", "max_space", "max_inodes", "used_space", "used_inodes"];
    const KEYS: usize = 2;

    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        let class = match cells.int(0)? {
            class @ 0..=2 => class,
            other => return Err(Error::malformed("qtype", format!("{other} is neither 1 nor 2"))),
        };
        Ok(Self {
            class,
            id: cells.int(1)?,
            max_space: Limit(cells.int(2)?),
            max_inodes: Limit(cells.int(3)?),
            used_space: cells.int(4)?,
            used_inodes: cells.int(5)?,
        })
    }
}

/// A quota of a directory, in the table it is written to: there it has no class.
pub(crate) struct DirQuota(pub(crate) Quota);

impl Stored for DirQuota {
    const TABLE: Table = tables::DIR_QUOTA;
    const COLUMNS: &'static [&'static str] = &["inode", "max_space", "max_inodes", "used_space", "used_inodes"];

    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self(Quota {
            class: quota_class::DIRECTORY,
            id: cells.int(0)?,
            max_space: Limit(cells.int(1)?),
            max_inodes: Limit(cells.int(2)?),
            used_space: cells.int(3)?,
            used_inodes: cells.int(4)?,
        }))
    }
}

impl Stored for Sustained {
    const TABLE: Table = tables::SUSTAINED;
    const COLUMNS: &'static [&'static str] = &["sid", "inode"];
    const KEYS: usize = 2;

    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self { sid: cells.int(0)?, inode: cells.int(1)? })
    }
}

impl Stored for DelFile {
    const TABLE: Table = tables::DELFILE;
    const COLUMNS: &'static [&'static str] = &["inode", "length", "expire"];

    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self { inode: cells.int(0)?, length: cells.int(1)?, expire: cells.int(2)? })
    }
}

impl Stored for DelSlices {
    const TABLE: Table = tables::DELSLICES;
    const COLUMNS: &'static [&'static str] = &["chunkid", "deleted", "slices"];

    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self { id: cells.int(0)?, deleted: cells.int(1)?, slices: DelayedSlices::decode(cells.bytes(2)?)? })
    }

    fn extra(&self) -> usize {
        size_of_val(self.slices.0.as_slice())
    }
}

impl Stored for Detached {
    const TABLE: Table = tables::DETACHED_NODE;
    const COLUMNS: &'static [&'static str] = &["inode", "added"];

    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self { inode: cells.int(0)?, added: cells.int(1)? })
    }
}

impl Stored for Token {
    const TABLE: Table = tables::DELEGATION_TOKEN;
    const COLUMNS: &'static [&'static str] = &["id", "token"];

    fn read<C: Cells>(cells: &Row<'_, C>) -> Result<Self> {
        Ok(Self { id: cells.int(0)?, token: cells.bytes_or_empty(1)?.to_vec() })
    }

    fn extra(&self) -> usize {
        self.token.len()
    }
}
