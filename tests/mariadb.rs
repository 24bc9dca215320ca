//! MariaDB as a target and as a source: every byte arrives, what does not fit is told before it is sent, and what may not be
//! written to or read is refused.

use rusqlite::{Connection, params};

use crate::kit::mariadb::MariaDb;
use crate::kit::{Folder, archive_rows, expect, expect_error, metaferry};

const VOLUME: &str = "synthetic://?files=500&seed=3";

/// A volume in a file to which `change` adds what no client would write.
fn volume(folder: &Folder, change: impl FnOnce(&Connection)) -> String {
    expect(0, &["load", VOLUME, &folder.sqlite("volume.db")]);
    let database = Connection::open(folder.path("volume.db")).unwrap();
    change(&database);
    folder.sqlite("volume.db")
}

fn add_node(database: &Connection, inode: i64, uid: i64, target: &[u8]) {
    let sql = "INSERT INTO jfs_node (inode, type, flags, mode, uid, gid, atime, mtime, ctime, nlink, length, rdev, parent) \
               VALUES (?1, 3, 0, 511, ?2, 0, 0, 0, 0, 1, ?3, 0, 1)";
    database.execute(sql, params![inode, uid, target.len() as i64]).unwrap();
    database.execute("INSERT INTO jfs_symlink (inode, target) VALUES (?1, ?2)", params![inode, target]).unwrap();
}

fn add_edge(database: &Connection, name: &[u8], inode: i64) {
    let sql = "INSERT INTO jfs_edge (parent, name, inode, type) VALUES (1, ?1, ?2, 3)";
    database.execute(sql, params![name, inode]).unwrap();
}

fn add_xattr(database: &Connection, inode: i64, name: &str, value: &[u8]) {
    let sql = "INSERT INTO jfs_xattr (inode, name, value) VALUES (?1, ?2, ?3)";
    database.execute(sql, params![inode, name, value]).unwrap();
}

/// Every byte alone, beside others, and behind what means something to LOAD DATA.
fn add_every_byte(database: &Connection) {
    let all: Vec<u8> = (0..=255).collect();
    for byte in 0..=255_u8 {
        let inode = 50_000_000 + i64::from(byte);
        let target = [b"\\N\t\\".as_slice(), &[byte], &all, b"\\"].concat();
        add_node(database, inode, 0, &target);
        add_edge(database, &[&[b'n', byte, byte, b'\\'], b"\\N".as_slice(), &[byte]].concat(), inode);
        add_xattr(database, inode, &format!("user.\\{}\t\u{1F980}", char::from(byte)), &[byte]);
    }
    add_xattr(database, 50_000_000, "user.empty", b"");
    add_xattr(database, 50_000_000, "user.largest", &[b'\\'; 65535]);
    add_xattr(database, 50_000_000, "user.null", b"\\N");
    add_edge(database, &[0; 255], 50_000_000);
}

