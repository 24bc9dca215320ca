//! Kylin's own classes judge what was written and write what is read: those of the flat layout through the program that
//! METAFERRY_KYLIN names, those of the typed one through METAFERRY_KYLIN_TYPED. Each takes `backup URL DIR --folder NAME`,
//! `restore URL DIR [--after-truncate]` and `dump URL`, which prints key, version, time and SHA-256 of each resource that Kylin
//! sees; the first one also `files DIR`, which prints them of a backup.

use std::path::Path;
use std::process::Command;

use super::commands::files;
use super::place::{Place, Server};
use super::restore::store;
use super::typed;
use crate::kit::expect;

/// Calls Kylin of the flat layout, and returns what it prints.
#[track_caller]
fn kylin(words: &[&str]) -> String {
    called("METAFERRY_KYLIN", words)
}

#[track_caller]
fn called(variable: &str, words: &[&str]) -> String {
    let program = std::env::var_os(variable).expect(variable);
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

#[test]
#[cfg_attr(not(kylin_typed), ignore = "wants Kylin's own tool of the typed layout in METAFERRY_KYLIN_TYPED")]
fn in_the_typed_layout_too_each_restores_what_the_other_saved_and_leaves_the_same() {
    for server in Server::both() {
        let folder = tempfile::tempdir().unwrap();
        let (into, typed) = (folder.path().to_str().unwrap(), "METAFERRY_KYLIN_TYPED");
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (one, two) = (typed::store(&server, "one"), typed::store(&server, "two"));
        let before = typed::versions(&one);
        ours(&one, &["backup", into, "--folder", "ours"]);
        called(typed, &["backup", &url(&two), into, "--folder", "theirs"]);
        let saved = |name: &str| {
            let kept = |name: &String| !name.ends_with("_image") && !name.ends_with("kylin.properties");
            let files = files(&folder.path().join(name)).into_iter().filter(|(name, _)| kept(name));
            files.map(|(name, (content, _))| (name, content)).collect::<Vec<_>>()
        };
        assert_eq!(saved("ours"), saved("theirs"), "{}: names and bytes", server.name());
        for place in [&one, &two] {
            place.run("DELETE FROM k_model WHERE meta_key = 'm1'");
            place.run(
                "INSERT INTO k_user_info (meta_key, uuid, username, mvcc, ts, content) VALUES ('new', 'n', 'new', 0, 0, '{}')",
            );
        }
        called(typed, &["restore", &url(&one), &at("ours"), "--after-truncate"]);
        ours(&two, &["restore", &at("theirs"), "--after-truncate", QUICK[0], QUICK[1]]);
        assert_eq!(typed::versions(&two), typed::versions(&one), "{}: the same versions", server.name());
        let keys =
            |rows: Vec<String>| rows.iter().map(|row| row.split('|').next().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(keys(typed::versions(&two)), keys(before), "{}: everything is back", server.name());
        // Kylin may write what changed as a patch, where we write all of it: `diff_flag` says which.
        let columns = ["meta_key", "meta_mvcc", "project", "trim(model_uuid)", "operator", "(instance LIKE '%:0000')"];
        let [theirs, mine] = [&one, &two].map(|place| place.rows("k_audit_log_v2", &columns, "id"));
        assert_eq!(mine, theirs, "{}: the same change log", server.name());
    }
}
