//! Snapshots whose rows come from different moments: what is in conflict is mended by a load, and told to be.

use crate::kit::redis::Redis;
use crate::kit::{Folder, expect, expect_error};

const VOLUME: &str = "synthetic://?files=3000&seed=5";

/// Moves the entry of one file to the root, and adds one of another there, as if their nodes had been read before.
const LATER: &str = "
    local done = 0
    for _, key in ipairs(redis.call('KEYS', 'd[0-9]*')) do
        local all = redis.call('HGETALL', key)
        for at = 1, #all, 2 do
            local name, value = all[at], all[at + 1]
            local record = redis.call('GET', 'i' .. string.format('%d', struct.unpack('>I8', value:sub(2, 9))))
            local names = record and record:byte(51)
            if done < 2 and key ~= 'd1' and #key < 10 and value:byte(1) == 1 and names == 1 then
                if done == 0 then redis.call('HDEL', key, name) end
                redis.call('HSET', 'd1', 'later-' .. done, value)
                done = done + 1
            end
        end
    end
    return done";

#[test]
fn parents_follow_the_entries_of_a_fuzzy_snapshot() {
    let (folder, redis) = (Folder::new(), Redis::start());
    expect(0, &["load", VOLUME, &redis.url()]);
    assert_eq!(redis.cli(&["EVAL", LATER, "0"]).trim(), "2");
    let archive = folder.path("volume");
    expect_error(3, &["dump", &redis.url(), &archive, "--scan"]);
    let second = Redis::start();
    for target in [folder.sqlite("volume.db"), second.url()] {
        let told = expect_error(0, &["load", &archive, &target, "--verify"]);
        assert!(told.contains("mended: 2 of parents") && told.contains("1 is right"), "{told}");
        assert!(told.contains("0 is right; 2 parent rows do not count its edges"), "{told}");
        for source in [&archive, &redis.url()] {
            let told = expect(3, &["verify", source, &target]);
            assert!(told.contains("all of them mended by the load"), "{told}");
        }
        expect(0, &["dump", &target, &folder.path("sound"), "--quiet"]);
        std::fs::remove_file(folder.path("sound")).unwrap();
    }
    expect(0, &["verify", &folder.sqlite("volume.db"), &second.url()]);
}
