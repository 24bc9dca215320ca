//! Folders that are not read, or not as they look: each is refused in words that name what is wrong.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use metaferry_codecs::kylin::content::BOUND;
use metaferry_pipeline::{ErrorKind, Scope};

use super::super::{BackupSource, Reading};
use super::kit::*;
use super::made::*;

fn fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn told(path: &Path) -> (ErrorKind, String) {
    let error = refusal(path);
    assert!(error.what_to_do().is_some(), "{error}");
    (error.kind(), error.to_string())
}

#[test]
fn what_is_no_backup_is_refused() {
    let folder = Folder::new();
    let empty = folder.backup("empty", &[]);
    assert_eq!(told(&folder.path("none")).0, ErrorKind::Config);
    let (kind, text) = told(&empty);
    assert_eq!(kind, ErrorKind::Refused);
    assert!(text.contains("is an empty directory, please check"), "{text}");
    put(&empty.join(".DS_Store"), b"x", TIME);
    assert_eq!(told(&empty).0, ErrorKind::Refused);
    for (files, why) in [
        (&["project/p.json", "cube/c.json", "UUID"][..], "Kylin 2 to 4"),
        (&["cube_desc/c.json"], "Kylin 2 to 4"),
        (&["2026-01-01-00-00-00_backup/_global/project/p.json"], "no metadata of Kylin"),
    ] {
        let files: Vec<_> = files.iter().map(|path| (*path, &b"{}"[..])).collect();
        let other = Folder::new();
        let (kind, text) = told(&other.backup("b", &files));
        assert_eq!(kind, ErrorKind::Unsupported);
        assert!(text.contains(why), "{text}");
    }
    fs::write(folder.path("file"), "text").unwrap();
    assert!(told(&folder.path("file")).1.contains("it is no zip"));
    fifo(&folder.path("pipe"));
    assert!(told(&folder.path("pipe")).1.contains("neither a folder nor a file"));
}

#[test]
fn nothing_but_the_id_of_an_instance_is_refused() {
    let folder = Folder::new();
    // What Kylin makes of a project that is not there.
    let (kind, text) = told(&folder.backup("b", &[("UUID", UUID)]));
    assert_eq!(kind, ErrorKind::Refused);
    assert!(text.contains("no resource"), "{text}");
    assert_eq!(read(&folder.path("b"), unchecked()).unwrap().keys(), ["/UUID"]);
}

#[test]
fn links_and_what_is_no_file_are_refused_wherever_they_are() {
    type Make = fn(&Path);
    let makes: [(&str, Make); 4] = [
        ("a symbolic link", |path| symlink("/etc/passwd", path).unwrap()),
        ("a symbolic link", |path| symlink("..", path).unwrap()),
        ("a named pipe", fifo),
        ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
    ];
    for (what, make) in makes {
        for place in ["x", "_global", "p1/x", "p1/table/x.json", "p1/dataflow_details/a/x", ".DS_Store"] {
            let folder = Folder::new();
            let from = folder.backup("b", &flat());
            if place == "_global" {
                fs::remove_dir_all(from.join(place)).unwrap();
            }
            make(&from.join(place));
            let (kind, text) = told(&from);
            assert_eq!(kind, ErrorKind::Refused);
            assert!(text.contains(&format!("\"{place}\" is {what}")), "{text}");
            assert!(read(&from, unchecked()).is_err());
        }
    }
    let folder = Folder::new();
    let from = folder.backup("b", &flat());
    symlink(&from, folder.path("latest")).unwrap();
    assert_eq!(all(&folder.path("latest")).keys().len(), 11, "the one that the user names may be a link");
}

#[test]
fn foreign_files_at_the_top_are_refused_and_those_below_are_resources() {
    let folder = Folder::new();
    let from = folder.backup("b", &flat());
    for path in ["p1/notes.txt", "p1/.hidden/x", "_global/kylin.properties", ".DS_Store", "p1/.DS_Store", "VERSION"] {
        put(&from.join(path), b"x", TIME);
    }
    let yielded = all(&from);
    for key in ["/p1/notes.txt", "/p1/.hidden/x", "/_global/kylin.properties"] {
        assert!(yielded.keys().contains(&key.to_owned()), "{key}");
    }
    assert_eq!(yielded.rows.len(), 14);
    assert_eq!(yielded.findings.left_behind.values().sum::<u64>(), 3);
    for (path, why) in [
        ("kylin.properties", "illegal files : \"/kylin.properties\""),
        (".hidden", "illegal files : \"/.hidden\""),
        ("p3/table/T.json", "illegal projects : \"p3\" (1 file)"),
        ("core_meta/x", "illegal projects : \"core_meta\" (1 file)"),
    ] {
        put(&from.join(path), b"x", TIME);
        let (kind, text) = told(&from);
        assert_eq!(kind, ErrorKind::Refused);
        assert!(text.contains("the metadata dir is not qualified; ") && text.contains(why), "{text}");
        let top = from.join(path.split('/').next().unwrap());
        let yielded = read(&from, unchecked()).unwrap();
        assert_eq!(yielded.rows.len(), if top.is_dir() { 15 } else { 14 });
        if top.is_dir() { fs::remove_dir_all(top).unwrap() } else { fs::remove_file(top).unwrap() }
    }
}

#[test]
fn kylin_s_own_check_can_be_asked_for() {
    let folder = Folder::new();
    let from = folder.backup("b", &flat());
    put(&from.join("p3/x"), b"x", TIME);
    let verification = BackupSource::open(&from, Reading::default()).unwrap().verification().unwrap();
    assert!(verification.uuid && verification.image && verification.user && verification.acl);
    assert!(!verification.user_group && !verification.is_qualified());
    assert_eq!(verification.illegal_projects().map(|(name, _)| name).collect::<Vec<_>>(), [b"p3"]);
}

