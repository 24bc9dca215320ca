//! Kylin's own commands, as a user calls them: what they write, what they print, how they end.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::place::{Place, Server};
use super::restore::store;
use crate::kit::{expect, expect_error};

/// Calls a command on a store.
#[track_caller]
fn kylin(code: i32, place: &Place<'_>, words: &[&str]) -> String {
    let url = place.url();
    expect(code, &[&["kylin", "--metadata-url", &url], words].concat())
}

/// The same; what it prints on standard error.
#[track_caller]
fn kylin_error(code: i32, place: &Place<'_>, words: &[&str]) -> String {
    let url = place.url();
    expect_error(code, &[&["kylin", "--metadata-url", &url], words].concat())
}

type Files = BTreeMap<String, (Vec<u8>, i64)>;

/// Every file in a folder: its content and its time in milliseconds; `_image` is as old as the backup.
pub(crate) fn files(folder: &Path) -> Files {
    fn walk(top: &Path, folder: &Path, found: &mut Files) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(top, &path, found);
                continue;
            }
            let about = path.metadata().unwrap();
            let time = about.mtime() * 1000 + about.mtime_nsec() / 1_000_000;
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            let time = if name == "_image" { 0 } else { time };
            found.insert(name, (std::fs::read(path).unwrap(), time));
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Without the waits that a live Kylin needs.
const QUICK: [&str; 2] = ["--no-maintenance", "--no-safety-backup"];

#[test]
fn a_backup_has_what_kylins_has_and_comes_back() {
    for server in Server::both() {
        let name = server.name();
        let place = store(&server, "whole");
        let folder = tempfile::tempdir().unwrap();
        let said = kylin(0, &place, &["backup", text(folder.path()), "--folder", "b"]);
        let backup = folder.path().join("b");
        assert!(said.contains(&format!("The metadata backup path is {}.", backup.display())), "{said}");
        assert!(said.contains("Backup at local disk succeed."), "{said}");
        let found = files(&backup);
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        let expected = [
            "UUID",
            "_global/acl/1111",
            "_global/project/p1.json",
            "_global/project/p2.json",
            "_global/project/p3.json",
            "_global/user/ADMIN",
            "_image",
            "p2/table/DEFAULT.T2.json",
            "p2/table/DEFAULT.T9.json",
            "p3/table/X.json",
        ];
        assert_eq!(names, expected, "{name}");
        assert_eq!(found["_image"].0, b"{\"offset\":7}", "{name}");
        assert_eq!(found["p2/table/DEFAULT.T2.json"], (b"{\"name\":\"old\"}".to_vec(), 1_700_000_000_000), "{name}");
        assert!(kylin(0, &place, &["verify", text(&backup)]).contains("whole: 9 resources"), "{name}");
        assert!(kylin(0, &place, &["diff", text(&backup)]).contains("0 came, 0 went, 0 changed"), "{name}");
        let taken = kylin_error(4, &place, &["backup", text(folder.path()), "--folder", "b"]);
        assert!(taken.contains("KE-050041202: The path already exists"), "{taken}");
        it_comes_back(&place, &backup);
    }
}

/// Changes a store, and restores a backup of it.
fn it_comes_back(place: &Place<'_>, backup: &Path) {
    place.run("DELETE FROM k WHERE META_TABLE_KEY = '/p3/table/X.json'");
    place.seed(&[("/p2/table/NEW.json", "{}", 0)]);
    place.run(&format!(
        "UPDATE k SET META_TABLE_CONTENT = {}, META_TABLE_MVCC = 1 WHERE META_TABLE_KEY = '/_global/acl/1111'",
        place.bytes(b"{}")
    ));
    let changes = kylin(3, place, &["diff", text(backup)]);
    for line in ["- /p3/table/X.json", "~ /_global/acl/1111", "+ /p2/table/NEW.json", "1 came, 1 went, 1 changed"] {
        assert!(changes.contains(line), "{line}: {changes}");
    }
    assert!(kylin(3, place, &["verify", text(backup)]).contains("not equal"));
    let before = place.versions();
    let dry = kylin(0, place, &["restore", text(backup), "--after-truncate", "--skip-equal", "--dry-run"]);
    assert!(dry.contains("insert /p3/table/X.json") && dry.contains("remove /p2/table/NEW.json"), "{dry}");
    assert!(dry.contains("would restore: 1 inserted, 1 replaced, 2 removed, 6 equal"), "{dry}");
    assert_eq!(place.versions(), before);
    let words = ["restore", text(backup), "--after-truncate", QUICK[0], QUICK[1]];
    let said = kylin(0, place, &words);
    assert!(said.contains("1 inserted, 7 replaced, 2 removed") && said.contains("Restore succeed."), "{said}");
    assert!(kylin(0, place, &["verify", text(backup)]).contains("equal"));
    let again = kylin(0, place, &[&words[..], &["--skip-equal"]].concat());
    assert!(again.contains("0 inserted, 0 replaced, 0 removed, 8 equal"), "{again}");
}

