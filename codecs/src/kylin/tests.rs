use proptest::prelude::*;

use super::*;
use crate::Tally;
use crate::system::{Batch as _, Census as _, CensusOptions, Finding, Kind as _, Ledger, Outcome, Selection as _};

fn resource(key: &str, content: &str) -> Resource {
    Resource { key: key.into(), content: content.into(), ts: 1_700_000_000_000, mvcc: 3 }
}

fn lines(batch: &Batch) -> String {
    let mut text = Vec::new();
    batch.write_lines(&mut text);
    String::from_utf8(text).unwrap()
}

fn tally(batch: &Batch) -> Tally<Kind> {
    let mut tally = Tally::default();
    batch.tally_canonical(&mut tally);
    tally
}

/// The batch after JSON, and after the packed form.
fn there_and_back(batch: &Batch) -> [Batch; 2] {
    let mut copies = [Batch::empty(batch.kind()), Batch::empty(batch.kind())];
    for line in lines(batch).lines() {
        copies[0].read_line(line.as_bytes()).unwrap();
    }
    for index in 0..batch.len() {
        let (mut key, mut row) = (Vec::new(), Vec::new());
        batch.pack(index, &mut key, &mut row);
        copies[1].unpack(&row).unwrap();
    }
    copies
}

#[test]
fn rows_have_these_lines() {
    let setting = Setting { layout: Layout::Flat, offset: Some(0), project: Vec::new() };
    assert_eq!(lines(&vec![setting.clone()].into()), "{\"layout\":\"flat\",\"offset\":0}\n");
    let partial = Setting { layout: Layout::Typed, offset: None, project: b"demo".to_vec() };
    assert_eq!(lines(&vec![partial].into()), "{\"layout\":\"typed\",\"project\":\"demo\"}\n");
    let mut rows = vec![resource("/p/a.json", "{\"a\":1}"), resource("/UUID", "\0$c2")];
    rows[1].content[0] = 0xff;
    assert_eq!(
        lines(&rows.into()),
        "{\"key\":\"/p/a.json\",\"content\":\"{\\\"a\\\":1}\",\"ts\":1700000000000,\"mvcc\":3}\n\
         {\"key\":\"/UUID\",\"content\":{\"hex\":\"ff246332\"},\"ts\":1700000000000,\"mvcc\":3}\n"
    );
    let deletion = Audit { id: 9, key: b"/p/a.json".to_vec(), unit: b"u".to_vec(), ..Audit::default() };
    assert_eq!(lines(&vec![deletion.clone()].into()), "{\"id\":9,\"key\":\"/p/a.json\",\"unit\":\"u\"}\n");
    let creation = Audit { content: Some(Vec::new()), mvcc: Some(0), operator: Some(Vec::new()), ..deletion };
    assert!(lines(&vec![creation].into()).contains("\"content\":\"\",\"mvcc\":0,\"unit\":\"u\",\"operator\":\"\""));
    let mut wrong = Batch::empty(Kind::Setting);
    assert!(wrong.read_line(b"{\"layout\":\"square\"}").is_err());
    assert!(wrong.read_line(b"{\"offset\":1}").is_err());
    assert_eq!(Kind::named(b"resource"), Some(Kind::Resource));
    assert_eq!(Kylin::SEAL, Kind::Setting);
}

#[test]
fn what_a_restore_sets_anew_and_the_log_are_not_compared() {
    let before = resource("/p/a.json", "{}");
    let moved = Resource { ts: 5, mvcc: 0, ..before.clone() };
    let changed = Resource { content: b"{ }".to_vec(), ..before.clone() };
    let [before, moved, changed] = [before, moved, changed].map(|row| tally(&vec![row].into()));
    let classes = |other: &Tally<Kind>| before.differences(other).iter().map(|found| found.2).collect::<Vec<_>>();
    assert_eq!(classes(&moved), []);
    assert_eq!(classes(&changed), [crate::system::Class::Primary]);
    let log: Batch = vec![Audit { id: 1, ..Audit::default() }].into();
    assert_eq!(tally(&log), Tally::default());
    let trash: Batch = vec![resource("/_global/trash_record", "{}")].into();
    assert_eq!(tally(&trash), Tally::default());
}

#[test]
fn nothing_is_taken_out_as_a_secret() {
    let mut batch: Batch = vec![resource("/_global/user/ADMIN", "{\"password\":\"$2a$10$synthetic\"}")].into();
    let before = batch.clone();
    assert_eq!(Kylin::strip_secrets(&mut batch), Ok(0));
    assert_eq!(batch, before);
}

/// A ledger that nothing may be booked in.
struct Shut;

impl Ledger for Shut {
    type Error = &'static str;
    fn add(&mut self, _key: [u64; 2], _delta: [i64; 4]) -> Result<(), Self::Error> {
        Err("booked")
    }
    fn add_first(&mut self, _key: [u64; 2], _delta: [i64; 4]) -> Result<(), Self::Error> {
        Err("booked")
    }
}

fn findings(shares: &[&[(&str, &str)]]) -> Vec<Finding> {
    let mut census = Census::new(CensusOptions::default());
    for share in shares {
        let mut other = census.share();
        let rows: Vec<_> = share.iter().map(|(key, content)| resource(key, content)).collect();
        assert_eq!(other.observe(&rows.into(), &mut Shut), Ok(false));
        census.merge(other);
    }
    census.bridge(&mut || Ok(None), &mut Shut).unwrap();
    let mut found = Vec::new();
    let settled = census.settle::<()>(&mut || Ok(None), &mut |outcome| {
        match outcome {
            Outcome::Found(finding) => found.push(finding),
            other => panic!("{other:?}"),
        }
        Ok(())
    });
    assert_eq!(settled, Ok(()));
    found
}

