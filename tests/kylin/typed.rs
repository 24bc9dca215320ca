//! Restores of the typed layout: columns that content fills, one unit in the log, and what must not come twice.

use metaferry_engines::kylin::store::patch::Restoring;
use metaferry_pipeline::ErrorKind;

use super::node::Node;
use super::place::{Place, Server};
use super::restore::{Wanted, options, restore, restoring};

fn model(uuid: &str, project: &str, alias: &str) -> (String, String) {
    (format!("MODEL/{uuid}"), format!("{{\"uuid\":\"{uuid}\",\"project\":\"{project}\",\"alias\":\"{alias}\"}}"))
}

pub(crate) fn wanted(rows: &[(String, String)]) -> Wanted {
    Wanted::of(&rows.iter().map(|(key, content)| (key.as_str(), content.as_str())).collect::<Vec<_>>())
}

pub(crate) fn others() -> Vec<(String, String)> {
    [
        ("PROJECT/p", r#"{"uuid":"u-p","name":"p"}"#),
        ("PROJECT/q", r#"{"uuid":"u-q","name":"q"}"#),
        ("SYSTEM/UUID", r#"{"uuid":"u-s","name":"UUID","str":"x"}"#),
        ("SYSTEM/trash_record", r#"{"uuid":"u-t","name":"trash_record"}"#),
        ("TABLE_INFO/p.DB.T", r#"{"uuid":"u-1","project":"p","name":"T","database":"DB"}"#),
        ("TABLE_INFO/q.DB.T", r#"{"uuid":"u-2","project":"q","name":"T","database":null}"#),
        ("USER_INFO/ADMIN", r#"{"uuid":"u-a","username":"ADMIN"}"#),
        ("JOB_STATS/p.1", r#"{"uuid":"u-j","project":"p","date":1700000000000}"#),
    ]
    .map(|(key, content)| (key.to_owned(), content.to_owned()))
    .to_vec()
}

/// A store with two projects, and a model in each.
pub(crate) fn store<'s>(server: &'s Server, database: &str) -> Place<'s> {
    let place = server.typed(database);
    let models = [model("m1", "p", "one"), model("m2", "q", "one")];
    let report =
        restore(&place, &wanted(&[others(), models.to_vec()].concat()), restoring(), &options(false, false)).unwrap();
    assert_eq!((report.inserted, report.conflicts.len()), (9, 0), "{}", server.name());
    place
}

/// The log: key, version, project, model, whether it is a patch; a blank line between units.
pub(crate) fn log(place: &Place<'_>, after: i64) -> Vec<String> {
    let columns = ["meta_key", "meta_mvcc", "project", "model_uuid", "unit_id", "diff_flag", "instance", "operator"];
    let rows = place.rows(&format!("k_audit_log_v2 WHERE id > {after}"), &columns, "id");
    let units: std::collections::BTreeSet<_> = rows.iter().map(|row| row.split('|').nth(4).unwrap()).collect();
    assert!(units.len() <= 1, "{units:?}");
    rows.iter()
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            assert!(matches!(cells[5], "0" | "false") && cells[6..] == ["10.0.0.1:0000", "NULL"], "{row}");
            cells[..4].join(" ")
        })
        .collect()
}

/// Key and version of every resource in the tables that the tests fill.
pub(crate) fn versions(place: &Place<'_>) -> Vec<String> {
    let tables = ["job_stats", "model", "project", "system", "table_info", "user_info"];
    let of = |table| place.rows(&format!("k_{table}"), &["meta_key", "uuid", "mvcc"], "1");
    tables.into_iter().flat_map(of).collect()
}

#[test]
fn columns_are_filled_and_the_log_is_one_unit() {
    for server in Server::both() {
        let place = store(&server, "filled");
        let first = [
            "JOB_STATS/p.1 0 p NULL",
            "MODEL/m1 0 p m1",
            "MODEL/m2 0 q m2",
            "PROJECT/p 0 _global NULL",
            "PROJECT/q 0 _global NULL",
            "SYSTEM/UUID 0 _global NULL",
            "TABLE_INFO/p.DB.T 0 p NULL",
            "TABLE_INFO/q.DB.T 0 q NULL",
            "USER_INFO/ADMIN 0 _global NULL",
        ];
        assert_eq!(log(&place, 0), first, "{}", server.name());
        assert_eq!(
            place.rows("k_model", &["meta_key", "trim(uuid)", "project", "alias", "mvcc"], "1"),
            ["m1|m1|p|one|0", "m2|m2|q|one|0"]
        );
        let tables = place.rows("k_table_info", &["meta_key", "project", "name", "db_name"], "1");
        assert_eq!(tables, ["p.DB.T|p|T|DB", "q.DB.T|q|T|NULL"], "{}", server.name());
        assert_eq!(place.rows("k_job_stats", &["time_of_day"], "1"), ["1700000000000"]);
        let mut node = Node::boot_typed(&place);
        // The instance's id is overwritten here; one model goes, one comes, one gets another name.
        let mut rows = others();
        rows.retain(|(key, _)| !key.starts_with("TABLE_INFO/q"));
        rows.extend([model("m2", "q", "two"), model("m3", "p", "one")]);
        let report = restore(&place, &wanted(&rows), restoring(), &options(true, false)).unwrap();
        assert_eq!((report.inserted, report.replaced, report.deleted), (1, 7, 2), "{:?}", report.conflicts);
        let second = [
            "MODEL/m3 0 p m3",
            "JOB_STATS/p.1 1 p NULL",
            "MODEL/m2 1 q m2",
            "PROJECT/p 1 _global NULL",
            "PROJECT/q 1 _global NULL",
            "SYSTEM/UUID 1 _global NULL",
            "TABLE_INFO/p.DB.T 1 p NULL",
            "USER_INFO/ADMIN 1 _global NULL",
            "MODEL/m1 NULL p NULL",
            "TABLE_INFO/q.DB.T NULL q NULL",
        ];
        assert_eq!(log(&place, 9), second, "{}", server.name());
        assert_eq!(place.rows("k_model", &["meta_key", "alias", "mvcc"], "1"), ["m2|two|1", "m3|one|0"]);
        node.catch_up(&place);
    }
}

#[test]
fn of_a_project_only_its_own_rows_are_restored() {
    for server in Server::both() {
        let place = store(&server, "project");
        let mut node = Node::boot_typed(&place);
        let of_p = Restoring { project: Some(b"p".to_vec()), ..restoring() };
        let mut rows = others();
        rows.retain(|(key, _)| ["PROJECT/p", "SYSTEM/UUID", "TABLE_INFO/p.DB.T"].contains(&key.as_str()));
        let report = restore(&place, &wanted(&rows), of_p.clone(), &options(true, false)).unwrap();
        assert_eq!((report.inserted, report.replaced, report.deleted), (0, 2, 2), "{}", server.name());
        let logged = [
            "PROJECT/p 1 _global NULL",
            "TABLE_INFO/p.DB.T 1 p NULL",
            "JOB_STATS/p.1 NULL p NULL",
            "MODEL/m1 NULL p NULL",
        ];
        assert_eq!(log(&place, 9), logged, "{}", server.name());
        node.catch_up(&place);
        for (row, why) in [(model("m9", "q", "nine"), "of another project"), (others()[6].clone(), "does not reach")] {
            let error = restore(&place, &wanted(&[row]), of_p.clone(), &options(false, false)).unwrap_err();
            assert!(error.kind() == ErrorKind::Refused && error.to_string().contains(why), "{error:?}");
        }
    }
}

#[test]
fn two_models_of_a_project_never_get_one_name() {
    for server in Server::both() {
        let place = store(&server, "names");
        let rows = [model("m3", "p", "one"), model("m4", "q", "one"), model("m5", "q", "other")];
        let error = restore(&place, &wanted(&rows), restoring(), &options(false, false)).unwrap_err();
        let told = "KE-050041203: Please modify the model name and then restore:[project]:models: [p]:one;[q]:one";
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Refused, told), "{}", server.name());
        assert_eq!(log(&place, 9), Vec::<String>::new());
        assert_eq!(place.rows("k_model", &["meta_key", "alias", "mvcc"], "1"), ["m1|one|0", "m2|one|0"]);
        // They may exchange their names.
        let [two, swapped] =
            [["m1", "m6"], ["m6", "m1"]].map(|[one, two]| [model(one, "p", "one"), model(two, "p", "two")]);
        for rows in [two, swapped] {
            restore(&place, &wanted(&rows), restoring(), &options(false, false)).unwrap();
        }
        assert_eq!(place.rows("k_model", &["meta_key", "alias", "mvcc"], "1"), ["m1|two|2", "m2|one|0", "m6|one|1"]);
    }
}

#[test]
fn content_that_fills_no_row_is_refused_by_name() {
    for server in Server::both() {
        let place = store(&server, "broken");
        for (key, content, why) in [
            ("MODEL/m7", "not json", "MODEL/m7: its content has no \"uuid\""),
            ("MODEL/m7", r#"{"uuid":"m7","project":"p"}"#, "MODEL/m7: its content has no \"alias\""),
            ("JOB_STATS/x", r#"{"uuid":"x","project":"p","date":"soon"}"#, "JOB_STATS/x: its \"date\" is no number"),
            ("SEGMENT/x", "{}", "SEGMENT/x: the store has no table for its type"),
        ] {
            let error =
                restore(&place, &Wanted::of(&[(key, content)]), restoring(), &options(false, false)).unwrap_err();
            assert!(error.to_string().starts_with(why), "{}: {error:?}", server.name());
        }
        assert_eq!(log(&place, 9), Vec::<String>::new());
    }
}

#[test]
fn a_key_in_another_case_is_another_one_or_in_the_way() {
    for server in Server::both() {
        let place = store(&server, "cases");
        let mut rows = others();
        rows.retain(|(key, _)| !key.starts_with("USER_INFO"));
        rows.push(("USER_INFO/admin".to_owned(), r#"{"uuid":"u-b","username":"admin"}"#.to_owned()));
        rows.push(model("m2", "q", "one"));
        let kept = restore(&place, &wanted(&rows), restoring(), &options(false, false));
        let names = place.rows("k_user_info", &["meta_key", "mvcc"], "1");
        match server {
            Server::Postgres(_) => assert_eq!((kept.unwrap().inserted, names.len()), (1, 2)),
            Server::MariaDb(_) => {
                let told = "USER_INFO/admin: the server takes its key for that of USER_INFO/ADMIN, which is there";
                assert_eq!(kept.unwrap_err().to_string(), told);
                assert_eq!(names, ["ADMIN|0"]);
            }
        }
        let report = restore(&place, &wanted(&rows), restoring(), &options(true, false)).unwrap();
        assert_eq!(report.conflicts, [], "{}", server.name());
        let names = place.rows("k_user_info", &["meta_key", "username"], "1");
        assert_eq!(names, ["admin|admin"], "{}", server.name());
    }
}
