//! Every volume there is, from every engine to every other and back: the same rows as before.

use crate::kit::engine::{Engine, copied, dumped, engines, loaded};
use crate::kit::run::failed;
use crate::kit::{Folder, archive_rows, expect, metaferry};

/// A volume that has everything.
const SYNTHETIC: &str = "synthetic://?files=3000&seed=11";

/// The volume in an engine: as JuiceFS wrote it there, else a copy of what it wrote in SQLite; `None` where it does not fit.
fn origin(engine: &dyn Engine, sqlite: &dyn Engine, volume: &str) -> Option<String> {
    if volume == SYNTHETIC {
        return Some(loaded(engine, volume));
    }
    engine.fixture(volume).or_else(|| carried(&sqlite.fixture(volume).unwrap(), engine, volume))
}

/// A copy of a volume in an engine; `None` where that has no room for some of its values, which is said by column or row.
fn carried(source: &str, engine: &dyn Engine, volume: &str) -> Option<String> {
    let place = engine.place();
    if volume == "wideid" && ["postgres", "mariadb"].contains(&engine.name()) {
        // Told before anything is read where that can be known, else by the first such row.
        let output = metaferry(&["migrate", "--live", source, &place]);
        let error = failed(if source.starts_with("sqlite3") { 4 } else { 1 }, &output);
        assert!(error.contains("jfs_node.uid holds") || error.contains(" cannot hold it"), "{error}");
        assert_eq!(engine.extent(&place), 0);
        return None;
    }
    copied(&["migrate", "--live", "--keep-counters", source, &place]);
    Some(place)
}

fn every_way_round(volume: &str) {
    let engines = engines();
    for first in &engines {
        let Some(origin) = origin(first.as_ref(), engines[0].as_ref(), volume) else { continue };
        let rows = dumped(&origin, &[]);
        for second in engines.iter().filter(|second| second.name() != first.name()) {
            let Some(there) = carried(&origin, second.as_ref(), volume) else { continue };
            let back = carried(&there, first.as_ref(), volume).unwrap();
            assert_eq!(rows, dumped(&back, &[]), "{volume} from {} to {} and back", first.name(), second.name());
        }
    }
}

#[test]
fn the_empty_volume_survives_every_way_round() {
    every_way_round("empty");
}

#[test]
fn the_encrypted_volume_survives_every_way_round() {
    every_way_round("encrypted");
}

#[test]
fn the_legacy_volume_survives_every_way_round() {
    every_way_round("legacy");
}

#[test]
fn the_plain_volume_survives_every_way_round() {
    every_way_round("plain");
}

#[test]
fn the_tour_survives_every_way_round() {
    every_way_round("tour");
}

#[test]
fn the_volume_of_wide_ids_survives_every_way_round_where_it_fits() {
    every_way_round("wideid");
}

#[test]
fn a_volume_that_has_everything_survives_every_way_round() {
    every_way_round(SYNTHETIC);
}

#[test]
fn the_archive_is_the_same_rows_whatever_the_threads() {
    let folder = Folder::new();
    let (one, many) = (folder.path("one"), folder.path("many"));
    expect(0, &["dump", SYNTHETIC, &one, "--threads", "1"]);
    expect(0, &["dump", SYNTHETIC, &many, "--threads", "5", "--memory", "16"]);
    assert_eq!(archive_rows(&one), archive_rows(&many));
}
