//! Rows of SQLite decoded into rows of JuiceFS, and what is wrong with those that cannot be. It knows no statement.

use metaferry_codecs::juicefs::tables::{self, Table, time_of_columns};
use metaferry_codecs::juicefs::{
    Acl, AclEntries, Chunk, Counter, DelFile, DelSlices, DelayedSlices, Detached, DirStat, Document, Edge, FileType,
    Limit, Node, Quota, Setting, SliceRef, Slices, Sustained, Symlink, Token, Xattr,
};
use metaferry_codecs::{Error, Result};
use rusqlite::Row;
use rusqlite::types::ValueRef;

/// A kind of row as it lies in one table.
pub(super) trait Stored: Sized {
    /// The table it is in.
    const TABLE: Table;
    /// The columns it is read from and written to.
    const COLUMNS: &'static [&'static str];
    /// How many of these, from the first on, say which row it is.
    const KEYS: usize = 1;

    /// Decodes one row.
    fn read(cells: &Cells<'_, '_>) -> Result<Self>;

    /// About how many bytes it holds besides itself.
    fn extra(&self) -> usize {
        0
    }
}

/// The cells of one row, in the order of [`Stored::COLUMNS`].
pub(super) struct Cells<'r, 's> {
    row: &'r Row<'s>,
    columns: &'static [&'static str],
}

impl<'r, 's> Cells<'r, 's> {
    /// The cells of a row whose first one is the row id, which is none of them.
    pub(super) fn new(row: &'r Row<'s>, columns: &'static [&'static str]) -> Self {
        Self { row, columns }
    }

    fn column(&self, index: usize) -> &'static str {
        self.columns.get(index).copied().unwrap_or("column")
    }

    #[inline]
    fn value(&self, index: usize) -> ValueRef<'r> {
        self.row.get_ref(index + 1).unwrap_or(ValueRef::Null)
    }

    #[cold]
    fn wrong(&self, index: usize, value: ValueRef<'_>) -> Error {
        Error::malformed(self.column(index), format!("{} cannot be", shown(value)))
    }

    /// An integer of whatever width.
    #[inline]
    fn int<T: TryFrom<i64>>(&self, index: usize) -> Result<T> {
        self.narrow(index, self.value(index))
    }

    /// An integer that rows older than the column have not.
    #[inline]
    fn int_or_zero<T: TryFrom<i64> + Default>(&self, index: usize) -> Result<T> {
        match self.value(index) {
            ValueRef::Null => Ok(T::default()),
            value => self.narrow(index, value),
        }
    }

    #[inline]
    fn narrow<T: TryFrom<i64>>(&self, index: usize, value: ValueRef<'_>) -> Result<T> {
        match value {
            ValueRef::Integer(integer) => T::try_from(integer).map_err(|_| self.wrong(index, value)),
            _ => Err(self.wrong(index, value)),
        }
    }

    /// Bytes, whatever the storage class: appending turns a BLOB into TEXT.
    #[inline]
    fn bytes(&self, index: usize) -> Result<&'r [u8]> {
        match self.value(index) {
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Ok(bytes),
            value => Err(self.wrong(index, value)),
        }
    }

    fn bytes_or_empty(&self, index: usize) -> Result<&'r [u8]> {
        match self.value(index) {
            ValueRef::Null => Ok(&[]),
            _ => self.bytes(index),
        }
    }

    fn kind(&self, index: usize) -> Result<FileType> {
        FileType::new(self.int(index)?)
    }

    #[inline]
    fn time(&self, microseconds: usize, nanoseconds: usize) -> Result<(i64, u32)> {
        let (micros, nanos) = (self.int(microseconds)?, self.int_or_zero(nanoseconds)?);
        time_of_columns(micros, nanos).ok_or_else(|| self.wrong(microseconds, self.value(microseconds)))
    }

    /// Which row it is, for a person: `jfs_chunk inode 5 indx 0`.
    pub(super) fn place(&self, table: &str, keys: usize) -> String {
        let cells = self.columns.iter().enumerate().take(keys);
        let key = |(index, column)| format!(" {column} {}", shown(self.value(index)));
        table.to_owned() + &cells.map(key).collect::<String>()
    }
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(integer) => integer.to_string(),
        ValueRef::Real(real) => real.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            let start = bytes.get(..64).unwrap_or(bytes);
            format!("'{}'", start.escape_ascii())
        }
    }
}

