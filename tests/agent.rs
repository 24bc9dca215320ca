//! The agent: backups that happen by themselves, each by one of many; what is killed is begun again; what is far smaller than
//! before stops the pruning.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use metaferry_engines::mysql::{MysqlAddress, MysqlStamp};
use metaferry_engines::postgres::{PostgresAddress, PostgresStamp};
use metaferry_engines::redis::{Address, RedisStamp};
use metaferry_engines::sqlite::{SqliteAddress, SqliteStamp};
use metaferry_engines::stamp::{Asking, Stamp, Turn};
use metaferry_pipeline::Stop;
use serde_json::Value;

use crate::kit::engine::{at_once, loaded};
use crate::kit::run::{children, kill, kill_all, until};
use crate::kit::{Folder, expect, metaferry};

const PATIENCE: Duration = Duration::from_secs(60);
const SMALL: &str = "synthetic://?files=200&seed=7";

fn repository(folder: &Folder) -> String {
    format!("repo+file://{}", folder.path("repository"))
}

/// What backups there are, the oldest first.
pub(crate) fn listed(repository: &str) -> Vec<Value> {
    let output = metaferry(&["backups", "--json", repository]);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An agent under way, whose log is a file.
pub(crate) struct Agent {
    child: Child,
    log: String,
}

impl Agent {
    pub(crate) fn start(folder: &Folder, name: &str, args: &[&str]) -> Self {
        let log = folder.path(&format!("{name}.log"));
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_metaferry"));
        command
            .arg("agent")
            .args(args)
            .args(["--keep-secrets", "--log", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Self { child: command.stderr(file).spawn().unwrap(), log }
    }

    /// What it has said so far; the last line may be cut off.
    fn said(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn events(&self, event: &str) -> Vec<Value> {
        self.said().into_iter().filter(|line| line["event"] == event).collect()
    }

    fn count(&self, event: &str) -> usize {
        self.events(event).len()
    }

    /// What it has in memory, in bytes.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Asks it to end, and waits until it has.
    #[track_caller]
    pub(crate) fn end(mut self) -> Vec<Value> {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        let begun = Instant::now();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{:?}", self.said());
        assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?} to end", begun.elapsed());
        self.said()
    }

    /// Kills it, and whatever works for it.
    fn kill(mut self) {
        kill_all(&mut self.child);
    }

    /// The processes that work for it.
    fn turns(&self) -> Vec<String> {
        children(self.child.id())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn once(args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = metaferry(&[&["agent", "--once", "--keep-secrets", "--log", "json"][..], args].concat());
    let text = String::from_utf8(output.stderr).unwrap();
    // An error that ends it is told as every command tells it.
    let said = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    (output.status.code(), said)
}

/// The stamp of a volume, as it is in a dump of it.
fn stamp(source: &str) -> Option<String> {
    let folder = Folder::new();
    let path = folder.path("dumped");
    assert!(matches!(metaferry(&["dump", "--keep-secrets", source, &path]).status.code(), Some(0 | 3)));
    let volume = crate::kit::tree::Volume::read(&path);
    let found = volume.of("xattr").iter().find(|row| row["name"] == "lastBackup").map(|row| row["value"].clone());
    found.map(|value| value.as_str().unwrap().to_owned())
}

#[test]
fn one_backup_is_made_when_it_is_time_and_the_volume_says_so() {
    at_once(|engine| {
        let folder = Folder::new();
        let (source, repository) = (loaded(engine, SMALL), repository(&folder));
        assert_eq!(stamp(&source), None);
        let (code, said) = once(&[&source, &repository]);
        assert_eq!(code, Some(0), "{said:?}");
        assert!(said.iter().any(|line| line["event"] == "verified"), "{said:?}");
        let first = stamp(&source).unwrap();
        assert!(first.ends_with('Z') && first.len() == 20, "{first}");
        let (code, said) = once(&[&source, &repository]);
        assert!(code == Some(0) && said[0]["event"] == "waiting", "{}: {said:?}", engine.name());
        assert_eq!((stamp(&source).unwrap(), listed(&repository).len()), (first, 1));
        expect(0, &["verify", &source, &repository]);
        expect(0, &["verify", "--deep", &repository]);
    });
}

/// What an agent asks of the volume at a place.
fn stamp_at(place: &str) -> Box<dyn Stamp> {
    let variable = |name: &str| std::env::var(name).ok();
    match place.split_once("://").unwrap().0 {
        "sqlite3" => Box::new(SqliteStamp::new(SqliteAddress::parse(place).unwrap())),
        "postgres" => Box::new(PostgresStamp::new(PostgresAddress::parse(place, &variable).unwrap())),
        "mysql" => Box::new(MysqlStamp::new(MysqlAddress::parse(place, &variable).unwrap())),
        _ => Box::new(RedisStamp::new(Address::parse(place, &variable).unwrap())),
    }
}

#[test]
fn of_many_who_ask_at_one_moment_exactly_one_gets_the_turn() {
    at_once(|engine| {
        let place = loaded(engine, SMALL);
        assert_eq!(stamp_at(&place).inodes(&Stop::new()).unwrap(), 199, "{}", engine.name());
        let start = Timestamp::now();
        // A stamp that is not there, one that is stale, one that is no moment, one from the future; and none of these.
        let rounds = [None, Some("2020-01-31T12:00:00+08:00"), Some("of others"), Some("2999-01-31T12:00:00Z"), None];
        for (round, stands) in (0_i64..).zip(rounds) {
            if let Some(stands) = stands {
                let mut set = |_: Option<&[u8]>| Some(stands.as_bytes().to_vec());
                stamp_at(&place).exchange(&mut set, &Stop::new()).unwrap();
            }
            let now = start + SignedDuration::from_secs(round);
            let ask = || {
                let asking = Asking { now, every: 3600, unfinished: None };
                asking.take(stamp_at(&place).as_ref(), &Stop::new()).unwrap()
            };
            let turns: Vec<Turn> = std::thread::scope(|scope| {
                let all: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            let ours: Vec<_> = turns.iter().filter(|turn| matches!(turn, Turn::Ours { .. })).collect();
            let expected = usize::from(round < 4);
            assert_eq!(ours.len(), expected, "{}, round {round}: {turns:?}", engine.name());
            if let [Turn::Ours { repaired, .. }] = ours.as_slice() {
                assert_eq!(repaired.is_some(), round >= 2, "{}: {repaired:?}", engine.name());
            }
        }
    });
}

#[test]
fn an_agent_backs_up_a_volume_that_changes_and_each_backup_restores() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), repository(&folder));
    expect(0, &["load", "synthetic://?files=2000&seed=7", &source]);
    let agent = Agent::start(&folder, "agent", &[&source, &repository, "--every", "2s", "--listen", "127.0.0.1:0"]);
    until("it has made backups", || {
        let database = rusqlite::Connection::open(folder.path("volume.db")).unwrap();
        database.busy_timeout(PATIENCE).unwrap();
        database.execute("UPDATE jfs_node SET mtime = mtime + 1 WHERE inode % 7 = 0", []).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        agent.count("backup") >= 4
    });
    let address = agent.events("listening")[0]["address"].as_str().unwrap().to_owned();
    let metrics = ask(&address, "/metrics");
    assert!(metrics.contains("metaferry_backup_failures_total 0\n"), "{metrics}");
    assert!(metrics.contains("\nmetaferry_last_backup_inodes 1969\n"), "{metrics}");
    assert!(ask(&address, "/healthz").starts_with("HTTP/1.0 200"));
    assert!(agent.resident() < 40 << 20, "{} bytes between two backups", agent.resident());
    let said = agent.end();
    assert_eq!(said.last().unwrap()["event"], "ended");
    assert!(said.iter().all(|line| line["level"] != "error"), "{said:?}");
    let backups = listed(&repository);
    assert!(backups.len() >= 4, "{backups:?}");
    for backup in &backups {
        expect(0, &["verify", &format!("{repository}@{}", backup["name"].as_str().unwrap())]);
    }
    expect(0, &["verify", "--deep", &format!("{repository}@{}", backups[0]["name"].as_str().unwrap())]);
    let status = expect(0, &["status", &repository]);
    assert!(status.contains("lease: free") && status.contains("last verified: "), "{status}");
}

fn ask(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn an_agent_outlives_a_turn_that_is_killed_and_makes_its_backup() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), repository(&folder));
    expect(0, &["load", "synthetic://?files=100000&seed=7", &source]);
    let args = [source.as_str(), &repository, "--every", "1m", "--verify-every", "0s", "--threads", "1"];
    let agent = Agent::start(&folder, "agent", &args);
    until("something is there", || std::path::Path::new(&folder.path("repository/lease")).exists());
    assert!(agent.turns().iter().any(|turn| kill(turn)));
    until("a backup is made", || agent.count("backup") == 1);
    until("its turn is over", || agent.turns().is_empty());
    let said = agent.end();
    let failed = said.iter().find(|line| line["event"] == "failed").unwrap();
    assert!(failed["text"].as_str().unwrap().contains("ended too early: signal: 9"), "{failed}");
    assert_eq!(listed(&repository).len(), 1);
    expect(0, &["verify", &repository]);
}

#[test]
fn a_turn_ends_with_its_agent() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), repository(&folder));
    expect(0, &["load", "synthetic://?files=100000&seed=7", &source]);
    let args = [source.as_str(), &repository, "--every", "1h", "--threads", "1"];
    let mut agent = Agent::start(&folder, "agent", &args);
    until("something is there", || std::path::Path::new(&folder.path("repository/lease")).exists());
    let turn = agent.turns().remove(0);
    agent.child.kill().unwrap();
    let path = format!("/proc/{turn}/cmdline");
    until("its turn has ended", || std::fs::read(&path).unwrap_or_default().is_empty());
    let status = expect(0, &["status", &repository]);
    assert!(status.contains("lease: free"), "{status}");
}

