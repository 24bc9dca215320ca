//! Restores of a metastore that somebody else writes to meanwhile: what was seen has to be so still, or nothing is changed.

use std::collections::BTreeMap;

use metaferry_codecs::kylin::{Batch, Kylin, Layout, Resource};
use metaferry_engines::kylin::store::maintenance::{Maintenance, Off};
use metaferry_engines::kylin::store::patch::{KylinPatch, Restoring};
use metaferry_pipeline::patch::{Changes, Patch};
use metaferry_pipeline::{Emit, ErrorKind, Result, Scope, Stop};

use super::place::{Place, Server};
use super::restore::{Wanted, backup, log, logged, options, refused, restore, restoring, store};
use super::typed;

/// Takes the rows of a scan.
struct Seen(BTreeMap<Vec<u8>, Resource>);

impl Emit<Kylin> for Seen {
    fn emit(&mut self, batch: Batch) -> Result<()> {
        let Batch::Resource(rows) = batch else { unreachable!("{batch:?}") };
        for row in rows {
            assert!(self.0.last_key_value().is_none_or(|(last, _)| *last < row.key), "keys ascend");
            self.0.insert(row.key.clone(), row);
        }
        Ok(())
    }

    fn damaged(&mut self, place: String, _why: metaferry_codecs::Error) -> Result<()> {
        unreachable!("{place}")
    }

    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}

fn seen(target: &mut KylinPatch, whole: bool) -> BTreeMap<Vec<u8>, Resource> {
    let current = target.current(whole, &Stop::new()).unwrap();
    let mut seen = Seen(BTreeMap::new());
    for partition in current.plan(&Scope::default()).unwrap() {
        current.scan(&partition, &mut seen).unwrap();
    }
    seen.0
}

/// A restore that wants to be applied: with what is equal left alone where `whole`.
fn staged(place: &Place<'_>, wanted: &Wanted, restoring: Restoring, whole: bool) -> Box<KylinPatch> {
    let (mut target, there) = merged(place, wanted, restoring, whole);
    target.take(Changes::Delete(Batch::Resource(there.into_values().collect()))).unwrap();
    target
}

/// The same without what is to be deleted, which comes along.
fn merged(
    place: &Place<'_>,
    wanted: &Wanted,
    restoring: Restoring,
    whole: bool,
) -> (Box<KylinPatch>, BTreeMap<Vec<u8>, Resource>) {
    let mut target = KylinPatch::open(place.address(), restoring, &Stop::new()).unwrap();
    let mut there = seen(&mut target, whole);
    let mut rows: Vec<_> = wanted.0.iter().collect();
    rows.retain(|(key, _)| *key != b"/UUID");
    for (key, content) in rows {
        let after = Resource { key: key.clone(), content: content.clone(), ts: 0, mvcc: 0 };
        let changes = match there.remove(key) {
            Some(before) if whole && before.content == *content => Changes::Keep(Batch::Resource(vec![before])),
            Some(before) => {
                Changes::Replace { before: Batch::Resource(vec![before]), after: Batch::Resource(vec![after]) }
            }
            None => Changes::Insert(Batch::Resource(vec![after])),
        };
        target.take(changes).unwrap();
    }
    (Box::new(target), there)
}

