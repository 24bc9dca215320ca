//! What is asked of PostgreSQL: one statement a kind, whole tables by ranges of their pages. It runs only small questions.

use metaferry_codecs::juicefs::tables::Table;
use metaferry_codecs::juicefs::{
    Acl, Chunk, Counter, DelFile, DelSlices, Detached, DirStat, Edge, JuiceFs, Kind, Node, Setting, SliceRef,
    Sustained, Symlink, Token, Xattr, counter, tables,
};
use metaferry_pipeline::{Emit, Error, Result};
use sqlx::Row;

use super::session::Session;
use super::{DIALECT, failure};
use crate::sql::rows::Stored;
use crate::sql::schema::Schema;

/// How one kind is read.
#[derive(Debug, Clone)]
pub(super) struct Select {
    /// Selects the columns.
    pub(super) sql: String,
    /// Whether it is one table as it is, so that a range of pages can be asked for.
    pub(super) is_table: bool,
    /// The table's name, for messages.
    pub(super) table: String,
}

impl Select {
    /// The statement that copies out the pages from one to before another, or all.
    pub(super) fn copy(&self, pages: Option<(u64, u64)>) -> String {
        let range = match pages {
            Some((from, u64::MAX)) => format!(" WHERE ctid >= '({from},0)'"),
            Some((from, to)) => format!(" WHERE ctid >= '({from},0)' AND ctid < '({to},0)'"),
            None => String::new(),
        };
        format!("COPY ({}{range}) TO STDOUT (FORMAT binary)", self.sql)
    }
}

/// What of the layout a schema has.
pub(super) fn schema(session: &mut Session, prefix: &str) -> Result<Schema> {
    let found = session.ask(
        "SELECT c.relname::text, a.attname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
         WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND c.relkind IN ('r', 'p') \
         AND a.attnum > 0 AND NOT a.attisdropped",
    )?;
    let found = found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<sqlx::Result<Vec<_>>>();
    let found = found.map_err(|error| failure(&session.shown(), error))?;
    Schema::new(&session.shown(), prefix, DIALECT.quote, found)
}

