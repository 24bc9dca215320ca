//! Metastores in the common commands: migrations, archives, repositories, the agent; and round trips that change no byte.

use std::path::Path;

use super::commands::files;
use super::place::{Place, Server};
use super::restore::store;
use crate::kit::{expect, expect_error};

#[test]
fn a_metastore_moves_from_one_database_to_the_other_and_back() {
    let [postgres, mariadb] = Server::both();
    let (source, there, back) = (store(&postgres, "source"), mariadb.empty("there"), postgres.empty("back"));
    let said = expect(0, &["migrate", &source.url(), &there.url()]);
    assert!(said.contains("read back and equal"), "{said}");
    expect(0, &["migrate", &there.url(), &back.url()]);
    expect(0, &["verify", &source.url(), &back.url()]);
    let log = |place: &Place<'_>| place.rows("k_audit_log", &["id", "meta_key", "meta_mvcc", "unit_id"], "id");
    let before = log(&source);
    assert_eq!(before.len(), 7);
    for place in [&there, &back] {
        assert_eq!(place.versions(), source.versions());
        assert_eq!(log(place), before);
        // What is logged next comes behind.
        place.run("INSERT INTO k_audit_log (meta_key) VALUES ('/x')");
        assert_eq!(place.rows("k_audit_log", &["max(id)"], "1"), ["8"]);
    }
    let error = expect_error(4, &["migrate", &source.url(), &there.url()]);
    assert!(error.contains("the metastore k is in it"), "{error}");
}

#[test]
fn archives_and_repositories_hold_a_metastore() {
    for server in Server::both() {
        let source = store(&server, "held");
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        expect(0, &["dump", &source.url(), &at("archive")]);
        expect(0, &["verify", &at("archive")]);
        expect(0, &["verify", &source.url(), &at("archive")]);
        assert!(expect(0, &["info", &at("archive")]).contains("metastore of Kylin in the flat layout"));
        let loaded = server.empty("loaded");
        expect(0, &["load", &at("archive"), &loaded.url(), "--verify"]);
        assert_eq!(loaded.versions(), source.versions());
        let repository = format!("repo+file://{}", at("repository"));
        expect(0, &["agent", "--once", &source.url(), &repository, "--every", "1d", "--keep-last", "7"]);
        for words in [&["verify"][..], &["verify", "--deep"], &["status"], &["backups"], &["prune", "--dry-run"]] {
            expect(0, &[words, &[&repository]].concat());
        }
        expect(0, &["verify", &source.url(), &repository]);
        source.run("DELETE FROM k WHERE META_TABLE_KEY = '/p3/table/X.json'");
        let url = source.url();
        let restore = ["kylin", "--metadata-url", &url, "restore", &repository, "-d", "--no-maintenance"];
        expect(0, &[&restore[..], &["--no-safety-backup"]].concat());
        expect(0, &["verify", &source.url(), &repository]);
        let into = server.empty("restored");
        expect(0, &["restore", &repository, &into.url()]);
        expect(0, &["verify", &into.url(), &source.url()]);
        assert!(expect_error(2, &["restore", &repository, &into.url(), "--margin", "5"]).contains("JuiceFS"));
    }
}

#[test]
fn a_store_a_folder_and_a_store_again_are_equal_to_the_byte_and_the_millisecond() {
    for server in Server::both() {
        let source = store(&server, "first");
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let backup = |place: &Place<'_>, name: &str, more: &[&str]| {
            let (url, into) = (place.url(), folder.path().to_str().unwrap());
            let words = ["kylin", "--metadata-url", &url, "backup", into, "--folder", name];
            expect(0, &[&words[..], more].concat());
        };
        backup(&source, "one", &[]);
        let second = server.empty("second");
        expect(0, &["load", &at("one"), &second.url(), "--verify"]);
        backup(&second, "two", &[]);
        let [one, two] = ["one", "two"].map(|name| {
            let mut files = files(Path::new(&at(name)));
            // Up to where the log is in it: that of the second store is empty.
            assert!(files.remove("_image").is_some());
            files
        });
        assert_eq!(one.len(), 9);
        assert_eq!(one, two);
        backup(&second, "zip", &["--compress"]);
        let third = server.empty("third");
        expect(0, &["load", &at("zip"), &third.url(), "--verify"]);
        expect(0, &["verify", &at("one"), &third.url()]);
        expect(0, &["convert", &at("zip"), &at("unzipped"), "--format", "kylin"]);
        expect(0, &["verify", &at("one"), &at("unzipped")]);
    }
}
