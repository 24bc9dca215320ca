//! Kylin's own classes, called through the program that METAFERRY_KYLIN names, judge what was written and write what is read. The
//! program takes `backup URL DIR --folder NAME`, `restore URL DIR [--after-truncate]` and `dump URL`, which prints key, version, time
//! and SHA-256 of each resource that Kylin sees.

use std::path::Path;
use std::process::Command;

use super::commands::files;
use super::place::{Place, Server};
use super::restore::store;
use crate::kit::expect;

/// Calls Kylin, and returns what it prints.
#[track_caller]
fn kylin(words: &[&str]) -> String {
    let program = std::env::var_os("METAFERRY_KYLIN").expect("METAFERRY_KYLIN must be the path of Kylin's tool");
    let output = Command::new(program).args(words).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{words:?}\n{out}\n{err}");
    out.into_owned()
}

/// The address as Kylin's drivers want it.
fn url(place: &Place<'_>) -> String {
    let driver = match place.server {
        Server::Postgres(_) => "org.postgresql.Driver",
        Server::MariaDb(_) => "com.mysql.jdbc.Driver",
    };
    format!("{},driverClassName={driver},password=", place.url())
}

/// Key and content of all that Kylin sees, without the clean-up list.
fn seen(place: &Place<'_>) -> Vec<String> {
    let row = |line: &str| {
        let cells: Vec<_> = line.split('\t').collect();
        format!("{} {}", cells[0], cells[3])
    };
    let said = kylin(&["dump", &url(place)]);
    said.lines().map(row).filter(|row| !row.starts_with("/_global/trash_record ")).collect()
}

#[track_caller]
fn ours(place: &Place<'_>, words: &[&str]) {
    let url = place.url();
    expect(0, &[&["kylin", "--metadata-url", &url], words].concat());
}

const QUICK: [&str; 2] = ["--no-maintenance", "--no-safety-backup"];

#[test]
#[cfg_attr(not(kylin), ignore = "wants Kylin's own tool in METAFERRY_KYLIN")]
fn kylin_makes_the_same_backup() {
    for server in Server::both() {
        let place = store(&server, "same");
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().to_str().unwrap();
        ours(&place, &["backup", into, "--folder", "ours"]);
        kylin(&["backup", &url(&place), into, "--folder", "theirs"]);
        let [ours, theirs] = ["ours", "theirs"].map(|name| files(&folder.path().join(name)));
        assert_eq!(ours, theirs, "{}: names, bytes and times", server.name());
    }
}

#[test]
#[cfg_attr(not(kylin), ignore = "wants Kylin's own tool in METAFERRY_KYLIN")]
fn kylin_brings_our_backup_back_and_we_its_own() {
    for server in Server::both() {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().to_str().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (one, two) = (store(&server, "one"), store(&server, "two"));
        let before = seen(&one);
        assert!(!before.is_empty());
        ours(&one, &["backup", into, "--folder", "ours"]);
        kylin(&["backup", &url(&two), into, "--folder", "theirs"]);
        for place in [&one, &two] {
            place.run("DELETE FROM k WHERE META_TABLE_KEY = '/p3/table/X.json'");
            place.seed(&[("/p2/table/NEW.json", "{}", 0)]);
        }
        kylin(&["restore", &url(&one), &at("ours"), "--after-truncate"]);
        ours(&two, &["restore", &at("theirs"), "--after-truncate", QUICK[0], QUICK[1]]);
        assert_eq!(seen(&one), before, "{}", server.name());
        assert_eq!(seen(&two), before, "{}", server.name());
        assert_eq!(one.versions(), two.versions(), "{}: the same versions", server.name());
        let columns = ["id", "meta_key", "meta_mvcc", "operator"];
        let [theirs, mine] = [&one, &two].map(|place| place.rows("k_audit_log", &columns, "id"));
        assert_eq!(mine, theirs, "{}: the same change log", server.name());
    }
}

#[test]
#[cfg_attr(not(kylin), ignore = "wants Kylin's own tool in METAFERRY_KYLIN")]
fn kylin_reads_the_zip_and_the_store_that_we_write() {
    for server in Server::both() {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().to_str().unwrap();
        let source = store(&server, "zipped");
        let before = seen(&source);
        ours(&source, &["backup", into, "--folder", "zip", "--compress"]);
        let said = kylin(&["files", Path::new(into).join("zip").to_str().unwrap()]);
        assert_eq!(said.lines().filter(|line| line.starts_with('/')).count(), before.len() + 1, "{said}");
        let copy = server.empty("copied");
        expect(0, &["migrate", &source.url(), &copy.url()]);
        assert_eq!(seen(&copy), before, "{}", server.name());
    }
}
