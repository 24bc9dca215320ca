//! What is asked of a metastore's tables, as statements. It runs none.

use metaferry_codecs::kylin::address::Dialect;

use super::tables::{Placed, Role};

/// Text as a statement has it, whatever is in it.
pub(crate) fn literal(dialect: Dialect, text: &[u8]) -> String {
    let hex: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
    match dialect {
        Dialect::Postgres => format!("convert_from(decode('{hex}', 'hex'), 'UTF8')"),
        Dialect::Mysql => format!("CONVERT(X'{hex}' USING utf8mb4)"),
    }
}

/// The table of the flat layout's resources, whose keys are compared by their bytes, by its own index where that does so.
pub(crate) struct Keyed<'p> {
    dialect: Dialect,
    placed: &'p Placed,
    /// The column as it is compared.
    key: String,
    /// What the text it is compared with is made to be: encoding and collation, of MySQL alone.
    text: Option<(&'p str, String)>,
}

impl<'p> Keyed<'p> {
    /// The resources in this table.
    pub(crate) fn new(dialect: Dialect, placed: &'p Placed) -> Self {
        let [column, ..] = placed.resource_columns();
        let (key, text) = match (dialect, &placed.collation) {
            (Dialect::Postgres, _) => (format!("{column} COLLATE \"C\""), None),
            (Dialect::Mysql, None) => (column.to_owned(), None),
            (Dialect::Mysql, Some((encoding, own))) if own.ends_with("_bin") => {
                (column.to_owned(), Some((encoding.as_str(), own.clone())))
            }
            (Dialect::Mysql, Some((encoding, _))) => {
                let binary = format!("{encoding}_bin");
                (format!("{column} COLLATE {binary}"), Some((encoding.as_str(), binary)))
            }
        };
        Self { dialect, placed, key, text }
    }

    /// A key to compare with.
    pub(crate) fn literal(&self, key: &[u8]) -> String {
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        match (&self.text, self.dialect) {
            (Some((encoding, collation)), _) => {
                format!("CONVERT(_utf8mb4 X'{hex}' USING {encoding}) COLLATE {collation}")
            }
            (None, Dialect::Mysql) => format!("X'{hex}'"),
            (None, Dialect::Postgres) => literal(self.dialect, key),
        }
    }

    /// The condition for keys that begin so, which ends with a slash.
    pub(crate) fn within(&self, folder: &[u8]) -> String {
        let mut behind = folder.to_vec();
        if let Some(last) = behind.last_mut() {
            // What comes next after a slash.
            *last = b'0';
        }
        format!("({key} >= {} AND {key} < {})", self.literal(folder), self.literal(&behind), key = self.key)
    }

    /// The condition for one key.
    pub(crate) fn is(&self, key: &[u8]) -> String {
        format!("{} = {}", self.key, self.literal(key))
    }

