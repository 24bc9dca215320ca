//! The tables of a metastore, in both layouts, as data: columns, keys, and which property of a resource's content fills a
//! column (`metadata-jdbc-*.properties`, `MetadataType`). It runs no statement.

pub(crate) mod ddl;
mod find;
mod typed;

use std::sync::LazyLock;

use metaferry_codecs::kylin::Layout;
use metaferry_codecs::kylin::types::MetadataType;

pub(crate) use ddl::{folded, quoted};
pub(crate) use find::{Found, Located, Placed, catalog_of_mysql, catalog_of_postgres, in_mysql, in_postgres, locate};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// A number that the database counts up, and the table's key.
    Serial,
    /// The same; MySQL has it unsigned.
    Unsigned,
    /// A number of 64 bits.
    Long,
    /// A number of 32 bits.
    Int,
    /// The same; zero where nothing is said.
    Count,
    /// Yes or no; no where nothing is said.
    Flag,
    /// Text of at most so many characters, compared as its database compares text.
    Text(u16),
    /// The same, compared by its bytes.
    Exact(u16),
    /// Text that PostgreSQL fills up with blanks to so many characters.
    Padded(u16),
    /// The same, compared by its bytes.
    ExactPadded(u16),
    /// The same, which only MySQL compares by its bytes.
    Reference(u16),
    /// Text of any length; in MySQL of 65535 bytes.
    LongText,
    /// Bytes.
    Bytes,
}

/// A column. Its name is in lower case; databases do not mind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) holds: Holds,
    /// Whether it takes no NULL.
    pub(crate) is_required: bool,
    /// The property of the content that fills it, where one does.
    pub(crate) property: Option<&'static str>,
}

impl Column {
    const fn new(name: &'static str, holds: Holds) -> Self {
        Self { name, holds, is_required: false, property: None }
    }

    const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    const fn from(self, property: &'static str) -> Self {
        Self { property: Some(property), ..self }
    }
}

/// What a table is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// All resources of the flat layout.
    Resources,
    /// The resources of one type of the typed layout.
    Typed(&'static MetadataType),
    /// The change log.
    Log,
    /// Who writes to which project, and maintenance mode.
    Epoch,
}

/// A unique key, or an index. Its name in the database is that of the store, and `suffix` behind it.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) suffix: String,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) is_unique: bool,
}

/// A table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) role: Role,
    /// What its name has behind the identifier.
    pub(crate) suffix: String,
    pub(crate) columns: Vec<Column>,
    /// Its one key column, and what is behind the identifier in the key's name in PostgreSQL.
    pub(crate) primary: (&'static str, String),
    pub(crate) indexes: Vec<Index>,
}

impl Table {
    /// Its name in a store of this identifier, as Kylin writes it.
    pub(crate) fn name(&self, identifier: &str) -> String {
        format!("{identifier}{}", self.suffix)
    }

    /// Whether its key is a number that the database counts up.
    pub(crate) fn counts(&self) -> bool {
        self.columns.iter().any(|column| matches!(column.holds, Holds::Serial | Holds::Unsigned))
    }

    /// The columns that properties of the content fill.
    pub(crate) fn filled(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.property.is_some())
    }
}

/// The table that marks a target until a load into it is committed; what is loaded bears its name with a number behind it.
pub(crate) fn mark(identifier: &str) -> String {
    format!("{identifier}_metaferry")
}

/// The tables of a layout: those of resources first, in the order of [`MetadataType::all`], then change log and epochs.
pub(crate) fn tables(layout: Layout) -> &'static [Table] {
    static FLAT: LazyLock<Vec<Table>> = LazyLock::new(|| vec![resources(), log(Layout::Flat), epochs()]);
    static TYPED: LazyLock<Vec<Table>> = LazyLock::new(|| {
        let types = MetadataType::all().iter().map(typed::table);
        types.chain([log(Layout::Typed), epochs()]).collect()
    });
    match layout {
        Layout::Flat => &FLAT,
        Layout::Typed => &TYPED,
    }
}

/// The table of what is for that, of a layout that has it.
pub(crate) fn table(layout: Layout, role: Role) -> Option<&'static Table> {
    tables(layout).iter().find(|table| table.role == role)
}

/// The columns of the flat layout's resources, in this order: key, content, time, version.
pub(crate) const FLAT_COLUMNS: [&str; 4] = ["meta_table_key", "meta_table_content", "meta_table_ts", "meta_table_mvcc"];
/// The same of the typed layout's.
pub(crate) const TYPED_COLUMNS: [&str; 4] = ["meta_key", "content", "ts", "mvcc"];

fn resources() -> Table {
    let [key, content, ts, mvcc] = FLAT_COLUMNS;
    Table {
        role: Role::Resources,
        suffix: String::new(),
        columns: vec![
            Column::new(key, Holds::Exact(255)).required(),
            Column::new(content, Holds::Bytes),
            Column::new(ts, Holds::Long),
            Column::new(mvcc, Holds::Long),
        ],
        primary: (key, "_pkey".to_owned()),
        indexes: Vec::new(),
    }
}

fn log(layout: Layout) -> Table {
    let suffix = if layout == Layout::Flat { "_audit_log" } else { "_audit_log_v2" };
    let mut columns = vec![
        Column::new("id", Holds::Serial).required(),
        Column::new("meta_key", Holds::Exact(255)),
        Column::new("meta_content", Holds::Bytes),
        Column::new("meta_ts", Holds::Long),
        Column::new("meta_mvcc", Holds::Long),
        Column::new("unit_id", Holds::Text(50)),
        Column::new("operator", Holds::Text(200)),
        Column::new("instance", Holds::Text(100)),
    ];
    let index = |columns: &[&'static str]| Index {
        suffix: format!("{suffix}_{}_index", columns.join("_")),
        columns: columns.to_vec(),
        is_unique: false,
    };
    let mut indexes = vec![index(&["meta_key", "meta_mvcc"])];
    if layout == Layout::Typed {
        columns.extend([
            Column::new("model_uuid", Holds::Padded(36)),
            Column::new("project", Holds::Text(255)),
            Column::new("diff_flag", Holds::Flag),
        ]);
        indexes.push(index(&["meta_ts"]));
    }
    let primary = ("id", format!("{suffix}_pkey"));
    Table { role: Role::Log, suffix: suffix.to_owned(), columns, primary, indexes }
}

fn epochs() -> Table {
    Table {
        role: Role::Epoch,
        suffix: "_epoch".to_owned(),
        columns: vec![
            Column::new("epoch_id", Holds::Int),
            Column::new("epoch_target", Holds::Text(255)).required(),
            Column::new("current_epoch_owner", Holds::Text(2000)),
            Column::new("last_epoch_renew_time", Holds::Long),
            Column::new("server_mode", Holds::Text(10)),
            Column::new("maintenance_mode_reason", Holds::Text(5000)),
            Column::new("mvcc", Holds::Long),
            Column::new("reserved_field_1", Holds::Text(50)),
            Column::new("reserved_field_2", Holds::Bytes),
            Column::new("reserved_field_3", Holds::Bytes),
        ],
        primary: ("epoch_target", "_epoch_pkey".to_owned()),
        indexes: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