#[test]
fn a_project_is_saved_and_brought_back_alone() {
    for server in Server::both() {
        let place = store(&server, "project");
        let folder = tempfile::tempdir().unwrap();
        let into = text(folder.path());
        kylin(0, &place, &["backup-project", "p2", into, "--folder", "p2"]);
        let backup = folder.path().join("p2");
        let names: Vec<_> = files(&backup).into_keys().collect();
        let expected = ["UUID", "_global/project/p2.json", "p2/table/DEFAULT.T2.json", "p2/table/DEFAULT.T9.json"];
        assert_eq!(names, expected);
        let error = kylin_error(2, &place, &["backup-project", "p9", into]);
        assert!(error.contains("there is no project \"p9\""), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "a backup and its manifest");
        let refused = kylin_error(4, &place, &["restore", text(&backup), "--after-truncate", QUICK[0], QUICK[1]]);
        assert!(refused.contains("of the project \"p2\" alone"), "{refused}");
        assert!(kylin_error(2, &place, &["restore-project", "p1", text(&backup), QUICK[0]]).contains("no project"));
        place.run("DELETE FROM k WHERE META_TABLE_KEY = '/p2/table/DEFAULT.T2.json'");
        place.seed(&[("/p2/table/NEW.json", "{}", 0)]);
        let words = ["restore-project", "p2", text(&backup), "-d", QUICK[0], QUICK[1]];
        assert!(kylin(0, &place, &words).contains("1 inserted, 2 replaced, 1 removed"));
        assert!(kylin(0, &place, &["diff", text(&backup)]).contains("0 came, 0 went, 0 changed"));
        assert!(place.versions().contains(&"/p3/table/X.json|2".to_owned()), "{:?}", place.versions());
    }
}

