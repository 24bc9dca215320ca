//! Volumes written to servers: equal when read back, key by key as JuiceFS wrote them; targets that are not empty; loads
//! that die.

use std::collections::BTreeMap;

use metaferry_codecs::Tally;
use metaferry_codecs::juicefs::{Batch, JuiceFs, Kind, Links};
use metaferry_codecs::system::{Advance, Batch as _, Class, System};
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{
    About, Commit, Error, ErrorKind, Findings, Guarantee, KindSet, Loader, Monitor, Needs, Result, Sink, Snapshot,
    Source, Stop, copy,
};
use serde_json::Value;

use super::super::server::{Server, open};
use super::super::{Connection, RedisOptions, RedisSink, Reply};
use super::kit::*;

pub(super) fn sink(url: &str) -> Box<RedisSink> {
    Box::new(RedisSink::new(address(url), RedisOptions::default()))
}

fn options() -> copy::Options {
    copy::Options {
        threads: 2,
        memory_bytes: 64 << 20,
        spill: SpillDir::default(),
        keep_secrets: true,
        keep_counters: true,
        advance: Advance::default(),
        skip_damaged: false,
        prove: true,
        mend: false,
        live: false,
        strict: false,
    }
}

/// A sink that takes rows as they are, unmended.
struct AsTheyAre(Box<RedisSink>);

impl Sink<JuiceFs> for AsTheyAre {
    fn needs(&self) -> Needs {
        Needs { mends: false, ..self.0.needs() }
    }
    fn prepare(&mut self, about: &About, stop: &Stop) -> Result<()> {
        self.0.prepare(about, stop)
    }
    fn loader(&mut self) -> Result<Box<dyn Loader<JuiceFs>>> {
        self.0.loader()
    }
    fn uncommitted(&mut self) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        self.0.uncommitted()
    }
    fn commit(self: Box<Self>, commit: Commit<JuiceFs>) -> Result<Findings> {
        self.0.commit(commit)
    }
}

pub(super) fn load(source: Box<dyn Source<JuiceFs>>, sink: Box<RedisSink>) -> Result<copy::Report<JuiceFs>> {
    copy::copy(source, Box::new(AsTheyAre(sink)), &options(), &Monitor::default(), &Stop::new())
}

fn load_mending(source: Box<dyn Source<JuiceFs>>, sink: Box<RedisSink>) -> Result<copy::Report<JuiceFs>> {
    copy::copy(source, sink, &copy::Options { mend: true, ..options() }, &Monitor::default(), &Stop::new())
}

fn about() -> About {
    let origin = "a test".to_owned();
    About {
        origin,
        guarantee: Guarantee::Exact,
        ordered: KindSet::NONE,
        notes: Vec::new(),
        live_sessions: 0,
        is_repeatable: true,
        is_partial: false,
    }
}

/// Every key of a server as the fixtures list them.
fn listing(connection: &mut Connection) -> BTreeMap<String, Value> {
    let keys = connection.command(&[b"KEYS", b"*"]).unwrap();
    let mut all = BTreeMap::new();
    for key in keys.items().unwrap() {
        let key = key.bytes().unwrap();
        let mut ask = |args: &[&[u8]]| {
            let reply = connection.command(args).unwrap();
            reply.items().map_or_else(
                || vec![reply.bytes().unwrap().to_vec()],
                |items| items.iter().map(|item| item.bytes().unwrap().to_vec()).collect(),
            )
        };
        let kind = String::from_utf8(ask(&[b"TYPE", key]).remove(0)).unwrap();
        let items = match kind.as_str() {
            "string" => ask(&[b"GET", key]),
            "hash" => ask(&[b"HGETALL", key]),
            "list" => ask(&[b"LRANGE", key, b"0", b"-1"]),
            "set" => ask(&[b"SMEMBERS", key]),
            _ => ask(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]),
        };
        let texts: Vec<Value> = items.iter().map(|item| Value::from(hex(item))).collect();
        let value = match kind.as_str() {
            "hash" | "zset" => {
                let mut pairs: Vec<Value> = texts.chunks(2).map(|pair| Value::from(pair.to_vec())).collect();
                pairs.sort_by_key(Value::to_string);
                Value::from(pairs)
            }
            "set" => {
                let mut texts = texts;
                texts.sort_by_key(Value::to_string);
                Value::from(texts)
            }
            _ => Value::from(texts),
        };
        all.insert(String::from_utf8_lossy(key).into_owned(), value);
    }
    all
}

