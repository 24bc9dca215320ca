//! The four engines as tests see them: places in each, what lies there, and what is done to it behind the program's back.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use sha2::Digest;

use super::redis::Redis;
use super::sql::{Sql, mariadb, postgres};
use super::{Folder, expect, has_data, metaferry, read_data};

/// An engine; a place is the address of one volume in it.
pub(crate) trait Engine: Send + Sync {
    fn name(&self) -> &'static str;

    /// A new place, where nothing is.
    fn place(&self) -> String;

    /// A volume as JuiceFS wrote it there itself, where there is one.
    fn fixture(&self, volume: &str) -> Option<String>;

    /// How much lies at a place, in whatever the engine counts; 0 where nothing does.
    fn extent(&self, place: &str) -> u64;

    /// How much that is once a load is well under way.
    fn begun(&self) -> u64;

    /// Whether what a load needs besides the volume is there.
    fn has_traces(&self, place: &str) -> bool;

    /// What lies there, to be compared.
    fn contents(&self, place: &str) -> String;

    /// Takes everything out of a place.
    fn empty(&self, place: &str);

    /// Puts something of others beside a volume, and says what it is now.
    fn beside(&self, place: &str) -> String;

    /// Runs statements; for engines of SQL.
    fn sql(&self, place: &str, sql: &str) -> String;

    /// Cuts what says where the bytes of a file are; returns what the row goes by.
    fn cut_a_chunk(&self, place: &str) -> String {
        let inode = self.sql(place, "SELECT min(inode) FROM jfs_chunk").trim().to_owned();
        self.sql(place, &format!("UPDATE jfs_chunk SET slices = substr(slices, 1, 12) WHERE inode = {inode}"));
        inode
    }

    /// A client that is alive.
    fn mount(&self, place: &str) {
        self.sql(place, "INSERT INTO jfs_session2 (sid, expire, info) VALUES (99, 4000000000, '{}')");
    }

    /// Makes the volume say something wrong of itself.
    fn miscount(&self, place: &str) {
        self.sql(place, "UPDATE jfs_counter SET value = 4096 WHERE name = 'usedSpace'");
    }
}

/// All of them.
pub(crate) fn engines() -> [Box<dyn Engine>; 4] {
    [
        Box::new(Files(Folder::new())),
        Box::new(Keys { server: Redis::with(&["--databases", "1000"]), fixtures: Mutex::default() }),
        Box::new(Tables { name: "postgres", server: postgres() }),
        Box::new(Tables { name: "mariadb", server: mariadb() }),
    ]
}

/// Does something to all of them at once: most of it is waiting.
pub(crate) fn at_once(check: impl Fn(&dyn Engine) + Sync) {
    let check = &check;
    std::thread::scope(|scope| {
        engines().into_iter().for_each(|engine| drop(scope.spawn(move || check(engine.as_ref()))))
    });
}

/// A number that no place has had.
fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn digest(bytes: &[u8]) -> String {
    super::tree::hex(&sha2::Sha256::digest(bytes))
}

/// SQLite.
struct Files(Folder);

impl Files {
    fn path(place: &str) -> &str {
        place.strip_prefix("sqlite3://").unwrap()
    }
}

impl Engine for Files {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn place(&self) -> String {
        self.0.sqlite(&format!("{}.db", number()))
    }

    fn fixture(&self, volume: &str) -> Option<String> {
        let stored =
            if volume == "legacy" { "legacy/v1.0/sqlite/store.db" } else { &format!("{volume}/sqlite/store.db") };
        has_data(stored).then(|| format!("sqlite3://{}", self.0.unpack(stored, &format!("{}.db", number()))))
    }

    /// The bytes of the file and of all those beside it that belong to it.
    fn extent(&self, place: &str) -> u64 {
        let name = Self::path(place).rsplit('/').next().unwrap();
        let names = self.0.names().into_iter().filter(|other| other.contains(name));
        names.map(|name| std::fs::metadata(self.0.path(&name)).map_or(0, |found| found.len())).sum()
    }

    fn begun(&self) -> u64 {
        100_000
    }

    fn has_traces(&self, _place: &str) -> bool {
        self.0.names().iter().any(|name| name.starts_with('.'))
    }

    fn contents(&self, place: &str) -> String {
        digest(&std::fs::read(Self::path(place)).unwrap())
    }

    fn empty(&self, place: &str) {
        std::fs::remove_file(Self::path(place)).unwrap();
    }

    fn beside(&self, place: &str) -> String {
        let path = format!("{}-of-others", Self::path(place));
        std::fs::write(&path, "something").unwrap();
        path
    }

    fn sql(&self, place: &str, sql: &str) -> String {
        let database = rusqlite::Connection::open(Self::path(place)).unwrap();
        let mut statement = database.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut said = String::new();
        while let Some(row) = rows.next().unwrap() {
            said += &row.get::<_, i64>(0).unwrap().to_string();
        }
        said
    }
}

