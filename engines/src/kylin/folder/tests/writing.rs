//! What a copy leaves when it does not come to its end, what it never replaces, and keys that no folder holds.

use std::fs;

use metaferry_codecs::kylin::{Batch, Layout, Resource, Setting};
use metaferry_codecs::system::Batch as _;
use metaferry_codecs::tally::Tally;
use metaferry_pipeline::{Commit, ErrorKind, Sink, Stop, preflight};

use super::super::{BackupSink, BackupSource, Form, Reading};
use super::kit::*;

fn commit() -> Commit<metaferry_codecs::kylin::Kylin> {
    let seal: Batch = vec![Setting { layout: Layout::Flat, offset: Some(1), project: Vec::new() }].into();
    let mut tally = Tally::default();
    seal.tally(&mut tally);
    Commit { seal, tally, about: about() }
}

fn begun(folder: &Folder, name: &str, form: Form) -> BackupSink {
    let mut sink = BackupSink::create(&folder.path(name), form);
    sink.prepare(&about(), &Stop::new()).unwrap();
    let mut loader = sink.loader().unwrap();
    loader.load(vec![resource("/p/a", b"1"), resource("/p/b/c", b"2")].into()).unwrap();
    loader.finish().unwrap();
    sink
}

fn refused(rows: Vec<Resource>, why: &str) {
    let folder = Folder::new();
    let to = BackupSink::create(&folder.path("to"), Form::Folder);
    let error = copied(store(Layout::Flat, rows), to).unwrap_err();
    assert!(error.to_string().contains(why), "{error}");
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}

#[test]
fn what_exists_is_never_touched() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    fs::create_dir(folder.path("empty")).unwrap();
    fs::write(folder.path("file"), "mine").unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path("link")).unwrap();
    let before = folder.names();
    for name in ["from", "empty", "file", "link"] {
        let error = copy_backup(&from, &folder.path(name), Form::Folder).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        let path = folder.path(name);
        assert_eq!(error.to_string(), format!("KE-050041202: The path already exists: {}.", path.display()));
    }
    assert_eq!(folder.names(), before);
    let mut late = begun(&folder, "late", Form::Folder);
    drop(late.uncommitted().unwrap());
    fs::create_dir(folder.path("late")).unwrap();
    let error = Box::new(late).commit(commit()).unwrap_err();
    assert!(error.to_string().contains("KE-050041202"), "{error}");
    assert_eq!(fs::read_dir(folder.path("late")).unwrap().count(), 0);
    assert!(!folder.names().iter().any(|name| name.contains("metaferry") || name.contains("manifest")));
    assert_eq!(copy_backup(&from, &folder.path("no/where"), Form::Folder).unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn what_is_dropped_leaves_nothing() {
    for form in [Form::Folder, Form::Zip] {
        let folder = Folder::new();
        let sink = begun(&folder, "to", form);
        assert_eq!(folder.names().len(), 2, "a lock, and the folder under another name");
        assert!(!folder.path("to").exists());
        drop(sink);
        assert!(folder.names().is_empty(), "{:?}", folder.names());
        let mut sink = begun(&folder, "to", form);
        let mut late = sink.loader().unwrap();
        drop(sink);
        // A loader that outlives its sink makes nothing that stays.
        drop(late.load(vec![resource("/q/a", b"1")].into()));
        drop(late);
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }
}

#[test]
fn a_loader_that_has_not_finished_holds_up_the_commit() {
    let folder = Folder::new();
    for form in [Form::Folder, Form::Zip] {
        let mut sink = begun(&folder, "to", form);
        let loader = sink.loader().unwrap();
        assert_eq!(sink.uncommitted().err().unwrap().kind(), ErrorKind::Bug);
        assert_eq!(Box::new(sink).commit(commit()).unwrap_err().kind(), ErrorKind::Bug);
        drop(loader);
        assert!(folder.names().is_empty());
    }
}

#[test]
fn a_copy_that_is_stopped_leaves_nothing() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    let stop = Stop::new();
    stop.interrupt();
    let source = Box::new(BackupSource::open(&from, Reading::default()).unwrap());
    let sink = Box::new(BackupSink::create(&folder.path("to"), Form::Folder));
    let copied = metaferry_pipeline::copy::copy(source, sink, &options(), &Default::default(), &stop);
    assert_eq!(copied.unwrap_err().kind(), ErrorKind::Interrupted);
    let mut sink = BackupSink::create(&folder.path("to"), Form::Folder);
    let stop = Stop::new();
    sink.prepare(&about(), &stop).unwrap();
    stop.interrupt();
    assert_eq!(Box::new(sink).commit(commit()).unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(folder.names(), ["from"]);
}

#[test]
fn what_a_killed_run_has_left_is_cleared_by_the_next_one_of_any_name() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    for (name, process) in [("2026-01-01-00-00-00_backup", 4_000_000), ("to", 4_000_001)] {
        let left = folder.path(&format!(".{name}.metaferry-{process}"));
        put(&left.join("_global/user/ADMIN"), b"secret", TIME);
        fs::write(folder.path(&format!(".{name}.metaferry.lock")), "").unwrap();
    }
    // A manifest was written last; and names that are not ours.
    fs::write(folder.path("to.manifest.json"), "{}").unwrap();
    for name in [".mine.metaferry-1x", "x.metaferry-1", ".metaferry-1"] {
        fs::create_dir(folder.path(name)).unwrap();
    }
    let live = begun(&folder, "live", Form::Folder);
    copy_backup(&from, &folder.path("to"), Form::Folder).unwrap();
    Box::new(live).commit(commit()).unwrap();
    let expected = [
        ".metaferry-1",
        ".mine.metaferry-1x",
        "from",
        "live",
        "live.manifest.json",
        "to",
        "to.manifest.json",
        "x.metaferry-1",
    ];
    assert_eq!(folder.names(), expected);
}

