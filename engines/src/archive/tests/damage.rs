//! Damage: every bit flipped, every length cut, anything appended, bombs and lies. All of it is an error, never a panic
//! and never a success.

use std::path::Path;

use metaferry_codecs::archive::{Manifest, Packer, TRAILER_BYTES, Trailer, sha256};
use metaferry_codecs::juicefs::Kind;
use metaferry_pipeline::{Error, ErrorKind};

use super::kit::*;

const BOUND: usize = 256 << 20;

/// Reads the same bytes from a file and from a pipe; both must fail.
fn both_fail(path: &Path, bytes: &[u8], what: &str) -> [Error; 2] {
    std::fs::write(path, bytes).unwrap();
    let file = read_file(path).err().unwrap_or_else(|| panic!("{what}: the file was read"));
    let pipe = read_pipe(bytes).err().unwrap_or_else(|| panic!("{what}: the pipe was read"));
    for error in [&file, &pipe] {
        assert!(!matches!(error.kind(), ErrorKind::Bug | ErrorKind::Stopped), "{what}: {error:?}");
    }
    [file, pipe]
}

fn scratch() -> tempfile::TempPath {
    tempfile::NamedTempFile::new().unwrap().into_temp_path()
}

#[test]
fn every_flipped_bit_is_found() {
    let (path, whole) = (scratch(), write_pipe(&volume()[1..4]));
    assert!((1_500..3_000).contains(&whole.len()), "{} bytes", whole.len());
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << bit;
            both_fail(&path, &bytes, &format!("bit {bit} of byte {place}"));
        }
    }
}

#[test]
fn every_cut_and_everything_appended_is_found() {
    let (path, whole) = (scratch(), write_pipe(&volume()));
    for length in 0..whole.len() {
        both_fail(&path, &whole[..length], &format!("cut to {length} bytes"));
        both_fail(&path, &whole[length + 1..], &format!("the first {} bytes lost", length + 1));
    }
    let other = write_pipe(&wide(10));
    let trailer = &whole[whole.len() - TRAILER_BYTES..];
    for tail in [b"\0".as_slice(), b"\n", &[7; 200], &whole, &other, trailer] {
        let [file, pipe] = both_fail(&path, &[&whole, tail].concat(), "appended");
        assert_eq!((file.kind(), pipe.kind()), (ErrorKind::Corrupt, ErrorKind::Corrupt));
    }
    both_fail(&path, &[trailer, &whole].concat(), "a trailer before it");
    both_fail(&path, &[&other[..other.len() - TRAILER_BYTES], &whole].concat(), "another before it");
}

#[test]
fn an_incomplete_archive_says_how_far_it_goes() {
    let (path, whole) = (scratch(), write_pipe(&volume()));
    let [file, pipe] = both_fail(&path, &whole[..whole.len() - TRAILER_BYTES], "no trailer");
    let expected =
        format!("the archive is incomplete: it ends after 20 whole frames, at byte {}", whole.len() - TRAILER_BYTES);
    assert!(file.to_string().contains(&expected), "{file}");
    assert!(pipe.to_string().contains(&expected), "{pipe}");
    assert!(both_fail(&path, b"", "empty")[0].to_string().contains("it is empty"));
    let foreign = both_fail(&path, b"{\"Setting\":{}}", "another format");
    assert!(foreign[1].to_string().contains("no archive"), "{}", foreign[1]);
}

/// An archive of our own making, from texts; the last is the manifest.
fn forge(texts: &[&[u8]]) -> Vec<u8> {
    let mut packer = Packer::new().unwrap();
    let frames: Vec<Vec<u8>> = texts.iter().map(|text| packer.pack(text, BOUND).unwrap().to_vec()).collect();
    assemble(&frames)
}

