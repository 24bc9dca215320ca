//! What can be said of a database before it is read or written: version, rights, room, cost. It changes nothing.

use metaferry_codecs::juicefs::Kind;
use metaferry_pipeline::preflight::{Outlook, Remark, Room};
use metaferry_pipeline::{ErrorKind, Result, Stop};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::address::PostgresAddress;
use super::lock::schema;
use super::pooled::expect_own;
use super::select;
use super::session::{CONNECT, Session};
use super::target::{Found, look};
use crate::sql::room::Question;
use crate::sql::size;

/// The first version that has all that is asked of it, as a number.
const FIRST: i64 = 100_000;
/// What a row takes with its share of indexes, about, in bytes.
const ROW_BYTES: u64 = 150;

/// What a volume is like that is to be read.
pub(super) fn source(address: &PostgresAddress, rooms: &[Room<Kind>], stop: &Stop) -> Result<Outlook<Kind>> {
    let mut session = Session::open(address, stop)?;
    session.begin(None, &[])?;
    let schema = select::schema(&mut session, &address.prefix())?;
    let live_sessions = select::live_sessions(&mut session, &schema)?;
    let mut remarks = vec![version(&mut session)?];
    remarks.extend(unreadable(&mut session, &schema.names())?);
    let rows = rows(&mut session, &schema.names())?;
    let mut largest = Vec::new();
    for question in Question::all(rooms, &schema, |column| format!("octet_length({column})")) {
        let answer = session.ask(&question.sql)?;
        let cells = answer.first().into_iter().flat_map(|row| (0..row.len()).map(|index| number(row, index)));
        largest.extend(question.read(cells));
    }
    session.close();
    Ok(Outlook { remarks, rows: Some(rows), live_sessions, largest })
}

/// What stands in the way of a load.
pub(super) fn target(address: &PostgresAddress, outlook: &Outlook<Kind>, stop: &Stop) -> Result<Vec<Remark>> {
    match expect_own(address, stop) {
        Err(error) if error.kind() == ErrorKind::Refused => return Ok(vec![Remark::of("target", &error)]),
        other => other?,
    }
    let mut session = Session::own(address, CONNECT, stop)?;
    let schema = schema(&mut session)?;
    let mut remarks = vec![version(&mut session)?];
    remarks.push(match look(&mut session, &address.prefix())? {
        Found::Nothing { others: 0 } => Remark::ok("target", format!("the schema {schema} is empty")),
        Found::Nothing { others } => {
            let what = format!("{others} other tables are in the schema {schema}, none of a name that JuiceFS uses");
            Remark::ok("target", format!("{what}; they are left alone"))
        }
        Found::Leftovers => Remark::ok("target", "what a load has left that was cut off is cleared first"),
        Found::Occupied(error) => Remark::of("target", &error),
    });
    remarks.extend(rights(&mut session, &schema)?);
    remarks.extend(sessions(&mut session)?);
    remarks.extend(replication(&mut session)?);
    remarks.push(size(outlook.rows, ROW_BYTES, "and about as much again of write-ahead log"));
    session.close();
    Ok(remarks)
}

fn one(session: &mut Session, sql: &str) -> Result<Option<PgRow>> {
    Ok(session.ask(sql)?.into_iter().next())
}

/// A number of whatever width.
fn number(row: &PgRow, index: usize) -> Option<i64> {
    let narrow = || row.try_get::<Option<i32>, _>(index).map(|value| value.map(i64::from));
    row.try_get::<Option<i64>, _>(index).or_else(|_| narrow()).ok().flatten()
}

fn text(row: Option<&PgRow>, index: usize) -> String {
    row.and_then(|row| row.try_get(index).ok()).unwrap_or_default()
}

fn version(session: &mut Session) -> Result<Remark> {
    let sql = "SELECT current_setting('server_version_num')::bigint, current_setting('server_version'), \
               pg_encoding_to_char(encoding)::text FROM pg_database WHERE datname = current_database()";
    let row = one(session, sql)?;
    let known = row.as_ref().and_then(|row| number(row, 0)).unwrap_or_default();
    let (version, encoding) = (text(row.as_ref(), 1), text(row.as_ref(), 2));
    if known < FIRST {
        let advice = "move to a later version; JuiceFS's own dump and load may do";
        return Ok(Remark::refusal("version", format!("PostgreSQL {version} is older than 10"), advice));
    }
    if encoding != "UTF8" {
        let what = format!("PostgreSQL {version}, whose database is encoded as {encoding}, not as UTF8");
        let advice = "make the database anew with ENCODING 'UTF8': names of attributes may not fit";
        return Ok(Remark::warning("version", what, advice));
    }
    Ok(Remark::ok("version", format!("PostgreSQL {version}")))
}

