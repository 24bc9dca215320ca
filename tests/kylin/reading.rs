//! What is read of a metastore: what Kylin sees and nothing else, at one point in time, with the offset that is safe.

use std::sync::atomic::{AtomicBool, Ordering};

use metaferry_codecs::kylin::{Kind, Layout, content};
use metaferry_engines::kylin::store::Reading;
use metaferry_pipeline::{ErrorKind, Guarantee, Stop};

use super::stores::{LONG_AGO, Store, UUID, in_both, large, read, refused, source};

const ID: &str = "kylin_metadata";

fn project(name: &str) -> Reading {
    Reading { project: Some(name.as_bytes().to_vec()), ..Reading::default() }
}

#[test]
fn a_flat_store_yields_what_kylin_sees() {
    in_both(|store| {
        store.seed_flat(ID);
        for readers in [1, 4] {
            let (found, about) = read(&store.url(), Reading::default(), readers).unwrap();
            assert_eq!(
                found.order,
                [
                    "/UUID",
                    "/Zürich/table/DB.STRAßE.json",
                    "/_global/acl/1111",
                    "/_global/project/Zürich.json",
                    "/_global/project/demo.json",
                    "/_global/trash_record",
                    "/_global/user/ADMIN",
                    "/_global/user/O'Hara",
                    "/demo/dataflow_details/a/b.json",
                    "/demo/execute/job-1",
                    "/demo/jar/x",
                    "/demo/rule/back\\slash",
                    "/demo/table/DEFAULT.T1.json",
                    "/demo/table_exd/DEFAULT.T1.json",
                    "/demo/table_exd_not/x",
                ]
            );
            assert_eq!(found.content("/UUID"), UUID);
            assert_eq!(found.content("/_global/project/Zürich.json"), "{\"name\" : \"Zürich\"}".as_bytes());
            assert!(found.content("/demo/dataflow_details/a/b.json") == large());
            assert_eq!(found.content("/demo/execute/job-1"), b"");
            assert_eq!(found.content("/demo/jar/x"), [0, 0xff, b'G']);
            assert_eq!(found.content("/demo/rule/back\\slash"), b"GZIP");
            let demo = &found.resources["/_global/project/demo.json"];
            assert_eq!((demo.ts, demo.mvcc), (LONG_AGO + 7, 7));
            let setting = found.setting.unwrap();
            assert_eq!((setting.layout, setting.offset, setting.project.len()), (Layout::Flat, Some(5), 0));
            assert_eq!(found.left_behind["resources of projects that are not there"], 2);
            assert_eq!(found.left_behind["entries of the change log"], 4);
            assert!(found.log.is_empty() && found.damaged.is_empty());
            assert_eq!(about.guarantee, Guarantee::Exact);
            assert!(about.ordered.contains(Kind::Resource) && !about.is_partial);
            assert!(about.origin.starts_with("kylin_metadata@") && !about.notes.is_empty());
            let uncounted = Reading { uncounted: true, ..Reading::default() };
            let (left_behind, also) =
                (found.left_behind, read(&store.url(), uncounted, readers).unwrap().0.left_behind);
            assert!(
                left_behind.keys().filter(|what| !also.contains_key(*what)).eq(["entries of the change log"].iter())
            );
        }
        let seal = source(&store.url(), Reading::default()).seal(&Stop::new()).unwrap().unwrap();
        let (found, _) = read(&store.url(), Reading::default(), 1).unwrap();
        assert_eq!(seal, vec![found.setting.unwrap()].into());
    });
}

#[test]
fn orphans_samples_and_the_change_log_are_read_or_not_as_asked() {
    in_both(|store| {
        store.seed_flat(ID);
        let reading = Reading { orphans: true, without_table_exd: true, audit: true, ..Reading::default() };
        let (found, about) = read(&store.url(), reading, 2).unwrap();
        assert_eq!(found.resources.len(), 16);
        assert!(
            found.resources.contains_key("/VERSION") && found.resources.contains_key("/demo2/table/DEFAULT.T1.json")
        );
        assert!(found.resources.contains_key("/demo/table_exd_not/x"));
        assert!(!found.resources.contains_key("/demo/table_exd/DEFAULT.T1.json") && about.is_partial);
        assert_eq!(found.left_behind, [("samples and statistics of tables", 1)].into());
        let log: Vec<_> = found.log.iter().map(|entry| (entry.id, entry.content.as_deref(), entry.mvcc)).collect();
        let changed = (4, Some(&b"{\"a\":1}"[..]), Some(1));
        assert_eq!(log, [(1, Some(&b"{}"[..]), Some(0)), (2, None, None), changed, (5, None, None)]);
        let last = found.log.last().unwrap();
        assert_eq!((last.unit.as_slice(), last.instance.as_slice()), (&b"unit-5"[..], &b"10.0.0.1:0000"[..]));
        assert_eq!((last.operator.as_deref(), last.project.as_slice(), last.patch), (None, &b""[..], 0));
    });
}

