//! The statements of a patch, in both dialects: what joins the staging table `s` with a table of resources `m`. No statement names
//! the staging table twice, which MySQL refuses of a temporary one. It runs none.

use metaferry_codecs::kylin::Layout;
use metaferry_codecs::kylin::address::Dialect;

use super::super::tables::{Column, Holds, Placed};
use super::encode::filled_name;
use super::parts::{Op, Step};
use super::targets::Target;

/// How statements are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sql<'s> {
    pub(super) dialect: Dialect,
    /// The staging table.
    pub(super) staged: &'s str,
    /// The time of the restore, in milliseconds since 1970.
    pub(super) now: i64,
}

/// The rows of a table with which one thing is done.
fn rows(target: &Target, op: Op) -> String {
    format!("s.part = {} AND s.op = {}", target.number, op.number())
}

impl Sql<'_> {
    /// PostgreSQL tries to compress every content by its own algorithm first, which costs a sixth of a restore where it is so
    /// already; another one gives up sooner. For this transaction, from PostgreSQL 14 on, where the server has it.
    pub(super) const GIVES_UP_SOON: &'static str = "SELECT set_config('default_toast_compression', 'lz4', true) \
        FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)";

    /// Keeps every other writer from PostgreSQL's tables until the transaction ends, which everybody can still read: nothing
    /// appears there either, and no row need be touched.
    pub(super) fn lock_tables(tables: &[(&Target, String)]) -> String {
        let names: Vec<_> = tables.iter().map(|(target, _)| target.placed.name.as_str()).collect();
        format!("LOCK TABLE {} IN EXCLUSIVE MODE", names.join(", "))
    }

    /// Keeps every other writer from the rows within and the gaps between them, in MySQL, whose `LOCK TABLES` ends transactions.
    /// Counts, on the one way through them, the rows that are as they were seen, and those that were not seen.
    pub(super) fn lock_rows(&self, target: &Target, within: &str) -> String {
        let [key, .., mvcc] = target.placed.resource_columns();
        let is_seen = format!("s.op <> {}", Op::Insert.number());
        let same =
            format!("{is_seen} AND coalesce(m.{mvcc}, 0) = s.mvcc AND CAST(m.{key} AS BINARY) = CAST(s.k AS BINARY)");
        let [same, unseen] = [same.as_str(), "s.k IS NULL"].map(|what| format!("CAST(sum({what}) AS SIGNED)"));
        format!(
            "SELECT {same}, {unseen} FROM {} m LEFT JOIN {} ON s.part = {} AND s.k = m.{key} WHERE {within} LOCK IN SHARE MODE",
            target.placed.name,
            self.narrow(),
            target.number
        )
    }

    /// Rows that are no longer as they were seen: key, and what they are seen with now, nothing where they are gone.
    pub(super) fn changed(&self, target: &Target) -> String {
        let [key, .., mvcc] = target.placed.resource_columns();
        let same = match self.dialect {
            Dialect::Postgres => format!("m.{key} = s.k"),
            // Its collation may take one key for another.
            Dialect::Mysql => format!("m.{key} = s.k AND CAST(m.{key} AS BINARY) = CAST(s.k AS BINARY)"),
        };
        format!(
            "SELECT s.k, s.mvcc, coalesce(m.{mvcc}, CASE WHEN m.{key} IS NULL THEN NULL ELSE 0 END) \
             FROM {} LEFT JOIN {} m ON {same} WHERE s.part = {} AND s.op <> {} \
             AND (m.{key} IS NULL OR coalesce(m.{mvcc}, 0) <> s.mvcc)",
            self.narrow(),
            target.placed.name,
            target.number,
            Op::Insert.number()
        )
    }

    /// The staging table, of which keys and versions are looked at.
    fn narrow(&self) -> String {
        match self.dialect {
            Dialect::Postgres => format!("{} s", self.staged),
            Dialect::Mysql => format!("{} s FORCE INDEX (narrow)", self.staged),
        }
    }

    /// Keys of rows that are there and were not when the rows were seen; with those that are out of reach.
    pub(super) fn appeared(&self, target: &Target, within: &str) -> String {
        let [key, ..] = target.placed.resource_columns();
        format!(
            "SELECT m.{key} FROM {} m LEFT JOIN {} ON s.part = {} AND s.k = m.{key} WHERE s.k IS NULL AND {within}",
            target.placed.name,
            self.narrow(),
            target.number
        )
    }

    /// Keys of rows that are where others shall come, and of those others.
    pub(super) fn in_the_way(&self, target: &Target) -> String {
        let [key, ..] = target.placed.resource_columns();
        let (staged, name) = (self.staged, &target.placed.name);
        format!("SELECT m.{key}, s.k FROM {staged} s JOIN {name} m ON m.{key} = s.k WHERE {}", rows(target, Op::Insert))
    }

    /// Remembers the projects of rows that are to go, for the log.
    pub(super) fn remember_projects(&self, target: &Target, project: usize) -> String {
        let ([key, ..], filled) = (target.placed.resource_columns(), filled_name(project));
        let (staged, name, rows) = (self.staged, &target.placed.name, rows(target, Op::Delete));
        match self.dialect {
            Dialect::Postgres => {
                format!("UPDATE {staged} s SET {filled} = m.project FROM {name} m WHERE {rows} AND m.{key} = s.k")
            }
            Dialect::Mysql => {
                format!("UPDATE {staged} s JOIN {name} m ON m.{key} = s.k SET s.{filled} = m.project WHERE {rows}")
            }
        }
    }

    /// What is changed comes first in MySQL: else it puts all that is to be written aside before it writes.
    pub(super) fn delete(&self, target: &Target, within: &str) -> String {
        let [key, ..] = target.placed.resource_columns();
        let (staged, name, rows) = (self.staged, &target.placed.name, rows(target, Op::Delete));
        match self.dialect {
            Dialect::Postgres => format!("DELETE FROM {name} m USING {staged} s WHERE {rows} AND m.{key} = s.k"),
            Dialect::Mysql => format!(
                "DELETE m FROM {name} m STRAIGHT_JOIN {} ON m.{key} = s.k WHERE {rows} AND {within}",
                self.narrow()
            ),
        }
    }

    /// Makes what is unique in rows that are to be replaced unlike everything, where it is to change: so two of them can exchange it.
    pub(super) fn step_aside(&self, target: &Target, within: &str) -> String {
        let columns = target.unique();
        let set: Vec<_> = columns.iter().map(|column| (*column, self.unlike())).collect();
        let differs = columns.iter().map(|column| {
            let new = target.filled(column).map(filled_name).unwrap_or_default();
            match self.dialect {
                Dialect::Postgres => format!("m.{column}::text IS DISTINCT FROM s.{new}"),
                Dialect::Mysql => format!("NOT CAST(m.{column} AS BINARY) <=> CAST(s.{new} AS BINARY)"),
            }
        });
        let differs = differs.collect::<Vec<_>>().join(" OR ");
        self.update(target, &set, &format!("{within} AND ({differs})"))
    }

    fn unlike(&self) -> String {
        match self.dialect {
            Dialect::Postgres => "'~' || m.id::text".to_owned(),
            Dialect::Mysql => "CONCAT('~', m.id)".to_owned(),
        }
    }

    /// Replaces rows that are still as they were seen.
    pub(super) fn replace(&self, target: &Target, within: &str) -> String {
        let [key, content, ts, mvcc] = target.placed.resource_columns();
        let same = match self.dialect {
            Dialect::Postgres => String::new(),
            Dialect::Mysql => format!(" AND CAST(m.{key} AS BINARY) = CAST(s.k AS BINARY)"),
        };
        let within = format!("{within} AND coalesce(m.{mvcc}, 0) = s.mvcc{same}");
        let mut set =
            vec![(content, "s.content".to_owned()), (ts, self.now.to_string()), (mvcc, "s.mvcc + 1".to_owned())];
        set.extend(
            target.placed.table.filled().zip(0..).map(|(column, index)| (column.name, self.value(column, index))),
        );
        self.update(target, &set, &within)
    }

    fn update(&self, target: &Target, set: &[(&'static str, String)], and: &str) -> String {
        let [key, ..] = target.placed.resource_columns();
        let (staged, name, rows) = (self.staged, &target.placed.name, rows(target, Op::Replace));
        let set = |table: &str| {
            set.iter().map(|(column, value)| format!("{table}{column} = {value}")).collect::<Vec<_>>().join(", ")
        };
        match self.dialect {
            Dialect::Postgres => {
                format!("UPDATE {name} m SET {} FROM {staged} s WHERE {rows} AND m.{key} = s.k AND {and}", set(""))
            }
            Dialect::Mysql => {
                format!(
                    "UPDATE {name} m STRAIGHT_JOIN {staged} s ON m.{key} = s.k SET {} WHERE {rows} AND {and}",
                    set("m.")
                )
            }
        }
    }

    pub(super) fn insert(&self, target: &Target) -> String {
        let [key, content, ts, mvcc] = target.placed.resource_columns();
        let filled = target.placed.table.filled().zip(0..);
        let (names, values): (Vec<_>, Vec<_>) = filled
            .map(|(column, index)| (format!(", {}", column.name), format!(", {}", self.value(column, index))))
            .unzip();
        format!(
            "INSERT INTO {} ({key}, {content}, {ts}, {mvcc}{}) SELECT s.k, s.content, {}, 0{} FROM {} s WHERE {}",
            target.placed.name,
            names.concat(),
            self.now,
            values.concat(),
            self.staged,
            rows(target, Op::Insert)
        )
    }

    /// What fills a column, of its own type.
    fn value(&self, column: &Column, index: usize) -> String {
        let name = format!("s.{}", filled_name(index));
        let value = match self.dialect {
            Dialect::Postgres if matches!(column.holds, Holds::Long | Holds::Int | Holds::Count) => {
                format!("{name}::bigint")
            }
            _ => name,
        };
        if column.holds == Holds::Count { format!("coalesce({value}, 0)") } else { value }
    }

    /// Writes one step of the log. `first` is the number of its first row, where the numbers are not the database's to give:
    /// that leaves numbers out in MySQL, and a server of Kylin's waits for those for minutes.
    pub(super) fn log(&self, log: &Placed, target: &Target, step: &Step, stamp: &Stamp<'_>) -> String {
        let mvcc = match step.op {
            Op::Insert => "0",
            Op::Delete => "NULL",
            Op::Replace | Op::Keep => "s.mvcc + 1",
        };
        let Stamp { unit, instance, ids, .. } = stamp;
        let mut columns = "meta_key, meta_content, meta_ts, meta_mvcc, unit_id, operator, instance".to_owned();
        let mut values =
            format!("{}, s.content, {}, {mvcc}, '{unit}', NULL, {instance}", self.whole_key(target), self.now);
        if target.part.is_some() {
            columns += ", model_uuid, project, diff_flag";
            let model = target.model().filter(|_| step.op != Op::Delete);
            let model = model.map_or_else(|| "NULL".to_owned(), |index| format!("s.{}", filled_name(index)));
            let project = target.filled("project");
            let project = project.map_or_else(|| "'_global'".to_owned(), |index| format!("s.{}", filled_name(index)));
            values += &format!(", {model}, {project}, false");
        }
        let mut rows = rows(target, step.op);
        if let Some((from, to)) = &stamp.folder {
            rows += &format!(" AND s.k >= {from} AND s.k < {to}");
        }
        let (name, staged) = (&log.name, self.staged);
        match ids {
            None => format!("INSERT INTO {name} ({columns}) SELECT {values} FROM {staged} s WHERE {rows} ORDER BY s.k"),
            Some((first, apart)) => {
                format!(
                    "INSERT INTO {name} (id, {columns}) SELECT {first} + s.n * {apart}, {values} FROM {staged} s WHERE {rows}"
                )
            }
        }
    }

    /// The key as resources have it.
    fn whole_key(&self, target: &Target) -> String {
        match (target.part, self.dialect) {
            (None, _) => "s.k".to_owned(),
            (Some(part), Dialect::Postgres) => format!("'{part}/' || s.k"),
            (Some(part), Dialect::Mysql) => format!("CONCAT('{part}/', s.k)"),
        }
    }
}

/// What rows of the log have in common.
#[derive(Debug)]
pub(super) struct Stamp<'s> {
    /// The id of their unit.
    pub(super) unit: &'s str,
    /// Who wrote them, as a literal.
    pub(super) instance: &'s str,
    /// In the flat layout, from which key to which they are, as literals.
    pub(super) folder: Option<(String, String)>,
    /// The number of the first, and how far numbers are apart.
    pub(super) ids: Option<(i64, i64)>,
}

