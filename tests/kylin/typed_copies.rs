//! The typed layout through every store: made from nothing, backed up, brought back, migrated.

use std::path::Path;

use super::commands::files;
use super::place::Server;
use crate::kit::{expect, expect_error};

/// A made-up metastore of a thousand resources.
const MADE: &str = "synthetic-kylin://?resources=1000&bytes=2000&layout=typed";

#[test]
fn the_typed_layout_goes_through_every_store() {
    let [postgres, mariadb] = Server::both();
    let (one, two) = (postgres.empty("one"), mariadb.empty("two"));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    expect(0, &["load", MADE, &one.url(), "--verify"]);
    expect(0, &["migrate", &one.url(), &two.url()]);
    expect(0, &["verify", MADE, &two.url()]);
    for (place, name) in [(&one, "a"), (&two, "b")] {
        let (url, into) = (place.url(), folder.path().to_str().unwrap().to_owned());
        let kylin = |code, words: &[&str]| expect(code, &[&["kylin", "--metadata-url", &url], words].concat());
        kylin(0, &["backup", &into, "--folder", name]);
        kylin(0, &["verify", &at(name)]);
        kylin(0, &["backup-project", "p00", &into, "--folder", &format!("{name}-p00")]);
        place.run("DELETE FROM k_layout WHERE id % 3 = 0");
        assert!(kylin(3, &["diff", &at(name)]).contains(" went"));
        kylin(0, &["restore", &at(name), "--after-truncate", "--no-maintenance", "--no-safety-backup"]);
        kylin(0, &["verify", &at(name)]);
        expect(0, &["verify", MADE, &url]);
        assert_eq!(kylin(0, &["list", "PROJECT"]), "PROJECT/p00\n");
        assert!(kylin(0, &["cat", "PROJECT/p00"]).contains("\"name\" : \"p00\""));
    }
    assert_eq!(files(Path::new(&at("a"))).len(), files(Path::new(&at("b"))).len());
    expect(0, &["verify", &at("a"), &at("b")]);
    let flat = mariadb.empty("flat");
    expect(0, &["load", "synthetic-kylin://?resources=200", &flat.url()]);
    let (url, backup) = (flat.url(), at("a"));
    let error = expect_error(4, &["kylin", "--metadata-url", &url, "restore", &backup, "--no-maintenance"]);
    assert!(error.contains("typed layout") && error.contains("flat one"), "{error}");
}