impl Stored for Setting {
    const TABLE: Table = tables::SETTING;
    const COLUMNS: &'static [&'static str] = &["name", "value"];

    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
        Ok(Self { document: Document(cells.bytes(1)?.to_vec()) })
    }
}

impl Stored for Counter {
    const TABLE: Table = tables::COUNTER;
    const COLUMNS: &'static [&'static str] = &["name", "value"];

    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
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
    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
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

impl Stored for Edge {
    const TABLE: Table = tables::EDGE;
    const COLUMNS: &'static [&'static str] = &["parent", "name", "inode", "type"];
    const KEYS: usize = 2;

    #[inline]
    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
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
    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
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
    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
        Ok(Self { id: cells.int(0)?, size: cells.int(1)?, refs: cells.int(2)? })
    }
}

impl Stored for Symlink {
    const TABLE: Table = tables::SYMLINK;
    const COLUMNS: &'static [&'static str] = &["inode", "target"];

    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
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

    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
        Ok(Self { inode: cells.int(0)?, name: cells.bytes(1)?.to_vec(), value: cells.bytes(2)?.to_vec() })
    }

    fn extra(&self) -> usize {
        self.name.len() + self.value.len()
    }
}

impl Stored for Acl {
    const TABLE: Table = tables::ACL;
    const COLUMNS: &'static [&'static str] = &["id", "owner", "group", "mask", "other", "named_users", "named_groups"];

    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
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

    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
        Ok(Self { inode: cells.int(0)?, length: cells.int(1)?, space: cells.int(2)?, inodes: cells.int(3)? })
    }
}

impl Stored for Quota {
    /// Those of users and groups are written as they are, those of directories to a table without the class.
    const TABLE: Table = tables::USER_GROUP_QUOTA;
    const COLUMNS: &'static [&'static str] = &["qtype", "qkey", "max_space", "max_inodes", "used_space", "used_inodes"];
    const KEYS: usize = 2;

    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
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

impl Stored for Sustained {
    const TABLE: Table = tables::SUSTAINED;
    const COLUMNS: &'static [&'static str] = &["sid", "inode"];
    const KEYS: usize = 2;

    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
        Ok(Self { sid: cells.int(0)?, inode: cells.int(1)? })
    }
}

impl Stored for DelFile {
    const TABLE: Table = tables::DELFILE;
    const COLUMNS: &'static [&'static str] = &["inode", "length", "expire"];

    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
        Ok(Self { inode: cells.int(0)?, length: cells.int(1)?, expire: cells.int(2)? })
    }
}

impl Stored for DelSlices {
    const TABLE: Table = tables::DELSLICES;
    const COLUMNS: &'static [&'static str] = &["chunkid", "deleted", "slices"];

    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
        Ok(Self { id: cells.int(0)?, deleted: cells.int(1)?, slices: DelayedSlices::decode(cells.bytes(2)?)? })
    }

    fn extra(&self) -> usize {
        size_of_val(self.slices.0.as_slice())
    }
}

impl Stored for Detached {
    const TABLE: Table = tables::DETACHED_NODE;
    const COLUMNS: &'static [&'static str] = &["inode", "added"];

    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
        Ok(Self { inode: cells.int(0)?, added: cells.int(1)? })
    }
}

impl Stored for Token {
    const TABLE: Table = tables::DELEGATION_TOKEN;
    const COLUMNS: &'static [&'static str] = &["id", "token"];

    fn read(cells: &Cells<'_, '_>) -> Result<Self> {
        Ok(Self { id: cells.int(0)?, token: cells.bytes_or_empty(1)?.to_vec() })
    }

    fn extra(&self) -> usize {
        self.token.len()
    }
}