#[test]
fn what_somebody_else_wrote_meanwhile_is_a_conflict() {
    for server in Server::both() {
        for (number, (sql, whole, told)) in [
            (
                "UPDATE k SET META_TABLE_MVCC = 9 WHERE META_TABLE_KEY = '/_global/user/ADMIN'",
                false,
                "/_global/user/ADMIN: it was changed, from version 0 to 9",
            ),
            ("UPDATE k SET META_TABLE_MVCC = 9 WHERE META_TABLE_KEY = '/_global/user/ADMIN'", true, "to 9"),
            ("DELETE FROM k WHERE META_TABLE_KEY = '/p2/table/DEFAULT.T9.json'", false, "DEFAULT.T9.json: it is gone"),
            (
                "INSERT INTO k VALUES ('/p1/table/DEFAULT.T1.json', NULL, 0, 0)",
                false,
                "DEFAULT.T1.json: it has appeared",
            ),
            ("INSERT INTO k VALUES ('/p3/new', NULL, 0, 0)", false, "/p3/new: it has appeared"),
            (
                "INSERT INTO k VALUES ('/_global/project/n.json', NULL, 0, 0)",
                true,
                "/_global/project/n.json: it has appeared",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let place = store(&server, &format!("conflict{number}"));
            let target = staged(&place, &backup(), restoring(), whole);
            place.run(sql);
            let before = (place.versions(), logged(&place));
            let conflicts = target.apply().unwrap();
            assert_eq!(conflicts.len(), 1, "{sql}: {conflicts:?}");
            assert!(conflicts[0].text.contains(told), "{sql}: {conflicts:?}");
            assert_eq!((place.versions(), logged(&place)), before, "{sql}");
        }
        let place = store(&server, "others");
        let target = staged(&place, &backup(), restoring(), false);
        place.run("INSERT INTO k VALUES ('/orphan/x', NULL, 0, 0)");
        assert_eq!(target.apply().unwrap(), [], "what Kylin does not see is no conflict");
        let place = store(&server, "many");
        let target = staged(&place, &backup(), restoring(), false);
        for number in 0..25 {
            place.run(&format!("INSERT INTO k VALUES ('/p1/x{number:02}', NULL, 0, 0)"));
        }
        let conflicts = target.apply().unwrap();
        assert_eq!((conflicts.len(), conflicts[20].text.as_str()), (21, "and 5 more"));
    }
}

#[test]
fn rows_that_are_only_replaced_are_seen_as_they_are_changed() {
    let flat = [
        ("UPDATE k SET META_TABLE_MVCC = 9 WHERE META_TABLE_KEY = '/p2/table/DEFAULT.T2.json'", "version 0 to 9"),
        ("DELETE FROM k WHERE META_TABLE_KEY = '/p2/table/DEFAULT.T2.json'", "DEFAULT.T2.json: it is gone"),
        ("INSERT INTO k VALUES ('/p1/table/DEFAULT.T1.json', NULL, 0, 0)", "DEFAULT.T1.json: it has appeared"),
    ];
    // The last of its tables: rows of others were changed by then.
    let typed = [
        ("UPDATE k_user_info SET mvcc = 9", "USER_INFO/ADMIN: it was changed, from version 0 to 9"),
        ("DELETE FROM k_user_info", "USER_INFO/ADMIN: it is gone"),
        (
            "INSERT INTO k_user_info (meta_key, uuid, username, mvcc, ts, content) VALUES ('new', 'n', 'new', 0, 0, '')",
            "USER_INFO/new: it has appeared",
        ),
    ];
    let of_types = || {
        let rows = typed::others().into_iter().filter(|(key, _)| key != "SYSTEM/trash_record");
        let new = ("USER_INFO/new".to_owned(), r#"{"uuid":"n","username":"new"}"#.to_owned());
        typed::wanted(&rows.chain([new]).collect::<Vec<_>>())
    };
    for server in Server::both() {
        let shown = |place: &Place<'_>, layout| match layout {
            Layout::Flat => (place.versions(), logged(place)),
            Layout::Typed => (typed::versions(place), typed::log(place, 0).len()),
        };
        let check = |layout, place: Place<'_>, wanted: &Wanted, (sql, told): (&str, &str)| {
            let (target, _) = merged(&place, wanted, restoring(), false);
            place.run(sql);
            let before = shown(&place, layout);
            let conflicts = target.apply().unwrap();
            assert_eq!(conflicts.len(), 1, "{}, {sql}: {conflicts:?}", server.name());
            assert!(conflicts[0].text.contains(told), "{}, {sql}: {conflicts:?}", server.name());
            assert_eq!(shown(&place, layout), before, "{}, {sql}", server.name());
        };
        for (case, number) in flat.into_iter().zip(0..) {
            check(Layout::Flat, store(&server, &format!("replaced{number}")), &backup(), case);
        }
        for (case, number) in typed.into_iter().zip(0..) {
            check(Layout::Typed, typed::store(&server, &format!("typed{number}")), &of_types(), case);
        }
    }
}

#[test]
fn of_two_restores_at_once_one_wins() {
    for server in Server::both() {
        let place = store(&server, "two");
        let [one, other] = [(); 2].map(|()| staged(&place, &backup(), restoring(), false));
        let outcomes = std::thread::scope(|scope| {
            [one, other].map(|target| scope.spawn(move || target.apply())).map(|thread| thread.join().unwrap())
        });
        let made = |outcome: &Result<Vec<_>>| matches!(outcome, Ok(conflicts) if conflicts.is_empty());
        assert_eq!(outcomes.iter().filter(|outcome| made(outcome)).count(), 1, "{outcomes:?}");
        assert!(place.versions().contains(&"/_global/project/p1.json|8".to_owned()), "{:?}", place.versions());
        assert_eq!(log(&place, 7).len(), 10, "{}", server.name());
    }
}

#[test]
fn the_maintenance_mode_has_to_be_the_one_that_was_turned_on() {
    for server in Server::both() {
        let place = store(&server, "guarded");
        let (stop, maintenance) = (Stop::new(), Maintenance::new(place.address()).with_ip(Some("10.0.0.1")));
        let held = maintenance.on("a test", "all", &stop).unwrap();
        let guarded = Restoring { guard: Some(held.guard()), ..restoring() };
        let report = restore(&place, &backup(), guarded.clone(), &options(false, false)).unwrap();
        assert_eq!(report.replaced, 5);
        maintenance.off(Off::IfOn, &stop).unwrap();
        let other = maintenance.on("another one", "all", &stop).unwrap();
        let error = refused(&place, &backup(), guarded, "no longer the one");
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(!held.release().unwrap(), "it is another one's");
        assert!(maintenance.status(&stop).unwrap().is_on);
        assert!(other.release().unwrap());
        assert!(!maintenance.status(&stop).unwrap().is_on);
    }
}