#[test]
fn a_manifest_of_another_backup_is_never_replaced() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    copy_backup(&from, &folder.path("to"), Form::Folder).unwrap();
    fs::rename(folder.path("to"), folder.path("moved")).unwrap();
    let before = fs::read(folder.path("to.manifest.json")).unwrap();
    let error = copy_backup(&from, &folder.path("to"), Form::Folder).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("to.manifest.json beside it"), "{error}");
    assert_eq!(fs::read(folder.path("to.manifest.json")).unwrap(), before);
}

#[test]
fn the_folder_that_kylin_boots_from_is_not_written_to() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    fs::create_dir_all(folder.path("work/_backup")).unwrap();
    let error = copy_backup(&from, &folder.path("work/_backup/mine"), Form::Zip).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(fs::read_dir(folder.path("work/_backup")).unwrap().count(), 0);
}

#[test]
fn keys_that_no_folder_holds_are_refused_by_name() {
    let project = || resource("/_global/project/p.json", b"{}");
    refused(vec![project(), resource("/p/../../etc/cron.d/x", b"")], "/p/../../etc/cron.d/x");
    refused(vec![project(), resource("/p/a\0b", b"")], "NUL");
    refused(vec![project(), resource("/p//a", b"")], "empty");
    refused(vec![project(), resource("/p/a", b""), resource("/p/a/b", b"")], "\"/p/a/b\": it needs a folder");
    let long = "ü".repeat(130);
    refused(vec![project(), resource(&format!("/p/{long}"), b"")], "longer than names of files");
}

#[test]
fn what_stands_in_the_way_of_a_file_is_told() {
    let folder = Folder::new();
    for form in [Form::Folder, Form::Zip] {
        let mut sink = begun(&folder, "to", form);
        let mut loader = sink.loader().unwrap();
        if form == Form::Folder {
            let error = loader.load(vec![resource("/p/b", b"")].into()).unwrap_err();
            assert!(error.to_string().contains("\"/p/b\": it needs a file where other keys have a folder"), "{error}");
        }
        loader.load(vec![resource("/p/x", b"")].into()).unwrap();
        let error = loader.load(vec![resource("/p/x", b"")].into()).unwrap_err();
        assert!(error.to_string().contains("\"/p/x\" comes twice"), "{error}");
        drop(loader);
    }
}

#[test]
fn projects_that_are_not_there_are_told() {
    let folder = Folder::new();
    let rows = vec![resource("/_global/project/p.json", b"{}"), resource("/p/a", b""), resource("/q/a", b"")];
    let report = copied(store(Layout::Flat, rows), BackupSink::create(&folder.path("to"), Form::Folder)).unwrap();
    let told = &report.findings.census["illegal project"].told;
    assert_eq!(told, &["\"q\": there is no such project in the backup, so Kylin would not restore it"]);
    assert!(refusal(&folder.path("to")).to_string().contains("illegal projects : \"q\""));
}

#[test]
fn both_ends_say_what_is_known_before() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    let source = || BackupSource::open(&from, Reading::default()).unwrap();
    let remarks = |name: &str| {
        let sink = BackupSink::create(&folder.path(name), Form::Folder);
        preflight::preflight(&source(), &sink, false, &Stop::new()).unwrap()
    };
    assert!(remarks("to").iter().all(|remark| remark.level == preflight::Level::Ok));
    let there = remarks("from");
    assert!(there.iter().any(|remark| remark.text.contains("KE-050041202")), "{there:?}");
    let outlook = metaferry_pipeline::Source::outlook(&source(), &[], &Stop::new()).unwrap();
    assert_eq!(outlook.rows, Some(12));
    assert_eq!(outlook.largest.iter().map(|largest| largest.value).collect::<Vec<_>>(), [29, 38]);
    assert!(folder.names() == ["from"]);
}

/// A disk of one megabyte.
struct Small(Folder);

impl Small {
    fn new() -> Self {
        let folder = Folder::new();
        fs::create_dir(folder.path("disk")).unwrap();
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder.path("disk")).status();
        assert!(mounted.unwrap().success(), "this test may mount file systems");
        Self(folder)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg(self.0.path("disk")).status());
    }
}

#[test]
#[ignore = "needs the right to mount a file system"]
fn a_full_disk_is_told_and_nothing_is_left_on_it() {
    let small = Small::new();
    let mut rows = vec![resource("/_global/project/p.json", b"{}")];
    let content: Vec<u8> =
        (0..200_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    rows.extend((0..3).map(|number| resource(&format!("/p/{number}"), &content)));
    for form in [Form::Folder, Form::Zip] {
        let to = small.0.path("disk/to");
        let error = copied(store(Layout::Flat, rows.clone()), BackupSink::create(&to, form)).unwrap_err();
        assert!(error.what_to_do().unwrap().contains("make room"), "{error:?}");
        assert_eq!(fs::read_dir(small.0.path("disk")).unwrap().count(), 0);
    }
}