/// When backups were begun, in seconds.
fn moments(backups: &[Value]) -> Vec<i64> {
    let seconds = |text: &str| {
        let parts: Vec<i64> =
            text.split(|byte: char| !byte.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
        ((parts[2] * 24 + parts[3]) * 60 + parts[4]) * 60 + parts[5]
    };
    backups.iter().map(|backup| seconds(backup["begun"].as_str().unwrap())).collect()
}

#[test]
fn of_two_agents_the_shortest_period_wins_and_they_never_overlap() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), repository(&folder));
    expect(0, &["load", "synthetic://?files=20000&seed=7", &source]);
    let fast = Agent::start(&folder, "fast", &[&source, &repository, "--every", "2s", "--verify-every", "0s"]);
    let slow = Agent::start(&folder, "slow", &[&source, &repository, "--every", "4s", "--verify-every", "0s"]);
    until("there are some backups", || fast.count("backup") + slow.count("backup") >= 6);
    let (fast, slow) = (fast.end(), slow.end());
    let made = |said: &[Value]| said.iter().filter(|line| line["event"] == "backup").count();
    assert!(made(&fast) >= 5 && made(&slow) <= 2, "{} and {}", made(&fast), made(&slow));
    let backups = listed(&repository);
    assert_eq!(backups.len(), made(&fast) + made(&slow));
    let moments = moments(&backups);
    assert!(moments.windows(2).all(|pair| pair[1] - pair[0] >= 1), "{moments:?}");
    for pair in backups.windows(2) {
        assert!(pair[0]["ended"].as_str() <= pair[1]["begun"].as_str(), "{pair:?} overlap");
    }
}

