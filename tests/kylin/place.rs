//! A metastore in a database of a real server, made by hand as Kylin makes its own, and what is seen in it.

use std::fmt::Write as _;

use metaferry_engines::kylin::store::StoreAddress;

use super::schema;
use crate::kit::mariadb::MariaDb;
use crate::kit::postgres::Postgres;

/// The server that a store is in.
pub(crate) enum Server {
    Postgres(Postgres),
    MariaDb(MariaDb),
}

/// A database with the tables of one identifier.
pub(crate) struct Place<'s> {
    pub(crate) server: &'s Server,
    pub(crate) database: String,
}

impl Server {
    pub(crate) fn both() -> [Self; 2] {
        [Self::Postgres(Postgres::start()), Self::MariaDb(MariaDb::start())]
    }

    pub(crate) fn name(&self) -> &'static str {
        self.pick(["PostgreSQL", "MariaDB"])
    }

    fn pick<T: Copy>(&self, [postgres, mariadb]: [T; 2]) -> T {
        match self {
            Self::Postgres(_) => postgres,
            Self::MariaDb(_) => mariadb,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Postgres(server) => server.port(),
            Self::MariaDb(server) => server.port(),
        }
    }

    pub(crate) fn kill(&mut self) {
        match self {
            Self::Postgres(server) => server.kill(),
            Self::MariaDb(server) => server.kill(),
        }
    }

    pub(crate) fn revive(&mut self) {
        match self {
            Self::Postgres(server) => server.revive(),
            Self::MariaDb(server) => server.revive(),
        }
    }

    /// A new database without tables.
    pub(crate) fn empty(&self, database: &str) -> Place<'_> {
        match self {
            Self::Postgres(server) => server.database(database),
            Self::MariaDb(server) => server.database(database),
        };
        self.place(database)
    }

    /// A database that is there.
    pub(crate) fn place(&self, database: &str) -> Place<'_> {
        Place { server: self, database: database.to_owned() }
    }

    /// A new metastore of the flat layout.
    pub(crate) fn flat(&self, database: &str) -> Place<'_> {
        self.made(database, schema::flat)
    }

    /// A new metastore of the typed layout, with the tables of some types.
    pub(crate) fn typed(&self, database: &str) -> Place<'_> {
        self.made(database, schema::typed)
    }

    fn made(&self, database: &str, statements: fn(&str, bool) -> String) -> Place<'_> {
        let place = self.empty(database);
        place.run(&statements("k", matches!(self, Self::Postgres(_))));
        place
    }
}

impl Place<'_> {
    pub(crate) fn address(&self) -> StoreAddress {
        StoreAddress::parse(&self.url()).unwrap()
    }

    /// Its metadata URL.
    pub(crate) fn url(&self) -> String {
        let port = self.server.port();
        let (driver, user, query) = match self.server {
            Server::Postgres(_) => ("postgresql", "postgres", "sslmode=disable"),
            Server::MariaDb(_) => ("mysql", "root", "useSSL=false"),
        };
        let url = format!("jdbc:{driver}://127.0.0.1:{port}/{}?{query}", self.database);
        format!("k@jdbc,url={url},username={user}")
    }

    /// Runs statements, and returns what they say: a line a row, bars between the cells, NULL as that.
    pub(crate) fn run(&self, sql: &str) -> String {
        match self.server {
            Server::Postgres(server) => server.sql(&self.database, sql),
            Server::MariaDb(server) => server.sql(&format!("USE {}; {sql}", self.database)).replace('\t', "|"),
        }
    }

    /// Rows of a table, in an order: these columns of them.
    pub(crate) fn rows(&self, table: &str, columns: &[&str], order: &str) -> Vec<String> {
        let cell = |column: &&str| match self.server {
            Server::Postgres(_) => format!("coalesce({column}::text, 'NULL')"),
            Server::MariaDb(_) => format!("coalesce({column}, 'NULL')"),
        };
        let cells = columns.iter().map(cell).collect::<Vec<_>>().join(", ");
        let said = self.run(&format!("SELECT {cells} FROM {table} ORDER BY {order}"));
        said.lines().map(str::to_owned).collect()
    }

    /// The expression that shows bytes in hexadecimal digits of lower case.
    pub(crate) fn hex(&self, column: &str) -> String {
        match self.server {
            Server::Postgres(_) => format!("encode({column}, 'hex')"),
            Server::MariaDb(_) => format!("lower(hex({column}))"),
        }
    }

    /// Bytes as a statement has them.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> String {
        let mut digits = String::new();
        for byte in bytes {
            write!(digits, "{byte:02x}").unwrap();
        }
        match self.server {
            Server::Postgres(_) => format!("decode('{digits}', 'hex')"),
            Server::MariaDb(_) => format!("x'{digits}'"),
        }
    }

    /// Adds resources of the flat layout: key, content, version.
    pub(crate) fn seed(&self, rows: &[(&str, &str, i64)]) {
        let row = |(key, content, mvcc): &(&str, &str, i64)| {
            format!("('{key}', {}, 1700000000000, {mvcc})", self.bytes(content.as_bytes()))
        };
        let rows = rows.iter().map(row).collect::<Vec<_>>().join(", ");
        self.run(&format!("INSERT INTO k VALUES {rows}"));
    }

    /// Key and version of every resource of the flat layout, by key.
    pub(crate) fn versions(&self) -> Vec<String> {
        let mut rows = self.rows("k", &["META_TABLE_KEY", "META_TABLE_MVCC"], "1");
        rows.sort();
        rows
    }
}
