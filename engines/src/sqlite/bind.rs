//! Rows of JuiceFS bound to statements of SQLite, column by column in the order in which they are read. It runs nothing.

use metaferry_codecs::juicefs::tables::time_columns;
use metaferry_codecs::juicefs::{
    Acl, Chunk, Counter, DelFile, DelSlices, Detached, DirStat, Edge, Node, Quota, Setting, SliceRef, Sustained,
    Symlink, Token, Xattr,
};
use rusqlite::Statement;
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::rows::Stored;

/// Why a row could not be bound.
pub(super) enum Unfit {
    /// A value that the column cannot hold.
    Value(&'static str),
    /// SQLite refused.
    Sql(rusqlite::Error),
}

type Result<T> = std::result::Result<T, Unfit>;

/// Binds one value after the other.
pub(super) struct Binder<'b, 's> {
    statement: &'b mut Statement<'s>,
    index: usize,
    buffer: &'b mut Vec<u8>,
}

impl<'b, 's> Binder<'b, 's> {
    /// Starts at the first parameter of a statement. `buffer` is for what must be encoded.
    pub(super) fn new(statement: &'b mut Statement<'s>, buffer: &'b mut Vec<u8>) -> Self {
        Self { statement, index: 0, buffer }
    }

    #[inline]
    fn put(&mut self, value: ValueRef<'_>) -> Result<()> {
        self.index += 1;
        self.statement.raw_bind_parameter(self.index, ToSqlOutput::Borrowed(value)).map_err(Unfit::Sql)
    }

    #[inline]
    fn int(&mut self, value: impl Into<i64>) -> Result<()> {
        self.put(ValueRef::Integer(value.into()))
    }

    #[inline]
    fn unsigned(&mut self, column: &'static str, value: u64) -> Result<()> {
        self.int(i64::try_from(value).map_err(|_| Unfit::Value(column))?)
    }

    #[inline]
    fn blob(&mut self, bytes: &[u8]) -> Result<()> {
        self.put(ValueRef::Blob(bytes))
    }

    /// Bytes as TEXT, whether they are UTF-8 or not.
    fn text(&mut self, bytes: &[u8]) -> Result<()> {
        self.put(ValueRef::Text(bytes))
    }

    fn encoded(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let mut buffer = std::mem::take(self.buffer);
        buffer.clear();
        encode(&mut buffer);
        let bound = self.blob(&buffer);
        *self.buffer = buffer;
        bound
    }
}

/// A row that can be written to its table.
pub(super) trait Bound: Stored {
    /// Binds its columns.
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()>;

    /// Which row it is, for a person.
    fn place(&self) -> String;
}

impl Bound for Setting {
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.text(b"format")?;
        to.text(&self.document.0)
    }

    fn place(&self) -> String {
        "the setting".to_owned()
    }
}

impl Bound for Counter {
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.text(&self.name)?;
        to.int(self.value)
    }

    fn place(&self) -> String {
        format!("counter {}", self.name.escape_ascii())
    }
}

impl Bound for Node {
    #[inline]
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        let atime = time_columns(self.atime, self.atimensec).ok_or(Unfit::Value("atime"))?;
        let mtime = time_columns(self.mtime, self.mtimensec).ok_or(Unfit::Value("mtime"))?;
        let ctime = time_columns(self.ctime, self.ctimensec).ok_or(Unfit::Value("ctime"))?;
        to.unsigned("inode", self.inode)?;
        to.int(self.kind.number())?;
        to.int(self.flags)?;
        to.int(self.mode)?;
        to.int(self.uid)?;
        to.int(self.gid)?;
        to.int(atime.0)?;
        to.int(mtime.0)?;
        to.int(ctime.0)?;
        to.int(atime.1)?;
        to.int(mtime.1)?;
        to.int(ctime.1)?;
        to.int(self.nlink)?;
        to.unsigned("length", self.length)?;
        to.int(self.rdev)?;
        to.unsigned("parent", self.parent)?;
        to.int(self.access_acl)?;
        to.int(self.default_acl)?;
        to.int(self.tier)
    }

    fn place(&self) -> String {
        format!("inode {}", self.inode)
    }
}

