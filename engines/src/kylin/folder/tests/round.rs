//! What is written is read, byte for byte and to the millisecond, whatever the keys.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use metaferry_codecs::kylin::{Audit, Kind, Layout, Resource, Setting, key};
use metaferry_pipeline::ErrorKind;
use proptest::prelude::*;

use super::super::{BackupSink, BackupSource, Form, Reading, manifest, manifest_path};
use super::kit::*;

#[test]
fn a_flat_backup_is_what_kylin_makes() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    let yielded = all(&from);
    let expected: Vec<_> = [
        "/UUID",
        "/_global/acl/1111",
        "/_global/project/p1.json",
        "/_global/project/p2.json",
        "/_global/user/ADMIN",
        "/p1/dataflow_details/a.json",
        "/p1/dataflow_details/a/b.json",
        "/p1/execute/job",
        "/p1/table/DEFAULT.T1.json",
        "/p1/table_exd/DEFAULT.T1.json",
        "/p2/table/DEFAULT.T2.json",
    ]
    .to_vec();
    assert_eq!(yielded.keys(), expected);
    assert_eq!(yielded.setting, Some(Setting { layout: Layout::Flat, offset: Some(7), project: Vec::new() }));
    assert_eq!((yielded.rows[0].content.as_slice(), yielded.rows[0].ts), (UUID, TIME));
    assert!(yielded.is_ordered && yielded.findings.census.is_empty() && yielded.findings.left_behind.is_empty());
    assert_eq!(yielded.notes, ["a backup in the flat layout, of 2 projects, up to entry 7 of the change log"]);

    let to = folder.path("to");
    let report = copy_backup(&from, &to, Form::Folder).unwrap();
    assert!(report.proven && report.rows[&Kind::Resource] == 11);
    assert_eq!(resources(&to), resources(&from));
    assert_eq!(fs::read(to.join("_image")).unwrap(), b"{\"offset\":7}");
    assert_eq!(folder.names(), ["from", "to", "to.manifest.json"]);
    let mode = |name: &str| to.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(""), mode("_global"), mode("_global/user/ADMIN"), mode("_image")], [0o700, 0o700, 0o600, 0o600]);
}

#[test]
fn a_zip_holds_the_same_but_for_half_seconds() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    copy_backup(&from, &folder.path("zipped"), Form::Zip).unwrap();
    assert_eq!(tree(&folder.path("zipped")).keys().collect::<Vec<_>>(), [b"metadata.zip"]);
    for place in ["zipped", "zipped/metadata.zip"] {
        let zipped = all(&folder.path(place));
        let (mut plain, mut there) = (all(&from).rows, zipped.rows);
        plain.iter_mut().for_each(|row| row.ts -= row.ts.rem_euclid(2000));
        there.iter_mut().for_each(|row| row.ts -= row.ts.rem_euclid(2000));
        assert_eq!(there, plain);
        assert_eq!(zipped.setting.unwrap().offset, Some(7));
        assert!(zipped.is_ordered);
    }
    copy_backup(&folder.path("zipped"), &folder.path("to"), Form::Folder).unwrap();
    let bytes = |name: &str| -> BTreeMap<_, _> {
        tree(&folder.path(name)).into_iter().map(|(path, (bytes, _))| (path, bytes)).collect()
    };
    assert_eq!(bytes("to"), bytes("from"));
}

#[test]
fn a_zip_of_ours_is_whole_to_other_tools() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    copy_backup(&from, &folder.path("zipped"), Form::Zip).unwrap();
    let script = "import sys, zipfile\n\
        z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None\n\
        for i in z.infolist(): print(i.filename, i.file_size, i.compress_type, i.flag_bits, len(i.extra))";
    let mut python = std::process::Command::new("python3");
    let output = python.args(["-c", script]).arg(folder.path("zipped/metadata.zip")).output();
    let output = output.expect("install the package python3");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 12);
    assert_eq!((lines[0], lines[11]), ("/UUID 38 8 2056 0", "/_image 12 8 2056 0"));
}

