//! Restores of a metastore as Kylin's own tool does them, row for row, and what makes them safe.

use std::collections::BTreeMap;

use metaferry_codecs::kylin::{Batch, Kind, Kylin, Resource};
use metaferry_engines::kylin::store::StoreAddress;
use metaferry_engines::kylin::store::patch::{KylinPatch, Restoring};
use metaferry_pipeline::patch::{self, Options, Report};
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{
    About, Emit, Error, ErrorKind, Guarantee, KindSet, Monitor, Partition, Result, Scope, Snapshot, Source, Stop,
};

use super::node::Node;
use super::place::{Place, Server};

/// A state that is wanted, in memory.
#[derive(Clone, Default)]
pub(crate) struct Wanted(pub(crate) BTreeMap<Vec<u8>, Vec<u8>>);

impl Wanted {
    pub(crate) fn of(rows: &[(&str, &str)]) -> Self {
        Self(rows.iter().map(|(key, content)| (key.as_bytes().to_vec(), content.as_bytes().to_vec())).collect())
    }
}

impl Source<Kylin> for Wanted {
    fn snapshot(self: Box<Self>, _readers: usize, _stop: &Stop) -> Result<Box<dyn Snapshot<Kylin>>> {
        Ok(self)
    }
}

impl Snapshot<Kylin> for Wanted {
    fn about(&self) -> About {
        About {
            origin: "memory".to_owned(),
            guarantee: Guarantee::Exact,
            ordered: KindSet::ALL,
            notes: Vec::new(),
            live_sessions: 0,
            is_repeatable: true,
            is_partial: false,
        }
    }

    fn plan(&self, _scope: &Scope<Kylin>) -> Result<Vec<Partition<Kylin>>> {
        Ok(vec![Partition { kind: Some(Kind::Resource), from: 0, to: 1, weight: 1 }])
    }

    fn scan(&self, _partition: &Partition<Kylin>, out: &mut dyn Emit<Kylin>) -> Result<()> {
        let row = |(key, content): (&Vec<u8>, &Vec<u8>)| Resource {
            key: key.clone(),
            content: content.clone(),
            ts: 1,
            mvcc: 0,
        };
        let rows: Vec<_> = self.0.iter().map(row).collect();
        rows.chunks(3000).try_for_each(|rows| out.emit(Batch::Resource(rows.to_vec())))
    }
}

/// As a test restores, unless it says otherwise.
pub(crate) fn restoring() -> Restoring {
    Restoring { compress: true, log: true, ip: Some("10.0.0.1".to_owned()), ..Restoring::default() }
}

pub(crate) fn options(delete: bool, skip_equal: bool) -> Options {
    let (spill, memory_bytes) = (SpillDir::default(), 64 << 20);
    Options { threads: 2, memory_bytes, spill, delete, skip_equal, dry_run: false }
}

pub(crate) fn restore(place: &Place<'_>, wanted: &Wanted, restoring: Restoring, options: &Options) -> Result<Report> {
    restore_at(place.address(), wanted, restoring, options, &Stop::new())
}

pub(crate) fn restore_at(
    address: StoreAddress,
    wanted: &Wanted,
    restoring: Restoring,
    options: &Options,
    stop: &Stop,
) -> Result<Report> {
    let target = KylinPatch::open(address, restoring, stop)?;
    patch::patch(Box::new(wanted.clone()), Box::new(target), (options, &mut |_| ()), &Monitor::default(), stop)
}

/// Restores, without conflicts.
#[track_caller]
pub(crate) fn restored(place: &Place<'_>, wanted: &Wanted, truncate: bool) -> Report {
    let report = restore(place, wanted, restoring(), &options(truncate, false)).unwrap();
    assert_eq!(report.conflicts, []);
    report
}

#[track_caller]
pub(crate) fn refused(place: &Place<'_>, wanted: &Wanted, restoring: Restoring, why: &str) -> Error {
    let before = (place.versions(), place.rows("k_audit_log", &["id"], "id"));
    let error = restore(place, wanted, restoring, &options(false, false)).unwrap_err();
    assert!(error.to_string().contains(why), "{error:?}");
    assert_eq!((place.versions(), place.rows("k_audit_log", &["id"], "id")), before, "nothing was changed");
    error
}

