//! Volumes that are written to while they are read: every dump is one point in time, so its census agrees with itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metaferry_codecs::juicefs::{FileType, Node, attr};

use crate::kit::mariadb::MariaDb;
use crate::kit::postgres::Postgres;
use crate::kit::redis::Redis;
use crate::kit::{Folder, expect};

/// Directories between which files wander.
const DIRECTORIES: u64 = 8;
/// Files that come and go.
const FILES: u64 = 400;

/// What the writer does next: a pure function of the step.
enum Step {
    Create { inode: u64, parent: u64 },
    Rename { inode: u64, from: u64, to: u64 },
    Remove { inode: u64, parent: u64 },
}

/// Creates every file, then renames each twice, then removes it, over and over, with new inodes each time.
fn steps() -> impl Iterator<Item = Step> {
    (0_u64..).flat_map(|round| {
        let inode = move |file| 10_000_000 + round * FILES + file;
        let place = move |file: u64, move_: u64| 2 + (file * 7 + move_ * 3 + round) % DIRECTORIES;
        let create = (0..FILES).map(move |file| Step::Create { inode: inode(file), parent: place(file, 0) });
        let rename = (0..2 * FILES).map(move |step| {
            let (file, number) = (step % FILES, step / FILES);
            Step::Rename { inode: inode(file), from: place(file, number), to: place(file, number + 1) }
        });
        let remove = (0..FILES).map(move |file| Step::Remove { inode: inode(file), parent: place(file, 2) });
        create.chain(rename).chain(remove)
    })
}

/// Runs `body` while `write` is called with one step after another in a thread of its own.
fn while_writing(mut write: impl FnMut(Step) + Send, body: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut done = 0_u64;
            for step in steps() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                write(step);
                done += 1;
            }
            done
        });
        std::thread::sleep(Duration::from_millis(300));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        over.store(true, Ordering::Relaxed);
        assert!(writer.join().unwrap() > 30, "the writer hardly wrote");
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// A volume of some size with the directories the writer needs.
fn prepare(folder: &Folder, target: &str) {
    let empty = folder.path("prepared");
    expect(0, &["dump", "synthetic://?files=20000&seed=3&dirs=200", &empty]);
    expect(0, &["load", &empty, target]);
}

fn ten_dumps(folder: &Folder, source: &str) {
    for round in 0..10 {
        expect(0, &["dump", source, &folder.path(&format!("dump-{round}"))]);
    }
}

fn file(inode: u64, parent: u64) -> Node {
    Node { inode, parent, kind: FileType::REGULAR, nlink: 1, mode: 0o644, ..Node::default() }
}

struct Client(TcpStream);

impl Client {
    fn transaction(&mut self, commands: &[Vec<Vec<u8>>]) {
        let mut out = Vec::new();
        let (multi, exec) = ([vec![b"MULTI".to_vec()]], [vec![b"EXEC".to_vec()]]);
        for command in multi.iter().chain(commands).chain(&exec) {
            out.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
            for word in command {
                out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                out.extend_from_slice(word);
                out.extend_from_slice(b"\r\n");
            }
        }
        self.0.write_all(&out).unwrap();
        // One line for MULTI and for each command queued, then the replies, every one an integer or a status.
        let lines = 1 + commands.len() + 1 + commands.len();
        let (mut seen, mut byte) = (0, [0]);
        let mut reply = Vec::new();
        while seen < lines {
            self.0.read_exact(&mut byte).unwrap();
            reply.push(byte[0]);
            seen += usize::from(byte[0] == b'\n');
        }
        assert!(!reply.contains(&b'-'), "{}", String::from_utf8_lossy(&reply));
    }
}

fn words(words: &[&[u8]]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.to_vec()).collect()
}