fn assemble(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = frames.concat();
    let (header, manifest) = (&frames[0], frames.last().unwrap());
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

/// The texts of the frames of a whole archive.
fn texts(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut input = crate::archive::input::Input::new(Box::new(std::io::Cursor::new(bytes.to_vec())));
    let (mut frame, mut texts) = (Vec::new(), Vec::new());
    while input.next(&mut frame).unwrap().is_some() {
        texts.push(metaferry_codecs::archive::Unpacker::new().unwrap().unpack(&frame, BOUND).unwrap().to_vec());
    }
    texts
}

fn replaced(texts: &[Vec<u8>], index: usize, from: &str, to: &str) -> Vec<u8> {
    let mut texts = texts.to_vec();
    let text = String::from_utf8(texts[index].clone()).unwrap();
    assert!(text.contains(from), "{text}");
    texts[index] = text.replacen(from, to, 1).into_bytes();
    forge(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[test]
fn what_is_newer_is_named() {
    let (path, whole) = (scratch(), write_pipe(&volume()));
    let texts = texts(&whole);
    let cases = [
        (0, "\"format\":1", "\"format\":2", "archive format: version 2, while 1"),
        (0, "\"digest\":1", "\"digest\":9", "digest: version 9, while 1"),
        (0, "\"origin\"", "\"colour\":1,\"origin\"", "metaferry.colour"),
        (texts.len() - 1, "\"offset\"", "\"colour\":1,\"offset\"", "segment.colour"),
        (texts.len() - 1, "{\"end\"", "{\"fate\":{}}\n{\"end\"", "{\"fate\""),
    ];
    for (index, from, to, named) in cases {
        for error in both_fail(&path, &replaced(&texts, index, from, to), named) {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
            assert!(format!("{error:?}").contains(named), "{error:?}");
        }
    }
    let [_, pipe] = both_fail(&path, &replaced(&texts, 1, "\"name\"", "\"colour\""), "a field of a row");
    assert!(pipe.to_string().contains("segment 0 of kind counter, row 0: unsupported field: counter.colour"), "{pipe}");
    let [_, pipe] = both_fail(&path, &replaced(&texts, 1, "\"counter\"", "\"colour\""), "a kind");
    assert!(pipe.to_string().contains("unsupported kind: colour"), "{pipe}");
    let [file, _] = both_fail(&path, &replaced(&texts, 0, "\"juicefs\"", "\"kylin\""), "another system");
    assert_eq!(file.kind(), ErrorKind::Config);
}

#[test]
fn a_manifest_that_lies_is_found() {
    let (path, whole) = (scratch(), write_pipe(&volume()));
    let texts = texts(&whole);
    let last = texts.len() - 1;
    let manifest = Manifest::<Kind>::read(texts[last].as_slice()).unwrap();
    type Lie = fn(&mut Manifest<Kind>);
    let lies: [Lie; 9] = [
        |manifest| manifest.segments[1].length += 1,
        |manifest| manifest.segments[1].offset -= 1,
        |manifest| manifest.segments[1].bytes -= 1,
        |manifest| manifest.segments[1].head.rows += 1,
        |manifest| manifest.segments[1].head.kind = Kind::Edge,
        |manifest| manifest.segments.swap(1, 2),
        |manifest| manifest.segments.push(manifest.segments[0].clone()),
        |manifest| drop(manifest.segments.pop()),
        |manifest| manifest.tally.cell(Kind::Node, 0).digest += 1,
    ];
    for (index, lie) in lies.iter().enumerate() {
        let mut lying = manifest.clone();
        lie(&mut lying);
        let mut texts = texts.clone();
        texts[last].clear();
        lying.write(&mut texts[last]);
        both_fail(&path, &forge(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>()), &format!("lie {index}"));
    }
    both_fail(&path, &replaced(&texts, last, "\"segments\":", "\"segments\":9"), "a total");
    both_fail(&path, &replaced(&texts, 2, "\"inode\":1,", "\"inode\":4,"), "a row");
    let without: Vec<&[u8]> = texts[..last].iter().map(Vec::as_slice).collect();
    both_fail(&path, &forge(&without), "no manifest at all");
    let twice: Vec<&[u8]> = texts.iter().chain(texts.last()).map(Vec::as_slice).collect();
    both_fail(&path, &forge(&twice), "two manifests");
}

#[test]
fn a_bomb_is_refused_before_it_expands() {
    let path = scratch();
    let header = texts(&write_pipe(&[])).remove(0);
    let zeros = vec![b' '; 200 << 20];
    let [_, pipe] = both_fail(&path, &forge(&[&header, &zeros, b"{}"]), "more than any frame");
    assert!(pipe.to_string().contains("larger than its bound of 67108864 bytes"), "{pipe}");
    let mut segment = b"{\"segment\":{\"number\":0,\"kind\":\"node\",\"rows\":1}}\n".to_vec();
    segment.resize(17 << 20, b' ');
    let [_, pipe] = both_fail(&path, &forge(&[&header, &segment, b"{}"]), "more than a segment");
    assert!(pipe.to_string().contains("larger than its bound of 16777216 bytes"), "{pipe}");
    both_fail(&path, &forge(&[&vec![b' '; 1 << 20], b"{}"]), "more than a header");

    // A frame that declares 1 MiB and goes on for ever: blocks of 128 KiB of one byte each, none of them the last.
    let mut packer = Packer::new().unwrap();
    let header = packer.pack(&header, BOUND).unwrap().to_vec();
    let mut endless = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa4, 0, 0, 0x10, 0];
    endless.extend([0x02, 0x00, 0x10, b' '].repeat(4 << 20));
    both_fail(&path, &assemble(&[header, endless]), "a frame without end");
}
