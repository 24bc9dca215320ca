//! What is written is read, from files and pipes, by one and by many; nothing is ever replaced.

use metaferry_codecs::juicefs::{Batch, Chunk, JuiceFs, Kind, Slice, Slices};
use metaferry_codecs::system::{Batch as _, Kind as _};
use metaferry_pipeline::{Commit, ErrorKind, KindSet, Scope, Sink, Source, Stop};

use super::kit::*;
use crate::archive::{ArchiveSink, ArchiveSource, describe, read_header};

fn with_seal(mut batches: Vec<Batch>) -> Vec<Batch> {
    batches.push(seal());
    batches
}

#[test]
fn every_kind_survives_a_file_and_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl.zst");
    let expected = lines(&with_seal(volume()));
    let kinds = with_seal(volume()).iter().map(|batch| batch.kind()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(kinds.len() + 1, Kind::all().len(), "only links are never stored");
    write_file(&path, &volume()).unwrap();
    assert_eq!(lines(&read_file(&path).unwrap()), expected);
    assert_eq!(lines(&read(ArchiveSource::open(&path).unwrap(), 4).unwrap()), expected);
    let bytes = write_pipe(&volume());
    assert_eq!(lines(&read_pipe(&bytes).unwrap()), expected);
    assert_eq!(lines(&read_pipe(&std::fs::read(&path).unwrap()).unwrap()), expected);
    let source = ArchiveSource::pipe("-", Box::new(std::io::Cursor::new(bytes)));
    assert_eq!(lines(&read(source, 4).unwrap()), expected);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_named_pipe_is_written_and_read_straight() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let rows = std::thread::scope(|scope| {
        scope.spawn(|| write_file(&path, &wide(20_000)).unwrap());
        read(ArchiveSource::open(&path).unwrap(), 3).unwrap()
    });
    assert_eq!(tally(&rows), tally(&with_seal(wide(20_000))));
}

#[test]
fn many_segments_of_one_reader_come_by_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let batches = wide(100_000);
    write_file(&path, &batches).unwrap();
    let found = describe::<JuiceFs>(&path).unwrap();
    assert!(found.segments > 6, "{} segments", found.segments);
    assert_eq!(found.rows.values().sum::<u64>(), 300_001);
    assert_eq!(found.rows[&Kind::Setting], 1);
    assert!(Kind::all().iter().all(|&kind| found.ordered.contains(kind)));
    assert_eq!(found.tally, tally(&with_seal(batches.clone())));
    assert_eq!(found.largest.iter().find(|largest| largest.field == "uid").unwrap().value, 1006);
    assert_eq!(found.header.origin, "redis://host:6379/1");
    assert_eq!(read_header(&path).unwrap(), found.header);
    let snapshot = Source::<JuiceFs>::snapshot(Box::new(ArchiveSource::open(&path).unwrap()), 1, &Stop::new()).unwrap();
    assert!(Kind::all().iter().all(|&kind| snapshot.about().ordered.contains(kind)));
    let edges = Scope { kinds: Some([Kind::Edge].into()), ..Scope::default() };
    assert!(snapshot.plan(&edges).unwrap().iter().all(|partition| partition.kind == Some(Kind::Edge)));
    let rows = scan(&*snapshot, 2).unwrap();
    snapshot.finish().unwrap();
    assert_eq!(tally(&rows), found.tally);
    assert_eq!(lines(&rows), lines(&with_seal(batches)));
}

#[test]
fn several_loaders_write_one_archive_that_can_be_read_back_before_the_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let batches = wide(20_000);
    let mut sink = ArchiveSink::<JuiceFs>::create(&path, false).unwrap();
    assert!(sink.needs().strips_secrets);
    sink.prepare(&about(KindSet::ALL), &Stop::new()).unwrap();
    let mut loaders = [sink.loader().unwrap(), sink.loader().unwrap()];
    std::thread::scope(|scope| {
        for (loader, mine) in loaders.iter_mut().zip([0, 1]) {
            let batches = batches.iter().skip(mine).step_by(2);
            scope.spawn(move || batches.for_each(|batch| loader.load(batch.clone()).unwrap()));
        }
    });
    assert_eq!(sink.uncommitted().err().unwrap().kind(), ErrorKind::Bug, "a loader has not finished");
    loaders.into_iter().for_each(|loader| loader.finish().unwrap());
    let back = sink.uncommitted().unwrap();
    assert_eq!(tally(&scan(&*back, 2).unwrap()), tally(&batches));
    back.finish().unwrap();
    assert!(!path.exists());
    let all = tally(&with_seal(batches));
    Box::new(sink).commit(Commit { seal: seal(), tally: all.clone(), about: about(KindSet::ALL) }).unwrap();
    assert_eq!(tally(&read_file(&path).unwrap()), all);
}

#[test]
fn rows_too_many_for_a_segment_are_cut_and_a_row_too_long_is_refused() {
    let slices = |count| Slices(vec![Slice { pos: 1, id: 1 << 60, size: 1 << 30, off: 1, len: 1 << 20 }; count]);
    let chunk = |inode, count| Chunk { inode, index: 0, slices: slices(count) };
    let wide: Vec<Batch> = vec![(1..60).map(|inode| chunk(inode, 10_000)).collect::<Vec<_>>().into()];
    let bytes = write_pipe(&wide);
    assert_eq!(lines(&read_pipe(&bytes).unwrap()), lines(&with_seal(wide)));
    let long: Vec<Batch> = vec![vec![chunk(1, 300_000)].into()];
    let sink = ArchiveSink::pipe("-", Box::new(Shelf::default()), true);
    let error = write(sink, &long).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
}

#[test]
fn what_exists_is_refused_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    std::fs::write(&path, "mine").unwrap();
    let error = write_file(&path, &volume()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let late = folder.path().join("late");
    let mut sink = ArchiveSink::<JuiceFs>::create(&late, true).unwrap();
    sink.prepare(&about(KindSet::NONE), &Stop::new()).unwrap();
    std::fs::write(&late, "mine").unwrap();
    let commit = Commit { seal: seal(), tally: tally(&[seal()]), about: about(KindSet::NONE) };
    assert_eq!(Box::new(sink).commit(commit).unwrap_err().kind(), ErrorKind::Refused);
    for path in [path, late] {
        assert_eq!(std::fs::read(path).unwrap(), b"mine");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn what_is_dropped_or_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = ArchiveSink::<JuiceFs>::create(&folder.path().join("a"), true).unwrap();
    sink.prepare(&about(KindSet::NONE), &Stop::new()).unwrap();
    let mut loader = sink.loader().unwrap();
    loader.load(seal()).unwrap();
    drop((sink, loader));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let error = write_file("/dev/full".as_ref(), &wide(4096)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Engine);
    assert!(error.to_string().contains("/dev/full: write at byte 0"), "{error}");
    assert!(error.what_to_do().unwrap().contains("make room"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let error = write(ArchiveSink::pipe("-", Box::new(writer), true), &volume()).unwrap_err();
    assert_eq!(error.what_to_do(), Some("the reader of the pipe went away"));
    let mut pipe = ArchiveSink::<JuiceFs>::pipe("-", Box::new(Shelf::default()), true);
    pipe.prepare(&about(KindSet::NONE), &Stop::new()).unwrap();
    assert_eq!(pipe.uncommitted().err().unwrap().kind(), ErrorKind::Unsupported);
}
