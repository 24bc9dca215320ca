//! What can be said of a database before it is read or written: version, rights, room, cost. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use metaferry_codecs::juicefs::Kind;
use metaferry_pipeline::preflight::{Outlook, Remark, Room};
use metaferry_pipeline::{Result, Stop};

use super::address::MysqlAddress;
use super::select;
use super::session::{Session, cell};
use super::target::{Found, look};
use crate::sql::room::Question;
use crate::sql::size;

/// What a row takes with its share of indexes, about, in bytes.
const ROW_BYTES: u64 = 170;
/// The least that a packet may be: the largest row that JuiceFS makes, and what stands around it.
const LEAST_PACKET: u64 = 4 << 20;
/// What a load does to its database.
const NEEDED: [&str; 7] = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER"];
/// The variables that are looked at; no server has all of them.
const VARIABLES: [&str; 10] = [
    "version",
    "read_only",
    "super_read_only",
    "innodb_read_only",
    "local_infile",
    "max_allowed_packet",
    "collation_database",
    "log_bin",
    "wsrep_on",
    "have_innodb",
];

/// What a volume is like that is to be read.
pub(super) fn source(address: &MysqlAddress, rooms: &[Room<Kind>], stop: &Stop) -> Result<Outlook<Kind>> {
    let mut session = Session::open(address, stop)?;
    let schema = select::schema(&mut session, &address.prefix())?;
    let live_sessions = select::live_sessions(&mut session, &schema)?;
    select::tables(&mut session, &address.prefix())?;
    let remarks = vec![version(&Variables::of(&mut session)?)];
    let names = schema.names().iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let rows = session.number(&format!(
        "SELECT CAST(COALESCE(SUM(table_rows), 0) AS SIGNED) FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name IN ({names})"
    ))?;
    let mut largest = Vec::new();
    for question in Question::all(rooms, &schema, |column| format!("octet_length({column})")) {
        let answer = session.ask(&question.sql)?;
        let cells = answer.first().into_iter().flat_map(|row| (0..row.len()).map(|index| cell(row, index)));
        largest.extend(question.read(cells));
    }
    session.close();
    Ok(Outlook { remarks, rows: Some(rows.cast_unsigned()), live_sessions, largest })
}

/// What stands in the way of a load.
pub(super) fn target(address: &MysqlAddress, outlook: &Outlook<Kind>, stop: &Stop) -> Result<Vec<Remark>> {
    let mut session = Session::open(address, stop)?;
    let database: String = session.value("SELECT DATABASE()")?.unwrap_or_default();
    let variables = Variables::of(&mut session)?;
    let mut remarks = vec![version(&variables)];
    remarks.push(match look(&mut session, &address.prefix())? {
        Found::Nothing { others: 0 } => Remark::ok("target", format!("the database {database} is empty")),
        Found::Nothing { others } => {
            let what =
                format!("{others} other tables are in the database {database}, none of a name that JuiceFS uses");
            Remark::ok("target", format!("{what}; they are left alone"))
        }
        Found::Leftovers => Remark::ok("target", "what a load has left that was cut off is cleared first"),
        Found::Occupied(error) => Remark::of("target", &error),
    });
    remarks.push(rights(&mut session, &database)?);
    remarks.extend(variables.remarks(&database));
    remarks.extend(replication(&mut session, &variables)?);
    remarks.push(size(outlook.rows, ROW_BYTES, "and as much of redo and undo log for a while"));
    session.close();
    Ok(remarks)
}

/// The settings of a server.
struct Variables(BTreeMap<String, String>);

impl Variables {
    fn of(session: &mut Session) -> Result<Self> {
        let names = VARIABLES.map(|name| format!("'{name}'")).join(", ");
        let rows = session.ask(&format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})"))?;
        let mut all: BTreeMap<String, String> =
            rows.iter().filter_map(|row| Some((cell(row, 0)?, cell(row, 1)?))).collect();
        // That of the database, not that of new ones.
        if let Some(collation) = session.value("SELECT @@collation_database")? {
            all.insert("collation_database".to_owned(), collation);
        }
        Ok(Self(all))
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn is_on(&self, name: &str) -> bool {
        matches!(self.get(name), "ON" | "1")
    }

