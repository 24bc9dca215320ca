//! What the repository's objects look like is frozen here, beside `docs/repository-format.md`; and what any of them are, is
//! read back, and what is none is refused without a panic.

use std::collections::BTreeMap;

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::archive::{MAX_SEGMENT, sha256};
use crate::juicefs::{Batch, Edge, FileType, Kind, Node};
use crate::system::{Batch as _, Largest};
use crate::tally::Cell;

fn edges() -> Batch {
    let edge = |name: &[u8], inode| Edge { parent: 1, name: name.to_vec(), inode, kind: FileType::REGULAR };
    vec![edge(b"a", 2), edge(b"b\xff", 3)].into()
}

#[test]
fn a_blob_looks_like_this() {
    let mut text = Vec::new();
    begin_blob(Kind::Edge, &mut text);
    edges().write_lines(&mut text);
    assert_eq!(
        String::from_utf8(text.clone()).unwrap(),
        "{\"blob\":{\"kind\":\"edge\"}}\n\
         {\"parent\":1,\"name\":\"a\",\"inode\":2,\"type\":\"regular\"}\n\
         {\"parent\":1,\"name\":{\"hex\":\"62ff\"},\"inode\":3,\"type\":\"regular\"}\n"
    );
    assert_eq!(hex(&sha256(&text)), "4656dd3c5383b20e74689bd8b024e858547c8e6b39e20c517da5b67f59ef7531");
    let (kind, rows) = blob_rows::<Kind>(&text).unwrap();
    assert_eq!((kind, rows.iter().filter(|byte| **byte == b'\n').count()), (Kind::Edge, 2));
}

#[test]
fn a_page_looks_like_this() {
    let entry = |first: &[u8], byte| Entry { first: first.to_vec(), rows: 64, id: [byte; 32] };
    let page = Page {
        kind: Kind::Node,
        height: 1,
        entries: vec![entry(&1_u64.to_be_bytes(), 1), entry(&257_u64.to_be_bytes(), 2)],
    };
    let text = page.write();
    assert_eq!(
        String::from_utf8(text.clone()).unwrap(),
        format!(
            "{{\"page\":{{\"kind\":\"node\",\"height\":1,\"entries\":2}}}}\n\
             {{\"entry\":{{\"first\":\"0000000000000001\",\"rows\":64,\"id\":\"{}\"}}}}\n\
             {{\"entry\":{{\"first\":\"0000000000000101\",\"rows\":64,\"id\":\"{}\"}}}}\n",
            "01".repeat(32),
            "02".repeat(32)
        )
    );
    assert_eq!(Page::read(&text).unwrap(), page);
    let turned = Page { entries: page.entries.iter().rev().cloned().collect(), ..page };
    assert!(Page::<Kind>::read(&turned.write()).is_err(), "entries out of order");
}

#[test]
fn an_index_looks_like_this() {
    let blobs = vec![SALT, Placed { id: [1; 32], length: 10 }, Placed { id: [2; 32], length: 20 }];
    let index = Index { packs: vec![Pack { id: [3; 32], blobs }] };
    let text = index.write();
    assert_eq!(
        String::from_utf8(text.clone()).unwrap(),
        format!(
            "{{\"index\":{{\"packs\":1,\"blobs\":3}}}}\n\
             {{\"pack\":{{\"id\":\"{}\",\"length\":46,\"blobs\":3}}}}\n\
             {{\"blob\":{{\"id\":\"{}\",\"length\":16}}}}\n\
             {{\"blob\":{{\"id\":\"{}\",\"length\":10}}}}\n\
             {{\"blob\":{{\"id\":\"{}\",\"length\":20}}}}\n",
            "03".repeat(32),
            "00".repeat(32),
            "01".repeat(32),
            "02".repeat(32)
        )
    );
    assert_eq!(Index::read(&text).unwrap(), index);
    let wrong = String::from_utf8(text).unwrap().replace("\"length\":46", "\"length\":47");
    assert!(Index::read(wrong.as_bytes()).is_err());
}

