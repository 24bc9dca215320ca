//! What is written to a store: from one database to the other and back, equal each time; whole, or nothing that Kylin could take
//! for a metastore.

use metaferry_codecs::kylin::{Audit, Batch, Kylin, Resource, Setting, content};
use metaferry_engines::kylin::store::{KylinSink, KylinSource, Reading, StoreAddress, Writing};
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{About, Emit, Partition, Scope, Snapshot};
use metaferry_pipeline::{Error, ErrorKind, Guarantee, KindSet, Monitor, Result, Sink, Source, Stop, copy, verify};

use super::stores::{LONG_AGO, Store, in_both, read};
use crate::kit::sql::both;

const ID: &str = "kylin_metadata";

fn whole() -> Reading {
    Reading { audit: true, ..Reading::default() }
}

fn options() -> copy::Options {
    copy::Options {
        threads: 3,
        memory_bytes: 64 << 20,
        spill: SpillDir::new(std::env::temp_dir()),
        keep_secrets: false,
        keep_counters: false,
        advance: metaferry_codecs::system::Advance::default(),
        mend: false,
        skip_damaged: false,
        prove: true,
        live: false,
        strict: false,
    }
}

fn load(source: Box<dyn Source<Kylin>>, url: &str, compress: bool) -> Result<copy::Report<Kylin>> {
    let sink = KylinSink::new(StoreAddress::parse(url).unwrap(), Writing { compress });
    copy::copy(source, Box::new(sink), &options(), &Monitor::default(), &Stop::new())
}

fn open(url: &str) -> Box<dyn Source<Kylin>> {
    Box::new(KylinSource::new(StoreAddress::parse(url).unwrap(), whole()))
}

fn assert_equal(left: &str, right: &str) {
    let options =
        verify::Options { threads: 2, memory_bytes: 64 << 20, spill: SpillDir::new(std::env::temp_dir()), limit: 5 };
    let verdict = verify::verify::<Kylin>(&|| Ok(open(left)), &|| Ok(open(right)), &options, &Stop::new()).unwrap();
    assert!(verdict.differences.is_empty() && verdict.left_tally.total().rows > 5, "{:?}", verdict.rows);
}

/// Rows that a test makes, as a source.
#[derive(Clone)]
struct Made(Vec<Batch>);

impl Source<Kylin> for Made {
    fn snapshot(self: Box<Self>, _readers: usize, _stop: &Stop) -> Result<Box<dyn Snapshot<Kylin>>> {
        Ok(self)
    }
}

impl Snapshot<Kylin> for Made {
    fn about(&self) -> About {
        About {
            origin: "made".to_owned(),
            guarantee: Guarantee::Exact,
            ordered: KindSet::NONE,
            notes: Vec::new(),
            live_sessions: 0,
            is_repeatable: true,
            is_partial: false,
        }
    }

    fn plan(&self, _scope: &Scope<Kylin>) -> Result<Vec<Partition<Kylin>>> {
        Ok(vec![Partition { kind: None, from: 0, to: 1, weight: 1 }])
    }

    fn scan(&self, _partition: &Partition<Kylin>, out: &mut dyn Emit<Kylin>) -> Result<()> {
        self.0.iter().try_for_each(|batch| out.emit(batch.clone()))
    }
}

fn resource(key: &str, content: &str) -> Resource {
    Resource { key: key.into(), content: content.into(), ts: LONG_AGO, mvcc: 5 }
}

/// A source of these resources and a setting with an offset.
fn made(rows: &[Resource], offset: u64) -> Box<dyn Source<Kylin>> {
    let layout = metaferry_codecs::kylin::Layout::of_key(&rows[0].key);
    let setting = Setting { layout, offset: Some(offset), project: Vec::new() };
    Box::new(Made(vec![vec![setting].into(), rows.to_vec().into()]))
}

/// Everything that a store yields, to be compared.
fn contents(url: &str) -> (Vec<Resource>, Vec<Audit>, Option<Setting>) {
    let (read, _) = read(url, whole(), 2).unwrap();
    (read.resources.into_values().collect(), read.log, read.setting)
}