    fn remarks(&self, database: &str) -> Vec<Remark> {
        let mut remarks = Vec::new();
        if let Some(name) = ["innodb_read_only", "super_read_only"].into_iter().find(|name| self.is_on(name)) {
            remarks.push(Remark::refusal(
                "rights",
                format!("the server is read-only: {name} is on"),
                "name the primary server",
            ));
        } else if self.is_on("read_only") {
            let advice = "name the primary server, unless the account may write all the same";
            remarks.push(Remark::warning(
                "rights",
                "the server is read-only for most accounts: read_only is on",
                advice,
            ));
        }
        let collation = self.get("collation_database");
        remarks.push(if collation.ends_with("_bin") || collation == "binary" {
            Remark::ok("collation", format!("{collation} tells all names apart"))
        } else {
            let what =
                format!("{collation} takes some names of attributes for equal, such as those that differ in case");
            let advice = format!(
                "ALTER DATABASE {database} COLLATE utf8mb4_bin, while it is empty; else two of a file end the load"
            );
            Remark::warning("collation", what, advice)
        });
        let packet = self.get("max_allowed_packet").parse::<u64>().unwrap_or(u64::MAX);
        remarks.push(if packet >= LEAST_PACKET {
            Remark::ok("packets", format!("up to {} MiB", packet >> 20))
        } else {
            let what = format!("up to {} KiB: a larger row ends the load", packet >> 10);
            Remark::warning("packets", what, "raise max_allowed_packet; JuiceFS needs it for long lists of slices too")
        });
        if self.0.contains_key("local_infile") && !self.is_on("local_infile") {
            let advice = "set local_infile on for the time of the load";
            remarks.push(Remark::warning(
                "speed",
                "rows go by statements, about half as fast: local_infile is off",
                advice,
            ));
        }
        remarks
    }
}

fn version(variables: &Variables) -> Remark {
    let version = variables.get("version");
    let name = if version.contains("MariaDB") { "" } else { "MySQL " };
    let number = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok()).take(2).collect::<Vec<_>>();
    let first = if version.contains("MariaDB") { [10, 2] } else { [5, 7] };
    if number.as_slice() < first.as_slice() {
        let what = format!("{name}{version} cannot index names as long as JuiceFS's");
        return Remark::refusal("version", what, "move to MySQL 5.7, MariaDB 10.2 or later");
    }
    Remark::ok("version", format!("{name}{version}"))
}

/// Whether the account may do what a load does. What comes by a role is not seen here.
pub(crate) fn rights(session: &mut Session, database: &str) -> Result<Remark> {
    let account: String = session.value("SELECT CURRENT_USER()")?.unwrap_or_default();
    let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
    let grantee = format!("'{user}'@'{host}'").replace('\'', "''");
    // Of the databases' grants that fit, the one with the plainest name counts, and no other.
    let held = session.ask(&format!(
        "SELECT privilege_type FROM information_schema.user_privileges WHERE grantee = '{grantee}' UNION \
         SELECT privilege_type FROM information_schema.schema_privileges WHERE grantee = '{grantee}' AND table_schema = \
         (SELECT table_schema FROM information_schema.schema_privileges \
          WHERE grantee = '{grantee}' AND DATABASE() LIKE table_schema \
          ORDER BY table_schema = DATABASE() DESC, INSTR(table_schema, '%') DESC, CHAR_LENGTH(table_schema) DESC LIMIT 1)"
    ))?;
    let held: BTreeSet<String> = held.iter().filter_map(|row| cell(row, 0)).collect();
    let missing = NEEDED.into_iter().filter(|needed| !held.contains(*needed)).collect::<Vec<_>>().join(", ");
    if missing.is_empty() {
        return Ok(Remark::ok("rights", format!("{account} may create and fill tables in {database}")));
    }
    let advice = format!("GRANT {missing} ON {database}.* TO {}", grantee.replace("''", "'"));
    let role: Option<String> = session.value("SELECT CURRENT_ROLE()").unwrap_or_default();
    if let Some(role) = role.filter(|role| role != "NONE") {
        let what =
            format!("{account} itself lacks {missing} on {database}; what its role {role} may was not looked at");
        return Ok(Remark::warning("rights", what, advice));
    }
    Ok(Remark::refusal("rights", format!("{account} lacks {missing} on {database}"), advice))
}

/// Who else gets what is written.
fn replication(session: &mut Session, variables: &Variables) -> Result<Vec<Remark>> {
    let mut remarks = Vec::new();
    if variables.is_on("wsrep_on") {
        let what = "a Galera cluster: every node gets every row before a statement ends";
        remarks.push(Remark::warning("replication", what, "load into one node at rest, and see wsrep_max_ws_size"));
    }
    if variables.is_on("log_bin") {
        let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'";
        let replicas = session.number(sql)?;
        let what = format!("every row is written to the binary log too, and {replicas} replicas read it");
        let advice = "see that they keep up, and that there is room for the log until it is purged";
        remarks.push(Remark::warning("replication", what, advice));
    }
    Ok(remarks)
}