/// From which key to which the resources of a folder are.
pub(super) fn folder(layout: Layout, part: &[u8], literal: &dyn Fn(&[u8]) -> String) -> Option<(String, String)> {
    let end = |end: u8| literal(&[b"/", part, &[end]].concat());
    (layout == Layout::Flat).then(|| (end(b'/'), end(b'/' + 1)))
}

#[cfg(test)]
mod tests {
    use super::super::super::tables::{Located, Table};
    use super::super::targets::Targets;
    use super::*;

    #[test]
    fn no_statement_names_the_staging_table_twice() {
        for layout in [Layout::Flat, Layout::Typed] {
            let located = Located::made(layout, None, &|table: &Table| table.name("k"));
            let targets = Targets::new(&located, true);
            for (dialect, target) in [Dialect::Postgres, Dialect::Mysql]
                .iter()
                .flat_map(|dialect| targets.all.iter().map(move |target| (*dialect, target)))
            {
                let sql = Sql { dialect, staged: "staged", now: 5 };
                let ids = (dialect == Dialect::Mysql).then_some((8, 1));
                let stamp = Stamp { unit: "u", instance: "'i'", folder: None, ids };
                let step = |op| Step { part: Vec::new(), op, rows: 1 };
                let log = targets.log.as_ref().unwrap();
                let logged = [Op::Insert, Op::Replace, Op::Delete].map(|op| sql.log(log, target, &step(op), &stamp));
                let asked = [
                    sql.lock_rows(target, "true"),
                    sql.changed(target),
                    sql.appeared(target, "true"),
                    sql.in_the_way(target),
                ];
                let changes = [sql.delete(target, "true"), sql.replace(target, "true"), sql.insert(target)];
                let typed = target.part.map(|_| sql.step_aside(target, "true"));
                let project = target.filled("project").map(|project| sql.remember_projects(target, project));
                for sql in asked.into_iter().chain(changes).chain(logged).chain(typed).chain(project) {
                    assert_eq!(sql.matches("staged").count(), 1, "{sql}");
                }
            }
        }
    }

    #[test]
    fn tables_are_locked_in_the_order_of_their_keys() {
        let located = Located::made(Layout::Typed, None, &|table: &Table| table.name("k"));
        let targets = Targets::new(&located, true);
        let tables: Vec<_> = targets.all.iter().map(|target| (target, "true".to_owned())).collect();
        let lock = Sql::lock_tables(&tables);
        assert!(
            lock.starts_with("LOCK TABLE k_acl, k_cc_model_relation, ") && lock.matches(", ").count() == 29,
            "{lock}"
        );
        let layout = targets.all.iter().position(|target| target.part == Some("LAYOUT")).unwrap();
        assert_eq!(targets.all[layout + 1].part, Some("LAYOUT_DETAILS"), "as their keys are, with the slash");
    }
}