#[test]
fn both_layouts_go_from_one_database_to_the_other_and_back() {
    let [postgres, mariadb] = both().map(|server| Store::on(&server));
    for seed in [Store::seed_flat, Store::seed_typed] {
        let (first, second, third) = (postgres.beside(), mariadb.beside(), postgres.beside());
        seed(&first, ID);
        let report = load(open(&first.url()), &second.url(), true).unwrap();
        assert!(report.proven);
        load(open(&second.url()), &third.url(), false).unwrap();
        for copied in [&second, &third] {
            assert_equal(&first.url(), &copied.url());
            // Times, versions, the change log and its offset too, which are never compared.
            assert_eq!(contents(&first.url()), contents(&copied.url()));
        }
        let names = |store: &Store| store.server.names(&store.database);
        assert!(names(&second).iter().all(|name| !name.contains("metaferry")), "{:?}", names(&second));
    }
}

#[test]
fn tables_are_as_kylin_makes_them() {
    in_both(|store| {
        for (seed, tables) in [
            (Store::seed_flat as fn(&Store, &str), &["", "_audit_log", "_epoch"][..]),
            (
                Store::seed_typed,
                &[
                    "_project",
                    "_system",
                    "_model",
                    "_table_exd",
                    "_compute_column",
                    "_job_stats",
                    "_user_info",
                    "_audit_log_v2",
                ],
            ),
        ] {
            let (theirs, ours) = (store.beside(), store.beside());
            seed(&theirs, ID);
            load(open(&theirs.url()), &ours.url(), true).unwrap();
            for table in tables {
                assert_eq!(shape(&theirs, &format!("{ID}{table}")), shape(&ours, &format!("{ID}{table}")));
            }
        }
    });
}

/// Columns, keys and what counts up, a line each.
fn shape(store: &Store, table: &str) -> String {
    let columns = format!(
        "SELECT column_name, data_type, character_maximum_length, is_nullable, collation_name, column_default \
         FROM information_schema.columns WHERE table_name = '{table}' AND table_schema = {} ORDER BY column_name",
        if store.is_postgres { "'public'" } else { "DATABASE()" }
    );
    let indexes = if store.is_postgres {
        format!("SELECT indexdef FROM pg_indexes WHERE tablename = '{table}' ORDER BY 1")
    } else {
        format!(
            "SELECT lower(index_name), non_unique, seq_in_index, lower(column_name) FROM information_schema.statistics \
             WHERE table_name = '{table}' AND table_schema = DATABASE() ORDER BY 1, 3; \
             SELECT engine, row_format, table_collation FROM information_schema.tables \
             WHERE table_name = '{table}' AND table_schema = DATABASE()"
        )
    };
    store.run(&columns) + &store.run(&indexes)
}

#[test]
fn content_is_compressed_as_asked_and_columns_are_filled() {
    in_both(|store| {
        let rows = [resource("/_global/project/p.json", "{\"name\":\"p\"}"), resource("/p/x", "")];
        for compress in [true, false] {
            let store = store.beside();
            load(made(&rows, 0), &store.url(), compress).unwrap();
            let stored = content::store(&rows[0].content, compress);
            let sql = format!(
                "SELECT META_TABLE_TS, META_TABLE_MVCC FROM {ID} WHERE META_TABLE_CONTENT = {}",
                store.bytes(&stored)
            );
            assert_eq!(store.run(&sql).replace('|', "\t"), format!("{LONG_AGO}\t5\n"));
        }
        let document =
            "{\"uuid\":\"c\",\"project\":\"p\",\"columnName\":\"C\",\"expression\":\"a\\tb\",\"referenceCount\":3}";
        load(made(&[resource("COMPUTE_COLUMN/c", document)], 0), &store.url(), true).unwrap();
        let sql = format!(
            "SELECT meta_key, project, column_name, expression, reference_count, mvcc FROM {ID}_compute_column \
             WHERE uuid = 'c' AND datatype IS NULL"
        );
        assert_eq!(store.run(&sql).replace('|', "\t"), "c\tp\tC\ta\tb\t3\t5\n");
    });
}

