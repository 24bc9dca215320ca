//! What a later JuiceFS may write: segments of types that nobody knows here, kept from dump to dump, counted elsewhere.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::kit::redis::Redis;
use crate::kit::{Folder, expect, expect_error, metaferry, read_data};

const MARKER: u32 = 0x0074_7083;
/// What the footer says of the segments of a name: where they begin, and how many items are in them.
type Entries = BTreeMap<String, (Vec<u64>, u64)>;

/// Segments of unknown types, by their types and names; and the items of each name.
type Foreign<'a> = (Vec<(u32, &'a str, &'a [u8])>, Vec<(&'a str, u64)>);

/// A binary dump, taken apart.
struct Dump {
    /// Types, payloads, and where each begins.
    segments: Vec<(u32, Vec<u8>, u64)>,
    entries: Entries,
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let (head, rest) = bytes.split_at(length);
    *bytes = rest;
    head.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | 2);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// The bytes of a field of bytes, whose key was read.
fn taken<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let length = varint(bytes) as usize;
    let (head, rest) = bytes.split_at(length);
    *bytes = rest;
    head
}

fn entry(mut entry: &[u8]) -> (String, (Vec<u64>, u64)) {
    let (mut name, mut offsets, mut items) = (String::new(), Vec::new(), 0);
    while !entry.is_empty() {
        let key = varint(&mut entry);
        let mut value = taken(&mut entry);
        match key {
            0x0a => name = String::from_utf8(value.to_vec()).unwrap(),
            _ => {
                while !value.is_empty() {
                    match varint(&mut value) {
                        0x0a => {
                            let mut packed = taken(&mut value);
                            while !packed.is_empty() {
                                offsets.push(varint(&mut packed));
                            }
                        }
                        _ => items = varint(&mut value),
                    }
                }
            }
        }
    }
    (name, (offsets, items))
}

impl Dump {
    fn read(whole: &[u8]) -> Self {
        let (mut segments, mut entries, mut rest) = (Vec::new(), Entries::new(), whole);
        loop {
            let number = u32::from_be_bytes(*rest.first_chunk().unwrap());
            if number == MARKER {
                break;
            }
            let length = u64::from_be_bytes(*rest[4..].first_chunk().unwrap()) as usize;
            segments.push((number, rest[12..12 + length].to_vec(), (whole.len() - rest.len()) as u64));
            rest = &rest[12 + length..];
        }
        let mut footer = &rest[4..rest.len() - 8];
        while !footer.is_empty() {
            match varint(&mut footer) {
                0x1a => entries.extend([entry(taken(&mut footer))]),
                _ => drop(varint(&mut footer)),
            }
        }
        Self { segments, entries }
    }

    /// Adds a segment in front of the one at `place`.
    fn insert(&mut self, place: usize, number: u32, payload: Vec<u8>, (name, items): (&str, u64)) {
        self.segments.insert(place, (number, payload, 0));
        let mut at = 0;
        let mut moved = BTreeMap::new();
        for (index, (_, payload, offset)) in self.segments.iter_mut().enumerate() {
            if index != place {
                moved.insert(*offset, at);
            } else {
                self.entries.entry(name.to_owned()).or_default().1 += items;
            }
            *offset = at;
            at += 12 + payload.len() as u64;
        }
        let offsets = self.entries.values_mut().flat_map(|(offsets, _)| offsets);
        offsets.for_each(|offset| *offset = moved[offset]);
        self.entries.get_mut(name).unwrap().0.push(self.segments[place].2);
    }

    fn write(&self) -> Vec<u8> {
        let mut whole = Vec::new();
        for (number, payload, _) in &self.segments {
            whole.extend_from_slice(&number.to_be_bytes());
            whole.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            whole.extend_from_slice(payload);
        }
        whole.extend_from_slice(&MARKER.to_be_bytes());
        let begin = whole.len();
        whole.push(0x08);
        put_varint(u64::from(MARKER), &mut whole);
        whole.extend_from_slice(&[0x10, 1]);
        for (name, (offsets, items)) in &self.entries {
            let (mut packed, mut info, mut entry) = (Vec::new(), Vec::new(), Vec::new());
            offsets.iter().for_each(|offset| put_varint(*offset, &mut packed));
            put_bytes(1, &packed, &mut info);
            info.push(0x10);
            put_varint(*items, &mut info);
            put_bytes(1, name.as_bytes(), &mut entry);
            put_bytes(2, &info, &mut entry);
            put_bytes(3, &entry, &mut whole);
        }
        let length = (whole.len() - begin) as u64;
        whole.extend_from_slice(&length.to_be_bytes());
        whole
    }

    /// Segments of unknown types with the name that the footer has for each, and what it says of these names.
    fn foreign(&self) -> Foreign<'_> {
        let name = |offset: u64| self.entries.iter().find(|(_, (offsets, _))| offsets.contains(&offset)).unwrap().0;
        let foreign = self.segments.iter().filter(|(number, ..)| !(1..=15).contains(number));
        let foreign: Vec<_> =
            foreign.map(|(number, payload, offset)| (*number, name(*offset).as_str(), payload.as_slice())).collect();
        let names = self.entries.iter().filter(|(name, _)| foreign.iter().any(|(_, found, _)| found == name));
        (foreign.clone(), names.map(|(name, (_, items))| (name.as_str(), *items)).collect())
    }
}

