//! What holds of every engine, written once: what is loaded is read again, what is there is left alone, what was not finished
//! is no volume, and what a volume says wrong of itself is set right.

use std::time::{Duration, Instant};

use crate::kit::engine::{Engine, at_once, copied, dumped, engines, loaded};
use crate::kit::run::{ENDLESS, Run, failed, no_volume, until};
use crate::kit::{Folder, archive_rows, expect, expect_error, metaferry};

const VOLUME: &str = "synthetic://?files=3000&seed=5";
/// One whose load takes a while.
const LONGER: &str = "synthetic://?files=10000&seed=5";
/// How soon a run has ended that was interrupted, or lost a race.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn what_was_loaded_is_read_again_whatever_the_threads() {
    let rows = dumped(VOLUME, &[]);
    for engine in engines() {
        let place = engine.place();
        expect(0, &["load", VOLUME, &place, "--verify", "--threads", "7"]);
        for threads in ["1", "7"] {
            assert_eq!(rows, dumped(&place, &["--threads", threads]), "{} by {threads}", engine.name());
        }
        let again = engine.place();
        expect(0, &["migrate", &place, &again, "--threads", "1"]);
        expect(0, &["verify", &place, &again, "--threads", "3"]);
        expect(0, &["verify", &again, VOLUME]);
    }
}

#[test]
fn a_place_that_holds_a_volume_is_refused_and_left_alone() {
    for engine in engines() {
        let other = loaded(engine.as_ref(), VOLUME);
        let place = engine.place();
        let beside = engine.beside(&place);
        expect(0, &["load", VOLUME, &place]);
        let before = engine.contents(&place);
        for args in [&["load", VOLUME, &place][..], &["migrate", &other, &place]] {
            let error = expect_error(4, args);
            assert!(
                error.contains("holds the volume") || error.contains("is in it") || error.contains("not empty"),
                "{error}"
            );
        }
        assert_eq!(engine.contents(&place), before, "{}", engine.name());
        assert_eq!(engine.beside(&place), beside);
        expect(0, &["verify", VOLUME, &place]);
    }
}

#[test]
fn a_load_under_way_is_no_volume_and_lets_no_other_in() {
    at_once(|engine| {
        let place = engine.place();
        let run = Run::start(&["load", ENDLESS, &place]);
        until("the load writes", || engine.extent(&place) >= engine.begun());
        no_volume(&place);
        let error = expect_error(4, &["load", VOLUME, &place]);
        assert!(error.contains("under way"), "{error}");
        run.kill();
        no_volume(&place);
        expect(0, &["load", VOLUME, &place, "--verify"]);
        assert!(!engine.has_traces(&place), "{}", engine.name());
    });
}

/// How long a load takes that is not disturbed.
fn undisturbed(engine: &dyn Engine, place: &str) -> Duration {
    let begun = Instant::now();
    expect(0, &["load", LONGER, place, "--verify"]);
    let whole = begun.elapsed();
    engine.empty(place);
    whole
}

#[test]
fn a_load_killed_at_any_moment_is_no_volume_and_the_next_one_works() {
    at_once(|engine| {
        let place = engine.place();
        let whole = undisturbed(engine, &place);
        for round in 0..6 {
            let run = Run::start(&["load", LONGER, &place, "--verify"]);
            std::thread::sleep(whole * ((round * 5 + 3) % 6) / 6);
            run.kill();
            let info = metaferry(&["info", &place]);
            if info.status.code() == Some(0) {
                // It was done before it was killed.
                expect(0, &["verify", LONGER, &place]);
                engine.empty(&place);
            } else {
                failed(1, &info);
            }
        }
        expect(0, &["load", LONGER, &place, "--verify"]);
        assert!(!engine.has_traces(&place), "{}", engine.name());
    });
}

