//! Metastores in both databases, in both layouts: the statements by hand, and rows of every sort.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use metaferry_codecs::kylin::{Audit, Batch, Kylin, Resource, Setting, content};
use metaferry_codecs::system::Finding;
use metaferry_engines::kylin::store::{KylinSource, Reading, StoreAddress};
use metaferry_pipeline::{About, Emit, Error, Partition, Result, Scope, Source, Stop};

use super::schema;
use crate::kit::sql::{Sql, both};

/// When everything was written that is not recent, in milliseconds since 1970.
pub(crate) const LONG_AGO: i64 = 1_700_000_000_000;

/// A database for metastores, as long as its server is there.
pub(crate) struct Store {
    pub(crate) server: Arc<dyn Sql>,
    pub(crate) database: String,
    pub(crate) is_postgres: bool,
}

/// Does something with a new database of each server, at once.
pub(crate) fn in_both(check: impl Fn(&Store) + Sync) {
    let check = &check;
    std::thread::scope(|scope| {
        both().into_iter().for_each(|server| drop(scope.spawn(move || check(&Store::on(&server)))));
    });
}

impl Store {
    /// A new database on a server.
    pub(crate) fn on(server: &Arc<dyn Sql>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let database = format!("kylin{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let is_postgres = server.create(&database).starts_with("postgres");
        Self { server: Arc::clone(server), database, is_postgres }
    }

    /// Another new database on the same server.
    pub(crate) fn beside(&self) -> Self {
        Self::on(&self.server)
    }

    /// The metadata URL of a store in it.
    pub(crate) fn url_of(&self, identifier: &str) -> String {
        let (driver, user) = if self.is_postgres { ("postgresql", "postgres") } else { ("mysql", "root") };
        let place = format!("jdbc:{driver}://127.0.0.1:{}/{}", self.server.port(), self.database);
        format!("{identifier}@jdbc,url={place},username={user}")
    }

    pub(crate) fn url(&self) -> String {
        self.url_of("kylin_metadata")
    }

    pub(crate) fn run(&self, sql: &str) -> String {
        self.server.run(&self.database, sql)
    }

    /// Bytes as a statement has them.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.is_postgres { format!("'\\x{hex}'::bytea") } else { format!("X'{hex}'") }
    }

    /// Text as a statement has it.
    pub(crate) fn text(&self, text: &str) -> String {
        let text = text.replace('\'', "''");
        if self.is_postgres { format!("'{text}'") } else { format!("'{}'", text.replace('\\', "\\\\")) }
    }

    /// The tables of the flat layout, as Kylin 5.0.0-beta makes them.
    pub(crate) fn make_flat(&self, id: &str) {
        self.run(&schema::flat(id, self.is_postgres));
    }

    /// Those tables of the typed layout that are needed, as Kylin 5.0.0 makes them.
    pub(crate) fn make_typed(&self, id: &str) {
        self.run(&schema::typed(id, self.is_postgres));
    }

    /// Puts resources into the flat layout, whose content is as it is to be stored.
    pub(crate) fn put(&self, id: &str, rows: &[(&str, &[u8], i64, i64)]) {
        let row = |(key, stored, ts, mvcc): &(&str, &[u8], i64, i64)| {
            format!("({}, {}, {ts}, {mvcc})", self.text(key), self.bytes(stored))
        };
        // A statement is an argument of a program, which may not be long.
        for rows in rows.chunks(500) {
            let rows: Vec<_> = rows.iter().map(row).collect();
            self.run(&format!("INSERT INTO {id} VALUES {}", rows.join(", ")));
        }
    }

    /// Puts an entry into the flat layout's change log.
    pub(crate) fn log(&self, id: &str, number: u64, ts: i64, change: Option<(&str, i64)>) {
        let (stored, mvcc) = match change {
            Some((plain, mvcc)) => (self.bytes(&content::store(plain.as_bytes(), true)), mvcc.to_string()),
            None => ("NULL".to_owned(), "NULL".to_owned()),
        };
        self.run(&format!(
            "INSERT INTO {id}_audit_log (id, meta_key, meta_content, meta_ts, meta_mvcc, unit_id, operator, instance) \
             VALUES ({number}, '/demo/x.json', {stored}, {ts}, {mvcc}, 'unit-{number}', NULL, '10.0.0.1:0000')"
        ));
    }

