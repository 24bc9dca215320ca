//! What is fuzzed: each decoder on any bytes at all. None may panic, hang, or hold more than its input justifies; where a
//! decoder reads in parts, parts of any size give the same. The tests replay the kept inputs through the same functions.

use metaferry_codecs::archive::{Header, MAX_SEGMENT, Manifest, Unpacker};
use metaferry_codecs::juicefs::dump::{Event, Walk};
use metaferry_codecs::juicefs::envelope::{Algorithm, Opener, PrivateKey};
use metaferry_codecs::juicefs::{Batch, Kind, Slices, acl, attr, binary, setting};
use metaferry_codecs::rdb::{Scratch, Splitter};
use metaferry_codecs::system::{Batch as _, Kind as _};

/// A JSON dump, whole and in parts.
pub fn json(data: &[u8]) {
    let whole = walk(data, data.len().max(1));
    let parts = walk(data, 1 + data.len() / 3);
    assert_eq!(whole, parts);
    drop(setting::read(data));
}

/// The events up to the end or the first error.
fn walk(data: &[u8], part: usize) -> Vec<Event> {
    let (mut walk, mut events) = (Walk::new(), Vec::new());
    let (mut from, mut to) = (0, part.min(data.len()));
    while !walk.is_over() {
        let unread = data.get(from..to).unwrap_or_default();
        let mut rest = unread;
        match walk.step(&mut rest) {
            Ok(event) => {
                from += unread.len() - rest.len();
                events.extend(event);
            }
            Err(_) if to < data.len() => to = (to + part).min(data.len()),
            Err(_) => break,
        }
    }
    events
}

/// A binary dump, in parts of the size that its first byte says.
pub fn binary(data: &[u8]) {
    let part = 1 + usize::from(data.first().copied().unwrap_or(0)) * 7;
    let mut splitter = binary::Splitter::new().with_block_bytes(4096);
    let (mut held, mut rest): (Vec<u8>, &[u8]) = (Vec::new(), data);
    loop {
        let (now, later) = rest.split_at(part.min(rest.len()));
        held.extend_from_slice(now);
        rest = later;
        let mut input = held.as_slice();
        loop {
            match splitter.split(&mut input) {
                Ok(Some(block)) => {
                    let batch = binary::decode(&block, &mut |_, _| {});
                    assert!(batch.len() <= data.len());
                    splitter.recycle(block);
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        let used = held.len() - input.len();
        held.drain(..used);
        if now.is_empty() {
            if splitter.finish(&held).is_ok() {
                assert!(splitter.foreign().count() <= data.len());
            }
            return;
        }
    }
}

/// Records of the engines: attributes, slices, rules; what is read is written as it was, and read again.
pub fn attr(data: &[u8]) {
    if let Ok(node) = attr::decode(7, data) {
        let mut again = Vec::new();
        attr::encode(&node, &mut again);
        assert_eq!(attr::decode(7, &again), Ok(node));
    }
    if let Ok(slices) = Slices::decode(data) {
        let mut again = Vec::new();
        slices.0.iter().for_each(|slice| slice.encode(&mut again));
        assert_eq!(again, data);
    }
    if let Ok(rule) = acl::decode(1, data) {
        let mut again = Vec::new();
        acl::encode(&rule, &mut again);
        assert_eq!(acl::decode(1, &again), Ok(rule));
    }
}

/// A Redis snapshot.
pub fn rdb(data: &[u8]) {
    let (mut splitter, mut scratch, mut stream) = (Splitter::new().with_block_bytes(4096), Scratch::default(), data);
    while let Ok(Some(block)) = splitter.split(&mut stream, &|_, _| true) {
        for piece in block.pieces() {
            let mut bytes = 0_usize;
            drop(piece.each(&mut scratch, |element| {
                std::hint::black_box(&element);
                bytes += 1;
                Ok(())
            }));
        }
        splitter.recycle(block);
    }
    drop(splitter.finish());
}

/// A frame of an archive, and a text that was in one; the first byte chooses the kind of its rows.
pub fn segment(data: &[u8]) {
    if let Ok(mut unpacker) = Unpacker::new() {
        drop(unpacker.unpack(data, MAX_SEGMENT).map(<[u8]>::len));
    }
    let Some((kind, text)) = data.split_first() else { return };
    drop(Header::read(text));
    drop(Manifest::<Kind>::read(text));
    let kinds = Kind::all();
    let Some(&kind) = kinds.get(usize::from(*kind) % kinds.len()) else { return };
    let mut batch = Batch::empty(kind);
    for line in text.split(|byte| *byte == b'\n') {
        drop(batch.read_line(line));
    }
    let mut lines = Vec::new();
    batch.write_lines(&mut lines);
    let mut again = Batch::empty(kind);
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        again.read_line(line).expect("what was written must be read");
    }
    assert_eq!(again, batch);
    let mut packed = Batch::empty(kind);
    drop(packed.unpack(text));
}

/// An encrypted object under a key that everybody knows, and the text of a key.
pub fn envelope(data: &[u8]) {
    drop(PrivateKey::read(data, Some(b"passphrase")));
    let Ok(key) = PrivateKey::read(include_bytes!("key.pem"), None) else { unreachable!("the key in this folder") };
    for name in ["aes256gcm-rsa", "chacha20-rsa"] {
        let Ok(algorithm) = Algorithm::named(name) else { continue };
        let Ok((mut opener, head)) = Opener::begin(data, &key, algorithm) else { continue };
        let mut text = Vec::new();
        let read = opener.open(data.get(head..).unwrap_or_default(), &mut text);
        drop(read.and_then(|()| opener.finish(&mut text)));
        assert!(text.len() <= data.len());
    }
}
