//! A to B to A for every pair of stores, with a volume that has everything.

use crate::kit::mariadb::MariaDb;
use crate::kit::postgres::Postgres;
use crate::kit::redis::Redis;
use crate::kit::{Folder, archive_rows, expect};

const VOLUME: &str = "synthetic://?files=3000&seed=11";

#[test]
fn a_volume_survives_every_way_round() {
    let folder = Folder::new();
    let redis = Redis::start();
    let (archive, again) = (folder.path("volume"), folder.path("again"));
    let (sqlite, second) = (folder.sqlite("one.db"), folder.sqlite("two.db"));
    expect(0, &["load", VOLUME, &sqlite, "--verify"]);
    expect(0, &["verify", VOLUME, &sqlite]);
    expect(0, &["dump", &sqlite, &archive]);
    expect(0, &["migrate", &sqlite, &redis.url()]);
    expect(0, &["migrate", &redis.url(), &second]);
    expect(0, &["dump", &second, &again]);
    assert_eq!(archive_rows(&archive), archive_rows(&again));
    for other in [&archive, &again, &redis.url(), &second] {
        expect(0, &["verify", &sqlite, other]);
    }
    expect(0, &["load", &archive, &redis.database(1)]);
    expect(0, &["verify", &redis.database(1), &archive]);
}

#[test]
fn a_volume_survives_every_way_through_postgres() {
    let (folder, redis, postgres) = (Folder::new(), Redis::start(), Postgres::start());
    let (sqlite, second, third) = (folder.sqlite("one.db"), postgres.database("second"), postgres.database("third"));
    expect(0, &["load", VOLUME, &sqlite]);
    expect(0, &["migrate", &sqlite, &second]);
    expect(0, &["migrate", &second, &third, "--threads", "7"]);
    expect(0, &["migrate", &third, &redis.url()]);
    let fourth = postgres.database("fourth");
    expect(0, &["migrate", &redis.url(), &fourth, "--threads", "1"]);
    expect(0, &["migrate", &fourth, &folder.sqlite("two.db")]);
    for other in [&second, &third, &redis.url(), &postgres.socket("fourth"), &folder.sqlite("two.db")] {
        expect(0, &["verify", &sqlite, other]);
        expect(0, &["verify", other, &sqlite, "--threads", "1"]);
    }
}

#[test]
fn a_volume_survives_every_way_through_mariadb() {
    let (folder, redis, mariadb) = (Folder::new(), Redis::start(), MariaDb::start());
    let postgres = Postgres::start();
    let (sqlite, second, third) = (folder.sqlite("one.db"), mariadb.database("second"), mariadb.database("third"));
    expect(0, &["load", VOLUME, &sqlite]);
    expect(0, &["migrate", &sqlite, &second]);
    expect(0, &["migrate", &second, &third]);
    expect(0, &["migrate", &third, &redis.url()]);
    let (fourth, fifth) = (mariadb.database("fourth"), postgres.database("fifth"));
    expect(0, &["migrate", &redis.url(), &fourth, "--threads", "1"]);
    expect(0, &["migrate", &fourth, &fifth]);
    for other in [&second, &third, &redis.url(), &mariadb.socket("fourth"), &fifth] {
        expect(0, &["verify", &sqlite, other]);
        expect(0, &["verify", other, &sqlite, "--threads", "1"]);
    }
}

#[test]
fn the_archive_is_the_same_rows_whatever_the_threads() {
    let folder = Folder::new();
    let (one, many) = (folder.path("one"), folder.path("many"));
    expect(0, &["dump", VOLUME, &one, "--threads", "1"]);
    expect(0, &["dump", VOLUME, &many, "--threads", "5", "--memory", "16"]);
    assert_eq!(archive_rows(&one), archive_rows(&many));
}