#[test]
fn what_would_wipe_a_store_is_refused() {
    let server = &Server::both()[0];
    let place = store(server, "wipe");
    let folder = tempfile::tempdir().unwrap();
    let before = place.versions();
    let backup = |name: &str, files: &[(&str, &[u8])]| {
        let top = folder.path().join(name);
        std::fs::create_dir(&top).unwrap();
        for (path, content) in files {
            let path = top.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        top
    };
    let image: (&str, &[u8]) = ("_image", b"{\"offset\":1}");
    let typed: [(&str, &[u8]); 2] =
        [("core_meta/PROJECT/p.json", b"{}"), ("core_meta/SYSTEM/_image.json", b"{\"offset\":1}")];
    for (name, files, code, why) in [
        ("empty", &[][..], 4, "empty"),
        ("no-projects", &[image, ("_global/user/ADMIN", b"{}")][..], 4, "no project"),
        ("no-global", &[image, ("_global/project/p1.json", b"{}")][..], 4, "neither users"),
        ("old", &[("cube/c.json", b"{}" as &[u8]), ("project/p.json", b"{}")][..], 1, "Kylin 2 to 4"),
        ("typed", &typed[..], 4, "typed"),
        ("stray", &[image, ("_global/user/A", b"{}"), ("q/table/T.json", b"{}")][..], 4, "illegal projects"),
    ] {
        let backup = backup(name, files);
        let error = kylin_error(code, &place, &["restore", text(&backup), "--after-truncate", QUICK[0], QUICK[1]]);
        assert!(error.contains(why), "{name}: {error}");
        assert_eq!(place.versions(), before, "{name}");
    }
    let none = folder.path().join("none");
    kylin_error(1, &place, &["restore", text(&none), "-d", QUICK[0]]);
    let some = backup("some", &[image, ("_global/project/p1.json", b"{}")]);
    kylin(0, &place, &["restore", text(&some), "--after-truncate", "--force", QUICK[0], QUICK[1]]);
    assert_eq!(place.versions(), ["/UUID|0", "/_global/project/p1.json|8"]);
}

#[test]
fn a_restore_saves_what_was_there_in_the_maintenance_mode_and_ends_that() {
    let server = &Server::both()[1];
    let place = store(server, "safety");
    let folder = tempfile::tempdir().unwrap();
    kylin(0, &place, &["backup", text(folder.path()), "--folder", "b"]);
    let backup = folder.path().join("b");
    let conf = folder.path().join("conf");
    std::fs::create_dir(&conf).unwrap();
    std::fs::write(conf.join("kylin.properties"), "kylin.metadata.audit-log.catchup-interval=200ms\n").unwrap();
    let words = ["--conf", text(&conf), "restore", text(&backup)];
    kylin(0, &place, &words);
    let names =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let saved: Vec<_> = names.filter(|name| name.ends_with("_before_restore")).collect();
    let [saved] = saved.as_slice() else { panic!("{saved:?}") };
    let saved = folder.path().join(saved);
    assert_eq!(files(&saved).len(), 1, "one metadata.zip");
    expect(0, &["verify", text(&saved), text(&backup)]);
    kylin(0, &place, &["verify", text(&saved)]);
    assert!(kylin(0, &place, &["maintenance", "status"]).contains("maintenance mode: off"));
    kylin(0, &place, &["maintenance", "on", "--reason", "an upgrade"]);
    let status = kylin(0, &place, &["maintenance", "status"]);
    assert!(status.contains("maintenance mode: on") && status.contains("an upgrade"), "{status}");
    let before = place.versions();
    let error = kylin_error(4, &place, &words);
    assert!(error.contains("under maintenance mode"), "{error}");
    assert_eq!(place.versions(), before);
    assert!(kylin_error(4, &place, &["maintenance", "on", "--reason", "x"]).contains("under maintenance mode"));
    kylin(0, &place, &["maintenance", "off"]);
    assert!(kylin_error(4, &place, &["maintenance", "off"]).contains("System is not in maintenance mode."));
    kylin(0, &place, &["maintenance", "off", "--force"]);
}

#[test]
fn resources_are_listed_fetched_and_printed() {
    for server in Server::both() {
        let place = store(&server, "look");
        assert_eq!(kylin(0, &place, &["list", "/"]), "/UUID\n/_global\n/p2\n/p3\n");
        assert_eq!(kylin(0, &place, &["list", "/p2/table"]), "/p2/table/DEFAULT.T2.json\n/p2/table/DEFAULT.T9.json\n");
        let global = "/_global/acl\n/_global/project\n/_global/trash_record\n/_global/user\n";
        assert_eq!(kylin(0, &place, &["list", "/_global/"]), global);
        assert!(kylin_error(1, &place, &["list", "/nothing"]).contains("/nothing is not exist"));
        assert_eq!(kylin(0, &place, &["cat", "/p2/table/DEFAULT.T2.json"]), "{\"name\":\"old\"}");
        assert!(kylin_error(1, &place, &["cat", "/p2/table"]).contains("is not exist"));
        let folder = tempfile::tempdir().unwrap();
        kylin(0, &place, &["fetch", "/p2/table", text(folder.path())]);
        let found: Vec<_> = files(folder.path()).into_keys().filter(|name| !name.ends_with("manifest.json")).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].ends_with("_fetch/p2/table/DEFAULT.T2.json"), "{found:?}");
    }
}

#[test]
fn settings_are_found_as_kylin_finds_them() {
    let server = &Server::both()[0];
    let place = store(server, "settings");
    let home = tempfile::tempdir().unwrap();
    let call = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_metaferry"));
        command.arg("kylin").args(words).env("KYLIN_HOME", home.path()).env_remove("KYLIN_CONF").output().unwrap()
    };
    let output = call(&["backup"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("which metastore is meant is not known"));
    std::fs::create_dir(home.path().join("conf")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(home.path().join("conf").join(name), text).unwrap();
    write("kylin.properties", "kylin.metadata.url=k@jdbc,url=jdbc:postgresql://127.0.0.1:1/no,username=postgres\n");
    assert_eq!(call(&["backup"]).status.code(), Some(1), "nobody is there");
    // The password of Kylin's documents, as Kylin obscures it; a server that trusts everyone takes any.
    let url = format!("{},password=ENC('YeqVr9MakSFbgxEec9sBwg==')", place.url());
    write("kylin.properties.override", &format!("kylin.metadata.url={url}\n"));
    let output = call(&["backup"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let path = said.lines().find_map(|line| line.strip_prefix("The metadata backup path is ")).unwrap();
    assert!(path.starts_with(text(&home.path().join("meta_backups"))) && path.ends_with("_backup."), "{path}");
    assert!(!said.contains("YeqV"), "{said}");
}