#[test]
fn agents_that_are_killed_leave_what_restores_and_what_was_begun_is_made() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), repository(&folder));
    expect(0, &["load", "synthetic://?files=100000&seed=7", &source]);
    let args = [source.as_str(), &repository, "--every", "1h", "--verify-every", "0s", "--threads", "1"];
    // The first is killed in its first backup: the next makes that one, though the volume says that it is not time.
    let first = Agent::start(&folder, "first", &args);
    until("something is there", || std::path::Path::new(&folder.path("repository/lease")).exists());
    std::thread::sleep(Duration::from_millis(20));
    first.kill();
    if listed(&repository).is_empty() {
        let (code, said) = once(&args);
        assert_eq!(code, Some(0), "{said:?}");
    }
    assert_eq!(listed(&repository).len(), 1);
    let (_, said) = once(&args);
    assert_eq!(said[0]["event"], "waiting");
    let args = [source.as_str(), &repository, "--every", "1s", "--verify-every", "0s", "--threads", "1"];
    for round in 0..6_u64 {
        let agent = Agent::start(&folder, &format!("killed-{round}"), &args);
        std::thread::sleep(Duration::from_millis(300 + round * 217));
        agent.kill();
    }
    let backups = listed(&repository);
    assert!(backups.len() > 2, "{}", backups.len());
    for backup in &backups {
        expect(0, &["verify", &format!("{repository}@{}", backup["name"].as_str().unwrap())]);
    }
    expect(0, &["verify", &source, &repository]);
}

