//! Accounts on servers of SQL that lack one privilege: one clear error that names it or what it is about, before anything is
//! left behind, and never a volume that is read but for what may not be seen.

use std::time::Duration;

use super::kit::{ENDLESS, Run, no_volume, until};
use crate::kit::mariadb::MariaDb;
use crate::kit::postgres::Postgres;
use crate::kit::sql::{Sql, mariadb, postgres};
use crate::kit::{Folder, expect, expect_error};

const VOLUME: &str = "synthetic://?files=300&seed=5";

/// A dump by somebody who may read all tables but one.
fn one_table_is_hidden(server: &dyn Sql, deny: impl Fn(&str, &[String])) {
    let (folder, url) = (Folder::new(), server.create("hidden"));
    expect(0, &["load", VOLUME, &url]);
    let (names, url) = (server.names("hidden"), server.address("blind", "hidden"));
    assert_eq!(names.len(), 21);
    for name in &names {
        deny(name, &names);
        let error = expect_error(4, &["dump", &url, &folder.path("volume")]);
        assert!(error.contains("the user may not do that") && error.contains(name.as_str()), "{name}: {error}");
        assert_eq!(folder.names(), [""; 0]);
    }
}

#[test]
fn a_table_of_a_postgres_that_may_not_be_read_is_named() {
    let postgres = postgres();
    postgres.sql("postgres", "CREATE ROLE blind LOGIN");
    one_table_is_hidden(postgres.as_ref(), |name, _| {
        let sql = format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO blind; REVOKE SELECT ON {name} FROM blind");
        postgres.sql("hidden", &sql);
    });
}

#[test]
fn a_table_or_column_of_a_mariadb_that_may_not_be_seen_is_not_taken_for_absent() {
    let mariadb = mariadb();
    one_table_is_hidden(mariadb.as_ref(), |name, names| {
        let others = names.iter().filter(|other| *other != name);
        let grants: String = others.map(|other| format!("GRANT SELECT ON hidden.{other} TO blind@'%';")).collect();
        mariadb.sql(&format!("CREATE OR REPLACE USER blind@'%'; {grants}"));
    });
    // A column that older versions had not.
    let names = mariadb.names("hidden");
    let others = names.iter().filter(|other| *other != "jfs_acl");
    let grants: String = others.map(|other| format!("GRANT SELECT ON hidden.{other} TO blind@'%';")).collect();
    mariadb.sql(&format!(
        "CREATE OR REPLACE USER blind@'%'; {grants} \
         GRANT SELECT (id, owner, `group`, mask, other, named_users) ON hidden.jfs_acl TO blind@'%'"
    ));
    let folder = Folder::new();
    let error = expect_error(4, &["dump", &mariadb.url_of("blind", "hidden"), &folder.path("volume")]);
    assert!(error.contains("jfs_acl") && error.contains("named_groups"), "{error}");
}

/// A load by somebody who lacks something: what it says, and that it leaves nothing.
fn refused(server: &dyn Sql, database: &str, code: i32, told: &str) {
    let url = server.address("poor", database);
    let error = expect_error(code, &["load", VOLUME, &url]);
    assert!(error.contains(told), "{told}: {error}");
    assert!(server.names(database).is_empty(), "{told}: {:?}", server.names(database));
}

#[test]
fn a_postgres_where_something_may_not_be_done_is_left_as_it_was() {
    let postgres: &Postgres = &Postgres::start();
    let run = |sql: &str| drop(postgres.sql("poor", sql));
    postgres.database("poor");
    run("CREATE ROLE poor LOGIN");
    refused(postgres, "poor", 4, "poor may not create tables in the schema public");
    run("REVOKE USAGE ON SCHEMA public FROM public");
    refused(postgres, "poor", 2, "no such schema, or none that the user may use");
    run("GRANT USAGE, CREATE ON SCHEMA public TO poor");
    for (privilege, kind) in
        [("INSERT", "table"), ("SELECT", "table"), ("UPDATE", "table"), ("DELETE", "table"), ("UPDATE", "sequence")]
    {
        let default = |what: &str| format!("ALTER DEFAULT PRIVILEGES FOR ROLE poor {what}");
        run(&default(&format!("REVOKE {privilege} ON {kind}S FROM poor")));
        refused(postgres, "poor", 4, &format!("permission denied for {kind} jfs_"));
        run(&default(&format!("GRANT ALL ON {kind}S TO poor")));
    }
    // What somebody else's dead load has left.
    let load = Run::start(&["load", ENDLESS, &postgres.url("poor")]);
    until("the load writes", || postgres.names("poor").len() > 20);
    load.kill();
    let error = expect_error(4, &["load", VOLUME, &postgres.address("poor", "poor")]);
    assert!(error.contains("must be owner of table jfs_") || error.contains("permission denied for table"), "{error}");
    no_volume(&postgres.url("poor"));
    postgres.clear("poor");
    run("GRANT USAGE, CREATE ON SCHEMA public TO poor");
    expect(0, &["load", VOLUME, &postgres.address("poor", "poor"), "--verify"]);
    run("REVOKE CONNECT ON DATABASE poor FROM public");
    let error = expect_error(4, &["load", VOLUME, &postgres.address("poor", "poor")]);
    assert!(error.contains("permission denied for database"), "{error}");
}

#[test]
fn a_mariadb_where_something_may_not_be_done_is_left_as_it_was() {
    let mariadb: &MariaDb = &mariadb();
    mariadb.database("poor");
    // Indexes are added by ALTER TABLE, which is no matter of INDEX here.
    let all = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER"];
    let grant = |privileges: &[&str]| {
        let privileges = privileges.join(", ");
        mariadb.sql(&format!("CREATE OR REPLACE USER poor@'%'; GRANT {privileges} ON poor.* TO poor@'%'"));
    };
    for lacking in all {
        let others: Vec<_> = all.into_iter().filter(|privilege| *privilege != lacking).collect();
        grant(&others);
        refused(mariadb, "poor", 4, &format!("lacks {lacking} on poor"));
    }
    mariadb.sql("CREATE OR REPLACE USER poor@'%'");
    refused(mariadb, "poor", 2, "Access denied for user 'poor'");
    grant(&all);
    let load = Run::start(&["load", ENDLESS, &mariadb.url_of("poor", "poor")]);
    until("the load writes", || mariadb.names("poor").len() > 20);
    load.interrupt();
    drop(load.end(Duration::from_secs(10)));
    expect(0, &["load", VOLUME, &mariadb.url_of("poor", "poor"), "--verify"]);
}
