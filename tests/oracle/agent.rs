//! An agent and a stock client that backs up too: each looks at the stamp that the other sets, so whoever has the shorter period
//! makes the backups. The client reads and writes it in two steps, between which an agent may come: such backups are counted.

use std::path::Path;
use std::time::{Duration, Instant};

use super::kit::{Mount, juicefs};
use crate::agent::{Agent, listed};
use crate::kit::redis::Redis;
use crate::kit::{Folder, expect};

/// How many backups the client has put into its bucket.
fn dumps(folder: &Folder) -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(&folder.path("bucket/shared/meta"))).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("dump-") && name.ends_with(".json.gz")).collect()
}

/// Lets both work for a while; how many backups the agent made, and how many the client.
fn together(url: &str, agent_every: &str, client_every: &str) -> (usize, usize) {
    let folder = Folder::new();
    juicefs(&["format", url, "shared", "--bucket", &folder.path("bucket/")]);
    let repository = format!("repo+file://{}", folder.path("repository"));
    let mount = Mount::with(&folder, url, &["--backup-meta", client_every], &[]);
    std::fs::create_dir(mount.path("some")).unwrap();
    let agent = Agent::start(&folder, "agent", &[url, &repository, "--every", agent_every, "--verify-every", "0s"]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(14) {
        std::thread::sleep(Duration::from_millis(100));
        std::fs::write(mount.path("some").join("file"), format!("{:?}", begun.elapsed())).unwrap();
    }
    let said = agent.end();
    mount.end();
    assert!(said.iter().all(|line| line["level"] != "error"), "{said:?}");
    let backups = listed(&repository);
    for backup in &backups {
        expect(0, &["verify", &format!("{repository}@{}", backup["name"].as_str().unwrap())]);
    }
    let moments: Vec<String> = backups.iter().map(|backup| backup["begun"].as_str().unwrap().to_owned()).collect();
    println!("agent every {agent_every}: {moments:?}; client every {client_every}: {:?}", dumps(&folder));
    (backups.len(), dumps(&folder).len())
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn an_agent_with_the_shorter_period_leaves_the_client_nothing_to_do() {
    let redis = Redis::start();
    let (agent, client) = together(&redis.url(), "2s", "5s");
    assert!(agent >= 5 && client <= 1, "{agent} of the agent, {client} of the client");
}

#[test]
#[cfg_attr(not(oracle), ignore = "wants a JuiceFS client in METAFERRY_JUICEFS")]
fn a_client_with_the_shorter_period_leaves_the_agent_nothing_to_do() {
    let folder = Folder::new();
    let (agent, client) = together(&folder.sqlite("volume.db"), "5s", "2s");
    assert!(client >= 4 && agent <= 1, "{agent} of the agent, {client} of the client");
}
