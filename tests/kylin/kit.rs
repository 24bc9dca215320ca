//! Metastores in both databases, in both layouts: the statements by hand, and rows of every sort.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use metaferry_codecs::kylin::{Audit, Batch, Kylin, Resource, Setting, content};
use metaferry_codecs::system::Finding;
use metaferry_engines::kylin::store::{KylinSource, Reading, StoreAddress};
use metaferry_pipeline::{About, Emit, Error, Partition, Result, Scope, Source, Stop};

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
        let sql = if self.is_postgres { FLAT_POSTGRES } else { FLAT_MYSQL };
        self.run(&sql.replace("%", id));
    }

    /// Those tables of the typed layout that are needed, as Kylin 5.0.0 makes them.
    pub(crate) fn make_typed(&self, id: &str) {
        let sql = if self.is_postgres { TYPED_POSTGRES } else { TYPED_MYSQL };
        self.run(&sql.replace("%", id));
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

    /// Puts a resource into the typed layout; `columns` are those besides the common ones, with their values.
    pub(crate) fn put_typed(&self, id: &str, kind: &str, key: &str, plain: &str, columns: &[(&str, &str)]) {
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
        for (kind, key, content, columns) in typed_rows() {
            self.put_typed(id, kind, key, &content, &columns);
        }
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

type TypedRow = (&'static str, &'static str, String, Vec<(&'static str, &'static str)>);

/// The rows of the typed metastore: type, key, content, and the columns that the content fills.
pub(crate) fn typed_rows() -> Vec<TypedRow> {
    let uuid = |id: &str| format!("\"uuid\":\"{id}\"");
    vec![
        (
            "system",
            "UUID",
            format!("{{{},\"name\":\"UUID\",\"str\":\"x\"}}", uuid("s1")),
            vec![("uuid", "s1"), ("name", "UUID")],
        ),
        ("project", "Demo", format!("{{{},\"name\":\"Demo\"}}", uuid("p1")), vec![("uuid", "p1"), ("name", "Demo")]),
        ("project", "other", format!("{{{},\"name\":\"other\"}}", uuid("p2")), vec![("uuid", "p2"), ("name", "other")]),
        (
            "model",
            "m1",
            format!("{{{},\"alias\":\"one\",\"project\":\"Demo\"}}", uuid("m1")),
            vec![("uuid", "m1"), ("alias", "one"), ("project", "Demo")],
        ),
        (
            "model",
            "m2",
            format!("{{{},\"alias\":\"two\",\"project\":\"demo\"}}", uuid("m2")),
            vec![("uuid", "m2"), ("alias", "two"), ("project", "demo")],
        ),
        (
            "model",
            "m3",
            format!("{{{},\"alias\":\"two\",\"project\":\"other\"}}", uuid("m3")),
            vec![("uuid", "m3"), ("alias", "two"), ("project", "other")],
        ),
        (
            "table_exd",
            "Demo.DB.T",
            format!("{{{},\"project\":\"Demo\",\"table_name\":\"DB.T\"}}", uuid("t1")),
            vec![("uuid", "t1"), ("project", "Demo"), ("table_name", "DB.T")],
        ),
        (
            "compute_column",
            "c1",
            format!(
                "{{{},\"project\":\"Demo\",\"columnName\":\"C\",\"referenceCount\":2,\"expression\":\"1 + \\\"x\\\"\"}}",
                uuid("c1")
            ),
            vec![
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
            format!("{{{},\"project\":\"Demo\",\"date\":1700000000000}}", uuid("j1")),
            vec![("uuid", "j1"), ("project", "Demo"), ("time_of_day", "1700000000000")],
        ),
        (
            "user_info",
            "ADMIN",
            format!("{{{},\"username\":\"ADMIN\"}}", uuid("a1")),
            vec![("uuid", "a1"), ("username", "ADMIN")],
        ),
    ]
}

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
        panic!("{finding:?}");
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

const FLAT_POSTGRES: &str = "
    create table % (META_TABLE_KEY varchar(255) collate \"C\" primary key, META_TABLE_CONTENT bytea,
        META_TABLE_TS bigint, META_TABLE_MVCC bigint);
    create table %_audit_log (id bigserial primary key, meta_key varchar(255) collate \"C\", meta_content bytea,
        meta_ts bigint, meta_mvcc bigint, unit_id varchar(50), operator varchar(200), instance varchar(100));
    create index %_audit_log_meta_key_meta_mvcc_index on %_audit_log (meta_key, meta_mvcc);
    create table %_epoch (epoch_id int, epoch_target varchar(255) primary key, current_epoch_owner varchar(2000),
        last_epoch_renew_time bigint, server_mode varchar(10), maintenance_mode_reason varchar(5000), mvcc bigint,
        reserved_field_1 varchar(50), reserved_field_2 bytea, reserved_field_3 bytea);";

const FLAT_MYSQL: &str = "
    create table % (META_TABLE_KEY varchar(255) collate utf8_bin primary key, META_TABLE_CONTENT longblob,
        META_TABLE_TS bigint, META_TABLE_MVCC bigint) engine=innodb;
    create table %_audit_log (id bigint auto_increment primary key, meta_key varchar(255) collate utf8_bin,
        meta_content longblob, meta_ts bigint, meta_mvcc bigint, unit_id varchar(50), operator varchar(200),
        instance varchar(100)) engine=innodb;
    create index %_audit_log_meta_key_meta_mvcc_index on %_audit_log (meta_key, meta_mvcc);
    create table %_epoch (epoch_id int null, epoch_target varchar(255), current_epoch_owner varchar(2000) null,
        last_epoch_renew_time bigint null, server_mode varchar(10) null, maintenance_mode_reason varchar(5000) null,
        mvcc bigint null, reserved_field_1 varchar(50), reserved_field_2 longblob, reserved_field_3 longblob,
        primary key (epoch_target)) engine=innodb default charset=utf8;";

const TYPED_POSTGRES: &str = "
    create table %_project (id bigserial not null, meta_key varchar(255) not null, uuid char(36) collate \"C\" not null,
        name varchar(255) not null, mvcc bigint not null, ts bigint not null, content bytea not null,
        reserved_filed_1 varchar(50), reserved_filed_2 bytea, reserved_filed_3 bytea,
        constraint %_project_pk primary key (id), constraint %_project_uk1 unique (uuid),
        constraint %_project_uk2 unique (meta_key), constraint %_project_uk3 unique (name));
    create table %_system (id bigserial not null, meta_key varchar(255) not null, uuid char(36) collate \"C\" not null,
        name varchar(255) not null, mvcc bigint not null, ts bigint not null, content bytea not null,
        reserved_filed_1 varchar(50), reserved_filed_2 bytea, reserved_filed_3 bytea,
        constraint %_system_pk primary key (id), constraint %_system_uk1 unique (uuid),
        constraint %_system_uk2 unique (meta_key), constraint %_system_uk3 unique (name));
    create table %_model (id bigserial not null, meta_key varchar(255) not null, uuid char(36) collate \"C\" not null,
        project varchar(255) not null, alias varchar(255) not null, mvcc bigint not null, ts bigint not null,
        content bytea not null, reserved_filed_1 varchar(50), reserved_filed_2 bytea, reserved_filed_3 bytea,
        constraint %_model_pk primary key (id), constraint %_model_uk1 unique (uuid),
        constraint %_model_uk2 unique (meta_key), constraint %_model_uk3 unique (project, alias));
    create table %_table_exd (id bigserial not null, meta_key varchar(255) not null,
        uuid char(36) collate \"C\" not null, project varchar(255) not null, table_name varchar(255),
        mvcc bigint not null, ts bigint not null, content bytea not null, reserved_filed_1 varchar(50),
        reserved_filed_2 bytea, reserved_filed_3 bytea, constraint %_table_exd_pk primary key (id),
        constraint %_table_exd_uk1 unique (uuid), constraint %_table_exd_uk2 unique (meta_key));
    create table %_compute_column (id bigserial not null, meta_key varchar(255) not null,
        uuid char(36) collate \"C\" not null, project varchar(255) not null, column_name varchar(255),
        table_identity varchar(255), table_alias varchar(255), expression text, expression_md5 char(32),
        inner_expression text, datatype varchar(255), reference_count int default 0, cc_comment text,
        mvcc bigint not null, ts bigint not null, content bytea not null, reserved_filed_1 varchar(50),
        reserved_filed_2 bytea, reserved_filed_3 bytea, constraint %_compute_column_pk primary key (id),
        constraint %_compute_column_uk1 unique (uuid), constraint %_compute_column_uk2 unique (meta_key),
        constraint %_compute_column_uk3 unique (project, table_identity, column_name),
        constraint %_compute_column_uk4 unique (project, table_identity, expression_md5));
    create table %_job_stats (id bigserial not null, meta_key varchar(255) not null,
        uuid char(36) collate \"C\" not null, project varchar(255) not null, time_of_day bigint not null,
        mvcc bigint not null, ts bigint not null, content bytea not null, reserved_filed_1 varchar(50),
        reserved_filed_2 bytea, reserved_filed_3 bytea, constraint %_job_stats_pk primary key (id),
        constraint %_job_stats_uk1 unique (uuid), constraint %_job_stats_uk2 unique (meta_key));
    create table %_user_info (id bigserial not null, meta_key varchar(255) not null,
        uuid char(36) collate \"C\" not null, username varchar(255) not null, mvcc bigint not null, ts bigint not null,
        content bytea not null, reserved_filed_1 varchar(50), reserved_filed_2 bytea, reserved_filed_3 bytea,
        constraint %_user_pk primary key (id), constraint %_user_uk1 unique (uuid),
        constraint %_user_uk2 unique (meta_key), constraint %_user_uk3 unique (username));
    create table %_audit_log_v2 (id bigserial primary key, meta_key varchar(255) collate \"C\", meta_content bytea,
        meta_ts bigint, meta_mvcc bigint, unit_id varchar(50), model_uuid char(36), operator varchar(200),
        instance varchar(100), project varchar(255), diff_flag boolean default false);
    create index %_audit_log_v2_meta_key_meta_mvcc_index on %_audit_log_v2 (meta_key, meta_mvcc);
    create index %_audit_log_v2_meta_ts_index on %_audit_log_v2 (meta_ts);";

const TYPED_MYSQL: &str = "
    create table %_project (id bigint unsigned not null auto_increment, meta_key varchar(255) not null,
        uuid char(36) not null collate utf8_bin, name varchar(255) not null, mvcc bigint not null, ts bigint not null,
        content longblob not null, reserved_filed_1 varchar(50), reserved_filed_2 longblob, reserved_filed_3 longblob,
        primary key (id), unique %_project_uk1 (uuid), unique %_project_uk2 (meta_key), unique %_project_uk3 (name))
        engine=innodb default charset=utf8 row_format=dynamic;
    create table %_system (id bigint unsigned not null auto_increment, meta_key varchar(255) not null,
        uuid char(36) not null collate utf8_bin, name varchar(255) not null, mvcc bigint not null, ts bigint not null,
        content longblob not null, reserved_filed_1 varchar(50), reserved_filed_2 longblob, reserved_filed_3 longblob,
        primary key (id), unique %_system_uk1 (uuid), unique %_system_uk2 (meta_key), unique %_system_uk3 (name))
        engine=innodb default charset=utf8 row_format=dynamic;
    create table %_model (id bigint unsigned not null auto_increment, meta_key varchar(255) not null,
        uuid char(36) not null collate utf8_bin, project varchar(255) not null, alias varchar(255) not null,
        mvcc bigint not null, ts bigint not null, content longblob not null, reserved_filed_1 varchar(50),
        reserved_filed_2 longblob, reserved_filed_3 longblob, primary key (id), unique %_model_uk1 (uuid),
        unique %_model_uk2 (meta_key), unique %_model_uk3 (project, alias))
        engine=innodb default charset=utf8 row_format=dynamic;
    create table %_table_exd (id bigint unsigned not null auto_increment, meta_key varchar(255) not null,
        uuid char(36) not null collate utf8_bin, project varchar(255) not null, table_name varchar(255),
        mvcc bigint not null, ts bigint not null, content longblob not null, reserved_filed_1 varchar(50),
        reserved_filed_2 longblob, reserved_filed_3 longblob, primary key (id), unique %_table_exd_uk1 (uuid),
        unique %_table_exd_uk2 (meta_key)) engine=innodb default charset=utf8 row_format=dynamic;
    create table %_compute_column (id bigint unsigned not null auto_increment, meta_key varchar(255) not null,
        uuid char(36) not null collate utf8_bin, project varchar(255) not null, column_name varchar(255),
        table_identity varchar(255), table_alias varchar(255), expression text, expression_md5 char(32),
        inner_expression text, datatype varchar(255), reference_count int default 0, cc_comment text,
        mvcc bigint not null, ts bigint not null, content longblob not null, reserved_filed_1 varchar(50),
        reserved_filed_2 longblob, reserved_filed_3 longblob, primary key (id), unique %_compute_column_uk1 (uuid),
        unique %_compute_column_uk2 (meta_key), unique %_compute_column_uk3 (project, table_identity, column_name),
        unique %_compute_column_uk4 (project, table_identity, expression_md5))
        engine=innodb default charset=utf8 row_format=dynamic;
    create table %_job_stats (id bigint unsigned not null auto_increment, meta_key varchar(255) not null,
        uuid char(36) not null collate utf8_bin, project varchar(255) not null, time_of_day bigint not null,
        mvcc bigint not null, ts bigint not null, content longblob not null, reserved_filed_1 varchar(50),
        reserved_filed_2 longblob, reserved_filed_3 longblob, primary key (id), unique %_job_stats_uk1 (uuid),
        unique %_job_stats_uk2 (meta_key)) engine=innodb default charset=utf8 row_format=dynamic;
    create table %_user_info (id bigint unsigned not null auto_increment, meta_key varchar(255) not null,
        uuid char(36) not null collate utf8_bin, username varchar(255) not null, mvcc bigint not null,
        ts bigint not null, content longblob not null, reserved_filed_1 varchar(50), reserved_filed_2 longblob,
        reserved_filed_3 longblob, primary key (id), unique %_user_uk1 (uuid), unique %_user_uk2 (meta_key),
        unique %_user_uk3 (username)) engine=innodb default charset=utf8 row_format=dynamic;
    create table %_audit_log_v2 (id bigint auto_increment primary key, meta_key varchar(255) collate utf8_bin,
        meta_content longblob, meta_ts bigint, meta_mvcc bigint, unit_id varchar(50), model_uuid char(36),
        operator varchar(200), instance varchar(100), project varchar(255), diff_flag tinyint(1) default 0)
        engine=innodb;
    create index %_audit_log_v2_meta_key_meta_mvcc_index on %_audit_log_v2 (meta_key, meta_mvcc);
    create index %_audit_log_v2_meta_ts_index on %_audit_log_v2 (meta_ts);";