    /// A flat metastore with every sort of resource in it.
    pub(crate) fn seed_flat(&self, id: &str) {
        self.make_flat(id);
        let packed = |text: &str| content::store(text.as_bytes(), true).into_owned();
        let large = content::store(&large(), true).into_owned();
        let rows: Vec<(&str, Vec<u8>, i64, i64)> = vec![
            ("/UUID", hex(UUID_STORED), LONG_AGO, 0),
            ("/_global/acl/1111", packed("{\"entries\":[]}"), LONG_AGO, 1),
            ("/_global/project/demo.json", packed("{\"name\":\"demo\"}"), LONG_AGO + 7, 7),
            ("/_global/project/Zürich.json", b"{\"name\" : \"Z\xc3\xbcrich\"}".to_vec(), LONG_AGO, 0),
            ("/_global/trash_record", packed("{\"trash_record\":[]}"), LONG_AGO, 3),
            ("/_global/user/ADMIN", packed("{\"username\":\"ADMIN\"}"), LONG_AGO, 0),
            ("/_global/user/O'Hara", packed("{}"), LONG_AGO, 0),
            ("/Zürich/table/DB.STRAßE.json", packed("{\"name\":\"T\"}"), LONG_AGO, 0),
            ("/demo/table/DEFAULT.T1.json", packed("{\"name\":\"T1\"}"), LONG_AGO + 1, 2),
            ("/demo/table_exd/DEFAULT.T1.json", packed("{\"rows\":1}"), LONG_AGO, 0),
            ("/demo/table_exd_not/x", packed("1"), LONG_AGO, 0),
            ("/demo/dataflow_details/a/b.json", large, LONG_AGO, 4),
            ("/demo/execute/job-1", Vec::new(), LONG_AGO, 0),
            ("/demo/jar/x", vec![0, 0xff, b'G'], LONG_AGO, 0),
            ("/demo/rule/back\\slash", b"GZIP".to_vec(), LONG_AGO, 0),
            // Of no project that is there.
            ("/demo2/table/DEFAULT.T1.json", packed("{}"), LONG_AGO, 0),
            ("/VERSION", b"5".to_vec(), LONG_AGO, 0),
        ];
        let rows: Vec<_> = rows.iter().map(|(key, stored, ts, mvcc)| (*key, stored.as_slice(), *ts, *mvcc)).collect();
        self.put(id, &rows);
        // A transaction that was rolled back long ago had the number 3.
        for (number, change) in [(1, Some(("{}", 0))), (2, None), (4, Some(("{\"a\":1}", 1))), (5, None)] {
            self.log(id, number, LONG_AGO + 3_600_000 * number.cast_signed(), change);
        }
    }

    /// Puts a resource into the typed layout.
    fn put_typed(&self, id: &str, (kind, key, plain, columns): &TypedRow) {
        let names: String = columns.iter().map(|(name, _)| format!(", {name}")).collect();
        let values: String = columns.iter().map(|(_, value)| format!(", {}", self.text(value))).collect();
        self.run(&format!(
            "INSERT INTO {id}_{kind} (meta_key, mvcc, ts, content{names}) VALUES ({}, 2, {LONG_AGO}, {}{values})",
            self.text(key),
            self.bytes(&content::store(plain.as_bytes(), true)),
        ));
    }

    /// A typed metastore of two projects, one of which is spelled in two ways.
    pub(crate) fn seed_typed(&self, id: &str) {
        self.make_typed(id);
        TYPED_ROWS.iter().for_each(|row| self.put_typed(id, row));
        let (patch, no) = if self.is_postgres { ("true", "false") } else { ("1", "0") };
        let [whole, change] =
            ["{\"a\":1}", "[{\"op\":\"remove\"}]"].map(|text| self.bytes(&content::store(text.as_bytes(), true)));
        self.run(&format!(
            "INSERT INTO {id}_audit_log_v2 (id, meta_key, meta_content, meta_ts, meta_mvcc, unit_id, model_uuid, \
             operator, instance, project, diff_flag) VALUES \
             (1, 'MODEL/m1', {whole}, {LONG_AGO}, 0, 'u1', 'm1', 'ADMIN', '10.0.0.1:7070', 'Demo', {no}), \
             (2, 'MODEL/m1', {change}, {LONG_AGO}, 1, 'u2', 'm1', NULL, '10.0.0.1:7070', 'Demo', {patch}), \
             (3, 'USER_INFO/x', NULL, {LONG_AGO}, NULL, 'u3', NULL, NULL, '10.0.0.1:0000', '_global', {no})"
        ));
    }
}

