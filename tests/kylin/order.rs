//! The order in which a flat store is read, whatever its server's own is, in how many pieces ever: of a store of some thousand rows,
//! with keys that MySQL and their bytes put in another order. And a change log of some thousand entries.

use std::collections::{BTreeMap, BTreeSet};

use metaferry_codecs::kylin::Kind;
use metaferry_engines::kylin::store::Reading;
use metaferry_pipeline::{Scope, Stop};

use super::place::Server;
use super::restore::{Wanted, restored};
use super::stores::{LONG_AGO, Store, in_both, read, source};

const ID: &str = "kylin_metadata";
/// Ends of keys no two of which MySQL takes for the same, but in another order than that of their bytes.
const ODD: [&str; 8] = ["a", "a\u{1}b", "a \u{1}", "a\u{1f}", "a!", "a\u{1}\u{1}", "\u{1}", "é"];
const ORPHANS: &str = "resources of projects that are not there";
const SAMPLES: &str = "samples and statistics of tables";

/// The keys of a store with some projects, one that is gone, and samples.
fn keys() -> BTreeSet<String> {
    let mut keys = BTreeSet::from(["/UUID".to_owned(), "/VERSION".to_owned(), "/_global/user/ADMIN".to_owned()]);
    for project in ["demo", "demo0", "gone", "华", "华为"] {
        if project != "gone" {
            keys.insert(format!("/_global/project/{project}.json"));
        }
        keys.extend((0..1000).map(|number| format!("/{project}/dataflow/{}.json", number * 7919 % 1009)));
        keys.extend((0..300).map(|number| format!("/{project}/table_exd/DB.T{number}.json")));
        keys.extend(ODD.map(|end| format!("/{project}/table/{end}")));
        keys.extend((0..50).map(|number| format!("/{project}/table_exd/DB.T{number}.json\u{1}")));
    }
    keys
}

fn is_orphan(key: &str) -> bool {
    key.starts_with("/gone/") || key == "/VERSION"
}

fn seeded(store: &Store) -> BTreeSet<String> {
    store.make_flat(ID);
    let (keys, content) = (keys(), [b'x'; 60]);
    let rows: Vec<_> = keys.iter().map(|key| (key.as_str(), &content[..], LONG_AGO, 0)).collect();
    store.put(ID, &rows);
    keys
}

#[test]
fn a_large_store_is_read_in_the_order_of_its_bytes_and_nothing_is_missed() {
    in_both(|store| {
        let keys = seeded(store);
        let is_sample = |key: &str| key.contains("/table_exd/");
        for (orphans, without_table_exd) in [(false, false), (true, false), (false, true), (true, true)] {
            let (mut expected, mut left) = (Vec::new(), BTreeMap::new());
            for key in &keys {
                match (!orphans && is_orphan(key), without_table_exd && is_sample(key)) {
                    (true, _) => *left.entry(ORPHANS).or_default() += 1,
                    (_, true) => *left.entry(SAMPLES).or_default() += 1,
                    _ => expected.push(key.as_str()),
                }
            }
            for (readers, keys_only) in [(1, false), (3, false), (3, true)] {
                let reading = Reading { orphans, without_table_exd, keys_only, ..Reading::default() };
                let (found, about) = read(&store.url(), reading, readers).unwrap();
                assert_eq!(found.order, expected);
                assert_eq!(found.left_behind, left);
                assert!(about.ordered.contains(Kind::Resource));
                let bytes: usize = found.resources.values().map(|row| row.content.len()).sum();
                assert_eq!(bytes, if keys_only { 0 } else { expected.len() * 60 });
            }
        }
    });
}

#[test]
fn a_large_store_is_read_in_pieces() {
    in_both(|store| {
        let keys = seeded(store);
        let snapshot = source(&store.url(), Reading::default()).snapshot(3, &Stop::new()).unwrap();
        let plan = snapshot.plan(&Scope { kinds: Some([Kind::Resource].into()), buckets: None }).unwrap();
        let rows: u64 = plan.iter().map(|piece| piece.weight).sum();
        assert!((4..100).contains(&plan.len()), "{}", plan.len());
        assert!((keys.len() as u64 / 4..keys.len() as u64 * 4).contains(&rows), "{rows} of {}", keys.len());
        snapshot.finish().unwrap();
    });
}

