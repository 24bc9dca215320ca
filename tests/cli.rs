//! The command line: exit codes, bad input, what is said.

use crate::kit::redis::Redis;
use crate::kit::{Folder, expect, expect_error, metaferry};

#[test]
fn an_engine_that_is_not_built_is_refused_by_name() {
    for url in ["tikv://pd/x", "etcd://h/x", "fdb:///c", "badger:///d"] {
        let error = expect_error(4, &["info", url]);
        assert!(error.contains(url.split_once(':').unwrap().0), "{error}");
    }
    expect_error(2, &["info", "gopher://h"]);
}

#[test]
fn wrong_usage_is_2() {
    for args in [&["dump"][..], &["load", "a"], &["nonsense"], &["dump", "a", "b", "--threads", "0"]] {
        assert_eq!(metaferry(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn what_is_no_volume_is_said_to_be_none() {
    let folder = Folder::new();
    std::fs::write(folder.path("text"), "just some text, long enough to be looked at").unwrap();
    std::fs::write(folder.path("nothing"), "").unwrap();
    rusqlite::Connection::open(folder.path("foreign.db")).unwrap().execute("CREATE TABLE t (a)", []).unwrap();
    for name in ["text", "nothing", "absent"] {
        expect_error(1, &["info", &folder.path(name)]);
        expect_error(1, &["info", &folder.sqlite(name)]);
    }
    expect_error(1, &["info", &folder.sqlite("foreign.db")]);
    let redis = Redis::start();
    redis.cli(&["SET", "something", "else"]);
    expect_error(1, &["info", &redis.url()]);
}

#[test]
fn a_target_with_anything_in_it_is_refused_and_untouched() {
    let folder = Folder::new();
    let volume = "synthetic://?files=50";
    std::fs::write(folder.path("file"), "mine").unwrap();
    expect_error(4, &["dump", volume, &folder.path("file")]);
    assert_eq!(std::fs::read(folder.path("file")).unwrap(), b"mine");
    expect(0, &["load", volume, &folder.sqlite("one.db")]);
    let before = std::fs::read(folder.path("one.db")).unwrap();
    expect_error(4, &["load", volume, &folder.sqlite("one.db")]);
    assert!(std::fs::read(folder.path("one.db")).unwrap() == before);
    let redis = Redis::start();
    redis.cli(&["SET", "something", "else"]);
    expect_error(4, &["load", volume, &redis.url()]);
    assert_eq!(redis.cli(&["DBSIZE"]).trim(), "1");
    assert_eq!(folder.names(), ["file", "one.db"]);
}

#[test]
fn secrets_are_taken_out_of_a_dump_unless_asked_for() {
    let folder = Folder::new();
    let store = folder.unpack("tour/sqlite/store.db", "store.db");
    let source = format!("sqlite3://{store}");
    let (without, with) = (folder.path("without"), folder.path("with"));
    for (target, extra) in [(&without, "--quiet"), (&with, "--keep-secret-key")] {
        assert!(matches!(metaferry(&["dump", &source, target, extra]).status.code(), Some(0 | 3)));
    }
    let text = |path: &str| crate::kit::archive_rows(path).join("\n");
    assert!(text(&with).contains("wsn0x9BbSQO41d2f"));
    assert!(!text(&without).contains("wsn0x9BbSQO41d2f"));
    assert!(text(&without).contains("\"SecretKey\":\"removed\""));
}

#[test]
fn help_completions_and_manual_are_printed() {
    assert!(expect(0, &["--help"]).contains("migrate"));
    assert!(expect(0, &["completions", "bash"]).contains("metaferry"));
    assert!(expect(0, &["man"]).contains(".TH"));
}
