//! Streams made by hand: encodings that no server at hand writes any more, or not yet.

use super::*;

/// A length in one, two or five bytes.
fn length(value: usize) -> Vec<u8> {
    match value {
        0..64 => vec![value as u8],
        64..16_384 => vec![0x40 | (value >> 8) as u8, value as u8],
        _ => [&[0x80][..], &(value as u32).to_be_bytes()].concat(),
    }
}

pub(super) fn string(bytes: &[u8]) -> Vec<u8> {
    [length(bytes.len()), bytes.to_vec()].concat()
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    crc::Crc::<u64>::new(&crc::CRC_64_REDIS).checksum(bytes).to_le_bytes()
}

/// A stream of `body` between a header and the end.
pub(super) fn stream(header: &str, body: &[&[u8]]) -> Vec<u8> {
    let mut bytes = [header.as_bytes(), &body.concat(), &[255]].concat();
    bytes.extend(checksum(&bytes));
    bytes
}

/// Reads the one value `bytes` of type `code`, in parts of every size from 1 on.
fn value(header: &str, code: u8, bytes: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let stream = stream(header, &[&[code], &string(b"key"), bytes, &[0], &string(b"next"), &string(b"one")]);
    let found = load(&stream, usize::MAX / 2, 1 << 20)?;
    for chunk in 1..stream.len() {
        assert_eq!(load(&stream, chunk, 1)?, found);
    }
    assert_eq!(found[&(0, b"next".to_vec())].elements, pairs(&[("one", "")]));
    assert_eq!(found.len(), 2);
    Ok(found[&(0, b"key".to_vec())].elements.clone())
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    expected.iter().map(|(first, second)| (first.as_bytes().to_vec(), second.as_bytes().to_vec())).collect()
}

fn blob(parts: &[&[u8]]) -> Vec<u8> {
    string(&parts.concat())
}

#[test]
fn strings() {
    for (bytes, expected) in [
        (b"\x03abc".to_vec(), "abc"),
        (b"\x40\x02hi".to_vec(), "hi"),
        (b"\x80\0\0\0\x02hi".to_vec(), "hi"),
        (b"\x81\0\0\0\0\0\0\0\x02hi".to_vec(), "hi"),
        (b"\xc0\x80".to_vec(), "-128"),
        (b"\xc1\x00\x80".to_vec(), "-32768"),
        (b"\xc2\x00\x00\x00\x80".to_vec(), "-2147483648"),
        (b"\xc2\xff\xff\xff\x7f".to_vec(), "2147483647"),
        (b"\xc3\x05\x0a\x00a\xe0\x00\x00".to_vec(), "aaaaaaaaaa"),
        (b"\xc3\x08\x08\x02abc\x60\x02".to_vec(), "?"),
    ] {
        match expected {
            "?" => assert!(value("REDIS0009", 0, &bytes).is_err()),
            _ => assert_eq!(value("REDIS0009", 0, &bytes).unwrap(), pairs(&[(expected, "")])),
        }
    }
}

#[test]
fn plain_collections() {
    let list = [&[2][..], &string(b"a"), b"\xc0\x07"].concat();
    assert_eq!(value("REDIS0006", 1, &list).unwrap(), pairs(&[("a", ""), ("7", "")]));
    assert_eq!(value("REDIS0006", 2, &list).unwrap(), pairs(&[("7", ""), ("a", "")]));
    let hash = [&[1][..], &string(b"f"), &string(b"v")].concat();
    assert_eq!(value("REDIS0006", 4, &hash).unwrap(), pairs(&[("f", "v")]));
    assert_eq!(value("REDIS0006", 4, &[0]).unwrap(), pairs(&[]));
}

#[test]
fn sorted_sets() {
    let text = b"\x03\x01a\x031.5\x01b\xfe\x01c\xff";
    assert_eq!(value("REDIS0006", 3, text).unwrap(), pairs(&[("a", "1.5"), ("b", "inf"), ("c", "-inf")]));
    assert!(value("REDIS0006", 3, b"\x01\x01a\xfd").is_err());
    let binary = [b"\x01\x01a".as_slice(), &(-2.25_f64).to_le_bytes()].concat();
    assert_eq!(value("REDIS0008", 5, &binary).unwrap(), pairs(&[("a", "-2.25")]));
}

/// An entry behind the length of the one before, for short ones.
fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
    let (mut body, mut last, mut before) = (Vec::new(), 10, 0);
    for entry in entries {
        last = 10 + body.len();
        let begin = body.len();
        match before {
            0..254 => body.push(before as u8),
            _ => body.extend([&[0xfe][..], &(before as u32).to_le_bytes()].concat()),
        }
        body.extend(*entry);
        before = body.len() - begin;
    }
    let total = (body.len() + 11) as u32;
    let count = entries.len() as u16;
    [&total.to_le_bytes()[..], &(last as u32).to_le_bytes(), &count.to_le_bytes(), &body, &[255]].concat()
}