/// What a load leaves out on purpose, or writes differently.
fn is_left_out(key: &str) -> bool {
    key.starts_with("lock") || key.starts_with("txnL") || key == "allSessions" || key == "sessionInfos"
}

#[test]
fn what_is_loaded_has_the_keys_that_juicefs_wrote() {
    for volume in VOLUMES {
        let original = server_of(volume, &[]);
        let target = Server::start(&[]);
        let (_folder, path) = rdb_file(volume);
        let expected = tally(file_source(&path));
        let report = load(file_source(&path), sink(&target.url())).unwrap();
        assert!(report.proven && report.findings.damaged.count == 0);
        assert_eq!(report.tally, expected, "{volume}: {:?}", report.findings.census);
        assert_eq!(tally(server_source(&target.url(), RedisOptions::default())), expected, "{volume}");
        let (mut theirs, mut ours) = (listing(&mut original.connect()), listing(&mut target.connect()));
        theirs.retain(|key, _| !is_left_out(key));
        ours.retain(|key, _| !is_left_out(key));
        if !theirs.contains_key("nextinode") {
            // The root has the first one.
            assert_eq!(ours.remove("nextinode"), Some(Value::from(vec![hex(b"1")])));
        }
        for (key, value) in &theirs {
            let mut value = value.clone();
            if key.starts_with('p') {
                // Counts of none mean nothing.
                value.as_array_mut().unwrap().retain(|pair| pair[1] != hex(b"0"));
            }
            assert_eq!(ours.get(key), Some(&value), "{volume} {key}");
        }
        assert_eq!(theirs.len(), ours.len(), "{volume}");
        assert_eq!(fixture_lines(volume, "keys.jsonl").len(), listing(&mut original.connect()).len(), "{volume}");
    }
}

#[test]
fn what_is_mended_is_proven() {
    let target = Server::start(&[]);
    let (_folder, path) = rdb_file("tour");
    let report = load_mending(file_source(&path), sink(&target.url())).unwrap();
    assert!(report.proven && report.mended && !report.findings.census.is_empty());
    let differences = report.tally.differences(&tally(file_source(&path)));
    assert!(!differences.is_empty() && differences.iter().all(|(.., class)| *class == Class::Derived));
    assert_eq!(tally(server_source(&target.url(), RedisOptions::default())), report.tally);
}

#[test]
fn sustained_inodes_get_a_session_that_has_expired() {
    let target = Server::start(&[]);
    let (_folder, path) = rdb_file("tour");
    load(file_source(&path), sink(&target.url())).unwrap();
    let mut connection = target.connect();
    let mut ask = |args: &[&[u8]]| connection.command(args).unwrap();
    assert_eq!(ask(&[b"ZSCORE", b"allSessions", b"3"]).text(), Some("1"));
    assert_eq!(ask(&[b"HGET", b"sessionInfos", b"3"]).text(), Some("{}"));
    assert_eq!(ask(&[b"SCARD", b"session3"]).integer(), Some(2));
}