/// Tables of the volume that may not be read.
fn unreadable(session: &mut Session, tables: &[String]) -> Result<Option<Remark>> {
    let names = tables.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT coalesce(string_agg(c.relname::text, ', '), '') FROM pg_class c \
         WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND c.relname IN ({names}) \
         AND NOT has_table_privilege(c.oid, 'SELECT')"
    );
    let tables = text(one(session, &sql)?.as_ref(), 0);
    let advice = "GRANT SELECT on them to it";
    Ok((!tables.is_empty()).then(|| Remark::refusal("rights", format!("the user may not read {tables}"), advice)))
}

/// About how many rows some tables have; those that were never looked at by the server count as they are large.
fn rows(session: &mut Session, tables: &[String]) -> Result<u64> {
    let names = tables.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT coalesce(sum(CASE WHEN reltuples >= 0 AND relpages > 0 THEN reltuples::bigint \
         ELSE pg_relation_size(oid) / 100 END), 0)::bigint FROM pg_class \
         WHERE relnamespace = to_regnamespace(quote_ident(current_schema())) AND relname IN ({names})"
    );
    session.number(&sql).map(i64::cast_unsigned)
}

/// What the user or the server does not allow.
pub(crate) fn rights(session: &mut Session, schema: &str) -> Result<Vec<Remark>> {
    let sql = "SELECT pg_is_in_recovery()::int, (current_setting('transaction_read_only') = 'on')::int, \
               has_schema_privilege(current_schema(), 'CREATE')::int, current_user::text";
    let row = one(session, sql)?;
    let flag = |index| row.as_ref().and_then(|row| number(row, index)).unwrap_or_default() == 1;
    let user = text(row.as_ref(), 3);
    let mut remarks = Vec::new();
    if flag(0) {
        remarks.push(Remark::refusal(
            "rights",
            "the server is a standby: it can only be read",
            "name the primary server",
        ));
    } else if flag(1) {
        let advice = "set default_transaction_read_only off for the user or the database";
        remarks.push(Remark::refusal("rights", format!("transactions of {user} can only read"), advice));
    }
    if !flag(2) {
        let advice = format!("GRANT CREATE ON SCHEMA {schema} TO {user}");
        remarks.push(Remark::refusal("rights", format!("{user} may not create tables in the schema {schema}"), advice));
    }
    if remarks.is_empty() {
        remarks.push(Remark::ok("rights", format!("{user} may create and fill tables in the schema {schema}")));
    }
    Ok(remarks)
}

/// Whether the server takes as many more sessions as a load opens.
pub(crate) fn sessions(session: &mut Session) -> Result<Option<Remark>> {
    let sql = "SELECT current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint \
               - count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
    let left = session.number(sql)?;
    let advice = "raise max_connections, or give fewer --threads";
    let few = || Remark::warning("sessions", format!("the server takes {} more sessions", left.max(0)), advice);
    Ok((left < 12).then(few))
}

/// Who else gets what is written.
pub(crate) fn replication(session: &mut Session) -> Result<Option<Remark>> {
    let sql = "SELECT (SELECT count(*) FROM pg_stat_replication)::bigint, (SELECT count(*) FROM pg_replication_slots)::bigint, \
               (current_setting('archive_mode') <> 'off')::int";
    let row = one(session, sql)?;
    let count = |index| row.as_ref().and_then(|row| number(row, index)).unwrap_or_default();
    let (standbys, slots, archives) = (count(0), count(1), count(2) == 1);
    if standbys == 0 && slots == 0 && !archives {
        return Ok(None);
    }
    let archive = if archives { ", and its log is archived" } else { "" };
    let what = format!("{standbys} standbys and {slots} slots get every row{archive}");
    let advice = "see that they keep up and have room: what a slot waits for stays on the server's disk";
    Ok(Some(Remark::warning("replication", what, advice)))
}
