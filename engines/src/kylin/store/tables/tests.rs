//! The tables against the facts: names, and what is made of a catalog.

use metaferry_codecs::kylin::address::Dialect;
use metaferry_pipeline::ErrorKind;

use super::find::{Found, locate};
use super::*;

fn catalog(tables: &[(&str, &[&str])]) -> Vec<Found> {
    let columns = tables.iter().flat_map(|(table, columns)| columns.iter().map(|column| (*table, *column)));
    let found = columns.map(|(table, column)| Found {
        table: table.to_owned(),
        column: column.to_owned(),
        collation: Some(("utf8mb3".to_owned(), "utf8mb3_bin".to_owned())),
        has_transactions: true,
    });
    found.collect()
}

const FLAT: (&str, &[&str]) = ("k", &["META_TABLE_KEY", "META_TABLE_CONTENT", "META_TABLE_TS", "META_TABLE_MVCC"]);
const OLD: (&str, &[&str]) = ("k", &["META_TABLE_KEY", "META_TABLE_CONTENT", "META_TABLE_TS"]);
const TYPED: [(&str, &[&str]); 2] = [("k_project", &["id", "meta_key"]), ("k_system", &["meta_key"])];

#[test]
fn layouts_are_told_by_their_tables() {
    let flat = locate(Dialect::Mysql, "k", &catalog(&[FLAT, ("k_audit_log", &["id"])])).unwrap();
    assert_eq!(flat.layout, Layout::Flat);
    assert_eq!(flat.get(Role::Log).unwrap().name, "`k_audit_log`");
    assert!(flat.get(Role::Epoch).is_none() && flat.get(Role::Resources).unwrap().has("meta_table_mvcc"));
    let typed = locate(Dialect::Postgres, "k", &catalog(&TYPED)).unwrap();
    assert_eq!((typed.layout, typed.resources().count()), (Layout::Typed, 2));
    // A table that another product has under the identifier is nobody's concern.
    let typed = locate(Dialect::Postgres, "k", &catalog(&[TYPED[0], TYPED[1], ("k", &["id"])])).unwrap();
    assert_eq!(typed.layout, Layout::Typed);
}

#[test]
fn what_is_no_metastore_of_kylin_5_is_refused_in_words() {
    let refused = |tables: &[(&str, &[&str])]| locate(Dialect::Mysql, "k", &catalog(tables)).unwrap_err();
    for (error, kind, why) in [
        (refused(&[]), ErrorKind::Config, "no metastore k"),
        (refused(&[TYPED[0]]), ErrorKind::Config, "no metastore k"),
        (refused(&[("k_project", &["id"]), TYPED[1]]), ErrorKind::Config, "no metastore k"),
        (refused(&[("kk", FLAT.1)]), ErrorKind::Config, "no metastore k"),
        (refused(&[OLD]), ErrorKind::Unsupported, "Kylin 2 to 4"),
        (refused(&[FLAT, TYPED[0], TYPED[1]]), ErrorKind::Refused, "both layouts"),
    ] {
        assert!(error.kind() == kind && error.to_string().contains(why), "{error:?}");
    }
}

#[test]
fn names_are_found_as_they_are_in_lower_and_in_upper_case() {
    let columns = FLAT.1;
    let name = |dialect, identifier: &str, tables: &[&str]| {
        let tables: Vec<_> = tables.iter().map(|table| (*table, columns)).collect();
        locate(dialect, identifier, &catalog(&tables)).unwrap().get(Role::Resources).unwrap().name.clone()
    };
    assert_eq!(name(Dialect::Postgres, "Kylin", &["Kylin", "kylin", "KYLIN"]), "\"kylin\"");
    assert_eq!(name(Dialect::Postgres, "kylin", &["KYLIN"]), "\"KYLIN\"");
    assert_eq!(name(Dialect::Mysql, "Kylin", &["KYLIN", "Kylin", "kylin"]), "`Kylin`");
    assert_eq!(name(Dialect::Mysql, "Kylin", &["kylin"]), "`kylin`");
}

