//! An agent and a stock client that backs up too: each looks at the stamp that the other sets, so whoever has the shorter period
//! makes the backups. The client reads and writes it in two steps, between which an agent may come: such backups are counted.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::kit::{Mount, juicefs};
use crate::agent::{Agent, listed};
use crate::kit::redis::Redis;
use crate::kit::{Folder, expect};
use crate::s3::agents_killed_at_random;

/// How many backups the client has put into its bucket.
fn dumps(folder: &Folder) -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(&folder.path("bucket/shared/meta"))).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("dump-") && name.ends_with(".json.gz")).collect()
}

/// What came of agents and a client that were at work together.
struct Together {
    /// When the agents began their backups, in seconds.
    agents: Vec<i64>,
    /// When the client began its own.
    client: Vec<i64>,
    /// How many backups of the client fall into one of an agent's, or begin in the same second.
    overlaps: usize,
}

/// Lets all work for a while, with these periods.
fn together(url: &str, agents_every: &[&str], client_every: &str) -> Together {
    let folder = Folder::new();
    juicefs(&["format", url, "shared", "--bucket", &folder.path("bucket/")]);
    let repository = format!("repo+file://{}", folder.path("repository"));
    let mount = Mount::with(&folder, url, &["--backup-meta", client_every], &[]);
    std::fs::create_dir(mount.path("some")).unwrap();
    let start = |(number, every): (usize, &&str)| {
        let args = [url, &repository, "--every", every, "--verify-every", "0s"];
        Agent::start(&folder, &format!("agent-{number}"), &args)
    };
    let agents: Vec<Agent> = agents_every.iter().enumerate().map(start).collect();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(14) {
        std::thread::sleep(Duration::from_millis(100));
        std::fs::write(mount.path("some").join("file"), format!("{:?}", begun.elapsed())).unwrap();
    }
    for agent in agents {
        let said = agent.end();
        assert!(said.iter().all(|line| line["level"] != "error"), "{said:?}");
    }
    mount.end();
    let backups = listed(&repository);
    for backup in &backups {
        expect(0, &["verify", &format!("{repository}@{}", backup["name"].as_str().unwrap())]);
    }
    let at = |backup: &Value, what: &str| backup[what].as_str().unwrap().parse::<Timestamp>().unwrap().as_second();
    let stretches: Vec<_> = backups.iter().map(|backup| (at(backup, "begun"), at(backup, "ended"))).collect();
    for pair in stretches.windows(2) {
        assert!(
            pair[0].1 <= pair[1].0,
            "of two backups of agents the second began before the first had ended: {pair:?}"
        );
    }
    let client: Vec<i64> = dumps(&folder).iter().map(|name| moment(name)).collect();
    let falls_into_one = |at: &&i64| stretches.iter().any(|(begun, ended)| (begun..=ended).contains(at));
    let overlaps = client.iter().filter(falls_into_one).count();
    let agents: Vec<i64> = stretches.iter().map(|stretch| stretch.0).collect();
    println!(
        "agents every {agents_every:?}: {agents:?}; client every {client_every}: {client:?}; {overlaps} of the client's began \
         while an agent made one: it reads the stamp and sets it in two steps, between which an agent may have come"
    );
    Together { agents, client, overlaps }
}

/// When a dump of the client was begun, by its name.
fn moment(name: &str) -> i64 {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    let (date, time) = digits.split_at(8);
    let text = format!("{date}T{time}Z");
    text.parse::<Timestamp>().unwrap().as_second()
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn agents_with_the_shorter_period_leave_the_client_nothing_to_do() {
    let redis = Redis::start();
    let Together { agents, client, overlaps } = together(&redis.url(), &["2s", "4s"], "5s");
    assert!(agents.len() >= 5 && client.len() <= 1, "{agents:?} of the agents, {client:?} of the client");
    assert!(agents.windows(2).all(|pair| pair[1] - pair[0] >= 1), "no two in one period: {agents:?}");
    assert!(overlaps <= 1, "{overlaps} overlaps");
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn a_client_with_the_shorter_period_leaves_the_agents_nothing_to_do() {
    let folder = Folder::new();
    let Together { agents, client, overlaps } = together(&folder.sqlite("volume.db"), &["5s", "9s"], "2s");
    assert!(client.len() >= 4 && agents.len() <= 1, "{agents:?} of the agents, {client:?} of the client");
    assert!(overlaps <= agents.len(), "{overlaps} overlaps");
}

/// Some files come, some grow, some go, some move.
fn write(folder: &Path, step: u64) {
    let name = |number: u64| folder.join(format!("{}/file-{number}", number % 10));
    std::fs::create_dir_all(folder.join((step % 10).to_string())).unwrap();
    std::fs::write(name(step), vec![b'x'; (step * 631 % 9000) as usize]).unwrap();
    if let Some(earlier) = step.checked_sub(30) {
        match step % 4 {
            0 => drop(std::fs::remove_file(name(earlier))),
            1 => drop(std::fs::rename(name(earlier), folder.join(format!("{}/moved-{earlier}", step % 10)))),
            2 => drop(std::fs::write(name(earlier), b"written once more")),
            _ => drop(std::fs::hard_link(name(earlier), folder.join(format!("0/link-{earlier}")))),
        }
    }
}

#[test]
#[cfg_attr(
    not(all(oracle, s3)),
    ignore = "wants a JuiceFS client in METAFERRY_JUICEFS and an S3 server in METAFERRY_MOTO"
)]
fn a_volume_that_a_client_writes_to_is_backed_up_by_agents_that_are_killed() {
    let (folder, redis) = (Folder::new(), Redis::start());
    juicefs(&["format", &redis.url(), "shared", "--bucket", &folder.path("bucket/")]);
    let mount = Mount::with(&folder, &redis.url(), &["--backup-meta", "0"], &[]);
    let root = mount.path("some");
    let seconds = std::env::var("METAFERRY_SOAK_SECONDS").map_or(20, |seconds| seconds.parse().unwrap());
    let backups = agents_killed_at_random(&redis.url(), Duration::from_secs(seconds), |step| write(&root, step));
    mount.end();
    assert!(backups >= 3, "{backups} backups");
}