    /// Selects all keys, or those for which one of some conditions holds, ascending.
    pub(crate) fn keys(&self, conditions: &[String]) -> String {
        let [column, ..] = self.placed.resource_columns();
        let conditions =
            if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" OR ")) };
        format!("SELECT {column} FROM {}{conditions} ORDER BY {}", self.placed.name, self.key)
    }

    /// Selects the last key, or the first one.
    pub(crate) fn end(&self, is_last: bool) -> String {
        let ([column, ..], order) = (self.placed.resource_columns(), if is_last { "DESC" } else { "ASC" });
        format!("SELECT {column} FROM {} ORDER BY {} {order} LIMIT 1", self.placed.name, self.key)
    }

    /// Selects the last key before a text and the first from there on, as two columns of one row.
    pub(crate) fn around(&self, text: &[u8]) -> String {
        let ([column, ..], name, key, text) =
            (self.placed.resource_columns(), &self.placed.name, &self.key, self.literal(text));
        let one = |is: &str, order: &str| {
            format!("(SELECT {column} FROM {name} WHERE {key} {is} {text} ORDER BY {key} {order} LIMIT 1)")
        };
        format!("SELECT {}, {}", one("<", "DESC"), one(">=", "ASC"))
    }

    /// Selects the keys from one to another, both among them, in no order.
    pub(crate) fn keys_between(&self, first: &[u8], last: &[u8]) -> String {
        let ([column, ..], from, to) = (self.placed.resource_columns(), self.literal(first), self.literal(last));
        format!("SELECT {column} FROM {} WHERE {key} >= {from} AND {key} <= {to}", self.placed.name, key = self.key)
    }

    /// Selects the resources behind one key, up to another and that among them, as the server orders them; those from the first on
    /// or to the last where there is none. Without content unless they are `whole`.
    pub(crate) fn behind(&self, after: Option<&[u8]>, up_to: Option<&[u8]>, whole: bool) -> String {
        let condition =
            |is: &str, end: Option<&[u8]>| end.map(|end| format!("{} {is} {}", self.key, self.literal(end)));
        let conditions: Vec<_> = [condition(">", after), condition("<=", up_to)].into_iter().flatten().collect();
        let which = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        format!("{}{which} ORDER BY {}", resources(self.placed, whole), self.key)
    }

    /// Selects the resources from one key to another, both among them, ascending; without content unless they are `whole`.
    pub(crate) fn between(&self, first: &[u8], last: &[u8], whole: bool) -> String {
        let condition = format!("{key} >= {} AND {key} <= {}", self.literal(first), self.literal(last), key = self.key);
        format!("{} WHERE {condition} ORDER BY {}", resources(self.placed, whole), self.key)
    }
}

/// Selects all resources of a table: key, content, time, version. Where they need not be `whole`, content is empty.
pub(crate) fn resources(placed: &Placed, whole: bool) -> String {
    let [key, content, ts, mvcc] = placed.resource_columns();
    // Of no characters, the same in either dialect.
    let content = if whole { content.to_owned() } else { format!("substring({content}, 1, 0)") };
    let columns = [key, &content, ts, mvcc].join(", ");
    format!("SELECT {columns} FROM {}", placed.name)
}

/// Selects the resources of a typed table whose number is in a range, both ends in it, where a condition holds.
pub(crate) fn numbered(placed: &Placed, (from, to): (i64, i64), condition: &str, whole: bool) -> String {
    format!("{} WHERE id BETWEEN {from} AND {to}{condition}", resources(placed, whole))
}

/// What is behind a condition for the rows of a typed table that belong to a project, in whatever case it is written. Empty
/// where those of all do.
pub(crate) fn of_project(dialect: Dialect, placed: &Placed, project: Option<&[u8]>) -> String {
    let Some(project) = project else { return String::new() };
    let name = literal(dialect, project);
    let is = |column: &str| format!(" AND (lower({column}) = lower({name}) OR {column} = {name})");
    let Role::Typed(found) = placed.table.role else { return String::new() };
    match found.name {
        "PROJECT" => is("meta_key"),
        "SYSTEM" => " AND meta_key = 'UUID'".to_owned(),
        _ if placed.has("project") => is("project"),
        _ => " AND 1 = 0".to_owned(),
    }
}

/// Selects the first and the last number of a table's rows, and how many there are.
pub(crate) fn extent(dialect: Dialect, placed: &Placed, condition: &str) -> String {
    let numbers = ["COALESCE(MIN(id), 0)", "COALESCE(MAX(id), 0)", "COUNT(*)"].map(|what| number(dialect, what));
    format!("SELECT {} FROM {} WHERE 1 = 1{condition}", numbers.join(", "), placed.name)
}

/// Counts a table's rows.
pub(crate) fn count(dialect: Dialect, placed: &Placed) -> String {
    format!("SELECT {} FROM {}", number(dialect, "COUNT(*)"), placed.name)
}

