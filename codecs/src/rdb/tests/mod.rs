//! Tests of the RDB decoder: what a stream holds, compared with listings made through the server's own commands.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{Block, Element, Kind, Piece, Scratch, Splitter};
use crate::{Error, Result};

mod damage;
mod encodings;
mod pieces;
mod servers;

/// The elements of a value, in a form that can be compared: in the order of the stream for lists, sorted for the rest.
#[derive(Debug, Clone, PartialEq)]
struct Value {
    kind: Kind,
    elements: Vec<(Vec<u8>, Vec<u8>)>,
    expires_ms: Option<u64>,
}

type Dump = BTreeMap<(u32, Vec<u8>), Value>;

fn everything(_: u32, _: &[u8]) -> bool {
    true
}

/// Splits a stream that comes in parts of `chunk` bytes.
fn split(stream: &[u8], chunk: usize, splitter: &mut Splitter) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let (mut begin, mut end) = (0, 0);
    loop {
        let mut input = &stream[begin..end];
        let block = splitter.split(&mut input, &everything)?;
        begin = end - input.len();
        match block {
            Some(block) => blocks.push(block),
            None if splitter.is_end() => break,
            None if end == stream.len() => return splitter.finish().map(|()| blocks),
            None => end = stream.len().min(end + chunk),
        }
    }
    assert_eq!(begin, stream.len(), "the stream is read to its end");
    Ok(blocks)
}

/// Decodes one piece into pairs; what is no pair has an empty second half.
fn elements(piece: &Piece<'_>, scratch: &mut Scratch) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found = Vec::new();
    piece.each(scratch, |element| {
        found.push(match element {
            Element::Value(bytes) | Element::Item(bytes) => (bytes.to_vec(), Vec::new()),
            Element::Field(field, value) => (field.to_vec(), value.to_vec()),
            Element::Scored(member, score) => (member.to_vec(), score.to_string().into_bytes()),
        });
        Ok(())
    })?;
    Ok(found)
}

/// Reads a whole stream.
fn load(stream: &[u8], chunk: usize, block_bytes: usize) -> Result<Dump> {
    let blocks = split(stream, chunk, &mut Splitter::new().with_block_bytes(block_bytes))?;
    let mut dump = Dump::new();
    let mut open: Option<u64> = None;
    let mut scratch = Scratch::default();
    for piece in blocks.iter().flat_map(Block::pieces) {
        assert_eq!(piece.part, open.map_or(0, |part| part + 1), "parts follow one another");
        open = (!piece.last).then_some(piece.part);
        let kind = piece.encoding.kind();
        let found = match kind {
            Kind::Stream | Kind::Module => {
                assert!(matches!(elements(&piece, &mut scratch), Err(Error::Unsupported { .. })));
                Vec::new()
            }
            _ => elements(&piece, &mut scratch)?,
        };
        let empty = Value { kind, elements: Vec::new(), expires_ms: piece.expires_ms };
        dump.entry((piece.db, piece.key.to_vec())).or_insert(empty).elements.extend(found);
    }
    assert_eq!(open, None, "the last value has its last part");
    dump.values_mut().filter(|value| value.kind != Kind::List).for_each(|value| value.elements.sort());
    Ok(dump)
}

fn data(path: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn unhex(value: &Json) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn score(value: &Json) -> Vec<u8> {
    value.as_str().unwrap().parse::<f64>().unwrap().to_string().into_bytes()
}

/// Reads a listing: a line of JSON for each key.
fn listing(path: &str) -> Dump {
    let text = zstd::decode_all(data(path).as_slice()).unwrap();
    let pairs = |values: &Json, second: fn(&Json) -> Vec<u8>| -> Vec<_> {
        values.as_array().unwrap().iter().map(|pair| (unhex(&pair[0]), second(&pair[1]))).collect()
    };
    let singles =
        |values: &Json| -> Vec<_> { values.as_array().unwrap().iter().map(|item| (unhex(item), Vec::new())).collect() };
    let mut dump = Dump::new();
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Json = serde_json::from_slice(line).unwrap();
        let (kind, mut elements) = match line["type"].as_str().unwrap() {
            "string" => (Kind::String, vec![(unhex(&line["value_hex"]), Vec::new())]),
            "list" => (Kind::List, singles(&line["items_hex"])),
            "set" => (Kind::Set, singles(&line["members_hex"])),
            "zset" => (Kind::Zset, pairs(&line["members_hex_score"], score)),
            "hash" => (Kind::Hash, pairs(&line["fields_hex"], unhex)),
            "stream" => (Kind::Stream, Vec::new()),
            other => panic!("unknown type {other}"),
        };
        if kind != Kind::List {
            elements.sort();
        }
        let db = u32::try_from(line["db"].as_u64().unwrap_or(0)).unwrap();
        let value = Value { kind, elements, expires_ms: line["expires_ms"].as_u64() };
        assert_eq!(dump.insert((db, unhex(&line["key_hex"])), value), None);
    }
    dump
}