#[test]
fn one_project_is_read_with_the_id_of_the_instance() {
    in_both(|store| {
        store.seed_flat(ID);
        let (found, about) = read(&store.url(), project("demo"), 2).unwrap();
        assert_eq!(found.order[..2], ["/UUID", "/_global/project/demo.json"]);
        assert_eq!(found.order.len(), 9);
        assert!(found.order[2..].iter().all(|key| key.starts_with("/demo/")) && about.is_partial);
        let setting = found.setting.unwrap();
        assert_eq!((setting.offset, setting.project.as_slice()), (None, &b"demo"[..]));
        let (found, _) = read(&store.url(), project("Zürich"), 2).unwrap();
        assert_eq!(found.order, ["/UUID", "/Zürich/table/DB.STRAßE.json", "/_global/project/Zürich.json"]);
        for missing in ["demo2", "DEMO", "de", "", "😀", "a'b"] {
            let error = read(&store.url(), project(missing), 2).map(drop).unwrap_err();
            assert!(error.to_string().contains(&format!("there is no project {missing:?}")), "{error}");
            assert_eq!(error.kind(), ErrorKind::Config);
        }
    });
}

#[test]
fn the_offset_is_never_past_a_transaction_that_may_be_open() {
    in_both(|store| {
        store.make_flat(ID);
        let offset = || read(&store.url(), Reading::default(), 1).unwrap().0.setting.unwrap().offset;
        assert_eq!(offset(), Some(0), "an empty log");
        let sql = if store.is_postgres {
            "SELECT (extract(epoch FROM now()) * 1000)::bigint"
        } else {
            "SELECT CAST(UNIX_TIMESTAMP() * 1000 AS SIGNED)"
        };
        let now: i64 = store.run(sql).trim().parse().unwrap();
        for (number, ts) in [(5, LONG_AGO), (7, LONG_AGO + 3_600_000), (8, now - 1000)] {
            store.log(ID, number, ts, None);
        }
        assert_eq!(offset(), Some(8), "a gap of long ago");
        store.log(ID, 10, now, None);
        store.log(ID, 11, now, None);
        assert_eq!(offset(), Some(8), "9 may be under way");
        store.log(ID, 13, now, None);
        assert_eq!(offset(), Some(8), "the first gap counts");
        store.log(ID, 9, now, None);
        assert_eq!(offset(), Some(11));
        store.run(&format!("DROP TABLE {ID}_audit_log"));
        assert_eq!(offset(), Some(0), "where Kylin keeps no log");
    });
}

#[test]
fn content_that_cannot_be_read_is_damage_that_is_named() {
    in_both(|store| {
        store.seed_flat(ID);
        let cut = content::store(b"one line and another one, and one line more", true);
        store.put(ID, &[("/demo/cut.json", &cut[..20], LONG_AGO, 0), ("/demo/none.json", b"", LONG_AGO, 0)]);
        store.run(&format!("UPDATE {ID} SET META_TABLE_CONTENT = NULL WHERE META_TABLE_KEY = '/demo/none.json'"));
        store.run(&format!("UPDATE {ID} SET META_TABLE_TS = NULL WHERE META_TABLE_KEY = '/UUID'"));
        let (found, _) = read(&store.url(), Reading::default(), 2).unwrap();
        assert_eq!((found.resources.len(), found.damaged.len()), (15, 2), "{:?}", found.damaged);
        assert!(found.damaged[0].contains("/demo/cut.json: truncated"), "{:?}", found.damaged);
        assert!(found.damaged[1].contains("/demo/none.json") && found.damaged[1].contains("NULL"));
        assert_eq!(found.resources["/UUID"].ts, 0);
    });
}

#[test]
fn what_is_no_store_of_kylin_5_is_refused_in_words() {
    in_both(|store| {
        for (make, kind, why) in [
            ("", ErrorKind::Config, "no metastore"),
            (
                "create table % (META_TABLE_KEY varchar(255), META_TABLE_TS bigint)",
                ErrorKind::Unsupported,
                "Kylin 2 to 4",
            ),
        ] {
            store.run(&make.replace('%', "old"));
            let error = refused(&store.url_of("old"));
            assert!(error.kind() == kind && error.to_string().contains(why), "{error:?}");
        }
        store.make_flat(ID);
        store.make_typed(ID);
        let error = refused(&store.url());
        assert!(error.kind() == ErrorKind::Refused && error.to_string().contains("both layouts"), "{error:?}");
        let url = store.url().replace("username=", "username=nobody_of_this_name");
        assert!(refused(&url).what_to_do().is_some());
    });
}