#[test]
fn one_project_is_read_of_a_whole_backup() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    let reading = Reading { project: Some(b"p1".to_vec()), without_table_exd: true, ..Reading::default() };
    let source = BackupSource::open(&from, reading.clone()).unwrap();
    copied(source, BackupSink::create(&folder.path("p1"), Form::Folder)).unwrap();
    let there: Vec<_> = tree(&folder.path("p1")).into_keys().map(|path| String::from_utf8(path).unwrap()).collect();
    let expected = [
        "UUID",
        "_global/project/p1.json",
        "p1/dataflow_details/a.json",
        "p1/dataflow_details/a/b.json",
        "p1/execute/job",
        "p1/table/DEFAULT.T1.json",
    ];
    assert_eq!(there, expected, "there is no _image in a backup of one project");
    let read_back = all(&folder.path("p1"));
    assert_eq!(read_back.setting, Some(Setting { layout: Layout::Flat, offset: None, project: b"p1".to_vec() }));
    assert_eq!(manifest(&folder.path("p1")).unwrap().unwrap().project, b"p1");
    let yielded = read(&from, reading).unwrap();
    assert_eq!(yielded.findings.left_behind.values().sum::<u64>(), 1, "{:?}", yielded.findings);
    let error = read(&from, Reading { project: Some(b"p3".to_vec()), ..Reading::default() }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("there is no project \"p3\""), "{error}");
    assert_eq!(error.what_to_do(), Some("it holds \"p1\", \"p2\""));
}

#[test]
fn what_no_backup_holds_stays_behind() {
    let rows = vec![
        resource("/UUID", UUID),
        resource("/_global/trash_record", b"x"),
        resource("/_global/project/p.json", b"{}"),
        resource("/p/a", b"1"),
        resource("/p/.DS_Store", b"x"),
        resource("/stray", b"x"),
    ];
    let log = vec![Audit { id: 1, key: b"/p/a".to_vec(), ..Audit::default() }];
    let setting = Setting { layout: Layout::Flat, offset: Some(3), project: Vec::new() };
    let folder = Folder::new();
    for (name, form) in [("files", Form::Folder), ("zip", Form::Zip)] {
        let store = holding(vec![rows.clone().into(), log.clone().into()], setting.clone());
        let report = copied(store, BackupSink::create(&folder.path(name), form)).unwrap();
        assert_eq!(report.findings.left_behind.values().sum::<u64>(), 4, "{:?}", report.findings);
        assert_eq!(all(&folder.path(name)).keys(), ["/UUID", "/_global/project/p.json", "/p/a"]);
    }
}

#[test]
fn times_are_kept_to_the_millisecond() {
    let folder = Folder::new();
    let times = [0, -1, -1_500, 1, 999, TIME, 4_102_444_800_999];
    let mut rows = vec![resource("/_global/project/p.json", b"{}")];
    rows.extend(
        times.iter().enumerate().map(|(number, ts)| Resource { ts: *ts, ..resource(&format!("/p/{number}"), b"x") }),
    );
    copied(store(Layout::Flat, rows), BackupSink::create(&folder.path("to"), Form::Folder)).unwrap();
    let back: Vec<_> = all(&folder.path("to")).rows.iter().skip(1).map(|row| row.ts).collect();
    assert_eq!(back, times);
}

#[test]
fn a_large_resource_and_many_small_ones_come_through() {
    let folder = Folder::new();
    let large: Vec<u8> = (0..100_u32 << 18).flat_map(u32::to_le_bytes).collect();
    let mut rows = vec![resource("/_global/project/p.json", b"{}"), resource("/p/large", &large)];
    rows.extend((0..5_000).map(|number| resource(&format!("/p/many/{}/{number}", number % 7), b"{}")));
    for (name, form) in [("files", Form::Folder), ("zip", Form::Zip)] {
        let to = folder.path(name);
        copied(store(Layout::Flat, rows.clone()), BackupSink::create(&to, form)).unwrap();
        let snapshot = open(&to, Reading::default()).unwrap();
        assert!(snapshot.plan(&Default::default()).unwrap().len() > 5);
        let back = scan(snapshot.as_ref()).unwrap();
        assert_eq!(back.rows.len(), rows.len());
        let there = back.rows.iter().find(|row| row.key == b"/p/large").unwrap();
        assert!(there.content == large);
    }
}