/// A row of the typed layout: type, key, content, and the columns that the content fills, with their values.
type TypedRow = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The rows of the typed metastore.
const TYPED_ROWS: [TypedRow; 10] = [
    ("system", "UUID", r#"{"uuid":"s1","name":"UUID","str":"x"}"#, &[("uuid", "s1"), ("name", "UUID")]),
    ("project", "Demo", r#"{"uuid":"p1","name":"Demo"}"#, &[("uuid", "p1"), ("name", "Demo")]),
    ("project", "other", r#"{"uuid":"p2","name":"other"}"#, &[("uuid", "p2"), ("name", "other")]),
    (
        "model",
        "m1",
        r#"{"uuid":"m1","alias":"one","project":"Demo"}"#,
        &[("uuid", "m1"), ("alias", "one"), ("project", "Demo")],
    ),
    (
        "model",
        "m2",
        r#"{"uuid":"m2","alias":"two","project":"demo"}"#,
        &[("uuid", "m2"), ("alias", "two"), ("project", "demo")],
    ),
    (
        "model",
        "m3",
        r#"{"uuid":"m3","alias":"two","project":"other"}"#,
        &[("uuid", "m3"), ("alias", "two"), ("project", "other")],
    ),
    (
        "table_exd",
        "Demo.DB.T",
        r#"{"uuid":"t1","project":"Demo","table_name":"DB.T"}"#,
        &[("uuid", "t1"), ("project", "Demo"), ("table_name", "DB.T")],
    ),
    (
        "compute_column",
        "c1",
        r#"{"uuid":"c1","project":"Demo","columnName":"C","referenceCount":2,"expression":"1 + \"x\""}"#,
        &[
            ("uuid", "c1"),
            ("project", "Demo"),
            ("column_name", "C"),
            ("reference_count", "2"),
            ("expression", "1 + \"x\""),
        ],
    ),
    (
        "job_stats",
        "j1",
        r#"{"uuid":"j1","project":"Demo","date":1700000000000}"#,
        &[("uuid", "j1"), ("project", "Demo"), ("time_of_day", "1700000000000")],
    ),
    ("user_info", "ADMIN", r#"{"uuid":"a1","username":"ADMIN"}"#, &[("uuid", "a1"), ("username", "ADMIN")]),
];

/// `UUID` as Kylin stored it.
const UUID_STORED: &str =
    "475a495078016350493632343230b24cd63531b44cd53549b434d34d4a4c49d235304c4ab44cb34c494b4b490600b1020a52";
/// What that is.
pub(crate) const UUID: &[u8] = b"\x00\x24c212029c-419e-4a96-badb-01ba9f9dffdc";

fn hex(text: &str) -> Vec<u8> {
    metaferry_codecs::json::read_hex(text.as_bytes()).unwrap()
}

/// Content that fills more than one batch.
pub(crate) fn large() -> Vec<u8> {
    b"0123456789".repeat(200_000)
}

/// What a store yielded.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) setting: Option<Setting>,
    pub(crate) resources: BTreeMap<String, Resource>,
    /// Their keys as they came.
    pub(crate) order: Vec<String>,
    pub(crate) log: Vec<Audit>,
    pub(crate) left_behind: BTreeMap<&'static str, u64>,
    pub(crate) damaged: Vec<String>,
}

impl Read {
    /// The keys of the resources, ascending.
    pub(crate) fn keys(&self) -> Vec<&str> {
        self.resources.keys().map(String::as_str).collect()
    }

    pub(crate) fn content(&self, key: &str) -> &[u8] {
        &self.resources[key].content
    }
}

impl Emit<Kylin> for Read {
    fn emit(&mut self, batch: Batch) -> Result<()> {
        match batch {
            Batch::Setting(rows) => {
                assert!(self.setting.is_none() && rows.len() == 1);
                self.setting = rows.into_iter().next();
            }
            Batch::Resource(rows) => {
                let bytes: usize = rows.iter().map(|row| row.content.len()).sum();
                assert!(bytes <= 1 << 20 || rows.len() == 1, "{bytes} bytes in {} rows", rows.len());
                for row in rows {
                    let key = String::from_utf8(row.key.clone()).unwrap();
                    self.order.push(key.clone());
                    assert!(self.resources.insert(key, row).is_none(), "a resource came twice");
                }
            }
            Batch::Audit(rows) => self.log.extend(rows),
        }
        Ok(())
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        self.damaged.push(format!("{place}: {why}"));
        Ok(())
    }

    fn left_behind(&mut self, what: &'static str, count: u64) {
        if count > 0 {
            *self.left_behind.entry(what).or_default() += count;
        }
    }

    fn found(&mut self, finding: Finding) {
        unreachable!("{finding:?}");
    }
}

pub(crate) fn source(url: &str, reading: Reading) -> Box<dyn Source<Kylin>> {
    Box::new(KylinSource::new(StoreAddress::parse(url).unwrap(), reading))
}

/// Reads a store with so many readers, one partition after the other.
pub(crate) fn read(url: &str, reading: Reading, readers: usize) -> Result<(Read, About)> {
    let snapshot = source(url, reading).snapshot(readers, &Stop::new())?;
    let mut read = Read::default();
    let partitions: Vec<Partition<Kylin>> = snapshot.plan(&Scope::default())?;
    partitions.iter().try_for_each(|partition| snapshot.scan(partition, &mut read))?;
    let about = snapshot.about();
    snapshot.finish()?;
    Ok((read, about))
}

/// The error of whoever cannot read a store.
pub(crate) fn refused(url: &str) -> Error {
    read(url, Reading::default(), 2).map(|(read, _)| read.keys().join(" ")).unwrap_err()
}