#[test]
fn ziplists() {
    let long = [b"\x41\x2c".as_slice(), &[b'x'; 300]].concat();
    let longer = [b"\x80\0\0\0\x02".as_slice(), b"yy"].concat();
    let entries: Vec<&[u8]> = vec![
        b"\x02ab",
        &long,
        &longer,
        b"\xf1",
        b"\xfd",
        b"\xfe\xff",
        b"\xc0\x00\x80",
        b"\xf0\xff\xff\x7f",
        b"\xf0\x00\x00\x80",
        b"\xd0\x00\x00\x00\x80",
        b"\xe0\0\0\0\0\0\0\0\x80",
    ];
    let x = "x".repeat(300);
    let numbers = ["0", "12", "-1", "-32768", "8388607", "-8388608", "-2147483648", "-9223372036854775808"];
    let expected: Vec<_> = ["ab", &x, "yy"].into_iter().chain(numbers).map(|item| (item, "")).collect();
    let list = ziplist(&entries);
    assert_eq!(value("REDIS0006", 10, &string(&list)).unwrap(), pairs(&expected));
    let quicklist = [&[2][..], &string(&list), &string(&ziplist(&[b"\x01z"]))].concat();
    let expected: Vec<_> = expected.into_iter().chain([("z", "")]).collect();
    assert_eq!(value("REDIS0007", 14, &quicklist).unwrap(), pairs(&expected));
    let hash = ziplist(&[b"\x01f", b"\xf2", b"\x01g", b"\x01v"]);
    assert_eq!(value("REDIS0009", 13, &string(&hash)).unwrap(), pairs(&[("f", "1"), ("g", "v")]));
    let zset = ziplist(&[b"\x01a", b"\xf3", b"\x01b", b"\x04-inf"]);
    assert_eq!(value("REDIS0009", 12, &string(&zset)).unwrap(), pairs(&[("a", "2"), ("b", "-inf")]));
    assert!(value("REDIS0009", 13, &string(&ziplist(&[b"\x01f"]))).is_err(), "a field without a value");
}

#[test]
fn zipmaps() {
    let long = [b"\xfe\x2c\x01\x00\x00\x02".as_slice(), &[b'q'; 300], b"~~"].concat();
    let map = blob(&[b"\x02\x03foo\x03\x00bar\x01x", &long, b"\xff"]);
    assert_eq!(value("REDIS0006", 9, &map).unwrap(), pairs(&[("foo", "bar"), ("x", &"q".repeat(300))]));
    assert!(value("REDIS0006", 9, &blob(&[b"\x01\x03foo\x03\x00bar\x01x\xff"])).is_err());
    assert!(value("REDIS0006", 9, &blob(&[b"\x03\x03foo\x03\x00bar\xff"])).is_err());
}

#[test]
fn intsets() {
    let set = |width: u32, numbers: &[u8]| {
        blob(&[&width.to_le_bytes(), &(numbers.len() as u32 / width).to_le_bytes(), numbers])
    };
    assert_eq!(value("REDIS0009", 11, &set(2, b"\xff\xff\x05\x00")).unwrap(), pairs(&[("-1", ""), ("5", "")]));
    assert_eq!(
        value("REDIS0009", 11, &set(8, &i64::MIN.to_le_bytes())).unwrap(),
        pairs(&[(&i64::MIN.to_string(), "")])
    );
    assert!(value("REDIS0009", 11, &set(3, b"abc")).is_err());
}

/// A listpack of entries under 128 bytes.
fn listpack(entries: &[&[u8]]) -> Vec<u8> {
    let body: Vec<u8> = entries.iter().flat_map(|entry| [*entry, &[entry.len() as u8]].concat()).collect();
    let count = entries.len() as u16;
    [&(body.len() as u32 + 7).to_le_bytes()[..], &count.to_le_bytes(), &body, &[255]].concat()
}

#[test]
fn hashes_with_expiry_of_fields() {
    let expected = pairs(&[("f", "v"), ("g", "w")]);
    let table = b"\x02\x00\x01f\x01v\x44\xd2\x01g\x01w";
    let list = listpack(&[b"\x81f", b"\x81v", b"\x00", b"\x81g", b"\x81w", b"\xf4\0\0\0\0\0\0\0\x01"]);
    assert_eq!(value("REDIS0012", 22, table).unwrap(), expected);
    assert_eq!(value("REDIS0012", 23, &string(&list)).unwrap(), expected);
    assert_eq!(value("REDIS0012", 24, &[b"\x11\x22\x33\x44\x55\0\0\0".as_slice(), table].concat()).unwrap(), expected);
    assert_eq!(value("REDIS0013", 25, &[&[9; 8][..], &string(&list)].concat()).unwrap(), expected);
    let valkey = [b"\x02\x01f\x01v".as_slice(), &[255; 8], b"\x01g\x01w", &[1; 8]].concat();
    assert_eq!(value("VALKEY080", 22, &valkey).unwrap(), expected);
}