#[test]
fn an_agent_that_is_told_to_end_abandons_its_backup_and_the_next_makes_it() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), repository(&folder));
    expect(0, &["load", "synthetic://?files=400000&seed=7", &source]);
    let args = [source.as_str(), &repository, "--verify-every", "0s", "--threads", "1"];
    let agent = Agent::start(&folder, "agent", &args);
    until("the backup is under way", || std::path::Path::new(&folder.path("repository/packs")).exists());
    let said = agent.end();
    assert!(said.iter().all(|line| line["event"] != "backup"), "it was too quick to be told: {said:?}");
    assert!(listed(&repository).is_empty() && stamp(&source).is_some());
    let (code, said) = once(&args);
    assert!(code == Some(0) && listed(&repository).len() == 1, "{said:?}");
}

#[test]
fn a_backup_that_is_far_smaller_stops_the_pruning_until_it_is_acknowledged() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), repository(&folder));
    expect(0, &["load", "synthetic://?files=1000&dirs=10&seed=7", &source]);
    let turn = || once(&[&source, &repository, "--every", "1s", "--verify-every", "0s", "--keep-last", "1"]);
    assert_eq!(turn().0, Some(0));
    std::thread::sleep(Duration::from_millis(2100));
    let database = rusqlite::Connection::open(folder.path("volume.db")).unwrap();
    let gone = "inode IN (SELECT inode FROM jfs_edge WHERE type = 1 AND inode % 2 = 0)";
    for table in ["jfs_node", "jfs_chunk", "jfs_xattr", "jfs_edge"] {
        database.execute(&format!("DELETE FROM {table} WHERE {gone} AND inode > 1"), []).unwrap();
    }
    let (_, said) = turn();
    let suspect = said.iter().find(|line| line["event"] == "suspect").unwrap_or_else(|| unreachable!("{said:?}"));
    let name = suspect["name"].as_str().unwrap().to_owned();
    assert!(said.iter().any(|line| line["event"] == "held_back"), "{said:?}");
    assert_eq!(listed(&repository).len(), 2);
    expect(4, &["prune", "--keep-last", "1", &repository]);
    let told = expect(0, &["prune", "--dry-run", "--keep-last", "1", &repository]);
    assert!(told.contains(&format!("kept: {name} is suspect")), "{told}");
    assert!(expect(3, &["status", &repository]).contains(&format!("suspect: {name}")));
    expect(0, &["acknowledge", &format!("{repository}@{name}")]);
    expect(0, &["status", &repository]);
    expect(0, &["prune", "--keep-last", "1", &repository]);
    assert_eq!(listed(&repository).len(), 1);
}

#[test]
fn an_account_that_may_only_read_and_a_volume_that_is_too_large() {
    let folder = Folder::new();
    let (source, repository) = (folder.sqlite("volume.db"), repository(&folder));
    expect(0, &["load", SMALL, &source]);
    let (code, said) = once(&[&source, &repository, "--skip-above", "100"]);
    assert!(code == Some(3) && said[0]["event"] == "skipped", "{said:?}");
    let args = [source.as_str(), &repository, "--no-shared-timestamp", "--skip-above", "100000"];
    assert_eq!(once(&args).0, Some(0));
    assert_eq!((stamp(&source), listed(&repository).len()), (None, 1));
    let (code, said) = once(&args);
    assert!(code == Some(0) && said[0]["event"] == "waiting", "{said:?}");
    expect(2, &["agent", "--once", SMALL, &repository]);
    assert_eq!(once(&[SMALL, &repository, "--no-shared-timestamp", "--max-duration", "1h"]).0, Some(0));
    assert_eq!(
        once(&["synthetic://?files=5000000&seed=5", &repository, "--no-shared-timestamp", "--max-duration", "1s"]).0,
        Some(1)
    );
    for wrong in [["--every", "0s"], ["--every", "soon"], ["--shrink-alarm", "0%"], ["--listen", "here"]] {
        expect(2, &["agent", &source, &repository, "--once", wrong[0], wrong[1]]);
    }
}
