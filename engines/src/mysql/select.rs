//! What is asked of MySQL: one statement a kind, tables by ranges of their key. It runs only small questions.

use metaferry_codecs::juicefs::tables::Table;
use metaferry_codecs::juicefs::{
    Acl, Chunk, Counter, DelFile, DelSlices, Detached, DirStat, Edge, JuiceFs, Kind, Node, Setting, SliceRef,
    Sustained, Symlink, Token, Xattr, counter, tables,
};
use metaferry_pipeline::{Emit, Error, Result};

use super::DIALECT;
use super::session::{Session, cell};
use crate::sql::plan;
use crate::sql::rows::Stored;
use crate::sql::schema::Schema;

/// How one kind is read.
#[derive(Debug, Clone)]
pub(super) struct Select {
    /// Selects the columns; between two keys, by key, where there is one.
    pub(super) sql: String,
    /// The table and the key that ranges go by.
    pub(super) ranged: Option<(String, &'static str)>,
    /// The table's name, for messages.
    pub(super) table: String,
}

/// The quoted names of a volume's tables.
///
/// # Errors
/// One that has no transactions.
pub(super) fn tables(session: &mut Session, prefix: &str) -> Result<Vec<String>> {
    let sql = "SELECT table_name, engine FROM information_schema.tables \
               WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'";
    let mut names = Vec::new();
    for row in session.ask(sql)? {
        let (name, engine): (String, String) = (cell(&row, 0).unwrap_or_default(), cell(&row, 1).unwrap_or_default());
        if !tables::ALL.iter().any(|table| name.strip_prefix(prefix) == Some(table.name)) {
            continue;
        }
        if !engine.eq_ignore_ascii_case("InnoDB") {
            let what = format!("{}: the table {name} is of {engine}, which knows no point in time", session.shown());
            return Err(Error::refused(what).hint("make it one of InnoDB with ALTER TABLE, as JuiceFS has it"));
        }
        names.push(DIALECT.quoted(&name));
    }
    Ok(names)
}

/// What of the layout a database has.
pub(super) fn schema(session: &mut Session, prefix: &str) -> Result<Schema> {
    let sql = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE()";
    let found = session.ask(sql)?;
    let found: Vec<(String, String)> = found.iter().filter_map(|row| Some((cell(row, 0)?, cell(row, 1)?))).collect();
    expect_sight(session, prefix, &found)?;
    Schema::new(&session.shown(), prefix, DIALECT.quote, found)
}

/// The server lists what the account may read, and no more: what it does not list has to be missing, not hidden.
fn expect_sight(session: &mut Session, prefix: &str, found: &[(String, String)]) -> Result<()> {
    let is_ours = |name: &str| tables::ALL.iter().any(|table| name.strip_prefix(prefix) == Some(table.name));
    if !found.iter().any(|(table, _)| is_ours(table)) {
        return Ok(());
    }
    for table in tables::ALL {
        let name = format!("{prefix}{}", table.name);
        let listed: Vec<_> = found.iter().filter(|(table, _)| *table == name).map(|(_, column)| column).collect();
        let mut unlisted = table.columns.iter().filter(|column| !listed.iter().any(|name| *name == column.name));
        let (quoted, is_listed) = (DIALECT.quoted(&name), !listed.is_empty());
        let look = |what: &str| format!("SELECT {what} FROM {quoted} LIMIT 0");
        if !is_listed {
            session.is_there(&look("1"))?;
        } else {
            unlisted.try_for_each(|column| session.is_there(&look(&DIALECT.quoted(column.name))).map(drop))?;
        }
    }
    Ok(())
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

/// A table whose key is a number.
fn table<R: Stored>(schema: &Schema) -> Option<Select> {
    let key = R::TABLE.key.first()?;
    let (name, columns) = (schema.name(&R::TABLE), schema.list(&R::TABLE, R::COLUMNS));
    let sql = format!("SELECT {columns} FROM {name} WHERE {key} BETWEEN ? AND ? ORDER BY {key}");
    schema.has(&R::TABLE).then(|| Select { sql, ranged: Some((name, key)), table: schema.plain_name(&R::TABLE) })
}

fn query(sql: String, table: String) -> Select {
    Select { sql, ranged: None, table }
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
        let (counter, plain, rows) = (counter.escape_ascii(), schema.plain_name(&table), schema.name(&table));
        let given = format!(
            "(SELECT CAST(auto_increment AS SIGNED) - 1 FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name = '{plain}')"
        );
        let known = format!("(SELECT max(id) FROM {rows})");
        let stored = format!("(SELECT max(value) FROM {name} WHERE name = '{counter}')");
        sql += &format!(
            " UNION ALL SELECT '{counter}', v FROM (SELECT CAST(greatest(coalesce({given}, 0), \
             coalesce({known}, 0), coalesce({stored}, 0)) AS SIGNED) AS v) s WHERE v > 0"
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

/// The names that lead to what is no directory and has no parent of its own. Nodes are gone through, never the entries.
fn parents(schema: &Schema) -> Select {
    let (node, edge) = (schema.name(&tables::NODE), schema.name(&tables::EDGE));
    let sql = format!(
        "SELECT n.inode, e.parent, count(*) FROM {node} n STRAIGHT_JOIN {edge} e ON e.inode = n.inode \
         WHERE n.inode BETWEEN ? AND ? AND n.type <> 2 AND coalesce(n.parent, 0) = 0 \
         GROUP BY n.inode, e.parent ORDER BY n.inode, e.parent"
    );
    Select { sql, ranged: Some((node, "inode")), table: schema.plain_name(&tables::EDGE) }
}

/// The names that lead to some inodes, a list of them.
pub(super) fn parents_of(inodes: &str, schema: &Schema) -> Select {
    let sql = format!(
        "SELECT inode, parent, count(*) FROM {} WHERE inode IN ({inodes}) GROUP BY inode, parent ORDER BY inode, parent",
        schema.name(&tables::EDGE)
    );
    query(sql, schema.plain_name(&tables::EDGE))
}

/// What planning asks of a table.
pub(super) struct Probe<'p> {
    pub(super) session: &'p mut Session,
    pub(super) table: &'p str,
    pub(super) key: &'static str,
}

impl plan::Probe for Probe<'_> {
    type Error = Error;

    fn after(&mut self, from: i64, rows: u64) -> Result<Option<i64>> {
        let Self { session, table, key } = self;
        session.value(&format!("SELECT {key} FROM {table} WHERE {key} >= {from} ORDER BY {key} LIMIT 1 OFFSET {rows}"))
    }

    fn count(&mut self, from: i64) -> Result<u64> {
        let Self { session, table, key } = self;
        session.number(&format!("SELECT count(*) FROM {table} WHERE {key} >= {from}")).map(i64::cast_unsigned)
    }
}

/// Sessions that have not expired.
pub(super) fn live_sessions(session: &mut Session, schema: &Schema) -> Result<u64> {
    if !schema.has(&tables::SESSION) {
        return Ok(0);
    }
    let name = schema.name(&tables::SESSION);
    session.number(&format!("SELECT count(*) FROM {name} WHERE expire > unix_timestamp()")).map(i64::cast_unsigned)
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