fn manifest() -> Manifest<Kind> {
    let mut manifest = Manifest::of("juicefs");
    manifest.origin = "sqlite3:///volume.db".to_owned();
    manifest.is_exact = true;
    manifest.begun = "2026-01-31T12:00:00Z".to_owned();
    manifest.ended = "2026-01-31T12:00:05Z".to_owned();
    manifest.writer = "metaferry 0.1.0".to_owned();
    (manifest.new_bytes, manifest.total_bytes) = (10, 400);
    manifest.roots = vec![Root { kind: Kind::Node, height: 2, rows: 9, id: [7; 32] }];
    manifest.tally = vec![(Kind::Node, Cell { rows: 9, bytes: 90, digest: 1, derived: 2 })];
    manifest.largest = vec![Largest { kind: Kind::Node, field: "inode".to_owned(), value: 10 }];
    manifest
}

#[test]
fn a_manifest_looks_like_this() {
    let text = manifest().write();
    assert_eq!(
        String::from_utf8(text.clone()).unwrap(),
        format!(
            "{{\"backup\":{{\"format\":1,\"digest\":1,\"system\":\"juicefs\",\"guarantee\":\"exact\",\
             \"origin\":\"sqlite3:///volume.db\",\"begun\":\"2026-01-31T12:00:00Z\",\"ended\":\"2026-01-31T12:00:05Z\",\
             \"writer\":\"metaferry 0.1.0\",\"newBytes\":10,\"totalBytes\":400}}}}\n\
             {{\"root\":{{\"kind\":\"node\",\"height\":2,\"rows\":9,\"id\":\"{}\"}}}}\n\
             {{\"tally\":{{\"kind\":\"node\",\"rows\":9,\"bytes\":90,\"digest\":\"{:032x}\",\"derived\":\"{:032x}\"}}}}\n\
             {{\"largest\":{{\"kind\":\"node\",\"field\":\"inode\",\"value\":10}}}}\n\
             {{\"end\":{{\"of\":\"backup\"}}}}\n",
            "07".repeat(32),
            1,
            2
        )
    );
    assert_eq!(Manifest::read(&text).unwrap(), manifest());
    let name = name_of("2026-01-31T12:00:00Z", &[0xab; 32]);
    assert_eq!(name, "20260131T120000Z-abababababababab");
    assert_eq!(moment_of(&name).as_deref(), Some("2026-01-31T12:00:00Z"));
    for other in ["", "note.txt", "20260131T120000Z", "20260131T120000Z-abab", "2026-01-31T120000-abababababababab"] {
        assert_eq!(moment_of(other), None, "{other}");
    }
}

#[test]
fn a_config_looks_like_this_and_a_newer_one_is_refused_by_name() {
    let config = Config { id: [0x11; 16], created: "2026-01-31T12:00:00Z".to_owned(), wrapped_key: None };
    let text = String::from_utf8(config.write()).unwrap();
    let id = "11".repeat(16);
    assert_eq!(
        text,
        format!("{{\"repository\":{{\"format\":1,\"id\":\"{id}\",\"created\":\"2026-01-31T12:00:00Z\"}}}}\n")
    );
    assert_eq!(Config::read(text.as_bytes()).unwrap(), config);
    let locked = Config { wrapped_key: Some("-----BEGIN AGE ENCRYPTED FILE-----\n".to_owned()), ..config };
    assert_eq!(Config::read(&locked.write()).unwrap(), locked);
    let newer = text.replace("\"format\":1", "\"format\":2,\"unheard\":1");
    assert!(Config::read(newer.as_bytes()).unwrap_err().to_string().contains("version 2"), "{newer}");
    let newer = String::from_utf8(manifest().write()).unwrap().replace("\"format\":1", "\"format\":2,\"unheard\":1");
    assert!(Manifest::<Kind>::read(newer.as_bytes()).unwrap_err().to_string().contains("version 2"));
}