#[test]
fn every_type_has_its_table_with_what_it_is_selected_by() {
    assert_eq!(tables(Layout::Typed).len(), 32);
    for table in tables(Layout::Typed) {
        let Role::Typed(found) = table.role else { continue };
        assert_eq!(table.name("k"), found.table("k"));
        let has_project = table.columns.iter().any(|column| column.name == "project");
        assert_eq!(has_project, matches!(found.scope, metaferry_codecs::kylin::types::Scope::Project(_)), "{found:?}");
        for index in &table.indexes {
            let known = |name: &&str| table.columns.iter().any(|column| column.name == *name);
            assert!(index.columns.iter().all(known), "{}", index.suffix);
        }
        // No name is cut where the identifier is as long as it may be.
        assert!(table.indexes.iter().all(|index| index.suffix.len() + 33 <= 63), "{found:?}");
    }
}

#[test]
fn statements_are_as_kylin_has_them() {
    let [flat, log, epoch] = tables(Layout::Flat) else { panic!() };
    assert_eq!(
        flat.create(Dialect::Postgres, "\"k\""),
        "CREATE TABLE \"k\" (meta_table_key varchar(255) COLLATE \"C\" NOT NULL, meta_table_content bytea, \
         meta_table_ts bigint, meta_table_mvcc bigint)"
    );
    assert_eq!(
        flat.create(Dialect::Mysql, "`k`"),
        "CREATE TABLE `k` (META_TABLE_KEY varchar(255) COLLATE utf8_bin NOT NULL, META_TABLE_CONTENT longblob, \
         META_TABLE_TS bigint, META_TABLE_MVCC bigint, PRIMARY KEY (meta_table_key)) ENGINE=InnoDB"
    );
    assert_eq!(
        log.finish(Dialect::Postgres, "\"t\"", "K"),
        [
            "ALTER TABLE \"t\" ADD CONSTRAINT \"k_audit_log_pkey\" PRIMARY KEY (id)",
            "CREATE INDEX \"k_audit_log_meta_key_meta_mvcc_index\" ON \"t\" (meta_key, meta_mvcc)"
        ]
    );
    let long = "k".repeat(33);
    assert!(log.finish(Dialect::Mysql, "`t`", &long).is_empty(), "Kylin goes without an index whose name is too long");
    assert!(
        log.finish(Dialect::Postgres, "t", &long)[1].contains(&format!("\"{long}_audit_log_meta_key_meta_mvcc_\""))
    );
    assert_eq!(epoch.finish(Dialect::Mysql, "`t`", "k"), [""; 0]);
    let model = table(Layout::Typed, Role::Typed(MetadataType::named(b"MODEL").unwrap())).unwrap();
    assert_eq!(
        model.create(Dialect::Mysql, "`m`"),
        "CREATE TABLE `m` (id bigint unsigned AUTO_INCREMENT NOT NULL, meta_key varchar(255) NOT NULL, \
         uuid char(36) COLLATE utf8_bin NOT NULL, project varchar(255) NOT NULL, alias varchar(255) NOT NULL, \
         mvcc bigint NOT NULL, ts bigint NOT NULL, content longblob NOT NULL, reserved_filed_1 varchar(50), \
         reserved_filed_2 longblob, reserved_filed_3 longblob, PRIMARY KEY (id)) \
         ENGINE=InnoDB DEFAULT CHARSET=utf8 ROW_FORMAT=DYNAMIC"
    );
    assert_eq!(
        model.finish(Dialect::Mysql, "`m`", "k"),
        ["ALTER TABLE `m` ADD UNIQUE INDEX `k_model_uk1` (uuid), ADD UNIQUE INDEX `k_model_uk2` (meta_key), \
          ADD UNIQUE INDEX `k_model_uk3` (project, alias)"]
    );
}