/// What it says of itself is wrong where rows were added behind its back, and it is carried all the same.
#[track_caller]
fn carried(args: &[&str]) {
    let output = metaferry(args);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn every_byte_survives(settings: &[&str], charset: &str) {
    let (folder, mariadb) = (Folder::new(), MariaDb::with(settings));
    let source = volume(&folder, add_every_byte);
    let url = mariadb.database("bytes");
    mariadb.sql(&format!("ALTER DATABASE bytes CHARACTER SET {charset}"));
    let (one, two) = (folder.path("one"), folder.path("two"));
    carried(&["dump", &source, &one]);
    carried(&["load", "--keep-counters", &one, &url]);
    carried(&["dump", &url, &two]);
    assert_eq!(archive_rows(&one), archive_rows(&two));
    let stored = mariadb.sql("SELECT HEX(name) FROM bytes.jfs_edge WHERE inode = 50000092");
    assert_eq!(stored.trim(), "6E5C5C5C5C4E5C");
    let stored = mariadb.sql("SELECT HEX(CONVERT(name USING utf8mb4)) FROM bytes.jfs_xattr WHERE inode = 50000233");
    assert_eq!(stored.trim(), "757365722E5CC3A909F09FA680");
}

#[test]
fn every_byte_survives_load_data() {
    every_byte_survives(&[], "utf8mb4 COLLATE utf8mb4_bin");
}

#[test]
fn every_byte_survives_statements_where_local_files_are_not_allowed() {
    let settings = ["--local-infile=0", "--max-allowed-packet=1M"];
    every_byte_survives(&settings, "utf16 COLLATE utf16_bin");
    let mariadb = MariaDb::with(&settings);
    expect(0, &["load", "synthetic://?files=80000&seed=5", &mariadb.database("many"), "--verify"]);
}

#[test]
fn what_a_column_cannot_hold_is_told_before_it_is_sent() {
    type Change = fn(&Connection);
    let cases: [(&str, &str, Change); 3] = [
        ("inode 50000000", "uid", |database| {
            add_node(database, 50_000_000, 3_000_000_000, b"t");
            add_edge(database, b"n", 50_000_000);
        }),
        ("'user.n' of inode 1", "value", |database| add_xattr(database, 1, "user.n", &[1; 65536])),
        ("of directory 1", "name", |database| add_edge(database, &[b'n'; 256], 1)),
    ];
    let mariadb = MariaDb::start();
    let url = mariadb.database("narrow");
    for (row, column, change) in cases {
        let folder = Folder::new();
        // What is largest in a part of a volume is not known before it is read.
        let error = expect_error(1, &["migrate", "--skip-trash", &volume(&folder, change), &url]);
        assert!(error.contains(row) && error.contains(&format!("column {column}")), "{error}");
        assert_eq!(mariadb.sql("SHOW TABLES IN narrow"), "");
    }
}

#[test]
fn two_rows_of_one_key_end_a_load() {
    let (folder, mariadb) = (Folder::new(), MariaDb::start());
    let url = mariadb.database("twice");
    mariadb.sql("ALTER DATABASE twice CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci");
    let source = volume(&folder, |database| {
        add_xattr(database, 1, "user.same", b"");
        add_xattr(database, 1, "user.SAME", b"");
    });
    let error = expect_error(1, &["migrate", &source, &url]);
    assert!(error.contains("the same key"), "{error}");
    assert_eq!(mariadb.sql("SHOW TABLES IN twice"), "");
}

#[test]
fn the_layout_is_that_of_juicefs_and_counts_on() {
    let mariadb = MariaDb::start();
    let url = mariadb.database("layout");
    let native = mariadb.restore("native", &crate::kit::read_data("empty/mariadb/store.sql"));
    expect(0, &["load", VOLUME, &url]);
    expect(0, &["info", &native]);
    assert_eq!(mariadb.layout("layout"), mariadb.layout("native"));
    let next = mariadb.sql(
        "SELECT auto_increment - 1 - (SELECT max(id) FROM layout.jfs_edge) FROM information_schema.tables \
         WHERE table_schema = 'layout' AND table_name = 'jfs_edge'",
    );
    assert_eq!(next.trim(), "0");
}

#[test]
fn a_database_with_a_table_of_juicefs_is_refused_and_another_prefix_is_not() {
    let mariadb = MariaDb::start();
    let url = mariadb.database("taken");
    expect(0, &["load", VOLUME, &url]);
    expect(0, &["load", VOLUME, &format!("{url}?table_prefix=second")]);
    expect(0, &["verify", &url, &format!("{url}?table_prefix=second")]);
    mariadb.sql("CREATE DATABASE half; CREATE TABLE half.jfs_node (inode BIGINT PRIMARY KEY)");
    let error = expect_error(4, &["load", VOLUME, &mariadb.url("half")]);
    assert!(error.contains("jfs_node"), "{error}");
}

#[test]
fn what_cannot_be_is_told_with_what_to_do() {
    let mariadb = MariaDb::start();
    let url = mariadb.database("volume");
    mariadb.sql("CREATE USER me@'%' IDENTIFIED BY 'right'; GRANT SELECT ON volume.* TO me@'%'");
    let error = expect_error(2, &["info", &mariadb.url_of("me:wrong", "volume")]);
    assert!(error.contains("does not let us in") && !error.contains("wrong") && error.contains("me:****@"), "{error}");
    let error = expect_error(2, &["info", &mariadb.url("absent")]);
    assert!(error.contains("no such database"), "{error}");
    expect_error(4, &["load", VOLUME, &mariadb.url_of("me:right", "volume")]);
    expect_error(1, &["info", &mariadb.url_of("me:right", "volume")]);
    expect(0, &["load", VOLUME, &url]);
    expect(0, &["info", &mariadb.url_of("me:right", "volume")]);
    mariadb.sql("ALTER TABLE volume.jfs_symlink ENGINE = MyISAM");
    let error = expect_error(4, &["info", &url]);
    assert!(error.contains("jfs_symlink") && error.contains("MyISAM"), "{error}");
    mariadb.sql("ALTER TABLE volume.jfs_symlink ENGINE = InnoDB; DELETE FROM volume.jfs_setting");
    let error = expect_error(1, &["info", &url]);
    assert!(error.contains("never finished"), "{error}");
}

/// A certificate for the machine itself, by an authority of its own.
const CERTIFICATES: &str = "umask 022
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem
    openssl req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr
    echo subjectAltName=IP:127.0.0.1 >ext
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.pem
    chmod a+rx . && chmod a+r server.key";

#[test]
fn what_is_said_is_encrypted_where_that_is_asked_for() {
    let folder = Folder::new();
    let mut shell = std::process::Command::new("bash");
    let made = shell.args(["-ec", CERTIFICATES]).current_dir(folder.path("")).output().unwrap();
    assert!(made.status.success(), "openssl is needed");
    let file = |option: &str, name: &str| format!("--ssl-{option}={}", folder.path(name));
    let (key, certificate) = (file("key", "server.key"), file("cert", "server.pem"));
    let mariadb = MariaDb::with(&[&key, &certificate]);
    mariadb.restore("volume", &crate::kit::read_data("empty/mariadb/store.sql"));
    mariadb.sql("CREATE USER safe@'%' REQUIRE SSL; GRANT ALL ON volume.* TO safe@'%'");
    let url = mariadb.url_of("safe", "volume");
    for query in ["tls=skip-verify".to_owned(), "tls=preferred".to_owned(), format!("tls-ca={}", folder.path("ca.pem"))]
    {
        expect(0, &["info", &format!("{url}?{query}")]);
    }
    let error = expect_error(1, &["info", &format!("{url}?tls=true")]);
    assert!(error.contains("TLS failed"), "{error}");
    expect_error(2, &["info", &url]);
    let plain = MariaDb::start();
    let url = plain.restore("volume", &crate::kit::read_data("empty/mariadb/store.sql"));
    expect(0, &["info", &format!("{url}?tls=preferred")]);
    assert!(expect_error(2, &["info", &format!("{url}?tls=skip-verify")]).contains("no TLS"));
}

#[test]
fn accounts_log_in_by_what_they_were_made_with() {
    let mariadb = MariaDb::start();
    mariadb.restore("volume", &crate::kit::read_data("empty/mariadb/store.sql"));
    mariadb.sql(
        "INSTALL SONAME 'auth_ed25519'; INSTALL SONAME 'auth_pam_v1'; \
         CREATE USER one@'%' IDENTIFIED VIA ed25519 USING PASSWORD('p@ss'); GRANT SELECT ON volume.* TO one@'%'; \
         CREATE USER two@'%' IDENTIFIED BY 'p@ss'; GRANT SELECT ON volume.* TO two@'%'; \
         CREATE USER three@'%' IDENTIFIED VIA pam; GRANT SELECT ON volume.* TO three@'%'",
    );
    // What is to be signed is another one each time, and ends with a zero byte now and then.
    for _ in 0..100 {
        expect(0, &["info", &mariadb.url_of("one:p%40ss", "volume")]);
    }
    expect(0, &["info", &mariadb.url_of("two:p@ss", "volume")]);
    expect_error(2, &["info", &mariadb.url_of("one:pass", "volume")]);
    let error = expect_error(1, &["info", &mariadb.url_of("three:p@ss", "volume")]);
    assert!(error.contains("not known here") && !error.contains("p@ss"), "{error}");
}