const STORE: [(&str, &str, i64); 10] = [
    ("/UUID", "\0\u{24}c212029c-419e-4a96-badb-01ba9f9dffdc", 0),
    ("/_global/acl/1111", "{\"acl\":0}", 0),
    ("/_global/project/p1.json", "{\"name\":\"p1\"}", 7),
    ("/_global/project/p2.json", "{\"name\":\"p2\"}", 0),
    ("/_global/project/p3.json", "{\"name\":\"p3\"}", 5),
    ("/_global/trash_record", "{}", 3),
    ("/_global/user/ADMIN", "{\"username\":\"ADMIN\"}", 0),
    ("/p2/table/DEFAULT.T2.json", "{\"name\":\"old\"}", 0),
    ("/p2/table/DEFAULT.T9.json", "{}", 0),
    ("/p3/table/X.json", "{}", 2),
];

pub(crate) fn backup() -> Wanted {
    Wanted::of(&[
        ("/UUID", "\0\u{24}ffffffff-419e-4a96-badb-01ba9f9dffdc"),
        ("/_global/acl/1111", "{\"acl\":0}"),
        ("/_global/project/p1.json", "{\"name\":\"p1\"}"),
        ("/_global/project/p2.json", "{\"name\":\"p2\"}"),
        ("/_global/user/ADMIN", "{\"username\":\"ADMIN\"}"),
        ("/p1/table/DEFAULT.T1.json", "{\"name\":\"T1\"}"),
        ("/p2/table/DEFAULT.T2.json", "{\"name\":\"T2\"}"),
    ])
}

/// A store as it was before the run that was seen of Kylin, with seven rows in its log.
pub(crate) fn store<'s>(server: &'s Server, database: &str) -> Place<'s> {
    let place = server.flat(database);
    place.seed(&STORE);
    for number in 1..=7 {
        place.run(&format!(
            "INSERT INTO k_audit_log (meta_key, meta_mvcc, unit_id) VALUES ('/p/{number}', 0, 'before')"
        ));
    }
    place
}

/// The log behind an id: id, key, version, whether there is content, the number of its unit in the order of their coming.
pub(crate) fn log(place: &Place<'_>, after: i64) -> Vec<String> {
    let columns = ["id", "meta_key", "meta_mvcc", "meta_content", "unit_id", "operator", "instance"];
    let content = "CASE WHEN meta_content IS NULL THEN 'none' ELSE 'some' END";
    let columns = columns.map(|column| if column == "meta_content" { content } else { column });
    let mut units: Vec<String> = Vec::new();
    let rows = place.rows(&format!("k_audit_log WHERE id > {after}"), &columns, "id");
    rows.iter()
        .map(|row| {
            let cells: Vec<_> = row.split('|').collect();
            let unit = units.iter().position(|unit| unit == cells[4]).unwrap_or_else(|| {
                assert_eq!(cells[4].len(), 36, "{row}");
                units.push(cells[4].to_owned());
                units.len() - 1
            });
            assert_eq!(cells[5..], ["NULL", "10.0.0.1:0000"], "{row}");
            format!("{} {} {} {} unit {unit}", cells[0], cells[1], cells[2], cells[3])
        })
        .collect()
}

/// How many rows the log has.
pub(crate) fn logged(place: &Place<'_>) -> usize {
    place.rows("k_audit_log", &["id"], "id").len()
}

#[test]
fn the_run_that_was_seen_of_kylin_comes_out_row_for_row() {
    for server in Server::both() {
        let place = store(&server, "golden");
        let mut node = Node::boot(&place);
        let report = restored(&place, &backup(), false);
        assert_eq!((report.inserted, report.replaced, report.deleted, report.kept), (1, 5, 0, 4), "{}", server.name());
        let versions = [
            "/UUID|0",
            "/_global/acl/1111|1",
            "/_global/project/p1.json|8",
            "/_global/project/p2.json|1",
            "/_global/project/p3.json|5",
            "/_global/trash_record|3",
            "/_global/user/ADMIN|1",
            "/p1/table/DEFAULT.T1.json|0",
            "/p2/table/DEFAULT.T2.json|1",
            "/p2/table/DEFAULT.T9.json|0",
            "/p3/table/X.json|2",
        ];
        assert_eq!(place.versions(), versions, "{}", server.name());
        let first = [
            "8 /_global/acl/1111 1 some unit 0",
            "9 /_global/project/p1.json 8 some unit 0",
            "10 /_global/project/p2.json 1 some unit 0",
            "11 /_global/user/ADMIN 1 some unit 0",
            "12 /p1/table/DEFAULT.T1.json 0 some unit 1",
            "13 /p2/table/DEFAULT.T2.json 1 some unit 2",
        ];
        assert_eq!(log(&place, 7), first, "{}", server.name());
        node.catch_up(&place);
        restored(&place, &backup(), true);
        let versions = [
            "/UUID|0",
            "/_global/acl/1111|2",
            "/_global/project/p1.json|9",
            "/_global/project/p2.json|2",
            "/_global/user/ADMIN|2",
            "/p1/table/DEFAULT.T1.json|1",
            "/p2/table/DEFAULT.T2.json|2",
        ];
        assert_eq!(place.versions(), versions, "{}", server.name());
        let second = [
            "14 /_global/acl/1111 2 some unit 0",
            "15 /_global/project/p1.json 9 some unit 0",
            "16 /_global/project/p2.json 2 some unit 0",
            "17 /_global/user/ADMIN 2 some unit 0",
            "18 /_global/project/p3.json NULL none unit 0",
            "19 /_global/trash_record NULL none unit 0",
            "20 /p1/table/DEFAULT.T1.json 1 some unit 1",
            "21 /p2/table/DEFAULT.T2.json 2 some unit 2",
            "22 /p2/table/DEFAULT.T9.json NULL none unit 2",
            "23 /p3/table/X.json NULL none unit 3",
        ];
        assert_eq!(log(&place, 13), second, "{}", server.name());
        node.catch_up(&place);
        // Another writer's number is the next one.
        place.run("INSERT INTO k_audit_log (meta_key) VALUES ('/p1/next')");
        assert_eq!(place.run("SELECT max(id) FROM k_audit_log").trim(), "24", "{}", server.name());
    }
}