#[test]
fn a_cluster_is_loaded_under_its_prefix() {
    let target = Server::start(&["--cluster-enabled", "yes"]);
    target.become_cluster();
    target.connect().command(&[b"SET", b"{9}i1", b"not ours"]).unwrap();
    let (_folder, path) = rdb_file("tour");
    let expected = tally(file_source(&path));
    load(file_source(&path), sink(&target.url())).unwrap();
    assert_eq!(tally(server_source(&target.url(), RedisOptions::default())), expected);
    assert!(listing(&mut target.connect()).keys().all(|key| key.starts_with("{0}") || key == "{9}i1"));
    let error = load(file_source(&path), sink(&target.url())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
}

#[test]
fn what_is_not_empty_is_refused_and_untouched() {
    let volume = server_of("plain", &[]);
    let foreign = Server::start(&[]);
    foreign.connect().command(&[b"MSET", b"a", b"1", b"i1", b"2"]).unwrap();
    for (server, told) in [(&volume, "holds the volume plain ("), (&foreign, "2 keys")] {
        let before = listing(&mut server.connect());
        let mut sink = sink(&server.url());
        let error = sink.prepare(&about(), &Stop::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains(told), "{error}");
        drop(sink);
        assert_eq!(listing(&mut server.connect()), before);
    }
    // A mark does not outweigh a setting, nor foreign keys.
    volume.connect().command(&[b"SET", b"metaferry:loading", b"old"]).unwrap();
    foreign.connect().command(&[b"SET", b"metaferry:loading", b"old"]).unwrap();
    for (server, told) in [(&volume, "holds the volume plain ("), (&foreign, "1 of something else")] {
        let error = sink(&server.url()).prepare(&about(), &Stop::new()).unwrap_err();
        assert!(error.kind() == ErrorKind::Refused && error.to_string().contains(told), "{error}");
    }
}

#[test]
fn of_two_loads_the_second_is_refused() {
    let server = Server::start(&[]);
    let mut first = sink(&server.url());
    first.prepare(&about(), &Stop::new()).unwrap();
    let error = sink(&server.url()).prepare(&about(), &Stop::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("another load is under way") && error.to_string().contains("a test"), "{error}");
    first.loader().unwrap().finish().unwrap();
    drop(first);
    assert!(listing(&mut server.connect()).is_empty());
}

#[test]
fn what_a_dead_load_left_is_cleared() {
    let server = Server::start(&[]);
    let (_folder, path) = rdb_file("plain");
    let mut dead = sink(&server.url());
    dead.prepare(&about(), &Stop::new()).unwrap();
    let mut loader = dead.loader().unwrap();
    for batch in read(file_source(&path)).unwrap().batches.into_iter().filter(|batch| batch.kind() != JuiceFs::SEAL) {
        loader.load(batch).unwrap();
    }
    loader.finish().unwrap();
    // As kill -9 would: nothing is dropped.
    std::mem::forget(dead);
    let mut connection = server.connect();
    let error = sink(&server.url()).prepare(&about(), &Stop::new()).unwrap_err();
    assert!(error.to_string().contains("under way"), "{error}");
    connection.command(&[b"DEL", b"metaferry"]).unwrap();
    assert!(connection.command(&[b"DBSIZE"]).unwrap().integer().unwrap() > 2000);
    let (_folder, path) = rdb_file("tour");
    load(file_source(&path), sink(&server.url())).unwrap();
    assert_eq!(tally(server_source(&server.url(), RedisOptions::default())), tally(file_source(&path)));
}

#[test]
fn a_load_that_is_interrupted_leaves_nothing() {
    let server = Server::start(&[]);
    let (stop, mut sink) = (Stop::new(), sink(&server.url()));
    sink.prepare(&about(), &stop).unwrap();
    let mut loader = sink.loader().unwrap();
    let (_folder, path) = rdb_file("plain");
    let mut batches =
        read(file_source(&path)).unwrap().batches.into_iter().filter(|batch| batch.kind() != Kind::Setting);
    batches.by_ref().take(3).for_each(|batch| loader.load(batch).unwrap());
    stop.interrupt();
    assert_eq!(loader.load(batches.next().unwrap()).unwrap_err().kind(), ErrorKind::Interrupted);
    drop(loader);
    drop(sink);
    assert!(listing(&mut server.connect()).is_empty());
}

#[test]
fn a_load_whose_claim_was_taken_does_not_commit() {
    let server = Server::start(&[]);
    let mut sink = sink(&server.url());
    sink.prepare(&about(), &Stop::new()).unwrap();
    server.connect().command(&[b"SET", b"metaferry:loading", b"someone else"]).unwrap();
    let seal = Batch::empty(Kind::Setting);
    let commit = Commit { seal, tally: Tally::default(), about: about() };
    let error = sink.commit(commit).unwrap_err();
    assert!(error.to_string().contains("someone else has taken"), "{error}");
    assert_eq!(server.connect().command(&[b"EXISTS", b"setting", b"metaferry:loading"]).unwrap(), Reply::Integer(1));
}

#[test]
fn amends_replace_link_counts_and_statistics() {
    let server = Server::start(&[]);
    let (_folder, path) = rdb_file("plain");
    let mut sink = sink(&server.url());
    sink.prepare(&about(), &Stop::new()).unwrap();
    let mut loader = sink.loader().unwrap();
    for batch in read(file_source(&path)).unwrap().batches.into_iter().filter(|batch| batch.kind() != Kind::Setting) {
        loader.load(batch).unwrap();
    }
    loader.amend(vec![Links { inode: 2, nlink: 77 }].into()).unwrap();
    loader.finish().unwrap();
    let found = gather(sink.uncommitted().unwrap().as_ref()).unwrap();
    assert_eq!(found.by(Kind::Node, "inode")[&2]["nlink"], 77);
    assert!(found.of(Kind::Setting).is_empty());
}

#[test]
fn a_server_out_of_memory_is_told_and_left_clean() {
    let server = Server::start(&[]);
    let used = server.connect().info("memory").unwrap().number("used_memory").unwrap();
    server.connect().command(&[b"CONFIG", b"SET", b"maxmemory", (used + 700_000).to_string().as_bytes()]).unwrap();
    let (_folder, path) = rdb_file("plain");
    let error = load(file_source(&path), sink(&server.url())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Engine);
    assert!(error.what_to_do().unwrap().contains("maxmemory"), "{error:?}");
    assert_eq!(server.connect().command(&[b"DBSIZE"]).unwrap(), Reply::Integer(0));
}

#[test]
fn a_server_killed_while_it_is_loaded() {
    let mut server = Server::start(&[]);
    let mut sink = sink(&server.url());
    sink.prepare(&about(), &Stop::new()).unwrap();
    let mut loader = sink.loader().unwrap();
    let (_folder, path) = rdb_file("plain");
    let batches = read(file_source(&path)).unwrap().batches;
    server.kill();
    let result: Result<(), Error> =
        batches.into_iter().filter(|batch| batch.kind() != Kind::Setting).try_for_each(|batch| loader.load(batch));
    let error = result.and_then(|()| loader.finish()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Engine);
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
}

#[test]
fn a_wrong_password_and_a_replica_are_told() {
    let server = Server::start(&["--requirepass", "right"]);
    let url = format!("redis://:wrong@127.0.0.1:{}", server.port);
    let error = sink(&url).prepare(&about(), &Stop::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!format!("{error:?}").contains("wrong@"), "{error:?}");
    let replica = Server::start(&["--replicaof", "127.0.0.1", "1"]);
    let error = sink(&replica.url()).prepare(&about(), &Stop::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.what_to_do().unwrap().contains("replica"), "{error:?}");
}

#[test]
fn a_volume_in_another_database_stays_where_it_is() {
    let server = server_of("plain", &[]);
    let (_folder, path) = rdb_file("tour");
    let url = format!("{}/2", server.url());
    let before = listing(&mut server.connect());
    load(file_source(&path), sink(&url)).unwrap();
    assert_eq!(tally(server_source(&url, RedisOptions::default())), tally(file_source(&path)));
    assert_eq!(listing(&mut server.connect()), before);
    assert!(
        open(&url).unwrap().command(&[b"EXISTS", b"metaferry", b"metaferry:loading"]).unwrap() == Reply::Integer(0)
    );
}
