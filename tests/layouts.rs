//! Layouts of PostgreSQL and MariaDB that older versions of JuiceFS left: every one is read as far as it goes, and what is no
//! such layout is refused by name.

use crate::kit::engine::{copied, dumped};
use crate::kit::sql::{Sql, both, mariadb, postgres};
use crate::kit::{Folder, expect, expect_error};

/// What each version had not, newest first; each lacks what those before it lack too.
const LACKING: [(&str, &[&str]); 3] = [
    (
        "v1.3 and v1.2",
        &[
            "DROP TABLE jfs_user_group_quota",
            "DROP TABLE jfs_delegation_token",
            "DROP TABLE jfs_change_log",
            "ALTER TABLE jfs_node DROP COLUMN tier_id",
        ],
    ),
    (
        "v1.1",
        &[
            "DROP TABLE jfs_acl",
            "ALTER TABLE jfs_node DROP COLUMN access_acl_id",
            "ALTER TABLE jfs_node DROP COLUMN default_acl_id",
        ],
    ),
    (
        "v1.0",
        &[
            "DROP TABLE jfs_dir_stats",
            "DROP TABLE jfs_dir_quota",
            "DROP TABLE jfs_detached_node",
            "ALTER TABLE jfs_node DROP COLUMN atimensec",
            "ALTER TABLE jfs_node DROP COLUMN mtimensec",
            "ALTER TABLE jfs_node DROP COLUMN ctimensec",
        ],
    ),
];

/// The volume of version 1.0 that is at hand, which uses nothing that later versions brought.
fn old(folder: &Folder) -> String {
    format!("sqlite3://{}", folder.unpack("legacy/v1.0/sqlite/store.db", "old.db"))
}

#[test]
fn volumes_of_every_version_are_read() {
    for server in both() {
        let folder = Folder::new();
        let url = server.create("old");
        copied(&["migrate", "--keep-counters", &old(&folder), &url]);
        server.run(
            "old",
            "ALTER TABLE jfs_setting RENAME COLUMN value TO v; ALTER TABLE jfs_setting ADD COLUMN value VARCHAR(4096);
            UPDATE jfs_setting SET value = v; ALTER TABLE jfs_setting DROP COLUMN v",
        );
        // One that is older than all of them, and tables of others.
        server.run("old", "CREATE TABLE jfs_session (sid BIGINT PRIMARY KEY); CREATE TABLE jfs_notes (a INT); CREATE TABLE other (a INT)");
        let whole = dumped(&url, &[]);
        assert_eq!(whole, dumped(&old(&folder), &[]));
        for (version, statements) in LACKING {
            statements.iter().for_each(|sql| drop(server.run("old", sql)));
            assert_eq!(whole, dumped(&url, &[]), "{version}");
            expect(0, &["verify", &old(&folder), &url, "--threads", "1"]);
        }
    }
}

#[test]
fn rows_of_before_a_column_count_as_zero() {
    for server in both() {
        let url = server.create("mixed");
        expect(0, &["load", "synthetic://?files=300&seed=5", &url]);
        let zeros = "UPDATE jfs_node SET rdev = 0, access_acl_id = 0, default_acl_id = 0, tier_id = 0";
        server.run("mixed", zeros);
        let whole = dumped(&url, &[]);
        server.run("mixed", &zeros.replace("= 0", "= NULL"));
        assert_eq!(whole, dumped(&url, &[]));
    }
}

/// Names and targets as text, as they were before 1.0, in an encoding of the server's own.
fn survives_as_text(server: &dyn Sql, database: &str, texts: [&str; 2]) {
    let (folder, url) = (Folder::new(), server.at_socket(database));
    let source = folder.sqlite("volume.db");
    expect(0, &["load", "synthetic://?files=300&seed=5", &source]);
    let file = rusqlite::Connection::open(folder.path("volume.db")).unwrap();
    // Names that are no text there never were.
    let names = "UPDATE jfs_edge SET name = CAST('n' || id || 'é' AS BLOB) WHERE parent < 4611686018427387904";
    assert!(file.execute(names, []).unwrap() > 100);
    assert!(file.execute("UPDATE jfs_symlink SET target = CAST('../é' || inode AS BLOB)", []).unwrap() > 1);
    assert!(file.execute("UPDATE jfs_xattr SET name = 'user.é' || id", []).unwrap() > 1);
    copied(&["migrate", "--keep-counters", &source, &url]);
    let whole = dumped(&url, &[]);
    texts.iter().for_each(|sql| drop(server.run(database, sql)));
    assert!(whole == dumped(&url, &[]), "{database}: other rows");
}