#[test]
fn rows_say_when_they_were_restored_and_the_log_has_their_content() {
    for server in Server::both() {
        let place = store(&server, "stamps");
        let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        restored(&place, &backup(), true);
        let times = place.rows("k WHERE META_TABLE_KEY <> '/UUID'", &["META_TABLE_TS"], "1");
        let logged = place.rows("k_audit_log WHERE id > 7", &["meta_ts"], "1");
        let all: std::collections::BTreeSet<_> =
            times.iter().chain(&logged).map(|time| time.parse::<u128>().unwrap()).collect();
        assert!(all.len() == 1 && *all.first().unwrap() >= before, "one time of the restore: {all:?}");
        let [ours, theirs] = [place.hex("k.META_TABLE_CONTENT"), place.hex("l.meta_content")];
        let differ = format!(
            "SELECT count(*) FROM k JOIN k_audit_log l ON l.meta_key = k.META_TABLE_KEY WHERE l.id > 7 AND {ours} <> {theirs}"
        );
        assert_eq!(place.run(&differ).trim(), "0");
        assert_eq!(place.run("SELECT META_TABLE_TS FROM k WHERE META_TABLE_KEY = '/UUID'").trim(), "1700000000000");
        let stored =
            place.rows("k WHERE META_TABLE_KEY = '/_global/user/ADMIN'", &[&place.hex("META_TABLE_CONTENT")], "1");
        assert!(stored[0].starts_with("475a49507801"), "{stored:?}");
        let plain = Restoring { compress: false, ..restoring() };
        restore(&place, &backup(), plain, &options(false, false)).unwrap();
        let stored =
            place.rows("k WHERE META_TABLE_KEY = '/_global/user/ADMIN'", &[&place.hex("META_TABLE_CONTENT")], "1");
        assert!(stored[0].starts_with("7b22"), "{stored:?}");
    }
}

#[test]
fn a_project_is_restored_and_nothing_else() {
    for server in Server::both() {
        let place = store(&server, "project");
        let mut node = Node::boot(&place);
        let of = |name: &str| Restoring { project: Some(name.as_bytes().to_vec()), ..restoring() };
        let mut wanted = backup();
        wanted.0.retain(|key, _| key.starts_with(b"/p2/") || key == b"/_global/project/p2.json" || key == b"/UUID");
        let report = restore(&place, &wanted, of("p2"), &options(true, false)).unwrap();
        assert_eq!((report.inserted, report.replaced, report.deleted, report.conflicts.len()), (0, 2, 1, 0));
        let logged = [
            "8 /_global/project/p2.json 1 some unit 0",
            "9 /p2/table/DEFAULT.T2.json 1 some unit 1",
            "10 /p2/table/DEFAULT.T9.json NULL none unit 1",
        ];
        assert_eq!(log(&place, 7), logged, "{}", server.name());
        node.catch_up(&place);
        // A project that was not there; its unit comes after the global one, whatever it is called.
        let new = Wanted::of(&[("/_global/project/A.json", "{}"), ("/A/execute/x", "{}"), ("/A-/y", "{}")]);
        let told = refused(&place, &new, of("A"), "/A-/y: the restore does not reach it");
        assert_eq!(told.kind(), ErrorKind::Refused);
        let new = Wanted::of(&[("/_global/project/A.json", "{}"), ("/A/execute/x", "{}")]);
        restore(&place, &new, of("A"), &options(true, false)).unwrap();
        assert_eq!(log(&place, 10), ["11 /_global/project/A.json 0 some unit 0", "12 /A/execute/x 0 some unit 1"]);
        node.catch_up(&place);
    }
}