#[test]
fn the_change_log_goes_on_behind_every_id_there_was() {
    in_both(|store| {
        for (offset, entries, next) in [(0, &[][..], "1"), (41, &[], "42"), (41, &[7, 50], "51"), (60, &[7, 50], "61")]
        {
            let store = store.beside();
            let entry = |id: &u64| Audit { id: *id, key: b"/p/x".to_vec(), ts: LONG_AGO, ..Audit::default() };
            let mut source = vec![Batch::from(vec![resource("/UUID", "x")])];
            let setting = Setting { offset: Some(offset), ..Setting::default() };
            source.extend([vec![setting].into(), entries.iter().map(entry).collect::<Vec<_>>().into()]);
            load(Box::new(Made(source)), &store.url(), true).unwrap();
            store.run(&format!("INSERT INTO {ID}_audit_log (meta_key) VALUES ('/p/y')"));
            assert_eq!(store.run(&format!("SELECT MAX(id) FROM {ID}_audit_log")).trim(), next);
        }
    });
}

#[test]
fn only_where_the_identifier_has_no_table_is_anything_loaded() {
    in_both(|store| {
        let source = || made(&[resource("/UUID", "x")], 0);
        store.run("CREATE TABLE kylin_metadata2 (a int); CREATE TABLE other (a int)");
        store.run(&format!("CREATE TABLE {ID}_query_history (a int)"));
        load(source(), &store.url(), true).unwrap();
        let before = store.server.contents(&store.database);
        let error = load(source(), &store.url(), true).map(drop).unwrap_err();
        assert!(error.kind() == ErrorKind::Refused && error.to_string().contains("the flat layout"), "{error}");
        // Another identifier in the same database is another store.
        load(source(), &store.url_of("second"), true).unwrap();
        assert_eq!(read(&store.url_of("second"), whole(), 1).unwrap().0.keys(), ["/UUID"]);
        store.run("DROP TABLE second, second_audit_log, second_epoch");
        assert_eq!(store.server.contents(&store.database), before);
        for table in ["third_epoch", "third_audit_log_v2", "third_project"] {
            store.run(&format!("CREATE TABLE {table} (a int)"));
            let error = load(source(), &store.url_of("third"), true).map(drop).unwrap_err();
            assert!(error.kind() == ErrorKind::Refused && error.to_string().contains(table), "{error}");
            store.run(&format!("DROP TABLE {table}"));
        }
    });
}

#[test]
fn a_load_that_fails_leaves_nothing() {
    in_both(|store| {
        let long = format!("/p/{}", "x".repeat(253));
        let typed = |content: &str| vec![resource("MODEL/m", content)];
        let twice = "{\"uuid\":\"u\",\"alias\":\"a\",\"project\":\"p\"}";
        let mut sources = vec![
            (vec![resource("/UUID", "x"), resource(&long, "{}")], "256 characters"),
            (vec![resource("/UUID", "x"), resource("MODEL/m", twice)], "both layouts"),
            (vec![resource("/UUID", "x"), resource("/UUID", "y")], "the same key"),
            (vec![resource("/p/../x", "x")], "another folder"),
            (vec![resource("CUBE/x", "{}")], "CUBE"),
            (typed("not json"), "MODEL/m: its content has no \"uuid\""),
            (vec![resource("MODEL/m", twice), resource("MODEL/n", &twice.replace("\"u\"", "\"v\""))], "the same key"),
        ];
        if !store.is_postgres {
            sources.push((vec![resource("/p/😀.json", "{}")], "three bytes"));
        }
        for (rows, why) in sources {
            let error = load(made(&rows, 0), &store.url(), true).map(drop).unwrap_err();
            assert!(format!("{error:?}").contains(why), "{why}: {error:?}");
            assert_eq!(store.server.names(&store.database), [""; 0], "{why}");
        }
        load(made(&[resource("/p/é'\\.json", "{}")], 0), &store.url(), true).unwrap();
        assert_eq!(read(&store.url(), Reading { orphans: true, ..whole() }, 1).unwrap().0.keys(), ["/p/é'\\.json"]);
    });
}