/// How a kind is read; `None` where the volume's version has no table for it.
pub(super) fn select(kind: Kind, schema: &Schema) -> Option<Select> {
    match kind {
        Kind::Setting => Some(setting(schema)),
        Kind::Counter => Some(counters(schema)),
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

fn table<R: Stored>(schema: &Schema) -> Option<Select> {
    let sql = format!("SELECT {} FROM {}", schema.list(&R::TABLE, R::COLUMNS), schema.name(&R::TABLE));
    schema.has(&R::TABLE).then(|| Select { sql, is_table: true, table: schema.plain_name(&R::TABLE) })
}

fn query(sql: String, table: String) -> Select {
    Select { sql, is_table: false, table }
}

fn setting(schema: &Schema) -> Select {
    let sql = format!("SELECT name, value FROM {} WHERE name = 'format'", schema.name(&Setting::TABLE));
    query(sql, schema.plain_name(&Setting::TABLE))
}

/// Counters that are known; those that the database counts by itself are worked out.
fn counters(schema: &Schema) -> Select {
    let name = schema.name(&Counter::TABLE);
    let mut sql = format!("SELECT name, value FROM {name} WHERE name IN ({})", counted(schema));
    for (counter, table) in [(counter::ACL_MAX_ID, tables::ACL), (counter::TOKEN_MAX_ID, tables::DELEGATION_TOKEN)] {
        if !schema.has(&table) {
            continue;
        }
        let (counter, rows) = (counter.escape_ascii(), schema.name(&table));
        let given = format!(
            "coalesce((SELECT last_value FROM pg_sequences \
             WHERE format('%I.%I', schemaname, sequencename) = pg_get_serial_sequence('{rows}', 'id')), 0)"
        );
        let known = format!("coalesce((SELECT max(id) FROM {rows}), 0)");
        let stored = format!("coalesce((SELECT max(value) FROM {name} WHERE name = '{counter}'), 0)");
        sql += &format!(
            " UNION ALL SELECT '{counter}', v FROM (SELECT greatest({given}, {known}, {stored})::bigint AS v) s WHERE v > 0"
        );
    }
    query(sql, schema.plain_name(&Counter::TABLE))
}

/// The names of the counters that are rows, as a list in SQL.
fn counted(schema: &Schema) -> String {
    let is_row = |name: &&&[u8]| crate::sql::serial(name).is_none_or(|table: &Table| !schema.has(table));
    let names = counter::ALL.iter().filter(is_row);
    names.map(|name| format!("'{}'", name.escape_ascii())).collect::<Vec<_>>().join(", ")
}

fn quotas(schema: &Schema) -> Option<Select> {
    let limits = "max_space, max_inodes, used_space, used_inodes";
    let directories = schema
        .has(&tables::DIR_QUOTA)
        .then(|| format!("SELECT 0 AS qtype, inode AS qkey, {limits} FROM {}", schema.name(&tables::DIR_QUOTA)));
    let others = schema
        .has(&tables::USER_GROUP_QUOTA)
        .then(|| format!("SELECT qtype, qkey, {limits} FROM {}", schema.name(&tables::USER_GROUP_QUOTA)));
    let all: Vec<_> = directories.into_iter().chain(others).collect();
    (!all.is_empty()).then(|| query(all.join(" UNION ALL "), "quota".to_owned()))
}

/// The names that lead to what is no directory and has no parent of its own.
fn parents(schema: &Schema) -> Select {
    let (node, edge) = (schema.name(&tables::NODE), schema.name(&tables::EDGE));
    let sql = format!(
        "SELECT n.inode, e.parent, count(*) FROM {node} n JOIN {edge} e ON e.inode = n.inode \
         WHERE n.type <> 2 AND coalesce(n.parent, 0) = 0 GROUP BY n.inode, e.parent ORDER BY n.inode, e.parent"
    );
    query(sql, schema.plain_name(&tables::EDGE))
}

/// The names that lead to some inodes, a list of them.
pub(super) fn parents_of(inodes: &str, schema: &Schema) -> Select {
    let sql = format!(
        "SELECT inode, parent, count(*) FROM {} WHERE inode IN ({inodes}) GROUP BY inode, parent ORDER BY inode, parent",
        schema.name(&tables::EDGE)
    );
    query(sql, schema.plain_name(&tables::EDGE))
}

/// Sessions that have not expired.
pub(super) fn live_sessions(session: &mut Session, schema: &Schema) -> Result<u64> {
    if !schema.has(&tables::SESSION) {
        return Ok(0);
    }
    let name = schema.name(&tables::SESSION);
    session
        .number(&format!("SELECT count(*) FROM {name} WHERE expire > extract(epoch FROM now())"))
        .map(i64::cast_unsigned)
}

/// Counts what is not carried.
pub(super) fn left_behind(session: &mut Session, schema: &Schema, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
    let tables = [
        (tables::SESSION, "sessions"),
        (tables::FLOCK, "flocks"),
        (tables::PLOCK, "plocks"),
        (tables::CHANGE_LOG, "change log lines"),
    ];
    for (table, what) in tables.iter().filter(|(table, _)| schema.has(table)) {
        let rows = session.number(&format!("SELECT count(*) FROM {}", schema.name(table)))?;
        out.left_behind(what, rows.cast_unsigned());
    }
    let known: Vec<_> = counter::ALL.iter().map(|name| format!("'{}'", name.escape_ascii())).collect();
    let counter = schema.name(&tables::COUNTER);
    let sql = format!("SELECT count(*) FROM {counter} WHERE name NOT IN ({})", known.join(", "));
    out.left_behind("unknown counters", session.number(&sql)?.cast_unsigned());
    Ok(())
}

/// How large a table is: in pages, and about how many rows of it.
pub(super) fn extent(session: &mut Session, table: &str) -> Result<(u64, u64)> {
    let sql = format!(
        "SELECT (pg_relation_size(c.oid) / current_setting('block_size')::bigint)::bigint, \
         greatest(c.reltuples / greatest(c.relpages, 1), 1)::bigint FROM pg_class c \
         WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND c.relname = '{table}'"
    );
    let rows = session.ask(&sql)?;
    let wrong = || Error::corrupt(format!("{}: the table {table} is gone", session.shown()));
    let row = rows.first().ok_or_else(wrong)?;
    let number = |index: usize| row.try_get::<i64, _>(index).map(i64::cast_unsigned);
    let extent = number(0).and_then(|pages| Ok((pages, number(1)?)));
    extent.map_err(|error| failure(&session.shown(), error))
}
