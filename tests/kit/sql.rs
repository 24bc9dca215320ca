//! What tests ask of PostgreSQL and of MariaDB alike, so that a fault is written once for both. A server that many tests
//! share is there while any of them has it.

use std::sync::{Arc, Mutex, Weak};

use super::mariadb::MariaDb;
use super::postgres::Postgres;
use super::shared;

/// A server of SQL.
pub(crate) trait Sql: Send + Sync {
    /// The address of a new empty database.
    fn create(&self, database: &str) -> String;

    /// The address of a database for somebody who needs no password.
    fn address(&self, user: &str, database: &str) -> String;

    /// The same by another port of this machine.
    fn by_way_of(&self, port: u16, database: &str) -> String;

    /// The same through the unix socket, which waits for nothing.
    fn at_socket(&self, database: &str) -> String;

    /// A new database, restored from what the server's own dump wrote; its address.
    fn fill(&self, database: &str, sql: &[u8]) -> String;

    /// A new database whose tables lie in a folder; its address.
    fn create_in(&self, folder: &str, database: &str) -> String;

    /// What is in a database, to be compared.
    fn contents(&self, database: &str) -> String;

    fn port(&self) -> u16;

    /// Runs statements, and returns what they say, a line a row.
    fn run(&self, database: &str, sql: &str) -> String;

    /// The names of the tables in a database, sorted.
    fn names(&self, database: &str) -> Vec<String>;

    /// Takes all tables out of a database.
    fn empty(&self, database: &str);

    /// A client that holds a table, so that nobody else can read it.
    fn hold(&self, database: &str, table: &str) -> Held;

    /// Ends the oldest session that the program has with a database; says whether there was one.
    fn end_oldest(&self, database: &str) -> bool;
}