#[test]
fn listpacks_of_today() {
    let set = listpack(&[b"\x7f", b"\xdf\xff", b"\xc0\x80", b"\x82ab", b"\xe0\x01z", b"\xf0\x01\0\0\0y"]);
    let expected = ["-1", "127", "128", "ab", "y", "z"].map(|item| (item, ""));
    assert_eq!(value("REDIS0011", 20, &string(&set)).unwrap(), pairs(&expected));
    let nodes = [&[2, 2][..], &string(&listpack(&[b"\x81a"])), &[1], &string(b"plain")].concat();
    assert_eq!(value("REDIS0010", 18, &nodes).unwrap(), pairs(&[("a", ""), ("plain", "")]));
    assert!(value("REDIS0010", 18, b"\x01\x03\x01a").is_err(), "an unknown kind of node");
}

#[test]
fn everything_between_the_keys() {
    let module = b"\x81\0\0\0\0\0\0\0\x07\x02\x01\x01\x05\x03\0\0\0\0\x04\0\0\0\0\0\0\0\0\x05\x03abc\0";
    let body: &[&[u8]] = &[
        b"\xfa\x03ver\x035.0",
        &[b"\xf7".as_slice(), module].concat(),
        b"\xf5\x04code",
        b"\xf6\x01n\x03LUA\x01\x04desc\x04code",
        b"\xf6\x01n\x03LUA\x00\x04code",
        b"\xfe\x03\xfb\x05\x02\xf4\x01\x02\x03",
        b"\xfd\x01\0\0\0\xf9\x07\0\x01a\x01b",
        b"\xfc\x02\0\0\0\0\0\0\0\xf8\x40\x99\0\x01c\x01d",
        &[b"\xf3\x01abcd".as_slice(), &module[9..]].concat(),
        b"\0\x01e\x01f",
        &[b"\x07\x01m".as_slice(), module].concat(),
        b"\0\x01g\x01h",
    ];
    let between = stream("REDIS0013", body);
    for chunk in 1..between.len() {
        let found = load(&between, chunk, 1).unwrap();
        let facts: Vec<_> = found.iter().map(|((db, key), value)| (*db, key.as_slice(), value.expires_ms)).collect();
        let expected = [("a", Some(1000)), ("c", Some(2)), ("e", None), ("g", None), ("m", None)];
        assert_eq!(facts, expected.map(|(key, expires)| (3, key.as_bytes(), expires)));
    }
    let slots = stream("VALKEY080", &[b"\xf3\x03job\x02\x01\x02\x03\x04\0\x01a\x01b"]);
    assert_eq!(load(&slots, 3, 1).unwrap().len(), 1);
}

/// Streams of the first, second and third version are passed over, to the byte.
#[test]
fn streams_of_every_version() {
    let pending = [&[1][..], &[7; 16], &[8; 8], &[3]].concat();
    let owned = [&[1][..], &[7; 16]].concat();
    for (code, header, group, seen) in [(15, 3, 2, 8), (19, 8, 3, 8), (21, 8, 3, 16)] {
        let numbers = |count: usize| b"\x42\x01".repeat(count);
        let consumer = [&[1][..], &string(b"consumer"), &vec![9; seen], &owned].concat();
        let group = [&[1][..], &string(b"group"), &numbers(group), &pending, &consumer].concat();
        let nodes = [&[1][..], &string(&[1; 16]), &string(&listpack(&[b"\x01"]))].concat();
        let bytes = [nodes, numbers(header), group].concat();
        assert_eq!(value("REDIS0011", code, &bytes).unwrap(), pairs(&[]));
    }
}

#[test]
fn versions() {
    for header in ["REDIS0001", "REDIS0004"] {
        let unchecked = [header.as_bytes(), b"\0\x01a\x01b\xff"].concat();
        assert_eq!(load(&unchecked, 1, 1 << 20).unwrap().len(), 1);
    }
    for header in ["REDIS0014", "REDIS0000", "VALKEY081", "VALKEY011"] {
        let error = load(&stream(header, &[]), 100, 1).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{header}: {error}");
        assert!(error.to_string().contains(header.trim_start_matches(char::is_alphabetic).trim_start_matches('0')));
    }
    for header in ["RADIS0009", "REDIS00x9"] {
        assert!(matches!(load(&stream(header, &[]), 100, 1), Err(Error::Malformed { .. })));
    }
    for code in [6, 8, 26, 100] {
        let error = load(&stream("REDIS0013", &[&[code, 1, b'k']]), 100, 1).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
}