#[test]
fn equal_resources_can_be_left_alone() {
    for server in Server::both() {
        let place = store(&server, "equal");
        let mut node = Node::boot(&place);
        let report = restore(&place, &backup(), restoring(), &options(true, true)).unwrap();
        assert_eq!((report.inserted, report.replaced, report.deleted, report.equal), (1, 1, 4, 4), "{}", server.name());
        assert_eq!(log(&place, 7).len(), 6);
        node.catch_up(&place);
        let again = restore(&place, &backup(), restoring(), &options(true, true)).unwrap();
        assert_eq!((again.equal, log(&place, 13)), (6, Vec::new()), "{}", server.name());
        assert_eq!(place.run("SELECT max(id) FROM k_audit_log").trim(), "13");
    }
}

#[test]
fn without_a_log_nothing_is_logged() {
    for server in Server::both() {
        let place = store(&server, "silent");
        restore(&place, &backup(), Restoring { log: false, ..restoring() }, &options(false, false)).unwrap();
        assert_eq!(log(&place, 7), Vec::<String>::new());
        place.run("DROP TABLE k_audit_log");
        restored(&place, &backup(), false);
        assert!(place.versions().contains(&"/_global/project/p1.json|9".to_owned()));
    }
}

#[test]
fn what_cannot_be_restored_is_refused_before_anything_is_written() {
    for server in Server::both() {
        let place = store(&server, "refused");
        place.seed(&[("/x/table/A.json", "{}", 4), ("/x/table/B.json", "{}", 0)]);
        let mut wanted = backup();
        wanted.0.extend(Wanted::of(&[("/_global/project/x.json", "{}"), ("/x/table/A.json", "{}")]).0);
        let error = refused(
            &place,
            &wanted,
            restoring(),
            "1 resources of projects that are not there stand in the way: /x/table/A.json",
        );
        assert_eq!(error.kind(), ErrorKind::Refused);
        let homeless = Wanted::of(&[("/y/table/A.json", "{}")]);
        assert_eq!(refused(&place, &homeless, restoring(), "would not be: y").kind(), ErrorKind::Refused);
        let long = format!("/p1/{}", "ü".repeat(252));
        refused(&place, &Wanted::of(&[(&long, "{}")]), restoring(), "256 characters");
        let mut bytes = Wanted::default();
        bytes.0.insert(b"/p1/\xff".to_vec(), b"{}".to_vec());
        refused(&place, &bytes, restoring(), "what is no UTF-8");
        let wide = Wanted::of(&[("/p1/😀'", "{}")]);
        match server {
            Server::Postgres(_) => drop(restored(&place, &wide, false)),
            Server::MariaDb(_) => drop(refused(&place, &wide, restoring(), "three bytes")),
        }
        restored(&place, &Wanted::of(&[("/p1/it's \\ \"ü\".json", "")]), false);
        assert!(place.versions().contains(&"/p1/it's \\ \"ü\".json|0".to_owned()), "{:?}", place.versions());
    }
}

#[test]
fn a_row_larger_than_the_servers_packets_is_refused_with_what_to_raise() {
    let server = Server::MariaDb(crate::kit::mariadb::MariaDb::with(&["--max-allowed-packet=1M"]));
    let place = store(&server, "packet");
    let noise: Vec<u8> = (0..1_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut wanted = backup();
    wanted.0.insert(b"/p1/table_exd/large".to_vec(), [&noise[..], &noise[..9]].concat());
    wanted.0.insert(b"/p1/table_exd/other".to_vec(), noise);
    let plain = Restoring { compress: false, ..restoring() };
    let error = refused(
        &place,
        &wanted,
        plain,
        "2 resources are larger than its max_allowed_packet of 1048576 bytes; /p1/table_exd/large",
    );
    assert!(error.what_to_do().unwrap().contains("2M"), "{error:?}");
}

#[test]
fn without_files_from_clients_values_do() {
    let server = Server::MariaDb(crate::kit::mariadb::MariaDb::with(&["--local-infile=0"]));
    let place = store(&server, "by_values");
    let mut node = Node::boot(&place);
    let mut wanted = backup();
    for number in 0..5000 {
        wanted.0.insert(format!("/p1/execute/{number}").into_bytes(), vec![b'x'; number % 900]);
    }
    restored(&place, &wanted, true);
    node.catch_up(&place);
}