/// A client that holds something as long as it lives.
pub(crate) struct Held(pub(crate) std::process::Child);

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn run(words: &[&str]) {
    assert!(std::process::Command::new(words[0]).args(&words[1..]).status().unwrap().success(), "{words:?}");
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Feeds a client, and waits until it says that it has done it.
fn holding(mut client: std::process::Child, sql: &str, is_held: impl Fn() -> bool) -> Held {
    use std::io::Write;
    client.stdin.as_mut().unwrap().write_all(sql.as_bytes()).unwrap();
    client.stdin.as_mut().unwrap().flush().unwrap();
    let held = Held(client);
    for _ in 0..500 {
        if is_held() {
            return held;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    unreachable!("the table is not held")
}

impl Sql for Postgres {
    fn create(&self, database: &str) -> String {
        self.database(database)
    }

    fn address(&self, user: &str, database: &str) -> String {
        self.url(database).replacen("postgres@", &format!("{user}@"), 1)
    }

    fn by_way_of(&self, port: u16, database: &str) -> String {
        self.url(database).replacen(&format!(":{}/", self.port()), &format!(":{port}/"), 1)
    }

    fn at_socket(&self, database: &str) -> String {
        self.socket(database)
    }

    fn fill(&self, database: &str, sql: &[u8]) -> String {
        self.restore(database, sql);
        self.socket(database)
    }

    fn create_in(&self, folder: &str, database: &str) -> String {
        run(&["install", "-d", "-o", "postgres", &format!("{folder}/{database}")]);
        self.sql("postgres", &format!("CREATE TABLESPACE {database} LOCATION '{folder}/{database}'"));
        self.sql("postgres", &format!("CREATE DATABASE {database} TABLESPACE {database}"));
        self.url(database)
    }

    fn contents(&self, database: &str) -> String {
        let digest = |name: &String| {
            format!("SELECT '{name}', md5(coalesce(string_agg(t::text, ';' ORDER BY t::text), '')) FROM \"{name}\" t;")
        };
        self.layout(database) + &self.sql(database, &self.names(database).iter().map(digest).collect::<String>())
    }

    fn port(&self) -> u16 {
        Self::port(self)
    }

    fn run(&self, database: &str, sql: &str) -> String {
        self.sql(database, sql)
    }

    fn names(&self, database: &str) -> Vec<String> {
        lines(&self.sql(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"))
    }

    fn empty(&self, database: &str) {
        self.clear(database);
    }

    fn hold(&self, database: &str, table: &str) -> Held {
        let sql = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;\n");
        let is_held = "SELECT count(*) > 0 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted \
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        holding(self.client(database), &sql, || self.sql(database, is_held) == "t\n")
    }

    fn end_oldest(&self, database: &str) -> bool {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = '{database}' AND application_name = 'metaferry' ORDER BY backend_start LIMIT 1"
        );
        self.sql("postgres", &sql) == "t\n"
    }
}

impl Sql for MariaDb {
    fn create(&self, database: &str) -> String {
        self.database(database)
    }

    fn address(&self, user: &str, database: &str) -> String {
        self.url_of(user, database)
    }

    fn by_way_of(&self, port: u16, database: &str) -> String {
        self.url(database).replacen(&format!(":{})", self.port()), &format!(":{port})"), 1)
    }

    fn at_socket(&self, database: &str) -> String {
        self.socket(database)
    }

    fn fill(&self, database: &str, sql: &[u8]) -> String {
        self.restore(database, sql);
        self.socket(database)
    }

    fn create_in(&self, folder: &str, database: &str) -> String {
        let (url, data) = (self.database(database), self.data(database));
        run(&["mv", &data, folder]);
        run(&["ln", "-s", &format!("{folder}/{database}"), &data]);
        url
    }

    fn contents(&self, database: &str) -> String {
        let names: Vec<_> = self.names(database).iter().map(|name| format!("{database}.{name}")).collect();
        self.layout(database) + &self.sql(&format!("CHECKSUM TABLE {}", names.join(", ")))
    }

    fn port(&self) -> u16 {
        Self::port(self)
    }

    fn run(&self, database: &str, sql: &str) -> String {
        self.sql(&format!("USE {database}; {sql}"))
    }

    fn names(&self, database: &str) -> Vec<String> {
        let sql = "SELECT table_name FROM information_schema.tables WHERE table_schema =";
        lines(&self.sql(&format!("{sql} '{database}' ORDER BY 1")))
    }

    fn empty(&self, database: &str) {
        self.sql(&format!("DROP DATABASE {database}; CREATE DATABASE {database} CHARACTER SET utf8mb4"));
    }

    fn hold(&self, database: &str, table: &str) -> Held {
        let is_held = format!("SHOW OPEN TABLES IN {database} WHERE In_use > 0");
        holding(self.writer(database), &format!("LOCK TABLES {table} WRITE //\n"), || !self.sql(&is_held).is_empty())
    }

    fn end_oldest(&self, database: &str) -> bool {
        let sql = format!("SELECT id FROM information_schema.processlist WHERE db = '{database}' ORDER BY id LIMIT 1");
        let id = self.sql(&sql);
        !id.is_empty() && !self.sql(&format!("KILL {id}")).contains("ERROR")
    }
}

/// The PostgreSQL that tests share.
pub(crate) fn postgres() -> Arc<Postgres> {
    static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    shared(&SHARED, Postgres::start)
}

/// The MariaDB that tests share.
pub(crate) fn mariadb() -> Arc<MariaDb> {
    static SHARED: Mutex<Weak<MariaDb>> = Mutex::new(Weak::new());
    shared(&SHARED, MariaDb::start)
}

/// Does something to both of them at once: most of it is waiting.
pub(crate) fn at_once(check: impl Fn(&dyn Sql) + Sync) {
    let check = &check;
    std::thread::scope(|scope| both().into_iter().for_each(|server| drop(scope.spawn(move || check(server.as_ref())))));
}

/// Both of them.
pub(crate) fn both() -> [Arc<dyn Sql>; 2] {
    [postgres(), mariadb()]
}