#[test]
fn a_load_interrupted_at_any_moment_leaves_nothing() {
    at_once(|engine| {
        let place = engine.place();
        let whole = undisturbed(engine, &place);
        for sixth in 0..6 {
            let run = Run::start(&["load", LONGER, &place, "--verify"]);
            std::thread::sleep(Duration::from_millis(20) + whole * sixth / 6);
            run.interrupt();
            let output = run.end(SOON);
            if output.status.code() == Some(0) {
                expect(0, &["verify", LONGER, &place]);
                engine.empty(&place);
            } else {
                failed(130, &output);
                no_volume(&place);
            }
            assert_eq!(engine.extent(&place), 0, "{}", engine.name());
        }
        expect(0, &["load", VOLUME, &place]);
    });
}

fn one_wins(verb: &str, target: &str) {
    let runs = [0; 3].map(|_| Run::start(&[verb, VOLUME, target]));
    let outputs = runs.map(|run| run.end(SOON));
    let (won, lost): (Vec<_>, Vec<_>) = outputs.iter().partition(|output| output.status.code() == Some(0));
    assert_eq!(won.len(), 1, "{outputs:?}");
    lost.iter().for_each(|output| drop(failed(4, output)));
    expect(0, &["verify", VOLUME, target]);
}

#[test]
fn of_several_loads_into_one_place_one_wins() {
    let folder = Folder::new();
    for round in 0..3 {
        one_wins("dump", &folder.path(&format!("volume-{round}")));
    }
    assert_eq!(folder.names().len(), 3);
    for engine in engines() {
        for _ in 0..2 {
            let place = engine.place();
            one_wins("load", &place);
            assert!(!engine.has_traces(&place), "{}", engine.name());
        }
    }
}

#[test]
fn a_volume_that_clients_have_mounted_is_not_migrated_unasked() {
    for engine in engines() {
        let (source, target) = (loaded(engine.as_ref(), VOLUME), engine.place());
        engine.mount(&source);
        let error = expect_error(4, &["migrate", &source, &target]);
        assert!(error.contains("1 live sessions") && error.contains("--live"), "{error}");
        assert_eq!(engine.extent(&target), 0, "{}", engine.name());
        expect(0, &["migrate", "--live", &source, &target]);
        expect(0, &["verify", VOLUME, &target]);
        // Nobody has the copy mounted.
        expect(0, &["migrate", &target, &engine.place()]);
    }
}

#[test]
fn counters_that_are_wrong_are_set_right_unless_they_are_to_be_kept() {
    for engine in engines() {
        let (source, target, kept) = (loaded(engine.as_ref(), VOLUME), engine.place(), engine.place());
        engine.miscount(&source);
        let told = copied(&["dump", &source, &Folder::new().path("volume")]);
        assert!(told.contains("usedSpace"), "{told}");
        let told = copied(&["migrate", &source, &target]);
        assert!(told.contains("mended") && told.contains("usedSpace"), "{told}");
        expect(0, &["verify", VOLUME, &target]);
        copied(&["migrate", "--keep-counters", &source, &kept]);
        expect(0, &["verify", &source, &kept]);
        expect(3, &["verify", VOLUME, &kept]);
    }
}

#[test]
fn secrets_go_from_engine_to_engine_and_into_no_file_unasked() {
    let engines = engines();
    let source = engines[0].fixture("tour").unwrap();
    let settings = |source: &str, option: &str| {
        let folder = Folder::new();
        copied(&["dump", source, &folder.path("volume"), option]);
        let rows = archive_rows(&folder.path("volume"));
        rows.into_iter().filter(|row| row.starts_with("setting ")).collect::<String>()
    };
    let secrets = settings(&source, "--keep-secrets");
    assert!(secrets.contains("SecretKey") && !secrets.contains("removed"), "{secrets}");
    for engine in &engines {
        let place = engine.place();
        copied(&["migrate", "--live", &source, &place]);
        assert_eq!(settings(&place, "--keep-secrets"), secrets, "{}", engine.name());
        assert!(settings(&place, "--quiet").contains("removed"), "{}", engine.name());
    }
}