#[test]
fn until_the_commit_there_is_nothing_that_kylin_knows_and_what_died_is_cleared() {
    in_both(|store| {
        let mut sink: Box<dyn Sink<Kylin>> =
            Box::new(KylinSink::new(StoreAddress::parse(&store.url()).unwrap(), Writing { compress: true }));
        let about = Made(Vec::new()).about();
        sink.prepare(&about, &Stop::new()).unwrap();
        let mut loader = sink.loader().unwrap();
        loader.load(vec![resource("/_global/project/p.json", "{}")].into()).unwrap();
        loader.finish().unwrap();
        sink.uncommitted().unwrap().finish().unwrap();
        let is_known = |name: &String| {
            let plain = name.strip_prefix(ID).unwrap();
            ["", "_audit_log", "_epoch", "_project", "_system"].contains(&plain)
        };
        let names = store.server.names(&store.database);
        assert!(names.len() == 4 && !names.iter().any(is_known), "{names:?}");
        let error = read(&store.url(), whole(), 1).map(drop).unwrap_err();
        assert!(error.to_string().contains("no metastore"), "{error}");
        // Whoever else loads meanwhile is refused, and does no harm.
        let source = || made(&[resource("/UUID", "x")], 0);
        let error = load(source(), &store.url(), true).map(drop).unwrap_err();
        assert!(error.kind() == ErrorKind::Refused && error.to_string().contains("under way"), "{error}");
        assert_eq!(store.server.names(&store.database), names);
        // The process dies: nobody clears anything, and its sessions end.
        while store.server.end_oldest(&store.database) {}
        std::mem::forget(sink);
        load(source(), &store.url(), true).unwrap();
        assert_eq!(read(&store.url(), whole(), 1).unwrap().0.keys(), ["/UUID"]);
        assert_eq!(store.server.names(&store.database).len(), 3);
    });
}

#[test]
fn a_server_that_dies_while_tables_get_their_names_leaves_what_the_next_load_clears() {
    let [_, mariadb] = both().map(|server| Store::on(&server));
    // As MariaDB leaves it: some tables have their names, the one that Kylin knows a store by has not.
    mariadb.run(&format!(
        "CREATE TABLE {ID}_metaferry (id bigint PRIMARY KEY); INSERT INTO {ID}_metaferry VALUES (1); \
         CREATE TABLE {ID}_metaferry_0 (a int); CREATE TABLE {ID}_audit_log (a int)"
    ));
    load(made(&[resource("/UUID", "x")], 0), &mariadb.url(), true).unwrap();
    assert_eq!(mariadb.server.names(&mariadb.database), [ID, &format!("{ID}_audit_log"), &format!("{ID}_epoch")]);
    // Without the mark's word for it they are somebody else's.
    let other = mariadb.beside();
    other.run(&format!("CREATE TABLE {ID}_metaferry (id bigint PRIMARY KEY); CREATE TABLE {ID}_audit_log (a int)"));
    let error = load(made(&[resource("/UUID", "x")], 0), &other.url(), true).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
}

#[test]
fn an_empty_store_is_a_store() {
    in_both(|store| {
        let setting = Setting { offset: Some(3), ..Setting::default() };
        load(Box::new(Made(vec![vec![setting].into()])), &store.url(), true).unwrap();
        let (found, _) = read(&store.url(), whole(), 2).unwrap();
        assert_eq!((found.resources.len(), found.setting.unwrap().offset), (0, Some(0)));
        let none: Result<_, Error> = load(Box::new(Made(Vec::new())), &store.url_of("none"), true);
        assert!(none.is_err() && !store.server.names(&store.database).iter().any(|name| name.starts_with("none")));
    });
}