fn redis_step(client: &mut Client, step: &Step) {
    let name = |inode: u64| format!("wandering-{inode}").into_bytes();
    let node = |inode: u64| format!("i{inode}").into_bytes();
    let directory = |parent: u64| format!("d{parent}").into_bytes();
    let record = |inode, parent| {
        let mut record = Vec::new();
        attr::encode(&file(inode, parent), &mut record);
        record
    };
    let entry = |inode: u64| [&[1], inode.to_be_bytes().as_slice()].concat();
    let commands = match *step {
        Step::Create { inode, parent } => vec![
            words(&[b"SET", &node(inode), &record(inode, parent)]),
            words(&[b"HSET", &directory(parent), &name(inode), &entry(inode)]),
            words(&[b"INCRBY", b"totalInodes", b"1"]),
            words(&[b"INCRBY", b"usedSpace", b"4096"]),
        ],
        Step::Rename { inode, from, to } => vec![
            words(&[b"HDEL", &directory(from), &name(inode)]),
            words(&[b"HSET", &directory(to), &name(inode), &entry(inode)]),
            words(&[b"SET", &node(inode), &record(inode, to)]),
        ],
        Step::Remove { inode, parent } => vec![
            words(&[b"HDEL", &directory(parent), &name(inode)]),
            words(&[b"DEL", &node(inode)]),
            words(&[b"INCRBY", b"totalInodes", b"-1"]),
            words(&[b"INCRBY", b"usedSpace", b"-4096"]),
        ],
    };
    client.transaction(&commands);
}

/// What the writer does not keep: statistics of directories; and it takes inodes without asking.
fn settle_redis(redis: &Redis) {
    redis.cli(&["SET", "nextinode", "1000000000"]);
    let setting = redis.cli(&["GET", "setting"]).replace("\"DirStats\": true", "\"DirStats\": false");
    redis.cli(&["SET", "setting", setting.trim()]);
}

#[test]
fn redis_is_dumped_at_one_point_in_time() {
    let (folder, redis) = (Folder::new(), Redis::start());
    prepare(&folder, &redis.url());
    settle_redis(&redis);
    let mut client = Client(TcpStream::connect(redis.address()).unwrap());
    while_writing(|step| redis_step(&mut client, &step), || ten_dumps(&folder, &redis.url()));
}

fn sqlite_step(database: &mut rusqlite::Connection, step: &Step) {
    let name = |inode: u64| format!("wandering-{inode}").into_bytes();
    let transaction = database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
        assert_eq!(transaction.prepare_cached(sql).unwrap().execute(values).unwrap(), 1)
    };
    let count = |delta: i64| {
        run("UPDATE jfs_counter SET value = value + ?1 WHERE name = 'totalInodes'", &[&delta]);
        run("UPDATE jfs_counter SET value = value + ?1 WHERE name = 'usedSpace'", &[&(delta * 4096)]);
    };
    match *step {
        Step::Create { inode, parent } => {
            run(
                "INSERT INTO jfs_node (inode, type, flags, mode, uid, gid, atime, mtime, ctime, nlink, length, rdev, parent) \
                 VALUES (?1, 1, 0, 420, 0, 0, 0, 0, 0, 1, 0, 0, ?2)",
                &[&inode.cast_signed(), &parent.cast_signed()],
            );
            run(
                "INSERT INTO jfs_edge (parent, name, inode, type) VALUES (?1, ?2, ?3, 1)",
                &[&parent.cast_signed(), &name(inode), &inode.cast_signed()],
            );
            count(1);
        }
        Step::Rename { inode, to, .. } => {
            run("UPDATE jfs_edge SET parent = ?1 WHERE inode = ?2", &[&to.cast_signed(), &inode.cast_signed()]);
            run("UPDATE jfs_node SET parent = ?1 WHERE inode = ?2", &[&to.cast_signed(), &inode.cast_signed()]);
        }
        Step::Remove { inode, .. } => {
            run("DELETE FROM jfs_edge WHERE inode = ?1", &[&inode.cast_signed()]);
            run("DELETE FROM jfs_node WHERE inode = ?1", &[&inode.cast_signed()]);
            count(-1);
        }
    }
    transaction.commit().unwrap();
}