#[test]
fn names_that_are_text_in_postgres_are_read_as_the_bytes_they_are() {
    let postgres = postgres();
    for encoding in ["utf8", "latin1", "sql_ascii"] {
        let database = format!("text_{encoding}");
        postgres.sql("postgres", &format!("CREATE DATABASE {database} ENCODING '{encoding}' TEMPLATE template0"));
        let stored = if encoding == "sql_ascii" { encoding } else { "utf8" };
        let text = |column: &str| format!("convert_from({column}, '{stored}')");
        let names = format!("ALTER TABLE jfs_edge ALTER COLUMN name TYPE VARCHAR(255) USING {}", text("name"));
        let targets =
            format!("ALTER TABLE jfs_symlink ALTER COLUMN target TYPE VARCHAR(4096) USING {}", text("target"));
        survives_as_text(postgres.as_ref(), &database, [&names, &targets]);
    }
}

#[test]
fn names_that_are_text_in_mariadb_are_read_as_the_bytes_they_are() {
    let mariadb = mariadb();
    for encoding in ["utf8mb4", "latin1", "utf16"] {
        let database = format!("text_{encoding}");
        mariadb.sql(&format!("CREATE DATABASE {database} CHARACTER SET {encoding} COLLATE {encoding}_bin"));
        // What is bytes becomes text as it is, which then is converted.
        let text = |table: &str, column: &str, length: u32| {
            format!(
                "ALTER TABLE {table} MODIFY {column} VARCHAR({length}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL; \
                 ALTER TABLE {table} MODIFY {column} VARCHAR({length}) CHARACTER SET {encoding} COLLATE {encoding}_bin NOT NULL"
            )
        };
        let texts = [text("jfs_edge", "name", 255), text("jfs_symlink", "target", 4096)];
        survives_as_text(mariadb.as_ref(), &database, [&texts[0], &texts[1]]);
    }
}

#[test]
fn what_is_no_layout_is_refused_by_name() {
    for server in both() {
        let (folder, url) = (Folder::new(), server.create("strange"));
        expect(0, &["load", "synthetic://?files=300&seed=5", &url]);
        let refused = |code: i32, told: &str, change: &str, back: &str| {
            server.run("strange", change);
            let error = expect_error(code, &["dump", &url, &folder.path("volume")]);
            assert!(error.contains(told), "{told}: {error}");
            assert_eq!(folder.names(), [""; 0]);
            if !back.is_empty() {
                server.run("strange", back);
            }
        };
        let alter = |what: &str| format!("ALTER TABLE jfs_node {what}");
        let (add, remove) = (alter("ADD COLUMN later INT"), alter("DROP COLUMN later"));
        refused(1, "table jfs_node has a column later that is not known", &add, &remove);
        let (away, back) = (alter("RENAME COLUMN length TO size"), alter("RENAME COLUMN size TO length"));
        refused(1, "table jfs_node has no column length", &away, &back);
        let (away, back) = ("ALTER TABLE jfs_edge RENAME TO edges", "ALTER TABLE edges RENAME TO jfs_edge");
        refused(1, "there is no table jfs_edge", away, back);
        expect(0, &["dump", &url, &folder.path("whole")]);
        std::fs::remove_file(folder.path("whole")).unwrap();
        let all: Vec<_> = server.names("strange");
        let away = all.iter().map(|name| format!("ALTER TABLE {name} RENAME TO {};", name.replace("jfs_", "my_")));
        refused(1, "there is no JuiceFS volume in it", &away.collect::<String>(), "");
    }
}
