//! Manifests come back, and lie beside their backups.

use proptest::prelude::*;

use super::*;

fn manifest() -> Manifest {
    let mut sums = Sums::default();
    for key in ["/UUID", "/_global/project/p.json", "/p/a", "/p/b"] {
        sums.add(key.as_bytes(), b"content");
    }
    sums.add(b"/\xff\"/a", b"");
    Manifest {
        writer: "metaferry 1".to_owned(),
        created: "2026-01-01T00:00:00Z".to_owned(),
        origin: "kylin_metadata@jdbc".to_owned(),
        guarantee: Guarantee::Fuzzy,
        form: Form::Zip,
        project: b"p\n".to_vec(),
        offset: Some(7),
        tally: 9,
        folders: sums.0,
        ..Manifest::default()
    }
}

#[test]
fn a_manifest_comes_back() {
    for manifest in [manifest(), Manifest { offset: None, layout: Layout::Typed, ..manifest() }, Manifest::default()] {
        let text = manifest.write();
        assert_eq!(Manifest::read(&text).unwrap(), manifest, "{}", String::from_utf8_lossy(&text));
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["folders"].as_array().unwrap().len(), manifest.folders.len());
        for length in 0..text.len() - 1 {
            assert!(Manifest::read(&text[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn what_is_newer_or_contradicts_itself_is_refused() {
    let text = String::from_utf8(manifest().write()).unwrap();
    for (from, to, why) in [
        ("\"manifest\": 1", "\"manifest\": 2", "version 2, while 1"),
        ("\"digest\": 1", "\"digest\": 2", "digest 2"),
        ("\"system\": \"kylin\"", "\"system\": \"juicefs\"", "juicefs"),
        ("\"resources\": 5", "\"resources\": 6", "what its folders hold"),
        ("\"name\": \"UUID\", \"resources\": 1", "\"name\": \"UUID\", \"resources\": 2", "what its folders hold"),
        ("\"name\": \"p\"", "\"name\": \"UUID\"", "twice"),
        ("\"form\": \"zip\"", "\"form\": \"tar\"", "tar"),
    ] {
        assert!(text.contains(from), "{from}");
        let told = Manifest::read(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
    assert!(Manifest::read(b"{}").is_err());
}

#[test]
fn what_differs_is_told_by_folder() {
    let then = manifest();
    let same = Sums(then.folders.clone());
    assert!(then.differences(&same).is_empty());
    let mut other = same.clone();
    other.0.remove(&b"UUID"[..]);
    other.add(b"/q/a", b"x");
    let told = then.differences(&other);
    assert_eq!(told[0], "\"UUID\" holds 0 resources, and held 1 when it was made");
    assert_eq!(told[1], "\"q\" holds 1 resources, and held 0 when it was made");
    let mut swapped = Manifest { folders: BTreeMap::new(), ..then.clone() };
    swapped.folders = then.folders.clone();
    let sum = swapped.folders.get_mut(&b"p"[..]).unwrap();
    *sum = Sum::of(sum.resources, sum.bytes, [7; 32]);
    assert_eq!(swapped.differences(&same), ["\"p\" holds other keys or contents than when it was made"]);
}

#[test]
fn the_manifest_lies_beside_the_backup_whichever_part_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().canonicalize().unwrap().join("b");
    std::fs::create_dir_all(top.join("core_meta")).unwrap();
    for file in ["metadata.zip", "core_meta/metadata.zip", "other.zip"] {
        std::fs::write(top.join(file), "").unwrap();
    }
    for part in ["", "metadata.zip", "core_meta", "core_meta/metadata.zip", "core_meta/.."] {
        assert_eq!(home(&top.join(part)), Some(top.clone()), "{part}");
    }
    assert_eq!(home(&top.join("other.zip")), None);
    assert_eq!(manifest_path(&top).file_name().unwrap(), "b.manifest.json");
    assert_eq!(super::manifest(&top).unwrap(), None);
}

proptest! {
    #[test]
    fn no_input_panics(text in "[{}\\[\\]\":,a-z0-9 ]*") {
        drop(Manifest::read(text.as_bytes()));
    }
}
