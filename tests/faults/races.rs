//! Two loads into the same target at once: one wins, the other is refused.

use std::time::Duration;

use super::kit::{Run, failed};
use crate::kit::redis::Redis;
use crate::kit::{Folder, expect};

const VOLUME: &str = "synthetic://?files=5000&seed=5";

fn one_wins(verb: &str, target: &str) {
    let runs = [0; 3].map(|_| Run::start(&[verb, VOLUME, target]));
    let outputs = runs.map(|run| run.end(Duration::from_secs(30)));
    let (won, lost): (Vec<_>, Vec<_>) = outputs.iter().partition(|output| output.status.code() == Some(0));
    assert_eq!(won.len(), 1, "{outputs:?}");
    lost.iter().for_each(|output| drop(failed(4, output)));
    expect(0, &["verify", VOLUME, target]);
}

#[test]
fn of_two_loads_into_one_target_one_wins() {
    for _ in 0..3 {
        let (folder, redis) = (Folder::new(), Redis::start());
        one_wins("dump", &folder.path("volume"));
        one_wins("load", &folder.sqlite("volume.db"));
        one_wins("load", &redis.url());
        assert_eq!(folder.names(), ["volume", "volume.db"]);
    }
}