/// A number, 64 bits wide.
fn number(dialect: Dialect, what: &str) -> String {
    match dialect {
        Dialect::Postgres => format!("({what})::bigint"),
        Dialect::Mysql => format!("CAST({what} AS SIGNED)"),
    }
}

/// Selects entries of a change log in a range of their ids, both ends in it, ascending: id, key, content, time, version,
/// unit, operator, instance, and what only the typed layout has, project, model and whether content is a patch.
pub(crate) fn entries(dialect: Dialect, placed: &Placed, (from, to): (i64, i64)) -> String {
    let flag = if dialect == Dialect::Postgres { "diff_flag::int" } else { "diff_flag" };
    let later = [("project", "project"), ("model_uuid", "model_uuid"), ("diff_flag", flag)];
    let later = later.map(|(column, selected)| if placed.has(column) { selected } else { "NULL" });
    format!(
        "SELECT id, meta_key, meta_content, meta_ts, meta_mvcc, unit_id, operator, instance, {} FROM {} \
         WHERE id BETWEEN {from} AND {to} ORDER BY id",
        later.join(", "),
        placed.name
    )
}

/// Selects the last entries of a change log before one, that with the highest id first: id and time.
pub(crate) fn newest(placed: &Placed, before: i64, rows: usize) -> String {
    format!("SELECT id, meta_ts FROM {} WHERE id < {before} ORDER BY id DESC LIMIT {rows}", placed.name)
}

/// Selects the lowest id of a change log.
pub(crate) fn lowest(dialect: Dialect, placed: &Placed) -> String {
    format!("SELECT {} FROM {}", number(dialect, "COALESCE(MIN(id), 0)"), placed.name)
}

/// Selects of each stretch of so many ids in a change log, the highest first, how many there are, the lowest and the highest. MySQL
/// answers it from the smallest index that there is, and looks at no content.
pub(crate) fn stretches(dialect: Dialect, placed: &Placed, width: i64) -> String {
    let numbers = ["COUNT(*)", "MIN(id)", "MAX(id)"].map(|what| number(dialect, what)).join(", ");
    let divided = if dialect == Dialect::Postgres { "/" } else { "DIV" };
    format!("SELECT {numbers} FROM {} GROUP BY id {divided} {width} ORDER BY 3 DESC", placed.name)
}

/// Selects the server's time, in milliseconds since 1970.
pub(crate) fn now(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
        Dialect::Mysql => "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
    }
}

#[cfg(test)]
mod tests {
    use metaferry_codecs::kylin::Layout;

    use super::super::tables::Located;
    use super::*;

    fn placed(collation: &str) -> Placed {
        let located = Located::made(Layout::Flat, Some(("utf8mb3", collation)), &|_| "k".to_owned());
        located.get(Role::Resources).unwrap().clone()
    }

    #[test]
    fn keys_are_compared_by_their_bytes_whatever_the_collation() {
        let own = placed("utf8mb3_bin");
        let keyed = Keyed::new(Dialect::Mysql, &own);
        assert_eq!(keyed.is(b"/U"), "meta_table_key = CONVERT(_utf8mb4 X'2f55' USING utf8mb3) COLLATE utf8mb3_bin");
        let other = placed("utf8mb3_general_ci");
        let keyed = Keyed::new(Dialect::Mysql, &other);
        assert!(
            keyed.within(b"/p/").starts_with("(meta_table_key COLLATE utf8mb3_bin >= CONVERT(_utf8mb4 X'2f702f' USING")
        );
        assert!(keyed.within(b"/p/").contains("< CONVERT(_utf8mb4 X'2f7030' USING utf8mb3) COLLATE utf8mb3_bin"));
        let keyed = Keyed::new(Dialect::Postgres, &own);
        assert_eq!(keyed.is(b"'"), "meta_table_key COLLATE \"C\" = convert_from(decode('27', 'hex'), 'UTF8')");
    }
}
