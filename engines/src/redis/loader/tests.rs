//! Tests of a loader, against a real server.

use std::time::Duration;

use metaferry_codecs::juicefs::redis_keys::{LOCK, MARK};

use super::super::server::Server;
use super::super::volume::Volume;
use super::*;

#[test]
fn a_loader_without_work_keeps_its_lock_and_sees_that_it_was_taken() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    let claim = Claim::take(&mut other, Volume::at(0, ""), "source", &|| Ok(())).unwrap();
    let hands = Hands::default();
    let mut loader = RedisLoader::new(Hand::new(server.connect(), claim, Stop::new()), &hands);
    let mut life = |loader: &mut RedisLoader| {
        other.command(&[b"PEXPIRE", LOCK, b"1000"]).unwrap();
        loader.idle().map(|()| other.command(&[b"PTTL", LOCK]).unwrap().integer().unwrap())
    };
    assert!(life(&mut loader).unwrap() <= 1000, "it was taken just now");
    let long_ago = Instant::now().checked_sub(RENEW_EVERY + Duration::from_secs(1)).unwrap();
    held(&loader.hand).renewed = long_ago;
    assert!(life(&mut loader).unwrap() > 100_000);
    server.connect().command(&[b"SET", MARK, b"someone else"]).unwrap();
    held(&loader.hand).renewed = long_ago;
    let error = life(&mut loader).unwrap_err();
    assert!(error.to_string().contains("mark is gone"), "{error}");
}
