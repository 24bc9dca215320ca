//! The SQL layout (`pkg/meta/sql.go`): every table of a volume as data, in the order in which JuiceFS creates them, from
//! which each dialect writes its own DDL. It knows no dialect and no connection.

/// What a column holds, in the widths that JuiceFS's dialects tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// An integer, signed and of 32 bits where the dialect has such.
    Int,
    /// A signed integer of 64 bits.
    Long,
    /// A surrogate of 64 bits that the database hands out.
    Serial,
    /// The same in 32 bits.
    IntSerial,
    /// A short text.
    Name,
    /// A long text.
    Text,
    /// Bytes, at most so many.
    Bytes(u32),
    /// Bytes.
    Blob,
    /// Bytes, more of them than the dialect's usual type takes.
    LongBlob,
}

/// How wide columns are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Widths {
    /// As JuiceFS makes them: narrower than some of its own values (juicedata/juicefs#4229, #1572).
    #[default]
    Stock,
    /// So that every value of JuiceFS fits: numbers without a sign, as its documentation has operators alter uid and gid
    /// (juicedata/juicefs#7362), and long lists of slices.
    Wide,
}

impl Widths {
    /// What a column of a table holds.
    #[must_use]
    pub fn of(self, table: &Table, column: &Column) -> Type {
        match (self, table.name, column.name) {
            (Self::Wide, "node", "uid" | "gid" | "nlink" | "rdev") => Type::Long,
            (Self::Wide, "chunk" | "delslices", "slices") | (Self::Wide, "xattr", "value") => Type::LongBlob,
            _ => column.holds,
        }
    }
}

/// Whether a column may be NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Null {
    /// It may not.
    Never,
    /// It may not; rows older than the column hold 0.
    ZeroBefore,
    /// It may: rows older than the column do.
    Allowed,
}

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub holds: Type,
    /// Whether it may be NULL.
    pub null: Null,
}

/// One table; names are without the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns, in their order.
    pub columns: &'static [Column],
    /// The columns of its primary key.
    pub key: &'static [&'static str],
    /// The name and the columns of its unique index, if it has one.
    pub unique: Option<(&'static str, &'static [&'static str])>,
    /// The column of its other index, if it has one.
    pub index: Option<&'static str>,
}

impl Table {
    /// The name of the unique index and its columns, under a prefix of table names such as `jfs_`.
    #[must_use]
    pub fn unique_index(&self, prefix: &str) -> Option<(String, &'static [&'static str])> {
        self.unique.map(|(tag, columns)| (format!("UQE_{prefix}{}_{tag}", self.name), columns))
    }

    /// The name of the other index and its column.
    #[must_use]
    pub fn plain_index(&self, prefix: &str) -> Option<(String, &'static str)> {
        self.index.map(|column| (format!("IDX_{prefix}{}_{column}", self.name), column))
    }
}

/// What comes before the names of tables where no `table_prefix` is given.
pub const DEFAULT_PREFIX: &str = "jfs_";

/// What comes before the names of tables with `table_prefix` (`sql.go: newSQLMeta`).
#[must_use]
pub fn prefix(table_prefix: &str) -> String {
    if table_prefix.is_empty() { DEFAULT_PREFIX.to_owned() } else { format!("{DEFAULT_PREFIX}{table_prefix}_") }
}

const fn column(name: &'static str, holds: Type) -> Column {
    Column { name, holds, null: Null::Never }
}

const fn later(name: &'static str, holds: Type) -> Column {
    Column { name, holds, null: Null::Allowed }
}

const fn nanoseconds(name: &'static str) -> Column {
    Column { name, holds: Type::Int, null: Null::ZeroBefore }
}