/// Redis.
struct Keys {
    server: Redis,
    fixtures: Mutex<Vec<Redis>>,
}

impl Keys {
    fn cli(&self, place: &str, args: &[&str]) -> String {
        let database = place.rsplit('/').next().unwrap();
        self.server.cli(&[&["-n", database, "--raw"], args].concat()).trim().to_owned()
    }
}

impl Engine for Keys {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn place(&self) -> String {
        self.server.database(number())
    }

    fn fixture(&self, volume: &str) -> Option<String> {
        let stored = format!("{volume}/redis/store.rdb");
        let server = has_data(&stored).then(|| Redis::from_rdb(Some(&read_data(&stored)), &[]))?;
        let url = server.url();
        self.fixtures.lock().unwrap().push(server);
        Some(url)
    }

    fn extent(&self, place: &str) -> u64 {
        self.cli(place, &["DBSIZE"]).parse().unwrap()
    }

    fn begun(&self) -> u64 {
        1000
    }

    fn has_traces(&self, place: &str) -> bool {
        self.cli(place, &["EXISTS", "metaferry", "metaferryLock"]) != "0"
    }

    fn contents(&self, place: &str) -> String {
        let script = "local keys = redis.call('KEYS', '*'); table.sort(keys); local all = ''; \
                      for _, key in ipairs(keys) do all = redis.sha1hex(all .. key .. redis.call('DUMP', key)) end; \
                      return all";
        self.cli(place, &["EVAL", script, "0"])
    }

    fn empty(&self, place: &str) {
        self.cli(place, &["FLUSHDB"]);
    }

    fn beside(&self, _place: &str) -> String {
        self.server.cli(&["-n", "0", "SET", "of-others", "something"]);
        self.server.cli(&["-n", "0", "GET", "of-others"])
    }

    fn sql(&self, _place: &str, sql: &str) -> String {
        unreachable!("Redis speaks no SQL: {sql}")
    }

    fn cut_a_chunk(&self, place: &str) -> String {
        let keys = self.cli(place, &["--scan", "--pattern", "c[0-9]*_0"]);
        let key = keys.lines().next().unwrap().to_owned();
        assert_eq!(self.cli(place, &["LSET", &key, "0", "too short"]), "OK");
        key
    }

    fn mount(&self, place: &str) {
        self.cli(place, &["ZADD", "allSessions", "4000000000", "99"]);
    }

    fn miscount(&self, place: &str) {
        self.cli(place, &["SET", "usedSpace", "4096"]);
    }
}

/// PostgreSQL and MariaDB.
struct Tables {
    name: &'static str,
    server: Arc<dyn Sql>,
}

impl Tables {
    fn database(place: &str) -> &str {
        place.split('?').next().unwrap().rsplit('/').next().unwrap()
    }
}

impl Engine for Tables {
    fn name(&self) -> &'static str {
        self.name
    }

    fn place(&self) -> String {
        let database = format!("place_{}", number());
        self.server.create(&database);
        self.server.at_socket(&database)
    }

    fn fixture(&self, volume: &str) -> Option<String> {
        let stored = format!("{volume}/{}/store.sql", self.name);
        let database = format!("fixture_{}", number());
        has_data(&stored).then(|| self.server.fill(&database, &read_data(&stored)))
    }

    fn extent(&self, place: &str) -> u64 {
        self.server.names(Self::database(place)).iter().filter(|name| *name != "of_others").count() as u64
    }

    fn begun(&self) -> u64 {
        // All tables, those that wait, and the mark.
        25
    }

    fn has_traces(&self, place: &str) -> bool {
        self.server.names(Self::database(place)).iter().any(|name| name.contains("metaferry"))
    }

    fn contents(&self, place: &str) -> String {
        self.server.contents(Self::database(place))
    }

    fn empty(&self, place: &str) {
        self.server.empty(Self::database(place));
    }

    fn beside(&self, place: &str) -> String {
        self.sql(place, "CREATE TABLE IF NOT EXISTS of_others (a INT)");
        self.sql(place, "SELECT count(*) FROM of_others")
    }

    fn sql(&self, place: &str, sql: &str) -> String {
        self.server.run(Self::database(place), sql)
    }
}

/// A copy of a volume that says something wrong of itself ends with 3, and is done.
#[track_caller]
pub(crate) fn copied(args: &[&str]) -> String {
    let output = metaferry(args);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{args:?}: {error}");
    error
}

/// Everything at a place, as the rows of an archive.
#[track_caller]
pub(crate) fn dumped(source: &str, options: &[&str]) -> Vec<String> {
    let folder = Folder::new();
    let path = folder.path("dumped");
    copied(&[&["dump", "--keep-secrets", source, &path], options].concat());
    super::archive_rows(&path)
}

/// A volume that has everything, at a new place.
pub(crate) fn loaded(engine: &dyn Engine, volume: &str) -> String {
    let place = engine.place();
    expect(0, &["load", volume, &place]);
    place
}