#[test]
fn a_lease_looks_like_this() {
    let lease = Lease {
        holder: "host a, process 1, 0123456789abcdef".to_owned(),
        until: "2026-01-31T12:02:00Z".to_owned(),
        turn: "2026-01-31T12:00:00Z".to_owned(),
    };
    let text = "{\"lease\":{\"format\":1,\"holder\":\"host a, process 1, 0123456789abcdef\",\"until\":\"2026-01-31T12:02:00Z\",\
                \"turn\":\"2026-01-31T12:00:00Z\"}}\n";
    assert_eq!(String::from_utf8(lease.write()).unwrap(), text);
    assert_eq!(Lease::read(text.as_bytes()).unwrap(), lease);
    assert!(matches!(Lease::read(text.replace(":1,", ":2,").as_bytes()), Err(crate::Error::Unsupported { .. })));
    for cut in 0..text.len() {
        assert!(Lease::read(&text.as_bytes()[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn a_mark_looks_like_this() {
    let mark = Mark { since: "2026-01-31T12:00:00Z".to_owned() };
    let text = mark.write();
    assert_eq!(text, b"{\"mark\":{\"format\":1,\"since\":\"2026-01-31T12:00:00Z\"}}\n");
    assert_eq!(Mark::read(&text).unwrap(), mark);
    assert!(Mark::read(&text[..text.len() - 1]).is_err());
}

#[test]
fn what_is_sealed_opens_under_its_label_and_key_alone_and_names_leak_nothing() {
    let vault = Vault::encrypted(&Zeroizing::new([7; 32]));
    let sealed = vault.seal(b"label", b"content").unwrap();
    assert_eq!(sealed.len(), b"content".len() + SEALED_BYTES);
    assert_eq!(vault.open(b"label", &sealed).unwrap(), b"content");
    assert_ne!(vault.seal(b"label", b"content").unwrap(), sealed);
    assert!(vault.open(b"other", &sealed).is_err());
    assert!(Vault::encrypted(&Zeroizing::new([8; 32])).open(b"label", &sealed).is_err());
    for place in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[place] ^= 1;
        assert!(vault.open(b"label", &altered).is_err(), "byte {place}");
        assert!(vault.open(b"label", &sealed[..place]).is_err());
    }
    assert_ne!(vault.id(b"content"), sha256(b"content"));
    assert_eq!(vault.id(b"content"), Vault::encrypted(&Zeroizing::new([7; 32])).id(b"content"));
    assert_eq!(Vault::plain().id(b"content"), sha256(b"content"));
    let digest = |vault: &Vault| vault.cutter().digest(Kind::Node, b"key");
    assert_ne!(digest(&vault), digest(&Vault::plain()));
}

/// The blobs of rows with these keys, and the pages over them.
struct Built {
    pages: BTreeMap<Id, Vec<u8>>,
    blobs: BTreeMap<Id, u64>,
    root: Option<Root<Kind>>,
}

fn build(inodes: impl Iterator<Item = (u64, u64)>) -> Built {
    let cutter = Vault::plain().cutter();
    let (mut pages, mut blobs, mut tree) = (BTreeMap::new(), BTreeMap::new(), Tree::new(Kind::Node));
    let mut put = |page: Vec<u8>| {
        let id = sha256(&page);
        pages.insert(id, page);
        Ok::<_, crate::Error>(id)
    };
    let (mut text, mut rows, mut first) = (Vec::new(), 0, (Vec::new(), 0));
    let mut close = |text: &mut Vec<u8>, rows: &mut u64, first: &(Vec<u8>, u64), tree: &mut Tree<Kind>| {
        let id = sha256(text);
        blobs.insert(id, *rows);
        let entry = Entry { first: short(&first.0).to_vec(), rows: std::mem::take(rows), id };
        text.clear();
        tree.push(entry, first.1, &mut put).unwrap();
    };
    for (inode, length) in inodes {
        let batch: Batch = vec![Node { inode, length, ..Node::default() }].into();
        let mut key = Vec::new();
        batch.put_key(0, &mut key);
        let digest = cutter.digest(Kind::Node, &key);
        if ends_blob(rows, text.len(), digest) {
            close(&mut text, &mut rows, &first, &mut tree);
        }
        if rows == 0 {
            begin_blob(Kind::Node, &mut text);
            first = (key, digest);
        }
        batch.write_lines(&mut text);
        rows += 1;
    }
    if rows > 0 {
        close(&mut text, &mut rows, &first, &mut tree);
    }
    let root = tree.finish(&mut put).unwrap();
    Built { pages, blobs, root }
}

/// The rows under a root, page by page.
fn walk(built: &Built, height: u8, id: &Id) -> u64 {
    if height == 0 {
        return built.blobs[id];
    }
    let page = Page::<Kind>::read(&built.pages[id]).unwrap();
    assert_eq!(page.height, height);
    assert!(page.entries.len() <= MOST_ENTRIES);
    page.entries
        .iter()
        .map(|entry| {
            assert_eq!(walk(built, height - 1, &entry.id), entry.rows);
            entry.rows
        })
        .sum()
}

#[test]
fn a_tree_holds_every_row_once_and_a_change_touches_one_path() {
    for rows in [0, 1, 63, 64, 65, 1000, 40_000] {
        let built = build((1..=rows).map(|inode| (inode, 0)));
        let found = built.root.as_ref().map_or(0, |root| walk(&built, root.height, &root.id));
        assert_eq!(found, rows);
    }
    let rows = 40_000;
    let before = build((1..=rows).map(|inode| (inode, 0)));
    let again = build((1..=rows).map(|inode| (inode, 0)));
    assert_eq!(before.root, again.root);
    let blobs = before.blobs.len() as u64;
    assert!((rows / 160..=rows / 100).contains(&blobs), "{blobs} blobs: 128 rows in each, about");
    let height = usize::from(before.root.as_ref().unwrap().height);
    let changed = build((1..=rows).map(|inode| (inode, u64::from(inode == 20_000))));
    let new = |other: &Built| {
        let blobs = other.blobs.keys().filter(|id| !before.blobs.contains_key(*id)).count();
        (blobs, other.pages.keys().filter(|id| !before.pages.contains_key(*id)).count())
    };
    assert_eq!(new(&changed), (1, height));
    let removed = build((1..=rows).filter(|inode| *inode != 20_000).map(|inode| (inode, 0)));
    let (blobs, pages) = new(&removed);
    assert!(blobs <= 4 && pages <= 3 * height, "{blobs} blobs and {pages} pages");
}

#[test]
fn blobs_end_by_their_text_too() {
    assert!(!ends_blob(0, MOST_TEXT, 0), "no blob is empty");
    assert!(ends_blob(1, MOST_TEXT, 1));
    assert!(!ends_blob(1, 100, 0));
    const { assert!(MOST_TEXT < MAX_SEGMENT) }
}

proptest! {
    #[test]
    fn no_object_panics_and_what_is_cut_off_is_no_object(text: Vec<u8>, at in 0_usize..600) {
        drop(blob_rows::<Kind>(&text));
        drop(Page::<Kind>::read(&text));
        drop(Index::read(&text));
        drop(Manifest::<Kind>::read(&text));
        drop(Config::read(&text));
        drop(Mark::read(&text));
        let whole = manifest().write();
        if at < whole.len() {
            prop_assert!(Manifest::<Kind>::read(&whole[..at]).is_err());
        }
    }

    #[test]
    fn altered_objects_never_panic(at in 0_usize..600, to: u8) {
        let entry = Entry { first: vec![0; 8], rows: 1, id: [9; 32] };
        let page = Page { kind: Kind::Edge, height: 1, entries: vec![entry] }.write();
        let pack = Pack { id: [1; 32], blobs: vec![Placed { id: [2; 32], length: 5 }] };
        for mut text in [page, Index { packs: vec![pack] }.write(), manifest().write()] {
            let place = at % text.len();
            text[place] = to;
            drop(Page::<Kind>::read(&text));
            drop(Index::read(&text));
            drop(Manifest::<Kind>::read(&text));
        }
    }

    #[test]
    fn pages_round_trip(entries in prop::collection::vec((any::<[u8; 8]>(), any::<u64>(), any::<[u8; 32]>()), 1..50), height in 1_u8..9) {
        let mut entries: Vec<_> = entries.into_iter().map(|(first, rows, id)| Entry { first: first.to_vec(), rows, id }).collect();
        entries.sort_by(|one, other| one.first.cmp(&other.first));
        let page = Page { kind: Kind::Xattr, height, entries };
        prop_assert_eq!(Page::read(&page.write()).unwrap(), page);
    }
}