/// `journal` is the mode the client works in.
fn sqlite_while_written(journal: &str) {
    let folder = Folder::new();
    let url = folder.sqlite("live.db");
    prepare(&folder, &url);
    let mut database = rusqlite::Connection::open(folder.path("live.db")).unwrap();
    database.busy_timeout(Duration::from_secs(30)).unwrap();
    database.pragma_update_and_check(None, "journal_mode", journal, |_| Ok(())).unwrap();
    database.execute("UPDATE jfs_counter SET value = 1000000000 WHERE name = 'nextInode'", []).unwrap();
    database
        .execute("UPDATE jfs_setting SET value = replace(value, '\"DirStats\": true', '\"DirStats\": false')", [])
        .unwrap();
    while_writing(|step| sqlite_step(&mut database, &step), || ten_dumps(&folder, &url));
}

/// One of several clients of PostgreSQL: a `psql` that is fed transactions, and the files that are its own.
fn postgres_step(client: &mut std::process::ChildStdin, number: u64, step: &Step) {
    let own = |inode: u64| inode + number * 1_000_000_000;
    let count = |delta: i64| {
        format!(
            "UPDATE jfs_counter SET value = value + {delta} WHERE name = 'totalInodes'; \
             UPDATE jfs_counter SET value = value + {} WHERE name = 'usedSpace';",
            delta * 4096
        )
    };
    let sql = match *step {
        Step::Create { inode, parent } => {
            let inode = own(inode);
            format!(
                "INSERT INTO jfs_node (inode, type, flags, mode, uid, gid, atime, mtime, ctime, nlink, length, rdev, parent) \
                 VALUES ({inode}, 1, 0, 420, 0, 0, 0, 0, 0, 1, 0, 0, {parent}); \
                 INSERT INTO jfs_edge (parent, name, inode, type) VALUES ({parent}, 'wandering-{inode}', {inode}, 1); {}",
                count(1)
            )
        }
        Step::Rename { inode, to, .. } => {
            let inode = own(inode);
            format!(
                "UPDATE jfs_edge SET parent = {to} WHERE inode = {inode}; \
                 UPDATE jfs_node SET parent = {to} WHERE inode = {inode};"
            )
        }
        Step::Remove { inode, .. } => {
            let inode = own(inode);
            format!(
                "DELETE FROM jfs_edge WHERE inode = {inode}; DELETE FROM jfs_node WHERE inode = {inode}; {}",
                count(-1)
            )
        }
    };
    writeln!(client, "BEGIN; {sql} COMMIT;").unwrap();
}

#[test]
fn postgres_is_dumped_at_one_point_in_time() {
    let (folder, postgres) = (Folder::new(), Postgres::start());
    let url = postgres.database("live");
    prepare(&folder, &url);
    postgres.sql("live", "UPDATE jfs_counter SET value = 100000000000 WHERE name = 'nextInode'");
    let unkept = "UPDATE jfs_setting SET value = replace(value, '\"DirStats\": true', '\"DirStats\": false')";
    postgres.sql("live", unkept);
    let mut clients: Vec<_> = (0..8).map(|_| postgres.client("live")).collect();
    // Each of the eight makes every step, in turn.
    let write = |step: Step| {
        for (number, client) in clients.iter_mut().enumerate() {
            postgres_step(client.stdin.as_mut().unwrap(), number as u64, &step);
        }
    };
    while_writing(write, || ten_dumps(&folder, &url));
    for mut client in clients {
        drop(client.stdin.take());
        assert!(client.wait().unwrap().success());
    }
}

#[test]
fn sqlite_with_a_log_is_dumped_at_one_point_in_time() {
    sqlite_while_written("WAL");
}

#[test]
fn sqlite_without_a_log_is_dumped_at_one_point_in_time() {
    sqlite_while_written("DELETE");
}

