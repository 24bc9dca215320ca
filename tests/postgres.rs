//! What is peculiar to PostgreSQL: its layout to the letter, targets that are refused, values that do not fit.

use crate::kit::postgres::Postgres;
use crate::kit::{Folder, expect, expect_error, metaferry, read_data};

const VOLUME: &str = "synthetic://?files=300&seed=5";

#[test]
fn the_layout_is_what_juicefs_makes() {
    let postgres = Postgres::start();
    postgres.restore("original", &read_data("empty/postgres/store.sql"));
    expect(0, &["load", VOLUME, &postgres.database("copy")]);
    assert_eq!(postgres.layout("original"), postgres.layout("copy"));
}

#[test]
fn sequences_go_on_behind_the_rows() {
    let postgres = Postgres::start();
    expect(0, &["load", VOLUME, &postgres.database("copy")]);
    for table in ["edge", "chunk", "xattr"] {
        let next = format!("SELECT nextval('jfs_{table}_id_seq') - 1 = max(id) FROM jfs_{table}");
        assert_eq!(postgres.sql("copy", &next), "t\n", "{table}");
    }
    assert_eq!(postgres.sql("copy", "SELECT nextval('jfs_acl_id_seq') > max(id) FROM jfs_acl"), "t\n");
}

#[test]
fn a_schema_with_a_table_of_juicefs_is_refused_and_others_are_not() {
    let postgres = Postgres::start();
    let half = postgres.database("half");
    postgres.sql("half", "CREATE TABLE jfs_node (inode bigint)");
    let error = expect_error(4, &["load", VOLUME, &half]);
    assert!(error.contains("jfs_node"), "{error}");
    // Another prefix, another schema and other tables are no concern.
    postgres.sql("half", "CREATE SCHEMA other; CREATE TABLE other.things (id int)");
    expect(0, &["load", VOLUME, &format!("{half}&table_prefix=vol2")]);
    expect(0, &["load", VOLUME, &format!("{half}&search_path=other"), "--verify"]);
    expect(0, &["verify", VOLUME, &format!("{half}&search_path=other")]);
    assert_eq!(
        postgres.sql("half", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename = 'jfs_node'"),
        "1\n"
    );
    let error = expect_error(2, &["load", VOLUME, &format!("{half}&search_path=absent")]);
    assert!(error.contains("no such schema"), "{error}");
    let error = expect_error(2, &["load", VOLUME, &postgres.url("absent")]);
    assert!(error.contains("no such database"), "{error}");
}

#[test]
fn what_does_not_fit_is_told_by_its_row() {
    let (folder, postgres) = (Folder::new(), Postgres::start());
    for (number, (change, told)) in [
        ("UPDATE jfs_node SET uid = 4294967295 WHERE inode = 1", "inode 1: PostgreSQL's column uid"),
        ("UPDATE jfs_xattr SET name = CAST(x'ff00' AS TEXT) WHERE id = 1", "PostgreSQL's column name"),
    ]
    .into_iter()
    .enumerate()
    {
        let source = folder.sqlite(&format!("{number}.db"));
        expect(0, &["load", VOLUME, &source]);
        let database = rusqlite::Connection::open(folder.path(&format!("{number}.db"))).unwrap();
        assert_eq!(database.execute(change, []).unwrap(), 1);
        let target = postgres.database(&format!("narrow_{number}"));
        // What is largest in a part of a volume is not known before it is read.
        let output = metaferry(&["migrate", "--skip-trash", &source, &target]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && error.contains(told), "{error}");
        assert_eq!(
            postgres.sql(&format!("narrow_{number}"), "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'jfs%'"),
            "0\n"
        );
    }
}

#[test]
fn a_standby_is_read_by_several_readers_and_refused_as_a_target() {
    let (folder, mut postgres) = (Folder::new(), Postgres::with(&["wal_level=replica"]));
    let url = postgres.database("copy");
    expect(0, &["load", VOLUME, &url]);
    postgres.become_standby();
    let notes = expect(0, &["dump", &url, &folder.path("volume"), "--threads", "3"]);
    assert!(notes.contains("3 readers see one point in time"), "{notes}");
    expect(0, &["verify", VOLUME, &folder.path("volume")]);
    let error = expect_error(4, &["load", VOLUME, &format!("{url}&table_prefix=second")]);
    assert!(error.contains("the server is a standby") && error.contains("name the primary"), "{error}");
}

#[test]
fn a_password_is_asked_for_and_never_shown() {
    let (folder, postgres) = (Folder::new(), Postgres::with_password("s3cret"));
    let error = expect_error(2, &["dump", &postgres.url_with("wr0ng"), &folder.path("volume")]);
    assert!(error.contains("does not let us in") && !error.contains("wr0ng"), "{error}");
    expect(0, &["load", VOLUME, &postgres.url_with("s3cret")]);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_metaferry"))
        .args(["info", &postgres.url_with("")])
        .env("META_PASSWORD", "s3cret")
        .output()
        .unwrap();
    assert!(output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("s3cret"));
}