#[test]
fn names_that_are_no_keys_are_refused() {
    let folder = Folder::new();
    let from = folder.backup("b", &flat());
    let long = format!("p1/{}/{}", "a".repeat(200), "b".repeat(51));
    put(&from.join(&long), b"x", TIME);
    assert!(told(&from).1.contains("256 characters"));
    fs::remove_dir_all(from.join("p1").join("a".repeat(200))).unwrap();
    let raw = std::ffi::OsStr::from_bytes(b"p1/\xff\n\x1b[2J.json");
    put(&from.join(raw), b"x", TIME);
    assert!(all(&from).rows.iter().any(|row| row.key == b"/p1/\xff\n\x1b[2J.json"), "bytes are as good as letters");
    symlink("x", from.join(std::ffi::OsStr::from_bytes(b"p1/\x1b[2J"))).unwrap();
    let text = told(&from).1;
    assert!(text.contains("\\u{1b}[2J") && !text.contains('\x1b'), "{text}");
}

#[test]
fn question_marks_are_told() {
    let folder = Folder::new();
    let from = folder.backup("b", &flat());
    put(&from.join("p1/table/DEFAULT.??.json"), b"{}", TIME);
    let yielded = all(&from);
    let sort = &yielded.findings.census["name with a question mark"];
    assert_eq!(sort.count, 1);
    assert!(sort.told[0].starts_with("\"/p1/table/DEFAULT.??.json\": "), "{:?}", sort.told);
    assert_eq!(yielded.rows.len(), 12);
}

#[test]
fn a_zip_beside_files_is_refused() {
    let folder = Folder::new();
    let from = folder.backup("b", &flat());
    put(&from.join("metadata.zip"), &zip(&entries()), TIME);
    let (kind, text) = told(&from);
    assert_eq!(kind, ErrorKind::Refused);
    assert!(text.contains("metadata.zip and "), "{text}");
    assert!(read(&from, unchecked()).is_err());
}

#[test]
fn a_backup_of_one_project_is_known_by_the_lack_of_an_image() {
    let folder = Folder::new();
    let from = folder.backup("b", &flat());
    fs::remove_file(from.join("_image")).unwrap();
    let yielded = all(&from);
    let setting = yielded.setting.unwrap();
    assert_eq!((setting.offset, setting.project), (None, Vec::new()));
    assert!(yielded.notes[1].contains("project-level"), "{:?}", yielded.notes);
    fs::remove_dir_all(from.join("p2")).unwrap();
    fs::remove_file(from.join("_global/project/p2.json")).unwrap();
    assert_eq!(all(&from).setting.unwrap().project, b"p1");
    fs::remove_file(from.join("_global/project/p1.json")).unwrap();
    fs::remove_dir_all(from.join("p1")).unwrap();
    assert!(told(&from).1.contains("project-level, and it holds no project"));
}

#[test]
fn a_broken_image_is_refused() {
    for image in ["", "{}", "{\"offset\":-1}", "not json"] {
        let folder = Folder::new();
        let from = folder.backup("b", &flat());
        put(&from.join("_image"), image.as_bytes(), TIME);
        let error = refusal(&from);
        assert!(error.to_string().contains("\"_image\": "), "{error}");
    }
    let folder = Folder::new();
    let from = folder.backup("b", &flat());
    let image = fs::File::options().write(true).open(from.join("_image")).unwrap();
    image.set_len(1 << 40).unwrap();
    assert!(refusal(&from).to_string().contains("and has 65536 at most"));
}

#[test]
fn what_is_too_long_is_refused_before_it_is_read() {
    let folder = Folder::new();
    let from = folder.backup("b", &flat());
    let file = fs::File::options().write(true).open(from.join("p1/execute/job")).unwrap();
    file.set_len(BOUND as u64 + 1).unwrap();
    let error = refusal(&from);
    assert!(error.to_string().contains("268435457 bytes, and a resource has 268435456 at most"), "{error}");
}

#[test]
fn what_changes_while_it_is_read_is_an_error() {
    let changes: [fn(&Path); 8] = [
        |from| fs::write(from.join("p1/execute/job"), "more").unwrap(),
        |from| fs::write(from.join("p1/table/DEFAULT.T1.json"), b"{\"name\":\"T2\"}").unwrap(),
        |from| fs::remove_file(from.join("p1/table/DEFAULT.T1.json")).unwrap(),
        |from| fs::write(from.join("p1/table/new"), "more").unwrap(),
        |from| fs::rename(from.join("p1/execute/job"), from.join("p1/execute/jab")).unwrap(),
        |from| {
            fs::remove_file(from.join("p1/execute/job")).unwrap();
            symlink("/etc/hostname", from.join("p1/execute/job")).unwrap();
        },
        |from| {
            fs::remove_file(from.join("p1/execute/job")).unwrap();
            fifo(&from.join("p1/execute/job"));
        },
        |from| {
            fs::rename(from.join("p1/table"), from.join("../table")).unwrap();
            symlink("../../table", from.join("p1/table")).unwrap();
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let folder = Folder::new();
        let from = folder.backup("b", &flat());
        let snapshot = open(&from, Reading::default()).unwrap();
        // Times of files come from a clock that ticks some hundred times a second.
        std::thread::sleep(std::time::Duration::from_millis(30));
        change(&from);
        let mut out = Yield::default();
        let plan = snapshot.plan(&Scope::default()).unwrap();
        let scanned = plan.iter().try_for_each(|partition| snapshot.scan(partition, &mut out));
        let error = scanned.err().unwrap_or_else(|| panic!("change {number} was not seen"));
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Refused), "{error:?}");
    }
}
