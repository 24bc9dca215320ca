//! The tables of a metastore, as Kylin makes its own in both databases: those of the flat layout as 5.0.0-beta does, and those of the
//! typed layout that tests need as 5.0.0 does, each with its change log and its epochs.

pub(crate) fn flat(id: &str, is_postgres: bool) -> String {
    let statements = if is_postgres {
        include_str!("../data/kylin/flat-postgres.sql")
    } else {
        include_str!("../data/kylin/flat-mysql.sql")
    };
    statements.replace('%', id)
}

pub(crate) fn typed(id: &str, is_postgres: bool) -> String {
    let statements = if is_postgres {
        include_str!("../data/kylin/typed-postgres.sql")
    } else {
        include_str!("../data/kylin/typed-mysql.sql")
    };
    statements.replace('%', id)
}