#[test]
fn orphans_are_found_by_project_in_both_layouts() {
    let whole = [("/_global/project/p.json", "{}"), ("/UUID", ""), ("/_global/user/A", "{}"), ("/_image", "")];
    assert_eq!(findings(&[&whole, &[("/p/a.json", "{}")]]), []);
    let found =
        findings(&[&[("/p/b", ""), ("/q/c", "")], &[("/p/a", ""), ("/_global/project/q.json", ""), ("/x", "")]]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|finding| !finding.mendable));
    assert_eq!((found[0].sort, found[1].sort), ("orphan resource", "resource without a project"));
    assert!(found[0].text.starts_with("2 resources of the project \"p\", such as \"/p/a\""), "{}", found[0].text);
    assert!(found[1].text.starts_with("1 resource, such as \"/x\""), "{}", found[1].text);
    let typed = [
        ("PROJECT/Demo", "{}"),
        ("MODEL/1", "{\"project\":\"demo\"}"),
        ("MODEL/2", "{\"project\":\"gone\"}"),
        ("SYSTEM/UUID", "{}"),
        ("MODEL/3", "damaged"),
    ];
    let found = findings(&[&typed]);
    assert!(found[0].text.contains("\"gone\"") && found[1].text.contains("MODEL/3"), "{found:?}");
    assert_eq!(found.len(), 2);
}

#[test]
fn a_project_is_selected_with_what_belongs_to_it() {
    let mut selection = Selection::project(b"p");
    let rows: Vec<_> = [
        "/_global/project/p.json",
        "/_global/project/pp.json",
        "/_global/project/x/p.json",
        "/_global/user/p",
        "/_global/acl/p",
        "/p/table/A.json",
        "/pp/table/A.json",
        "/UUID",
    ]
    .iter()
    .map(|key| resource(key, "{}"))
    .collect();
    let told = selection.settle().unwrap_err().to_string();
    assert!(told.contains("no project \"p\""), "{told}");
    let mut batch = Batch::from(rows);
    selection.learn(&batch);
    assert_eq!(selection.settle(), Ok(false));
    assert_eq!(selection.keep(&mut batch), None);
    let Batch::Resource(rows) = batch else { panic!() };
    let keys: Vec<_> = rows.iter().map(|row| String::from_utf8_lossy(&row.key)).collect();
    assert_eq!(keys, ["/_global/project/p.json", "/p/table/A.json", "/UUID"]);
    let mut log: Batch = vec![Audit::default()].into();
    assert_eq!((selection.keep(&mut log), log.len()), (Some(("entries of the change log", 1)), 0));
    for (layout, offset) in [(Layout::Flat, None), (Layout::Typed, Some(7))] {
        let mut setting: Batch = vec![Setting { layout, offset: Some(7), project: Vec::new() }].into();
        selection.keep(&mut setting);
        assert_eq!(setting, vec![Setting { layout, offset, project: b"p".to_vec() }].into());
    }
}

#[test]
fn a_project_of_the_typed_layout_is_selected_by_content() {
    let selection = Selection::project(b"p");
    let rows = [
        ("PROJECT/p", "{}"),
        ("PROJECT/q", "{}"),
        ("MODEL/1", "{\"project\":\"p\"}"),
        ("MODEL/2", "{\"project\":\"q\"}"),
        ("USER_INFO/ADMIN", "{\"project\":\"p\"}"),
        ("SYSTEM/UUID", "{}"),
    ];
    let mut batch = Batch::from(rows.map(|(key, content)| resource(key, content)).to_vec());
    selection.keep(&mut batch);
    let Batch::Resource(rows) = batch else { panic!() };
    let keys: Vec<_> = rows.iter().map(|row| String::from_utf8_lossy(&row.key)).collect();
    assert_eq!(keys, ["PROJECT/p", "MODEL/1", "SYSTEM/UUID"]);
}

type Log = (u64, Option<Vec<u8>>, i64, Option<i64>, Option<Vec<u8>>);

proptest! {
    #[test]
    fn every_row_comes_back(key: Vec<u8>, content: Vec<u8>, ts: i64, mvcc: i64, log: Log, offset: Option<u64>) {
        let (id, changed, log_ts, log_mvcc, operator) = log;
        let entry = Audit {
            id,
            key: key.clone(),
            content: changed,
            ts: log_ts,
            mvcc: log_mvcc,
            unit: content.clone(),
            operator,
            instance: key.clone(),
            project: content.clone(),
            model: key.clone(),
            patch: u8::from(id % 3 == 0),
        };
        let layout = if id % 2 == 0 { Layout::Flat } else { Layout::Typed };
        let setting = Setting { layout, offset, project: key.clone() };
        let batches: [Batch; 3] =
            [vec![Resource { key, content, ts, mvcc }].into(), vec![entry].into(), vec![setting].into()];
        for batch in batches {
            for copy in there_and_back(&batch) {
                prop_assert_eq!(&copy, &batch);
                prop_assert_eq!(tally(&copy), tally(&batch));
            }
        }
    }

    #[test]
    fn keys_sort_as_the_store_sorts_them(mut keys in prop::collection::vec(any::<Vec<u8>>(), 2..6)) {
        let rows: Batch = keys.iter().map(|key| Resource { key: key.clone(), ..Resource::default() }).collect::<Vec<_>>().into();
        let put = |index| {
            let mut key = Vec::new();
            rows.put_key(index, &mut key);
            key
        };
        let mut sorted: Vec<_> = (0..keys.len()).map(put).collect();
        sorted.sort();
        keys.sort();
        prop_assert_eq!(sorted, keys);
    }
}
