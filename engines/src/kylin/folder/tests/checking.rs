//! A backup held against its manifest: any change of a resource shows, and stops whoever would restore it.

use std::fs;
use std::path::Path;

use metaferry_pipeline::{ErrorKind, Stop};

use super::super::{Checked, Form, Reading, check, manifest, manifest_path};
use super::kit::*;

fn differences(path: &Path) -> Vec<String> {
    match check(path, 2, &Stop::new()).unwrap() {
        Checked::Changed(_, told) => told,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_not_touched_is_whole() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    assert_eq!(check(&from, 2, &Stop::new()).unwrap(), Checked::NoManifest);
    for (name, form) in [("files", Form::Folder), ("zip", Form::Zip)] {
        let to = folder.path(name);
        copy_backup(&from, &to, form).unwrap();
        assert!(matches!(check(&to, 2, &Stop::new()).unwrap(), Checked::Whole(_)));
        // Whoever moves a backup takes its manifest along; times are not part of it, and a desktop leaves what it leaves.
        let moved = folder.path(&format!("{name}-moved"));
        fs::rename(&to, &moved).unwrap();
        fs::rename(manifest_path(&to), manifest_path(&moved)).unwrap();
        if form == Form::Folder {
            put(&moved.join(".DS_Store"), b"x", 1);
            put(&moved.join("p1/execute/job"), b"", 1);
        }
        assert!(matches!(check(&moved, 1, &Stop::new()).unwrap(), Checked::Whole(_)));
        assert_eq!(all(&moved).rows.len(), 11);
    }
}

#[test]
fn every_change_is_found() {
    type Change = fn(&Path);
    let changes: [(Change, &str); 7] = [
        (|to| fs::write(to.join("p1/table/DEFAULT.T1.json"), b"{\"name\":\"T9\"}").unwrap(), "\"p1\" holds other keys"),
        (|to| fs::write(to.join("p1/execute/job"), b"x").unwrap(), "\"p1\" holds "),
        (|to| fs::remove_file(to.join("p2/table/DEFAULT.T2.json")).unwrap(), "\"p2\" holds 0 resources, and held 1"),
        (|to| fs::write(to.join("p2/new"), b"").unwrap(), "\"p2\" holds 2 resources"),
        (|to| fs::rename(to.join("p1/execute/job"), to.join("p1/execute/jab")).unwrap(), "\"p1\" holds other keys"),
        (
            |to| {
                let (one, other) = (to.join("_global/project/p1.json"), to.join("_global/project/p2.json"));
                let (first, second) = (fs::read(&one).unwrap(), fs::read(&other).unwrap());
                fs::write(one, second).unwrap();
                fs::write(other, first).unwrap();
            },
            "\"_global\" holds other keys or contents",
        ),
        (|to| fs::write(to.join("_image"), b"{\"offset\":8}").unwrap(), "_image says 8, and said 7"),
    ];
    for (number, (change, why)) in changes.iter().enumerate() {
        let folder = Folder::new();
        let from = folder.backup("from", &flat());
        let to = folder.path("to");
        copy_backup(&from, &to, Form::Folder).unwrap();
        change(&to);
        let told = differences(&to);
        assert!(told.len() == 1 && told[0].starts_with(why), "{number}: {told:?}");
        if number < 6 {
            let error = refusal(&to);
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains("not what its manifest says"), "{error}");
        }
        read(&to, unchecked()).unwrap();
    }
}

#[test]
fn half_a_backup_is_refused_before_it_is_read() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    let to = folder.path("to");
    copy_backup(&from, &to, Form::Folder).unwrap();
    fs::remove_file(to.join("p1/table/DEFAULT.T1.json")).unwrap();
    let error = open(&to, Reading::default()).err().unwrap();
    assert!(error.to_string().contains("it holds 10 resources of "), "{error}");
    let one = Reading { project: Some(b"p2".to_vec()), ..Reading::default() };
    assert!(open(&to, one).is_err(), "also for one project");
    fs::remove_file(manifest_path(&to)).unwrap();
    assert_eq!(all(&to).rows.len(), 10, "nobody knows");
    assert_eq!(check(&to, 1, &Stop::new()).unwrap(), Checked::NoManifest);
}

#[test]
fn a_manifest_that_is_none_is_told() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    for text in ["", "{}", "not json"] {
        fs::write(manifest_path(&from), text).unwrap();
        assert_eq!(manifest(&from).unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(check(&from, 1, &Stop::new()).is_err());
        assert!(refusal(&from).what_to_do().is_some());
        assert_eq!(read(&from, unchecked()).unwrap().rows.len(), 11);
    }
    let newer = r#"{"metaferry":{"manifest":2,"system":"kylin","digest":1}}"#;
    fs::write(manifest_path(&from), newer).unwrap();
    assert_eq!(manifest(&from).unwrap_err().kind(), ErrorKind::Unsupported);
    fs::remove_file(manifest_path(&from)).unwrap();
    fs::create_dir(manifest_path(&from)).unwrap();
    assert!(manifest(&from).is_err());
}

#[test]
fn anybody_can_make_the_sums_again() {
    let folder = Folder::new();
    let from = folder.backup("from", &flat());
    copy_backup(&from, &folder.path("to"), Form::Folder).unwrap();
    let script = "import hashlib, json, os, sys\n\
        top = sys.argv[1]; sums = {}\n\
        for folder, _, names in os.walk(top):\n\
        \x20for name in names:\n\
        \x20 path = os.path.join(folder, name); key = path[len(top):]\n\
        \x20 if key == '/_image': continue\n\
        \x20 line = hashlib.sha256(open(path, 'rb').read()).hexdigest() + '  ' + key + '\\n'\n\
        \x20 part = key.split('/')[1]\n\
        \x20 sums[part] = sums.get(part, 0) + int.from_bytes(hashlib.sha256(line.encode()).digest(), 'big')\n\
        said = {f['name']: f['sha256'] for f in json.load(open(top + '.manifest.json'))['folders']}\n\
        assert {k: '%064x' % (v % 2**256) for k, v in sums.items()} == said, (sums, said)";
    let output = std::process::Command::new("python3").args(["-c", script]).arg(folder.path("to")).output();
    let output = output.expect("install the package python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
