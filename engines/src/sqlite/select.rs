//! What is asked of SQLite: one statement a kind, ordered by a row key, between two of them. It runs only small questions.

use std::collections::BTreeMap;

use metaferry_codecs::juicefs::{
    Acl, Chunk, Counter, DelFile, DelSlices, Detached, DirStat, Edge, JuiceFs, Kind, Node, Setting, SliceRef,
    Sustained, Symlink, Token, Xattr, counter, tables,
};
use metaferry_codecs::system::Kind as _;
use metaferry_pipeline::Emit;
use rusqlite::Connection;

use crate::sql::rows::Stored;
use crate::sql::schema::Schema;

/// The statements of one volume.
#[derive(Debug)]
pub(super) struct Selects(BTreeMap<Kind, Select>);

/// How one kind is read.
#[derive(Debug)]
pub(super) struct Select {
    /// A table, or a query in its place.
    pub(super) from: String,
    /// The key that ranges and pages go by, a number.
    pub(super) key: &'static str,
    /// Selects the key and the columns between `?1` and `?2`, by key.
    pub(super) sql: String,
    /// The table's name, for messages.
    pub(super) table: String,
}

impl Selects {
    /// The statements for what a file has.
    pub(super) fn new(schema: &Schema) -> Self {
        let all = Kind::all().iter().filter_map(|&kind| Some((kind, select(kind, schema)?)));
        Self(all.collect())
    }

    /// How a kind is read; `None` where the volume's version has no table for it.
    pub(super) fn get(&self, kind: Kind) -> Option<&Select> {
        self.0.get(&kind)
    }
}

fn select(kind: Kind, schema: &Schema) -> Option<Select> {
    match kind {
        Kind::Setting => setting(schema),
        Kind::Counter => counters(schema),
        Kind::Node => table::<Node>(schema),
        Kind::Edge => table::<Edge>(schema),
        Kind::Chunk => table::<Chunk>(schema),
        Kind::SliceRef => table::<SliceRef>(schema),
        Kind::Symlink => table::<Symlink>(schema),
        Kind::Xattr => table::<Xattr>(schema),
        Kind::Parent => Some(parents(schema)),
        Kind::Acl => table::<Acl>(schema),
        Kind::DirStat => table::<DirStat>(schema),
        Kind::Quota => quotas(schema),
        Kind::Sustained => table::<Sustained>(schema),
        Kind::DelFile => table::<DelFile>(schema),
        Kind::DelSlices => table::<DelSlices>(schema),
        Kind::Detached => table::<Detached>(schema),
        Kind::Token => table::<Token>(schema),
        Kind::Links | Kind::Foreign => None,
    }
}

fn ranged(columns: &str, from: String, key: &'static str, table: String) -> Select {
    let sql = format!("SELECT {columns} FROM {from} WHERE {key} BETWEEN ?1 AND ?2 ORDER BY {key}");
    Select { from, key, sql, table }
}

fn table<R: Stored>(schema: &Schema) -> Option<Select> {
    let columns = format!("rowid, {}", schema.list(&R::TABLE, R::COLUMNS));
    schema.has(&R::TABLE).then(|| ranged(&columns, schema.name(&R::TABLE), "rowid", schema.plain_name(&R::TABLE)))
}

fn setting(schema: &Schema) -> Option<Select> {
    let name = schema.name(&Setting::TABLE);
    let from = format!("(SELECT rowid AS k, name, value FROM {name} WHERE name = 'format')");
    Some(ranged("*", from, "k", schema.plain_name(&Setting::TABLE)))
}

/// Counters that are known; those that SQL counts by itself are worked out, under keys below every row's.
fn counters(schema: &Schema) -> Option<Select> {
    let name = schema.name(&Counter::TABLE);
    let mut from = format!("(SELECT rowid AS k, name, value FROM {name} WHERE name IN ({})", counted(schema));
    let serials = [(-2, counter::ACL_MAX_ID, tables::ACL), (-1, counter::TOKEN_MAX_ID, tables::DELEGATION_TOKEN)];
    for (key, counter, table) in serials.iter().filter(|(.., table)| schema.has(table)) {
        let (table, plain, counter) = (schema.name(table), schema.plain_name(table), counter.escape_ascii());
        let known = [
            format!("ifnull((SELECT max(seq) FROM sqlite_sequence WHERE name = '{plain}'), 0)"),
            format!("ifnull((SELECT max(id) FROM {table}), 0)"),
            format!("ifnull((SELECT max(value) FROM {name} WHERE name = '{counter}'), 0)"),
        ];
        let value = known.join(", ");
        from += &format!(" UNION ALL SELECT {key}, '{counter}', v FROM (SELECT max({value}) AS v) WHERE v > 0");
    }
    Some(ranged("*", from + ")", "k", schema.plain_name(&Counter::TABLE)))
}