macro_rules! tables {
    ($($(#[$doc:meta])* $id:ident $name:literal ($($key:literal),+)
        $(unique $tag:literal ($($unique:literal),+))? $(index $index:literal)?
        { $($column:expr),+ $(,)? })*) => {
        $(
            $(#[$doc])*
            pub const $id: Table = Table {
                name: $name,
                columns: &[$($column),+],
                key: &[$($key),+],
                unique: tables!(@unique $($tag, $($unique),+)?),
                index: tables!(@index $($index)?),
            };
        )*

        /// Every table, in the order in which JuiceFS creates them (`sql.go: syncAllTables`).
        pub const ALL: &[&Table] = &[$(&$id),*];
    };
    (@unique) => { None };
    (@unique $tag:literal, $($unique:literal),+) => { Some(($tag, &[$($unique),+])) };
    (@index) => { None };
    (@index $index:literal) => { Some($index) };
}

tables! {
    /// The setting: one row, named `format`.
    SETTING "setting" ("name") { column("name", Type::Name), column("value", Type::Text) }
    /// Counters.
    COUNTER "counter" ("name") { column("name", Type::Name), column("value", Type::Long) }
    /// Directory entries.
    EDGE "edge" ("id") unique "edge" ("parent", "name") index "inode" {
        column("id", Type::Serial), column("parent", Type::Long), column("name", Type::Bytes(255)),
        column("inode", Type::Long), column("type", Type::Int),
    }
    /// Inodes; times in microseconds, with the nanoseconds that are left.
    NODE "node" ("inode") {
        column("inode", Type::Long), column("type", Type::Int), column("flags", Type::Int), column("mode", Type::Int),
        column("uid", Type::Int), column("gid", Type::Int), column("atime", Type::Long), column("mtime", Type::Long),
        column("ctime", Type::Long), nanoseconds("atimensec"), nanoseconds("mtimensec"), nanoseconds("ctimensec"),
        column("nlink", Type::Int), column("length", Type::Long), later("rdev", Type::Int), later("parent", Type::Long),
        later("access_acl_id", Type::Int), later("default_acl_id", Type::Int), later("tier_id", Type::Int),
    }
    /// Targets of symbolic links.
    SYMLINK "symlink" ("inode") { column("inode", Type::Long), column("target", Type::Bytes(4096)) }
    /// Extended attributes.
    XATTR "xattr" ("id") unique "name" ("inode", "name") {
        column("id", Type::Serial), column("inode", Type::Long), column("name", Type::Name), column("value", Type::Blob),
    }
    /// Slices of files, by chunk.
    CHUNK "chunk" ("id") unique "chunk" ("inode", "indx") {
        column("id", Type::Serial), column("inode", Type::Long), column("indx", Type::Int), column("slices", Type::Blob),
    }
    /// References of slices, those of one too.
    CHUNK_REF "chunk_ref" ("chunkid") index "refs" {
        column("chunkid", Type::Long), column("size", Type::Int), column("refs", Type::Int),
    }
    /// Slices kept after a compaction.
    DELSLICES "delslices" ("chunkid") {
        column("chunkid", Type::Long), column("deleted", Type::Long), column("slices", Type::Blob),
    }
    /// Sessions.
    SESSION "session2" ("sid") {
        column("sid", Type::Long), column("expire", Type::Long), later("info", Type::Blob),
    }
    /// Files removed while open.
    SUSTAINED "sustained" ("id") unique "sustained" ("sid", "inode") {
        column("id", Type::Serial), column("sid", Type::Long), column("inode", Type::Long),
    }
    /// Removed files whose data waits to be freed.
    DELFILE "delfile" ("inode") {
        column("inode", Type::Long), column("length", Type::Long), column("expire", Type::Long),
    }
    /// Locks of whole files.
    FLOCK "flock" ("id") unique "flock" ("inode", "sid", "owner") {
        column("id", Type::Serial), column("inode", Type::Long), column("sid", Type::Long), column("owner", Type::Long),
        column("ltype", Type::Int),
    }
    /// Locks of ranges.
    PLOCK "plock" ("id") unique "plock" ("inode", "sid", "owner") {
        column("id", Type::Serial), column("inode", Type::Long), column("sid", Type::Long), column("owner", Type::Long),
        column("records", Type::Blob),
    }
    /// Quotas of directories.
    DIR_QUOTA "dir_quota" ("inode") {
        column("inode", Type::Long), column("max_space", Type::Long), column("max_inodes", Type::Long),
        column("used_space", Type::Long), column("used_inodes", Type::Long),
    }
    /// Quotas of users and groups.
    USER_GROUP_QUOTA "user_group_quota" ("qtype", "qkey") {
        column("qtype", Type::Int), column("qkey", Type::Long), column("max_space", Type::Long),
        column("max_inodes", Type::Long), column("used_space", Type::Long), column("used_inodes", Type::Long),
    }
    /// Statistics of directories.
    DIR_STATS "dir_stats" ("inode") {
        column("inode", Type::Long), column("data_length", Type::Long), column("used_space", Type::Long),
        column("used_inodes", Type::Long),
    }
    /// Directories being cloned.
    DETACHED_NODE "detached_node" ("inode") { column("inode", Type::Long), column("added", Type::Long) }
    /// Rules of access control.
    ACL "acl" ("id") {
        column("id", Type::IntSerial), later("owner", Type::Int), later("group", Type::Int), later("mask", Type::Int),
        later("other", Type::Int), later("named_users", Type::Blob), later("named_groups", Type::Blob),
    }
    /// Delegation tokens.
    DELEGATION_TOKEN "delegation_token" ("id") { column("id", Type::IntSerial), later("token", Type::Blob) }
    /// The change log.
    CHANGE_LOG "change_log" ("id") { column("id", Type::Serial), column("entry", Type::Text) }
}

/// A time as its two columns: microseconds, and the nanoseconds below. Times before 1970 are cut towards zero as JuiceFS
/// does, so that neither column is positive (`sql.go: node.setAtime`). `None` where the microseconds fit no column.
#[must_use]
#[inline]
pub fn time_columns(seconds: i64, nanoseconds: u32) -> Option<(i64, i64)> {
    if let Some(total) = seconds.checked_mul(1_000_000_000).and_then(|total| total.checked_add(nanoseconds.into())) {
        return Some((total / 1000, total % 1000));
    }
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    Some((i64::try_from(total / 1000).ok()?, i64::try_from(total % 1000).ok()?))
}

/// The seconds, by floor, and the nanoseconds of the two columns of a time. `None` where the columns are out of all bounds.
#[must_use]
#[inline]
pub fn time_of_columns(microseconds: i64, nanoseconds: i64) -> Option<(i64, u32)> {
    const SECOND: i64 = 1_000_000_000;
    let (seconds, rest) = match microseconds.checked_mul(1000).and_then(|total| total.checked_add(nanoseconds)) {
        Some(total) => (total.div_euclid(SECOND), total.rem_euclid(SECOND)),
        None => {
            let total = i128::from(microseconds) * 1000 + i128::from(nanoseconds);
            let (seconds, rest) = (total.div_euclid(SECOND.into()), total.rem_euclid(SECOND.into()));
            (i64::try_from(seconds).ok()?, i64::try_from(rest).ok()?)
        }
    };
    Some((seconds, u32::try_from(rest).ok()?))
}
