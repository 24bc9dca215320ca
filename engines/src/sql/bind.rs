//! Rows of JuiceFS put into cells of SQL, in the order of their columns. It knows no dialect, and runs nothing.

use metaferry_codecs::juicefs::tables::{Column, Type, Widths, time_columns};
use metaferry_codecs::juicefs::{
    Acl, Chunk, Counter, DelFile, DelSlices, Detached, DirStat, Edge, Links, Node, Quota, Setting, SliceRef, Sustained,
    Symlink, Token, Xattr,
};

use super::rows::{DirQuota, Stored};

/// A value that its column cannot hold: the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unfit(pub(crate) &'static str);

/// What takes the values of a row, one after the other.
pub(crate) trait Put {
    /// Why it took one not.
    type Error: From<Unfit>;

    /// Takes an integer.
    fn int(&mut self, value: i64) -> Result<(), Self::Error>;

    /// Takes bytes.
    fn blob(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Takes bytes for a column of text, whether they are UTF-8 or not.
    fn text(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Puts one value after the other.
pub(crate) struct Binder<'b, P> {
    to: &'b mut P,
    buffer: &'b mut Vec<u8>,
}

impl<'b, P: Put> Binder<'b, P> {
    /// Starts with the first value of a row. `buffer` is for what must be encoded.
    pub(crate) fn new(to: &'b mut P, buffer: &'b mut Vec<u8>) -> Self {
        Self { to, buffer }
    }

    #[inline]
    fn int(&mut self, value: impl Into<i64>) -> Result<(), P::Error> {
        self.to.int(value.into())
    }

    #[inline]
    fn unsigned(&mut self, column: &'static str, value: u64) -> Result<(), P::Error> {
        self.to.int(i64::try_from(value).map_err(|_| Unfit(column))?)
    }

    #[inline]
    fn blob(&mut self, bytes: &[u8]) -> Result<(), P::Error> {
        self.to.blob(bytes)
    }

    fn text(&mut self, bytes: &[u8]) -> Result<(), P::Error> {
        self.to.text(bytes)
    }

    fn encoded(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), P::Error> {
        self.buffer.clear();
        encode(self.buffer);
        self.to.blob(self.buffer)
    }
}

/// The columns that rows of a kind are written to, a surrogate key among them, which is first.
pub(crate) fn columns<R: Stored>(widths: Widths) -> Vec<Column> {
    let serial = R::TABLE.columns.iter().filter(|column| column.holds == Type::Serial);
    let named = R::COLUMNS.iter().filter_map(|name| R::TABLE.columns.iter().find(|column| column.name == *name));
    serial.chain(named).map(|column| Column { holds: widths.of(&R::TABLE, column), ..*column }).collect()
}

/// A row that can be written to its table.
pub(crate) trait Bound: Stored {
    /// Puts its values, column by column.
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error>;

    /// Which row it is, for a person.
    fn place(&self) -> String;
}

impl Bound for Setting {
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
        to.text(b"format")?;
        to.text(&self.document.0)
    }

    fn place(&self) -> String {
        "the setting".to_owned()
    }
}

impl Bound for Counter {
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
        to.text(&self.name)?;
        to.int(self.value)
    }

    fn place(&self) -> String {
        format!("counter {}", self.name.escape_ascii())
    }
}

impl Bound for Node {
    #[inline]
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
        let atime = time_columns(self.atime, self.atimensec).ok_or(Unfit("atime"))?;
        let mtime = time_columns(self.mtime, self.mtimensec).ok_or(Unfit("mtime"))?;
        let ctime = time_columns(self.ctime, self.ctimensec).ok_or(Unfit("ctime"))?;
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

impl Bound for Links {
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
        to.unsigned("inode", self.inode)?;
        to.int(self.nlink)
    }

    fn place(&self) -> String {
        format!("link count of inode {}", self.inode)
    }
}

impl Bound for Edge {
    #[inline]
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
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
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
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
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
        to.unsigned("chunkid", self.id)?;
        to.int(self.size)?;
        to.int(self.refs)
    }

    fn place(&self) -> String {
        format!("slice {}", self.id)
    }
}

impl Bound for Symlink {
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
        to.unsigned("inode", self.inode)?;
        to.blob(&self.target)
    }

    fn place(&self) -> String {
        format!("symbolic link {}", self.inode)
    }
}

impl Bound for Xattr {
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
        to.unsigned("inode", self.inode)?;
        to.text(&self.name)?;
        to.blob(&self.value)
    }

    fn place(&self) -> String {
        format!("extended attribute '{}' of inode {}", self.name.escape_ascii(), self.inode)
    }
}

impl Bound for Acl {
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
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
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
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
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
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

impl Bound for DirQuota {
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
        to.unsigned("inode", self.0.id)?;
        to.int(self.0.max_space.0)?;
        to.int(self.0.max_inodes.0)?;
        to.int(self.0.used_space)?;
        to.int(self.0.used_inodes)
    }

    fn place(&self) -> String {
        self.0.place()
    }
}

impl Bound for Sustained {
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
        to.unsigned("sid", self.sid)?;
        to.unsigned("inode", self.inode)
    }

    fn place(&self) -> String {
        format!("inode {} sustained by session {}", self.inode, self.sid)
    }
}

impl Bound for DelFile {
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
        to.unsigned("inode", self.inode)?;
        to.unsigned("length", self.length)?;
        to.int(self.expire)
    }

    fn place(&self) -> String {
        format!("removed file {}", self.inode)
    }
}

impl Bound for DelSlices {
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
        to.unsigned("chunkid", self.id)?;
        to.int(self.deleted)?;
        to.encoded(|bytes| self.slices.encode(bytes))
    }

    fn place(&self) -> String {
        format!("delayed slices {}", self.id)
    }
}

impl Bound for Detached {
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
        to.unsigned("inode", self.inode)?;
        to.int(self.added)
    }

    fn place(&self) -> String {
        format!("detached directory {}", self.inode)
    }
}

impl Bound for Token {
    /// One without bytes is kept as a row, since the id is taken.
    fn bind<P: Put>(&self, to: &mut Binder<'_, P>) -> Result<(), P::Error> {
        to.int(self.id)?;
        to.blob(&self.token)
    }

    fn place(&self) -> String {
        format!("delegation token {}", self.id)
    }
}