/// A client's dump with two segments of one unknown type around an empty one of another.
fn dump() -> Dump {
    let mut dump = Dump::read(&read_data("empty/sqlite/dump.bin"));
    let long = (0..5_u64 << 19).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    dump.insert(3, 4000, Vec::new(), ("", 0));
    dump.insert(2, 16, long, ("wormhole", 70_000));
    dump.insert(dump.segments.len(), 16, b"text, \"quoted\"\n".to_vec(), ("wormhole", 2));
    dump
}

const SEGMENTS: u64 = 3;
const BYTES: u64 = (5 << 19) + 15;

fn is_kept(path: &str) {
    let inside = Command::new("gzip").args(["-dcf", path]).output().unwrap().stdout;
    let (expected, found) = (dump(), Dump::read(&inside));
    assert!(expected.foreign() == found.foreign(), "{path}");
    assert_eq!(expected.foreign().1, [("", 0), ("wormhole", 70_002)]);
}

#[test]
fn segments_of_unknown_types_are_kept_from_dump_to_dump() {
    let folder = Folder::new();
    let theirs = folder.path("theirs.bin");
    std::fs::write(&theirs, dump().write()).unwrap();
    is_kept(&theirs);
    let (packed, archive, again) = (folder.path("a.bin.gz"), folder.path("b"), folder.path("c.bin"));
    expect(0, &["convert", &theirs, &packed]);
    expect(0, &["convert", &theirs, &archive, "--threads", "5"]);
    expect(0, &["convert", &archive, &again]);
    for dump in [&packed, &again] {
        is_kept(dump);
        expect(0, &["verify", &theirs, dump]);
    }
    expect(0, &["verify", &theirs, &archive]);
    for source in [&theirs, &archive] {
        let info: Value = serde_json::from_str(&expect(0, &["info", source, "--json"])).unwrap();
        assert_eq!(info["rows"]["foreign"], SEGMENTS + 41, "{info}");
    }
    let trash = folder.path("d.bin");
    expect(0, &["dump", &theirs, &trash, "--skip-trash"]);
    is_kept(&trash);
}

#[test]
fn they_go_through_pipes() {
    let folder = Folder::new();
    let (theirs, piped) = (folder.path("theirs.bin"), folder.path("piped.bin"));
    std::fs::write(&theirs, dump().write()).unwrap();
    let convert = |format: &str, input: Stdio, output: Stdio| {
        let args = ["convert", "-", "-", "--format", format, "--quiet"];
        Command::new(env!("CARGO_BIN_EXE_metaferry")).args(args).stdin(input).stdout(output).spawn().unwrap()
    };
    let input = std::fs::File::open(&theirs).unwrap().into();
    let mut first = convert("archive", input, Stdio::piped());
    let output = std::fs::File::create(&piped).unwrap().into();
    let mut second = convert("binary", first.stdout.take().unwrap().into(), output);
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    is_kept(&piped);
}

#[test]
fn they_are_counted_where_there_is_no_room_for_them() {
    let folder = Folder::new();
    let (theirs, archive) = (folder.path("theirs.bin"), folder.path("archive"));
    std::fs::write(&theirs, dump().write()).unwrap();
    expect(0, &["convert", &theirs, &archive]);
    let (redis, mut database) = (Redis::start(), 0);
    for source in [&theirs, &archive] {
        let json = folder.path(&format!("{database}.json"));
        let loaded = folder.sqlite(&format!("{database}.db"));
        for args in [
            &["convert", source, &json][..],
            &["load", source, &loaded, "--verify"],
            &["load", source, &redis.database(database), "--verify"],
        ] {
            let output = metaferry(&[args, &["--json"]].concat());
            assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
            let done: Value = serde_json::from_slice(&output.stdout).unwrap();
            let left = &done["findings"]["left_behind"];
            assert_eq!(left["segments of unknown types"], SEGMENTS, "{args:?}: {left}");
            assert_eq!(left["bytes in segments of unknown types"], BYTES, "{args:?}: {left}");
        }
        database += 1;
    }
    let part = folder.path("part.bin");
    let output = metaferry(&["dump", &theirs, &part, "--subdir", "/", "--json"]);
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["findings"]["left_behind"]["segments of unknown types"], SEGMENTS);
    assert!(Dump::read(&std::fs::read(&part).unwrap()).foreign().0.is_empty());
}

#[test]
fn one_that_was_cut_is_never_carried() {
    let folder = Folder::new();
    let (broken, target) = (folder.path("broken.bin"), folder.path("no.bin"));
    let whole = dump();
    let begin = whole.segments[2].2 as usize;
    for cut in [begin + 5, begin + 12, begin + 70_000] {
        std::fs::write(&broken, &whole.write()[..cut]).unwrap();
        let error = expect_error(1, &["convert", &broken, &target]);
        assert!(error.contains(&format!("byte {cut}")), "{error}");
        assert!(!folder.names().contains(&"no.bin".to_owned()));
    }
}
