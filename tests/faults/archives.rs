//! Archives that were cut, altered, lengthened, or come from a newer program.

use std::io::Cursor;
use std::path::Path;

use metaferry_codecs::archive::{Manifest, Packer, Trailer, Unpacker, sha256};
use metaferry_codecs::juicefs::{JuiceFs, Kind};
use metaferry_codecs::system::Advance;
use metaferry_engines::archive::ArchiveSource;
use metaferry_engines::sqlite::{SqliteAddress, SqliteSink};
use metaferry_pipeline::copy::{self, Options};
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{Error, ErrorKind, Monitor, Result, Stop};

use super::kit::{failed, no_volume, shell};
use crate::kit::redis::Redis;
use crate::kit::{Folder, expect, metaferry};

/// A small archive, whole.
fn small(folder: &Folder) -> Vec<u8> {
    expect(0, &["dump", "synthetic://?files=6&seed=2", &folder.path("small")]);
    let bytes = std::fs::read(folder.path("small")).unwrap();
    std::fs::remove_file(folder.path("small")).unwrap();
    bytes
}

fn options() -> Options {
    Options {
        threads: 1,
        memory_bytes: 16 << 20,
        spill: SpillDir::default(),
        keep_secrets: false,
        keep_counters: false,
        advance: Advance::default(),
        mend: false,
        skip_damaged: false,
        prove: false,
        live: true,
        strict: false,
    }
}

fn load(source: ArchiveSource, target: &str) -> Result<()> {
    let sink = SqliteSink::new(SqliteAddress::parse(target)?);
    copy::copy::<JuiceFs>(Box::new(source), Box::new(sink), &options(), &Monitor::default(), &Stop::new()).map(drop)
}

/// Loads the bytes through the library, out of a file or a pipe; that must fail.
#[track_caller]
fn refused(folder: &Folder, bytes: &[u8], as_pipe: bool) -> Error {
    let (path, target) = (folder.path("bad"), folder.sqlite("target.db"));
    let loaded = if as_pipe {
        load(ArchiveSource::pipe("pipe", Box::new(Cursor::new(bytes.to_vec()))), &target)
    } else {
        std::fs::write(&path, bytes).unwrap();
        ArchiveSource::open(Path::new(&path)).and_then(|source| load(source, &target))
    };
    let error = loaded.expect_err("it was loaded");
    assert!(!matches!(error.kind(), ErrorKind::Bug | ErrorKind::Stopped), "{error:?}");
    error
}

#[test]
fn an_archive_cut_anywhere_is_not_loaded() {
    let folder = Folder::new();
    let whole = small(&folder);
    for length in 0..whole.len() {
        refused(&folder, &whole[..length], false);
    }
    for length in (0..whole.len()).step_by(41) {
        refused(&folder, &whole[..length], true);
    }
    assert_eq!(folder.names(), ["bad"]);
}

#[test]
fn an_archive_with_a_flipped_bit_is_not_loaded() {
    let folder = Folder::new();
    let whole = small(&folder);
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place * 7 % 8);
        refused(&folder, &bytes, place % 2 == 0);
    }
    assert_eq!(folder.names(), ["bad"]);
}

#[test]
fn a_bad_archive_leaves_an_engine_empty() {
    let (folder, redis) = (Folder::new(), Redis::start());
    let whole = small(&folder);
    let mut cases: Vec<Vec<u8>> = (0..30).map(|part| whole[..whole.len() * part / 30].to_vec()).collect();
    cases.push(whole[..whole.len() - 1].to_vec());
    cases.extend([&b"\0"[..], b"\n", &whole].map(|tail| [&whole, tail].concat()));
    for part in 0..12 {
        let mut bytes = whole.clone();
        bytes[whole.len() * part / 12] ^= 16;
        cases.push(bytes);
    }
    for bytes in cases {
        std::fs::write(folder.path("bad"), &bytes).unwrap();
        for target in [folder.sqlite("target.db"), redis.url()] {
            failed(1, &metaferry(&["load", &folder.path("bad"), &target]));
        }
        assert_eq!(folder.names(), ["bad"]);
        assert_eq!(redis.cli(&["DBSIZE"]).trim(), "0");
    }
    no_volume(&redis.url());
}