fn mariadb_step(client: &mut Child, step: &Step) {
    let count = |delta: i64| {
        format!(
            "UPDATE jfs_counter SET value = value + {delta} WHERE name = 'totalInodes'; \
             UPDATE jfs_counter SET value = value + {} WHERE name = 'usedSpace'",
            delta * 4096
        )
    };
    let changes = match *step {
        Step::Create { inode, parent } => format!(
            "INSERT INTO jfs_node (inode, type, flags, mode, uid, gid, atime, mtime, ctime, nlink, length, rdev, parent) \
             VALUES ({inode}, 1, 0, 420, 0, 0, 0, 0, 0, 1, 0, 0, {parent}); \
             INSERT INTO jfs_edge (parent, name, inode, type) VALUES ({parent}, 'wandering-{inode}', {inode}, 1); {}",
            count(1)
        ),
        Step::Rename { inode, to, .. } => format!(
            "UPDATE jfs_edge SET parent = {to} WHERE inode = {inode}; \
             UPDATE jfs_node SET parent = {to} WHERE inode = {inode}"
        ),
        Step::Remove { inode, .. } => {
            format!(
                "DELETE FROM jfs_edge WHERE inode = {inode}; DELETE FROM jfs_node WHERE inode = {inode}; {}",
                count(-1)
            )
        }
    };
    // As a client does, it begins again where the server takes its transaction for one of a deadlock.
    writeln!(
        client.stdin.as_mut().unwrap(),
        "BEGIN NOT ATOMIC DECLARE done INT DEFAULT 0; REPEAT BEGIN DECLARE EXIT HANDLER FOR 1213 ROLLBACK; \
         START TRANSACTION; {changes}; COMMIT; SET done = 1; END; UNTIL done END REPEAT; END //"
    )
    .unwrap();
}

/// Dumps by an account that may do no more than read, and that, while a client writes; what each says of how the
/// readers were brought together.
fn mariadb_while_written(settings: &[&str], grants: &[&str], said: &str) {
    let (folder, mariadb) = (Folder::new(), MariaDb::with(settings));
    let url = mariadb.database("live");
    prepare(&folder, &url);
    mariadb.sql(
        "UPDATE live.jfs_counter SET value = 1000000000 WHERE name = 'nextInode'; \
         UPDATE live.jfs_setting SET value = replace(value, '\"DirStats\": true', '\"DirStats\": false'); \
         CREATE USER reader@'%'; GRANT SELECT ON live.* TO reader@'%'",
    );
    grants.iter().for_each(|grant| drop(mariadb.sql(&format!("GRANT {grant} TO reader@'%'"))));
    let source = mariadb.url_of("reader", "live");
    let mut client = mariadb.writer("live");
    while_writing(
        |step| mariadb_step(&mut client, &step),
        || {
            for round in 0..10 {
                let target = folder.path(&format!("dump-{round}"));
                let notes = expect(0, &["dump", &source, &target, "--threads", "8"]);
                assert!(notes.contains(said), "{notes}");
                notes.lines().filter(|line| line.contains(said)).for_each(|line| println!("{line}"));
            }
        },
    );
    drop(client.stdin.take());
    assert!(client.wait().unwrap().success());
}

#[test]
fn mariadb_is_dumped_at_one_point_in_time_by_its_binary_log() {
    let grants = ["BINLOG MONITOR ON *.*", "SLAVE MONITOR ON *.*"];
    mariadb_while_written(&["--log-bin=log", "--server-id=1"], &grants, "position in the binary log");
}

#[test]
fn mariadb_is_dumped_at_one_point_in_time_under_locks_of_its_tables() {
    mariadb_while_written(&[], &["LOCK TABLES ON live.*"], "the tables were locked");
}

#[test]
fn mariadb_is_dumped_at_one_point_in_time_under_a_lock_of_the_server() {
    mariadb_while_written(&[], &["RELOAD ON *.*"], "the whole server was locked");
}

#[test]
fn mariadb_is_dumped_at_one_point_in_time_by_one_reader() {
    mariadb_while_written(&["--log-bin=log", "--server-id=1"], &[], "one reader");
}
