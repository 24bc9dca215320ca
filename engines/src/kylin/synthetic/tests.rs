//! A made-up metastore has the size and the order that it says, and is the same each time.

use metaferry_codecs::kylin::key;

use super::*;

#[derive(Default)]
struct All(Vec<Resource>);

impl Emit<Kylin> for All {
    fn emit(&mut self, batch: Batch) -> Result<()> {
        if let Batch::Resource(rows) = batch {
            self.0.extend(rows);
        }
        Ok(())
    }
    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        Err(Error::from(why).at(place))
    }
    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}

fn all(address: &str) -> Vec<Resource> {
    let source = Box::new(SyntheticMetastore::parse(address).unwrap());
    let snapshot = source.snapshot(1, &Stop::new()).unwrap();
    let mut all = All::default();
    for partition in snapshot.plan(&Scope::default()).unwrap() {
        snapshot.scan(&partition, &mut all).unwrap();
    }
    all.0
}

#[test]
fn it_has_the_size_that_is_asked_for_and_ascends() {
    for layout in ["flat", "typed"] {
        let rows = all(&format!("synthetic-kylin://?resources=9000&bytes=2000&layout={layout}"));
        assert_eq!(rows.len(), 9000);
        assert!(rows.is_sorted_by(|one, other| one.key < other.key), "{layout}");
        let bytes: usize = rows.iter().map(|row| row.content.len()).sum();
        assert!((14_000_000..22_000_000).contains(&bytes), "{bytes}");
        for row in &rows {
            assert_eq!(key::check(Layout::named(layout.as_bytes()).unwrap(), &row.key), Ok(()));
            let is_json = serde_json::from_slice::<serde_json::Value>(&row.content).is_ok();
            assert!(is_json || row.key == b"/UUID", "{}", String::from_utf8_lossy(&row.key));
            assert_ne!(key::owner(&row.key, &row.content), key::Owner::Unknown);
        }
    }
}

#[test]
fn it_is_the_same_each_time_and_another_for_another_seed() {
    let [one, again, other] =
        ["seed=1", "seed=1", "seed=2"].map(|seed| all(&format!("synthetic-kylin://?resources=300&{seed}")));
    assert!(one == again && one != other);
    for wrong in
        ["synthetic://", "synthetic-kylin://?files=1", "synthetic-kylin://?resources=1", "synthetic-kylin://?layout=x"]
    {
        assert!(SyntheticMetastore::parse(wrong).is_err(), "{wrong}");
    }
}