/// The names of the counters that are rows, as a list in SQL.
fn counted(schema: &Schema) -> String {
    let worked_out = |name: &&&[u8]| match **name {
        counter::ACL_MAX_ID => !schema.has(&tables::ACL),
        counter::TOKEN_MAX_ID => !schema.has(&tables::DELEGATION_TOKEN),
        _ => true,
    };
    let names = counter::ALL.iter().filter(worked_out);
    names.map(|name| format!("'{}'", name.escape_ascii())).collect::<Vec<_>>().join(", ")
}

/// Quotas of directories by inode, and those of users and groups below zero.
fn quotas(schema: &Schema) -> Option<Select> {
    let limits = "max_space, max_inodes, used_space, used_inodes";
    let directories = schema.has(&tables::DIR_QUOTA).then(|| {
        format!("SELECT inode AS k, 0 AS qtype, inode AS qkey, {limits} FROM {}", schema.name(&tables::DIR_QUOTA))
    });
    let others = schema
        .has(&tables::USER_GROUP_QUOTA)
        .then(|| format!("SELECT -rowid AS k, qtype, qkey, {limits} FROM {}", schema.name(&tables::USER_GROUP_QUOTA)));
    let all: Vec<_> = directories.into_iter().chain(others).collect();
    (!all.is_empty()).then(|| ranged("*", format!("({})", all.join(" UNION ALL ")), "k", "quota".to_owned()))
}

/// The names that lead to what is no directory and has no parent of its own.
fn parents(schema: &Schema) -> Select {
    let (node, edge) = (schema.name(&tables::NODE), schema.name(&tables::EDGE));
    let sql = format!(
        "SELECT n.rowid, e.parent FROM {node} n CROSS JOIN {edge} e ON e.inode = n.rowid \
         WHERE n.rowid BETWEEN ?1 AND ?2 AND n.type <> 2 AND ifnull(n.parent, 0) = 0 ORDER BY n.rowid"
    );
    Select { from: node, key: "rowid", sql, table: schema.plain_name(&tables::EDGE) }
}

/// Sessions that have not expired.
pub(super) fn live_sessions(connection: &Connection, schema: &Schema) -> rusqlite::Result<u64> {
    if !schema.has(&tables::SESSION) {
        return Ok(0);
    }
    let name = schema.name(&tables::SESSION);
    connection.query_row(&format!("SELECT count(*) FROM {name} WHERE expire > unixepoch()"), [], unsigned)
}

fn unsigned(row: &rusqlite::Row<'_>) -> rusqlite::Result<u64> {
    row.get(0).map(i64::cast_unsigned)
}

/// Counts what is not carried.
pub(super) fn left_behind(
    connection: &Connection,
    schema: &Schema,
    out: &mut dyn Emit<JuiceFs>,
) -> rusqlite::Result<()> {
    let count = |sql: String| connection.query_row(&sql, [], unsigned);
    let tables = [
        (tables::SESSION, "sessions"),
        (tables::FLOCK, "flocks"),
        (tables::PLOCK, "plocks"),
        (tables::CHANGE_LOG, "change log lines"),
    ];
    for (table, what) in tables.iter().filter(|(table, _)| schema.has(table)) {
        let rows = count(format!("SELECT count(*) FROM {}", schema.name(table)))?;
        if rows > 0 {
            out.left_behind(what, rows);
        }
    }
    let known: Vec<_> = counter::ALL.iter().map(|name| format!("'{}'", name.escape_ascii())).collect();
    let counter = schema.name(&tables::COUNTER);
    let unknown = count(format!("SELECT count(*) FROM {counter} WHERE name NOT IN ({})", known.join(", ")))?;
    if unknown > 0 {
        out.left_behind("unknown counters", unknown);
    }
    Ok(())
}