#[test]
fn tables_are_found_in_whatever_case_and_schema_they_are() {
    in_both(|store| {
        store.seed_flat(ID);
        let upper = read(&store.url_of("KYLIN_metadata"), Reading::default(), 1);
        assert_eq!(upper.unwrap().0.resources.len(), 15);
        if store.is_postgres {
            store.run(&format!("CREATE SCHEMA \"Meta\"; ALTER TABLE {ID} SET SCHEMA \"Meta\""));
            store.run(&format!("ALTER TABLE \"Meta\".{ID} RENAME TO \"KYLIN_METADATA\""));
            let url = store.url().replace("url=", "url=\"").replace(",user", "?currentSchema=public,Meta\",user");
            assert_eq!(read(&url, Reading::default(), 2).unwrap().0.resources.len(), 15);
            assert_eq!(refused(&store.url()).kind(), ErrorKind::Config);
        }
    });
}

#[test]
fn a_typed_store_yields_every_type() {
    in_both(|store| {
        store.seed_typed(ID);
        for readers in [1, 3] {
            let (found, about) = read(&store.url(), Reading { audit: true, ..Reading::default() }, readers).unwrap();
            let keys = [
                "COMPUTE_COLUMN/c1",
                "JOB_STATS/j1",
                "MODEL/m1",
                "MODEL/m2",
                "MODEL/m3",
                "PROJECT/Demo",
                "PROJECT/other",
                "SYSTEM/UUID",
                "TABLE_EXD/Demo.DB.T",
                "USER_INFO/ADMIN",
            ];
            assert_eq!(found.keys(), keys);
            assert_eq!(found.content("MODEL/m3"), b"{\"uuid\":\"m3\",\"alias\":\"two\",\"project\":\"other\"}");
            assert_eq!((found.resources["MODEL/m1"].ts, found.resources["MODEL/m1"].mvcc), (LONG_AGO, 2));
            assert!(!about.ordered.contains(Kind::Resource));
            let setting = found.setting.unwrap();
            assert_eq!((setting.layout, setting.offset), (Layout::Typed, Some(3)));
            let log: Vec<_> =
                found.log.iter().map(|entry| (entry.id, &*entry.project, &*entry.model, entry.patch)).collect();
            let expected = [(1, &b"Demo"[..], &b"m1"[..], 0), (2, b"Demo", b"m1", 1), (3, b"_global", b"", 0)];
            assert_eq!(log, expected);
            assert_eq!(found.log[0].operator.as_deref(), Some(&b"ADMIN"[..]));
        }
    });
}

#[test]
fn a_typed_project_is_read_in_whatever_case_it_is_spelled() {
    in_both(|store| {
        store.seed_typed(ID);
        for name in ["Demo", "demo"] {
            let (found, _) = read(&store.url(), Reading { without_table_exd: true, ..project(name) }, 2).unwrap();
            let keys = ["COMPUTE_COLUMN/c1", "JOB_STATS/j1", "MODEL/m1", "MODEL/m2", "PROJECT/Demo", "SYSTEM/UUID"];
            assert_eq!(found.keys(), keys, "{name}");
            let setting = found.setting.unwrap();
            assert_eq!((setting.project.as_slice(), setting.offset), (&b"Demo"[..], Some(3)));
            assert_eq!(found.left_behind["samples and statistics of tables"], 1);
        }
        let error = read(&store.url(), project("demo2"), 2).map(drop).unwrap_err();
        assert!(error.to_string().contains("there is no project \"demo2\""), "{error}");
    });
}

/// Whoever writes puts the same number into two resources that lie in different pieces; no reader may see two numbers.
#[test]
fn all_readers_see_one_point_in_time() {
    in_both(|store| {
        store.make_flat(ID);
        let rows: Vec<_> = (0..3000).map(|number| format!("/_global/{number:04}")).collect();
        let rows: Vec<_> = rows.iter().map(|key| (key.as_str(), &b"0"[..], LONG_AGO, 0)).collect();
        store.put(ID, &rows);
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = 0;
                while !is_done.load(Ordering::Relaxed) {
                    number += 1;
                    store.run(&update(store, number));
                }
            });
            for _ in 0..15 {
                let (found, _) = read(&store.url(), Reading::default(), 4).unwrap();
                let [first, last] = ["/_global/0000", "/_global/2999"].map(|key| found.content(key).to_vec());
                assert_eq!(first, last);
            }
            is_done.store(true, Ordering::Relaxed);
        });
    });
}

fn update(store: &Store, number: u32) -> String {
    let set = format!(
        "UPDATE {ID} SET META_TABLE_CONTENT = {} WHERE META_TABLE_KEY =",
        store.bytes(number.to_string().as_bytes())
    );
    format!("BEGIN; {set} '/_global/0000'; {set} '/_global/2999'; COMMIT")
}