impl Bound for Edge {
    #[inline]
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.unsigned("parent", self.parent)?;
        to.blob(&self.name)?;
        to.unsigned("inode", self.inode)?;
        to.int(self.kind.number())
    }

    fn place(&self) -> String {
        format!("entry '{}' of directory {}", self.name.escape_ascii(), self.parent)
    }
}

impl Bound for Chunk {
    #[inline]
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.unsigned("inode", self.inode)?;
        to.int(self.index)?;
        to.encoded(|bytes| self.slices.encode(bytes))
    }

    fn place(&self) -> String {
        format!("chunk {} of inode {}", self.index, self.inode)
    }
}

impl Bound for SliceRef {
    #[inline]
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.unsigned("chunkid", self.id)?;
        to.int(self.size)?;
        to.int(self.refs)
    }

    fn place(&self) -> String {
        format!("slice {}", self.id)
    }
}

impl Bound for Symlink {
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.unsigned("inode", self.inode)?;
        to.blob(&self.target)
    }

    fn place(&self) -> String {
        format!("symbolic link {}", self.inode)
    }
}

impl Bound for Xattr {
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.unsigned("inode", self.inode)?;
        to.text(&self.name)?;
        to.blob(&self.value)
    }

    fn place(&self) -> String {
        format!("extended attribute '{}' of inode {}", self.name.escape_ascii(), self.inode)
    }
}

impl Bound for Acl {
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.int(self.id)?;
        to.int(self.owner)?;
        to.int(self.group)?;
        to.int(self.mask)?;
        to.int(self.other)?;
        to.encoded(|bytes| self.users.encode(bytes))?;
        to.encoded(|bytes| self.groups.encode(bytes))
    }

    fn place(&self) -> String {
        format!("ACL {}", self.id)
    }
}

impl Bound for DirStat {
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.unsigned("inode", self.inode)?;
        to.int(self.length)?;
        to.int(self.space)?;
        to.int(self.inodes)
    }

    fn place(&self) -> String {
        format!("statistics of directory {}", self.inode)
    }
}

impl Bound for Quota {
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.int(self.class)?;
        to.unsigned("qkey", self.id)?;
        to.int(self.max_space.0)?;
        to.int(self.max_inodes.0)?;
        to.int(self.used_space)?;
        to.int(self.used_inodes)
    }

    fn place(&self) -> String {
        format!("quota {} of class {}", self.id, self.class)
    }
}

impl Bound for Sustained {
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.unsigned("sid", self.sid)?;
        to.unsigned("inode", self.inode)
    }

    fn place(&self) -> String {
        format!("inode {} sustained by session {}", self.inode, self.sid)
    }
}

impl Bound for DelFile {
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.unsigned("inode", self.inode)?;
        to.unsigned("length", self.length)?;
        to.int(self.expire)
    }

    fn place(&self) -> String {
        format!("removed file {}", self.inode)
    }
}

impl Bound for DelSlices {
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.unsigned("chunkid", self.id)?;
        to.int(self.deleted)?;
        to.encoded(|bytes| self.slices.encode(bytes))
    }

    fn place(&self) -> String {
        format!("delayed slices {}", self.id)
    }
}

impl Bound for Detached {
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.unsigned("inode", self.inode)?;
        to.int(self.added)
    }

    fn place(&self) -> String {
        format!("detached directory {}", self.inode)
    }
}

impl Bound for Token {
    /// One without bytes is kept as a row, since the id is taken.
    fn bind(&self, to: &mut Binder<'_, '_>) -> Result<()> {
        to.int(self.id)?;
        to.blob(&self.token)
    }

    fn place(&self) -> String {
        format!("delegation token {}", self.id)
    }
}
