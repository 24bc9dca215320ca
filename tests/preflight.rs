//! What is said before a copy: what fits and what does not, what may not be done, what it costs. Nothing is touched by it.

use rusqlite::Connection;

use crate::kit::mariadb::MariaDb;
use crate::kit::postgres::Postgres;
use crate::kit::redis::Redis;
use crate::kit::sql::Sql;
use crate::kit::{Folder, expect, expect_error, metaferry, read_data};

const VOLUME: &str = "synthetic://?files=300&seed=5";

/// What is printed line by line, and how it ends.
#[track_caller]
fn preflight(code: i32, source: &str, target: &str) -> String {
    expect(code, &["preflight", source, target])
}

#[track_caller]
fn says(printed: &str, level: &str, words: &str) {
    let is_there = |line: &str| line.starts_with(level) && line.contains(words);
    assert!(printed.lines().any(is_there), "no {level} with '{words}' in:\n{printed}");
}

/// A volume with numbers that need all 32 bits, and more slices in a chunk than 64 KiB hold.
fn wide(folder: &Folder) -> String {
    expect(0, &["load", VOLUME, &folder.sqlite("wide.db")]);
    let database = Connection::open(folder.path("wide.db")).unwrap();
    let changed =
        database.execute("UPDATE jfs_node SET uid = 4294967295, gid = 4294967294 WHERE inode = 1", []).unwrap();
    let slices = "UPDATE jfs_chunk SET slices = CAST(replace(hex(zeroblob(3000)), '00', substr(slices, 1, 24)) AS BLOB) WHERE id = 1";
    assert_eq!((changed, database.execute(slices, []).unwrap()), (1, 1));
    assert_eq!(database.execute("UPDATE jfs_chunk_ref SET refs = 3000 WHERE chunkid = 1", []).unwrap(), 1);
    folder.sqlite("wide.db")
}

#[test]
fn every_engine_says_whether_it_is_ready() {
    let (folder, redis, postgres, mariadb) = (Folder::new(), Redis::start(), Postgres::start(), MariaDb::start());
    let volume = folder.sqlite("volume.db");
    expect(0, &["load", VOLUME, &volume]);
    let mut sources = vec![volume];
    let targets = [redis.url(), postgres.database("target"), mariadb.database("target"), folder.sqlite("target.db")];
    for target in &targets {
        let printed = preflight(0, &sources[0], target);
        says(&printed, "ok", "target:");
        says(&printed, "ok", "room: about");
        expect(0, &["migrate", &sources[0], target]);
        let printed = preflight(4, &sources[0], target);
        says(&printed, "refused", "target:");
        sources.push(target.clone());
    }
    let empty = postgres.database("empty");
    postgres.sql("empty", "CREATE TABLE things (id int)");
    for source in &sources {
        let printed = preflight(0, source, &empty);
        says(&printed, "ok", "1 other tables are in the schema public");
        says(&printed, "ok", "version: PostgreSQL");
        says(&printed, "ok", "columns:");
        says(&preflight(0, source, &folder.path("archive")), "ok", "no file is there");
    }
    let line = expect(0, &["preflight", "--json", &sources[0], &empty]);
    let line: serde_json::Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!((line["event"].as_str(), line["level"].as_str()), (Some("preflight"), Some("ok")));
    assert_eq!(postgres.names("empty").len(), 1, "nothing was made");
    assert!(!folder.names().contains(&"archive".to_owned()));
}

#[test]
fn what_does_not_fit_is_told_before_it_is_read_and_fits_when_widened() {
    let (folder, postgres, mariadb) = (Folder::new(), Postgres::start(), MariaDb::start());
    let (source, archive) = (wide(&folder), folder.path("archive"));
    expect(0, &["dump", &source, &archive]);
    let targets = [(postgres.database("wide"), false), (mariadb.database("wide"), true)];
    for (target, bounds_slices) in &targets {
        for source in [&source, &archive] {
            let printed = preflight(4, source, target);
            says(&printed, "refused", "jfs_node.uid holds 2147483647 at most, and the source has 4294967295; --widen");
            says(&printed, "refused", "jfs_node.gid holds 2147483647 at most, and the source has 4294967294");
            let widened = expect(0, &["preflight", "--widen", source, target]);
            if *bounds_slices {
                says(&printed, "refused", "jfs_chunk.slices holds 2730 at most, and the source has 3000; --widen");
                says(&widened, "ok", "columns: what the source has fits");
            }
        }
        let error = expect_error(4, &["migrate", &source, target]);
        assert!(error.contains("--widen"), "{error}");
        expect(0, &["migrate", "--widen", &source, target]);
        expect(0, &["verify", &archive, target]);
        expect(0, &["migrate", target, &folder.sqlite(if *bounds_slices { "1.db" } else { "2.db" })]);
    }
    expect(0, &["verify", &archive, &folder.sqlite("1.db")]);
    expect(0, &["verify", &archive, &folder.sqlite("2.db")]);
}