#[test]
fn small_stores_and_those_of_another_collation_are_read_in_order_too() {
    in_both(|store| {
        store.make_flat(ID);
        assert_eq!(read(&store.url(), Reading::default(), 3).unwrap().0.order, [""; 0]);
        let keys: BTreeSet<_> = ODD.map(|end| format!("/_global/{end}")).into();
        let rows: Vec<_> = keys.iter().map(|key| (key.as_str(), &b"x"[..], LONG_AGO, 0)).collect();
        store.put(ID, &rows);
        assert!(read(&store.url(), Reading::default(), 3).unwrap().0.order.iter().eq(&keys));
        if store.is_postgres {
            return;
        }
        for (collation, is_ordered) in [
            ("utf8mb4 COLLATE utf8mb4_bin", true),
            ("utf8mb4 COLLATE utf8mb4_nopad_bin", true),
            ("utf8mb4 COLLATE utf8mb4_general_ci", false),
            ("latin1 COLLATE latin1_bin", false),
        ] {
            store.run(&format!(
                "ALTER TABLE {ID} MODIFY META_TABLE_KEY varchar(255) CHARACTER SET {collation} NOT NULL"
            ));
            let (found, about) = read(&store.url(), Reading::default(), 3).unwrap();
            assert!(found.resources.keys().eq(&keys), "{collation}");
            assert_eq!(about.ordered.contains(Kind::Resource), is_ordered, "{collation}");
            assert!(!is_ordered || found.order.iter().eq(&keys), "{collation}");
        }
    });
}

/// What is there and what is wanted are merged in the order of their keys: whatever comes in another is taken for missing.
#[test]
fn a_restore_finds_keys_with_control_characters() {
    for server in Server::both() {
        let place = server.flat("controls");
        let old: Vec<_> = ODD.map(|end| format!("/demo/table/{end}")).into_iter().collect();
        let mut rows =
            vec![("/UUID", "u", 0), ("/_global/project/demo.json", "{}", 0), ("/_global/user/b\u{1}", "{}", 0)];
        rows.extend(old.iter().map(|key| (key.as_str(), "{}", 4)));
        place.seed(&rows);
        let mut wanted: Vec<_> = rows[1..].iter().map(|(key, content, _)| (*key, *content)).collect();
        let gone = wanted.iter().position(|(key, _)| key.ends_with("/a \u{1}")).unwrap();
        wanted.remove(gone);
        wanted.push(("/demo/table/a\u{2}", "{}"));
        for truncate in [true, false] {
            let report = restored(&place, &Wanted::of(&wanted), truncate);
            let inserted = u64::from(truncate);
            assert_eq!((report.inserted, report.deleted), (inserted, inserted), "{}", server.name());
            let found = read(&place.url(), Reading::default(), 2).unwrap().0;
            let expected: BTreeSet<_> = wanted.iter().map(|(key, _)| *key).chain(["/UUID"]).collect();
            assert!(found.keys().iter().eq(&expected), "{:?}", found.keys());
        }
    }
}

#[test]
fn a_gap_is_found_far_down_in_a_log_that_is_all_recent() {
    in_both(|store| {
        store.make_flat(ID);
        let offset = || read(&store.url(), Reading::default(), 1).unwrap().0.setting.unwrap().offset;
        let now = LONG_AGO + 3_600_000;
        let ids: Vec<_> = (1..=12_000_u64).filter(|id| *id != 2500).collect();
        for ids in ids.chunks(1500) {
            let rows: Vec<_> = ids.iter().map(|id| format!("({id}, {now})")).collect();
            store.run(&format!("INSERT INTO {ID}_audit_log (id, meta_ts) VALUES {}", rows.join(", ")));
        }
        assert_eq!(offset(), Some(2499));
        store.log(ID, 2500, now, None);
        assert_eq!(offset(), Some(12_000));
        store.run(&format!("DELETE FROM {ID}_audit_log WHERE id = 9500 OR id = 1001"));
        assert_eq!(offset(), Some(1000));
        // A page of old entries is between.
        store.run(&format!("UPDATE {ID}_audit_log SET meta_ts = {LONG_AGO} WHERE id BETWEEN 3001 AND 5001"));
        assert_eq!(offset(), Some(9499));
        store.run(&format!("DELETE FROM {ID}_audit_log WHERE id < 7000"));
        assert_eq!(offset(), Some(9499), "what is cut off is no gap");
    });
}