#[test]
fn info_reads_what_an_archive_says_of_itself_and_no_rows() {
    let folder = Folder::new();
    let path = folder.path("small");
    let mut bytes = small(&folder);
    std::fs::write(&path, &bytes).unwrap();
    let piped = shell("\"$m\" info - --json < <(cat \"$1\")", &[&path]);
    let [told, piped] = [expect(0, &["info", &path, "--json"]), String::from_utf8(piped.stdout).unwrap()]
        .map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap());
    for same in ["rows", "volume", "damaged"] {
        assert_eq!(told[same], piped[same]);
    }
    assert_eq!(told["source"]["guarantee"], "exact");
    assert_eq!((&told["archive"]["bytes"], &piped["archive"]), (&bytes.len().into(), &serde_json::Value::Null));
    let trailer = Trailer::decode(bytes.last_chunk().unwrap()).unwrap();
    let manifest = &bytes[trailer.manifest_offset as usize..][..trailer.manifest_length as usize];
    let text = Unpacker::new().unwrap().unpack(manifest, 64 << 20).unwrap().to_vec();
    let segments = Manifest::<Kind>::read(text.as_slice()).unwrap().segments;
    let edges = segments.iter().find(|segment| segment.head.kind == Kind::Edge).unwrap();
    bytes[(edges.offset + edges.length / 2) as usize] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    expect(0, &["info", &path]);
    failed(1, &metaferry(&["verify", &path, &path]));
}

/// The texts of the frames, with one of them changed, as an archive again.
fn forged(whole: &[u8], frame: usize, from: &str, to: &str) -> Vec<u8> {
    const BOUND: usize = 64 << 20;
    let trailer = Trailer::decode(whole.last_chunk().unwrap()).unwrap();
    let slice = |offset: u64, length: u64| &whole[offset as usize..][..length as usize];
    let unpack = |frame: &[u8]| Unpacker::new().unwrap().unpack(frame, BOUND).unwrap().to_vec();
    let manifest = slice(trailer.manifest_offset, trailer.manifest_length);
    let segments = Manifest::<Kind>::read(unpack(manifest).as_slice()).unwrap().segments;
    let mut packed = vec![slice(0, trailer.header_length)];
    packed.extend(segments.iter().map(|segment| slice(segment.offset, segment.length)));
    packed.push(manifest);
    let again = |(number, packed): (usize, &&[u8])| {
        let text = String::from_utf8(unpack(packed)).unwrap();
        let text = if number == frame { text.replacen(from, to, 1) } else { text };
        Packer::new().unwrap().pack(text.as_bytes(), BOUND).unwrap().to_vec()
    };
    let frames: Vec<Vec<u8>> = packed.iter().enumerate().map(again).collect();
    let (header, manifest) = (frames.first().unwrap(), frames.last().unwrap());
    let mut bytes = frames.concat();
    let trailer = Trailer {
        header_length: header.len() as u64,
        header_sha256: sha256(header),
        manifest_offset: (bytes.len() - manifest.len()) as u64,
        manifest_length: manifest.len() as u64,
        manifest_sha256: sha256(manifest),
    };
    bytes.extend(trailer.encode());
    bytes
}

#[test]
fn what_is_newer_is_named() {
    let folder = Folder::new();
    let whole = small(&folder);
    let cases = [
        (0, "\"format\":1", "\"format\":2", "archive format: version 2"),
        (0, "\"origin\"", "\"colour\":1,\"origin\"", "metaferry.colour"),
        (1, "\"inode\"", "\"colour\":1,\"inode\"", "colour"),
    ];
    for (frame, from, to, named) in cases {
        // Which kinds come first is a matter of who is faster.
        let forged = (frame..frame + 9).map(|frame| forged(&whole, frame, from, to)).find(|bytes| *bytes != whole);
        let bytes = forged.expect("some segment has it");
        std::fs::write(folder.path("newer"), &bytes).unwrap();
        let piped =
            shell("\"$m\" load - \"$2\" < <(cat \"$1\")", &[&folder.path("newer"), &folder.sqlite("target.db")]);
        let error = failed(1, &piped);
        assert!(error.contains(named), "{error}");
        // The manifest of a file tells that something was changed, before a row is read.
        let error = failed(1, &metaferry(&["info", &folder.path("newer")]));
        assert!(error.contains(named) || frame == 1, "{error}");
        let error = refused(&folder, &bytes, true);
        assert!(format!("{error:?}").contains(named), "{error:?}");
        std::fs::remove_file(folder.path("bad")).ok();
    }
    assert_eq!(folder.names(), ["newer"]);
}