#[test]
fn what_is_not_known_before_is_told_by_its_row() {
    let (folder, redis, postgres, mariadb) = (Folder::new(), Redis::start(), Postgres::start(), MariaDb::start());
    expect(0, &["migrate", &wide(&folder), &redis.url()]);
    for target in [postgres.database("wide"), mariadb.database("wide")] {
        says(&preflight(0, &redis.url(), &target), "ok", "known only when it is read");
        let error = expect_error(1, &["migrate", &redis.url(), &target]);
        assert!(error.contains("cannot hold it") && error.contains("--widen"), "{error}");
        expect(0, &["migrate", "--widen", &redis.url(), &target]);
        expect(0, &["verify", &redis.url(), &target]);
    }
}

#[test]
fn what_an_account_lacks_on_postgres_is_named() {
    let (folder, postgres) = (Folder::new(), Postgres::start());
    expect(0, &["load", VOLUME, &postgres.database("volume")]);
    let target = postgres.database("target");
    postgres.sql("target", "CREATE ROLE guest LOGIN; REVOKE CREATE ON SCHEMA public FROM public");
    postgres
        .sql("volume", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest; REVOKE SELECT ON jfs_xattr FROM guest");
    let as_guest = |url: &str| url.replacen("postgres@", "guest@", 1);
    let printed = preflight(4, VOLUME, &as_guest(&target));
    says(&printed, "refused", "guest may not create tables in the schema public; GRANT CREATE");
    let printed = preflight(4, &as_guest(&postgres.url("volume")), &folder.sqlite("new.db"));
    says(&printed, "refused", "may not read jfs_xattr; GRANT SELECT");
    postgres.sql("target", "ALTER DATABASE target SET default_transaction_read_only = on");
    says(&preflight(4, VOLUME, &target), "refused", "can only read");
    assert_eq!(postgres.names("target").len(), 0);
}

#[test]
fn what_an_account_lacks_on_mariadb_is_named() {
    let mariadb = MariaDb::with(&["--log-bin=log", "--local-infile=0", "--max-allowed-packet=1M"]);
    let target = mariadb.database("target");
    mariadb.sql("CREATE USER guest@'%'; GRANT SELECT, INSERT, CREATE ON target.* TO guest@'%'");
    let guest = mariadb.url_of("guest", "target");
    says(&preflight(4, VOLUME, &guest), "refused", "guest@% lacks UPDATE, DELETE, DROP, ALTER on target; GRANT");
    // Of two grants that fit, the one with a pattern does not count.
    mariadb.sql("GRANT UPDATE, DELETE, DROP, ALTER ON `tar%`.* TO guest@'%'");
    says(&preflight(4, VOLUME, &guest), "refused", "guest@% lacks UPDATE, DELETE, DROP, ALTER on target; GRANT");
    mariadb.sql("REVOKE SELECT, INSERT, CREATE ON target.* FROM guest@'%'; GRANT SELECT, INSERT, CREATE ON `tar%`.* TO guest@'%'");
    let printed = preflight(0, VOLUME, &guest);
    says(&printed, "warning", "collation:");
    says(&printed, "warning", "packets: up to 1024 KiB");
    says(&printed, "warning", "local_infile is off");
    says(&printed, "warning", "0 replicas read it");
    mariadb.sql("ALTER DATABASE target COLLATE utf8mb4_bin");
    says(&preflight(0, VOLUME, &guest), "ok", "collation: utf8mb4_bin");
    expect(0, &["load", VOLUME, &guest]);
    mariadb.sql("DROP DATABASE target; CREATE DATABASE target; SET GLOBAL read_only = 1");
    says(&preflight(0, VOLUME, &target), "warning", "read_only is on");
}

#[test]
fn redis_is_looked_at_for_memory_and_eviction() {
    let redis = Redis::with(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    let folder = Folder::new();
    let volume = folder.path("volume");
    expect(0, &["dump", "synthetic://?files=200000&seed=5", &volume]);
    let printed = preflight(4, &volume, &redis.url());
    says(&printed, "refused", "room: about");
    says(&printed, "warning", "maxmemory-policy is allkeys-lru");
    says(&printed, "warning", "durability: no log of writes");
    assert_eq!(redis.cli(&["DBSIZE"]).trim(), "0");
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &redis.address().1.to_string()]);
    says(&preflight(4, VOLUME, &replica.url()), "refused", "the server is a replica");
}

#[test]
fn clients_that_use_the_source_are_told() {
    let (folder, redis) = (Folder::new(), Redis::from_rdb(Some(&read_data("tour/redis/store.rdb")), &[]));
    redis.cli(&["ZADD", "allSessions", "9999999999", "7"]);
    let target = folder.sqlite("target.db");
    says(&preflight(4, &redis.url(), &target), "refused", "sessions: 1 live sessions");
    says(&expect(0, &["preflight", "--live", &redis.url(), &target]), "warning", "sessions: 1 live sessions");
    let output = metaferry(&["migrate", &redis.url(), &target]);
    assert_eq!(output.status.code(), Some(4));
}
