//! Ways to servers of SQL that break: connections cut after any number of bytes, and those that carry nothing any more.

use std::time::Duration;

use super::kit::{ENDLESS, Run, failed, no_volume, until, writes};
use crate::kit::proxy::{Break, Proxy};
use crate::kit::sql::{Sql, at_once, both};
use crate::kit::{Folder, expect, metaferry};

const VOLUME: &str = "synthetic://?files=1500&seed=5";

/// Bytes after which to cut: before the first, in the midst of a greeting, of what is asked, of rows, of the end.
fn places(whole: u64) -> [u64; 10] {
    [0, 1, 77, 1_000, whole / 7 + 3, whole / 3, whole / 2 + 1, whole * 4 / 5, whole - whole / 50, whole - 40]
}

/// What a whole run sends and gets.
fn traffic(server: &dyn Sql, database: &str, args: &[&str]) -> u64 {
    let proxy = Proxy::new(server.port(), u64::MAX, Break::Cut);
    let url = server.by_way_of(proxy.port(), database);
    expect(0, &args.iter().map(|arg| if *arg == "URL" { &url } else { *arg }).collect::<Vec<_>>());
    proxy.passed()
}

#[test]
fn a_load_whose_connections_are_cut_leaves_no_volume_and_the_next_one_works() {
    at_once(|server| {
        let url = server.create("cut_load");
        let whole = traffic(server, "cut_load", &["load", VOLUME, "URL"]);
        server.empty("cut_load");
        for place in places(whole) {
            let proxy = Proxy::new(server.port(), place, Break::Cut);
            let output = metaferry(&["load", VOLUME, &server.by_way_of(proxy.port(), "cut_load")]);
            if output.status.code() == Some(0) {
                // It was done, but for its good-byes.
                assert!(place > whole * 9 / 10, "{place} of {whole}");
            } else {
                let error = failed(1, &output);
                assert!(error.contains("the connection failed"), "{place} of {whole}: {error}");
                if !error.contains("may have arrived") {
                    no_volume(&url);
                    expect(0, &["load", VOLUME, &url]);
                }
            }
            expect(0, &["verify", VOLUME, &url]);
            server.empty("cut_load");
        }
    });
}

#[test]
fn a_dump_whose_connections_are_cut_leaves_nothing() {
    at_once(|server| {
        let (folder, url) = (Folder::new(), server.create("cut_dump"));
        expect(0, &["load", VOLUME, &url]);
        let whole = traffic(server, "cut_dump", &["dump", "URL", &folder.path("whole")]);
        for place in places(whole) {
            let proxy = Proxy::new(server.port(), place, Break::Cut);
            let target = folder.path("volume");
            let output = metaferry(&["dump", &server.by_way_of(proxy.port(), "cut_dump"), &target]);
            if output.status.code() == Some(0) {
                assert!(place > whole * 9 / 10, "{place} of {whole}");
                expect(0, &["verify", VOLUME, &target]);
                std::fs::remove_file(&target).unwrap();
            } else {
                let error = failed(1, &output);
                assert!(error.contains("the connection failed"), "{place} of {whole}: {error}");
            }
            assert_eq!(folder.names(), ["whole"]);
        }
        expect(0, &["dump", &url, &folder.path("volume")]);
    });
}

#[test]
fn a_way_that_carries_nothing_any_more_is_not_waited_for_once_interrupted() {
    at_once(|server| {
        let (folder, url) = (Folder::new(), server.create("silent"));
        let proxy = Proxy::new(server.port(), 3_000_000, Break::Silence);
        let run = Run::start(&["load", ENDLESS, &server.by_way_of(proxy.port(), "silent")]);
        until("the way is broken", || proxy.is_broken());
        std::thread::sleep(Duration::from_millis(100));
        run.interrupt();
        // It tries to clear what it has written, for five seconds.
        failed(130, &run.end(Duration::from_secs(8)));
        drop(proxy);
        no_volume(&url);
        expect(0, &["load", VOLUME, &url, "--verify"]);
        for silent_after in [0, 60, 100_000] {
            let proxy = Proxy::new(server.port(), silent_after, Break::Silence);
            let run = Run::start(&["dump", &server.by_way_of(proxy.port(), "silent"), &folder.path("volume")]);
            until("the way is broken", || proxy.is_broken());
            std::thread::sleep(Duration::from_millis(100));
            run.interrupt();
            failed(130, &run.end(Duration::from_secs(3)));
            assert_eq!(folder.names(), [""; 0]);
        }
    });
}

/// Begins a load, and ends the session that has claimed the target for it.
fn orphaned(server: &dyn Sql, volume: &str, url: &str) -> Run {
    let run = Run::start(&["load", volume, url]);
    until("the load has its tables", || server.names("ended").len() > 23);
    assert!(server.end_oldest("ended"));
    run
}

#[test]
fn a_load_whose_first_session_is_ended_is_no_volume_and_lets_no_other_in_before_it_is_over() {
    at_once(|server| {
        let url = server.create("ended");
        let run = orphaned(server, ENDLESS, &url);
        let error = failed(4, &metaferry(&["load", VOLUME, &url]));
        assert!(error.contains("another load into it is under way"), "{error}");
        run.interrupt();
        failed(130, &run.end(Duration::from_secs(15)));
        assert_eq!(server.names("ended"), [""; 0]);
        let run = orphaned(server, "synthetic://?files=30000&seed=5", &url);
        failed(1, &run.end(Duration::from_secs(30)));
        assert_eq!(server.names("ended"), [""; 0]);
        expect(0, &["load", VOLUME, &url, "--verify"]);
    });
}

#[test]
fn a_dump_whose_first_session_is_ended_is_told_and_leaves_nothing() {
    for server in both() {
        let (folder, url) = (Folder::new(), server.create("orphan"));
        expect(0, &["load", "synthetic://?files=100000&seed=5", &url]);
        let run = Run::start(&["dump", &url, &folder.path("volume"), "--threads", "2"]);
        until("the dump writes", || writes(&folder));
        // The one whose snapshot the others have taken on.
        assert!(server.end_oldest("orphan"));
        let error = failed(1, &run.end(Duration::from_secs(20)));
        assert!(error.contains("the server ended the session") || error.contains("the connection"), "{error}");
        assert_eq!(folder.names(), [""; 0]);
    }
}
