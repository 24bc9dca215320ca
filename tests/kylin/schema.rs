//! The tables of a metastore, as Kylin makes its own in both databases: those of the flat layout as 5.0.0-beta does, and those of the
//! typed layout that tests need as 5.0.0 does, each with its change log and its epochs.

const FLAT: [&str; 2] = [include_str!("../data/kylin/flat-postgres.sql"), include_str!("../data/kylin/flat-mysql.sql")];
const TYPED: [&str; 2] =
    [include_str!("../data/kylin/typed-postgres.sql"), include_str!("../data/kylin/typed-mysql.sql")];

pub(crate) fn flat(id: &str, is_postgres: bool) -> String {
    statements(FLAT, id, is_postgres)
}

pub(crate) fn typed(id: &str, is_postgres: bool) -> String {
    statements(TYPED, id, is_postgres)
}

fn statements([postgres, mysql]: [&str; 2], id: &str, is_postgres: bool) -> String {
    (if is_postgres { postgres } else { mysql }).replace('%', id)
}