#[test]
fn empty_content_is_told_of_a_zip() {
    let folder = Folder::new();
    let rows = vec![resource("/_global/project/p.json", b"{}"), resource("/p/a", b""), resource("/p/b", b"")];
    for (name, form, told) in [("files", Form::Folder, 0), ("zip", Form::Zip, 1)] {
        let to = folder.path(name);
        let report = copied(store(Layout::Flat, rows.clone()), BackupSink::create(&to, form)).unwrap();
        assert_eq!(report.findings.census.len(), told, "{:?}", report.findings);
        assert!(all(&to).rows[1].content.is_empty());
    }
}

#[test]
fn the_manifest_says_what_there_is() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    let to = folder.path("to");
    let report = copy_backup(&from, &to, Form::Folder).unwrap();
    let written = manifest(&to).unwrap().unwrap();
    assert_eq!(manifest_path(&to), folder.path("to.manifest.json"));
    assert_eq!((written.layout, written.form, written.offset), (Layout::Flat, Form::Folder, Some(7)));
    assert_eq!(written.origin, from.display().to_string());
    assert_eq!(written.tally, report.tally.of(Kind::Resource).digest);
    assert_eq!(written.total().resources, 11);
    let folders: Vec<_> = written.folders.keys().map(|name| String::from_utf8_lossy(name)).collect();
    assert_eq!(folders, ["UUID", "_global", "p1", "p2"]);
}

/// Parts of keys, of every sort of bytes that a name may have.
fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-c]{1,2}".prop_map(String::into_bytes),
        "[A-Za-z0-9_.? '\"\\\\-]{1,12}".prop_map(String::into_bytes),
        "\\PC{1,8}".prop_map(String::into_bytes),
        prop::collection::vec(1_u8..=255, 1..9),
    ]
}

fn rows() -> impl Strategy<Value = Vec<Resource>> {
    let key = prop::collection::vec(part(), 1..5);
    let content = prop_oneof![prop::collection::vec(any::<u8>(), 0..40), Just(vec![7; 70_000])];
    let row = (key, content, -2_000_000_000_000_i64..4_000_000_000_000);
    prop::collection::vec(row, 0..40).prop_map(|rows| {
        let rows = rows.into_iter().map(|(parts, content, ts)| {
            let key = [b"/p/", parts.join(&b'/').as_slice()].concat();
            (key.clone(), Resource { key, content, ts, mvcc: 0 })
        });
        let mut rows: BTreeMap<_, _> = rows.filter(|(key, _)| key::check(Layout::Flat, key).is_ok()).collect();
        // No key is a folder of another one.
        let folders: Vec<Vec<u8>> = rows.keys().cloned().collect();
        rows.retain(|key, _| !folders.iter().any(|other| other.starts_with(&[key.as_slice(), b"/"].concat())));
        rows.retain(|key, _| key.split(|byte| *byte == b'/').all(|part| part.len() <= 255 && part != b".DS_Store"));
        rows.into_values().chain([resource("/_global/project/p.json", b"{}")]).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_keys_and_contents_come_back(mut rows in rows()) {
        let folder = Folder::new();
        copied(store(Layout::Flat, rows.clone()), BackupSink::create(&folder.path("to"), Form::Folder)).unwrap();
        rows.iter_mut().for_each(|row| row.mvcc = 0);
        rows.sort_by(|one, other| one.key.cmp(&other.key));
        let back = all(&folder.path("to"));
        prop_assert_eq!(&back.rows, &rows);
        // Names in a zip are UTF-8.
        rows.retain(|row| std::str::from_utf8(&row.key).is_ok());
        copied(store(Layout::Flat, rows.clone()), BackupSink::create(&folder.path("zip"), Form::Zip)).unwrap();
        let mut back = all(&folder.path("zip")).rows;
        for (there, row) in back.iter_mut().zip(&rows) {
            prop_assert!((row.ts - there.ts).abs() < 2_000, "{} became {}", row.ts, there.ts);
            there.ts = row.ts;
        }
        prop_assert_eq!(&back, &rows);
    }
}

#[test]
fn an_empty_batch_or_store_makes_no_backup_that_could_be_restored() {
    let folder = Folder::new();
    copied(store(Layout::Flat, Vec::new()), BackupSink::create(&folder.path("to"), Form::Folder)).unwrap();
    assert_eq!(tree(&folder.path("to")).keys().collect::<Vec<_>>(), [b"_image"]);
    assert_eq!(refusal(&folder.path("to")).kind(), ErrorKind::Refused);
    assert!(read(&folder.path("to"), unchecked()).unwrap().rows.is_empty());
}
