//! JSON by hand: what the hot rows need, both ways. A reader expects the keys in the order the writer gives them and
//! falls back to any order; it is strict, bounded in depth, and knows no record.

use std::borrow::Cow;

use memchr::memchr2;

use crate::{Error, Result};

const WHAT: &str = "JSON";
const DEPTH: usize = 64;

/// Appends a decimal integer.
#[inline]
pub fn write_u64(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a decimal integer.
#[inline]
pub fn write_i64(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends bytes: a string where they are UTF-8, else `{"hex":"…"}`, so that every JSON reader gives back the same bytes.
#[inline]
pub fn write_bytes(value: &[u8], out: &mut Vec<u8>) {
    if std::str::from_utf8(value).is_ok() {
        write_escaped(value, out);
    } else {
        out.extend_from_slice(b"{\"hex\":\"");
        write_hex(value, out);
        out.extend_from_slice(b"\"}");
    }
}

/// Appends a JSON string with what JSON demands escaped, and DEL. Eight bytes at a time: documents within documents have a
/// quote every few bytes.
fn write_escaped(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = value;
    while let Some((head, tail)) = rest.split_first_chunk::<8>() {
        let plain = plain_ahead(*head);
        out.extend_from_slice(head);
        let Some(&byte) = head.get(plain) else {
            rest = tail;
            continue;
        };
        out.truncate(out.len() - (head.len() - plain));
        write_escape(byte, out);
        rest = rest.get(plain + 1..).unwrap_or_default();
    }
    for &byte in rest {
        match plain_ahead([byte; 8]) {
            0 => write_escape(byte, out),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// How many bytes there are before the first that is escaped.
#[inline]
fn plain_ahead(bytes: [u8; 8]) -> usize {
    const EACH: u64 = u64::MAX / 0xff;
    let word = u64::from_le_bytes(bytes);
    // The highest bit of the lowest byte that is less is set, and none below it.
    let less = |word: u64, than: u64| word.wrapping_sub(EACH * than) & !word;
    let is = |byte: u8| less(word ^ (EACH * u64::from(byte)), 1);
    let escaped = (less(word, 0x20) | is(b'"') | is(b'\\') | is(0x7f)) & (EACH * 0x80);
    escaped.trailing_zeros() as usize / 8
}

#[inline]
fn write_escape(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\t' => out.extend_from_slice(b"\\t"),
        b'\r' => out.extend_from_slice(b"\\r"),
        _ => {
            out.extend_from_slice(b"\\u00");
            write_hex(&[byte], out);
        }
    }
}

/// Appends lower-case hexadecimal digits.
pub fn write_hex(value: &[u8], out: &mut Vec<u8>) {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    for &byte in value {
        out.push(digit(byte >> 4));
        out.push(digit(byte & 15));
    }
}

/// Reads hexadecimal digits of either case; `None` where there is anything else.
#[must_use]
pub fn read_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

/// A place in one JSON text.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of a text.
    #[must_use]
    pub fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// Steps over `literal` if it comes next, byte for byte.
    #[inline]
    pub fn literal(&mut self, literal: &[u8]) -> bool {
        match self.rest.strip_prefix(literal) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Steps over white space and then one byte, if it is the next one.
    #[inline]
    pub fn token(&mut self, token: u8) -> bool {
        self.blank();
        match self.rest.split_first() {
            Some((&first, rest)) if first == token => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// As [`Reader::token`], but anything else is an error.
    pub fn expect(&mut self, token: u8) -> Result<()> {
        if self.token(token) { Ok(()) } else { Err(self.unexpected(&format!("'{}'", char::from(token)))) }
    }

    /// Whether nothing but white space is left.
    pub fn at_end(&mut self) -> bool {
        self.blank();
        self.rest.is_empty()
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn blank(&mut self) {
        while let Some((b' ' | b'\t' | b'\n' | b'\r', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
    }

    fn unexpected(&self, wanted: &str) -> Error {
        if self.rest.is_empty() {
            return Error::Truncated(WHAT);
        }
        let near = String::from_utf8_lossy(self.rest.get(..24).unwrap_or(self.rest)).into_owned();
        Error::malformed(WHAT, format!("expected {wanted} at {near:?}"))
    }

    /// An unsigned decimal integer.
    #[inline]
    pub fn u64(&mut self) -> Result<u64> {
        self.blank();
        let mut value = 0_u64;
        let mut rest = self.rest;
        while let Some((&byte @ b'0'..=b'9', tail)) = rest.split_first() {
            value = value
                .checked_mul(10)
                .and_then(|value| value.checked_add(u64::from(byte - b'0')))
                .ok_or_else(|| Error::malformed(WHAT, "number out of range"))?;
            rest = tail;
        }
        if rest.len() == self.rest.len() || matches!(rest.first(), Some(b'.' | b'e' | b'E')) {
            return Err(self.unexpected("an integer"));
        }
        self.rest = rest;
        Ok(value)
    }

    /// A signed decimal integer.
    #[inline]
    pub fn i64(&mut self) -> Result<i64> {
        let negative = self.token(b'-');
        let magnitude = self.u64()?;
        let value = if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() };
        value.ok_or_else(|| Error::malformed(WHAT, "number out of range"))
    }

    /// Bytes, as [`write_bytes`] writes them.
    pub fn bytes(&mut self) -> Result<Vec<u8>> {
        if self.token(b'{') {
            self.expect(b'"')?;
            if !self.literal(b"hex\"") {
                return Err(self.unexpected("\"hex\""));
            }
            self.expect(b':')?;
            let text = self.string()?;
            self.expect(b'}')?;
            return read_hex(&text).ok_or_else(|| Error::malformed(WHAT, "bad hexadecimal digits"));
        }
        self.string()
    }

    /// A string, as UTF-8 bytes with its escapes undone.
    pub fn string(&mut self) -> Result<Vec<u8>> {
        self.expect(b'"')?;
        let stop = memchr2(b'"', b'\\', self.rest).ok_or(Error::Truncated(WHAT))?;
        let (head, tail) = self.rest.split_at(stop);
        let mut value = head.to_vec();
        self.rest = tail;
        self.escaped_rest(&mut value)?;
        if value.iter().any(|&byte| byte >= 0x80) && std::str::from_utf8(&value).is_err() {
            return Err(Error::malformed(WHAT, "a string that is not UTF-8"));
        }
        Ok(value)
    }

    /// A string with its escapes undone, as bytes that need not be UTF-8.
    #[inline]
    pub fn text(&mut self) -> Result<Cow<'a, [u8]>> {
        self.expect(b'"')?;
        let stop = memchr2(b'"', b'\\', self.rest).ok_or(Error::Truncated(WHAT))?;
        let (head, tail) = self.rest.split_at(stop);
        self.rest = tail;
        if self.literal(b"\"") {
            return Ok(Cow::Borrowed(head));
        }
        let mut value = head.to_vec();
        self.escaped_rest(&mut value)?;
        Ok(Cow::Owned(value))
    }

    /// Reads on in a string, to its end.
    fn escaped_rest(&mut self, value: &mut Vec<u8>) -> Result<()> {
        while !self.literal(b"\"") {
            if self.literal(b"\\") {
                self.escape(value)?;
            }
            let stop = memchr2(b'"', b'\\', self.rest).ok_or(Error::Truncated(WHAT))?;
            let (head, tail) = self.rest.split_at(stop);
            value.extend_from_slice(head);
            self.rest = tail;
        }
        Ok(())
    }

    fn escape(&mut self, value: &mut Vec<u8>) -> Result<()> {
        let (&byte, rest) = self.rest.split_first().ok_or(Error::Truncated(WHAT))?;
        self.rest = rest;
        let plain = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'u' => return self.unicode_escape(value),
            _ => return Err(Error::malformed(WHAT, "unknown escape")),
        };
        value.push(plain);
        Ok(())
    }

    fn unicode_escape(&mut self, value: &mut Vec<u8>) -> Result<()> {
        let mut code = self.four_digits()?;
        if (0xd800..0xdc00).contains(&code) && self.literal(b"\\u") {
            let low = self.four_digits()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(Error::malformed(WHAT, "half a surrogate pair"));
            }
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        let found = char::from_u32(code).ok_or_else(|| Error::malformed(WHAT, "half a surrogate pair"))?;
        value.extend_from_slice(found.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn four_digits(&mut self) -> Result<u32> {
        let (digits, rest) = self.rest.split_first_chunk::<4>().ok_or(Error::Truncated(WHAT))?;
        self.rest = rest;
        match read_hex(digits).as_deref() {
            Some(&[high, low]) => Ok(u32::from(high) << 8 | u32::from(low)),
            _ => Err(Error::malformed(WHAT, "bad escape")),
        }
    }

    /// Steps over one value of any shape and returns its text.
    pub fn skip(&mut self) -> Result<&'a [u8]> {
        self.blank();
        let start = self.rest;
        self.skip_value(0)?;
        start.get(..start.len() - self.rest.len()).ok_or(Error::Truncated(WHAT))
    }

    fn skip_value(&mut self, depth: usize) -> Result<()> {
        if depth > DEPTH {
            return Err(Error::malformed(WHAT, "nested too deeply"));
        }
        if self.token(b'{') {
            return self.skip_items(b'}', depth, true);
        }
        if self.token(b'[') {
            return self.skip_items(b']', depth, false);
        }
        if self.rest.first() == Some(&b'"') {
            return self.skip_string();
        }
        let end =
            self.rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'E' | b'+' | b'-' | b'.'));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let number = word.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-');
        if !number && !matches!(word, b"true" | b"false" | b"null") {
            return Err(self.unexpected("a value"));
        }
        self.rest = rest;
        Ok(())
    }

    /// Steps over what [`Reader::string`] reads, and keeps none of it.
    fn skip_string(&mut self) -> Result<()> {
        self.expect(b'"')?;
        loop {
            let stop = memchr2(b'"', b'\\', self.rest).ok_or(Error::Truncated(WHAT))?;
            let (head, tail) = self.rest.split_at(stop);
            // What an escape stands for is UTF-8, and cuts no character in two.
            if std::str::from_utf8(head).is_err() {
                return Err(Error::malformed(WHAT, "a string that is not UTF-8"));
            }
            self.rest = tail;
            if self.literal(b"\"") {
                return Ok(());
            }
            self.literal(b"\\");
            self.escape(&mut Vec::new())?;
        }
    }

    fn skip_items(&mut self, close: u8, depth: usize, keyed: bool) -> Result<()> {
        if self.token(close) {
            return Ok(());
        }
        loop {
            if keyed {
                self.skip_string()?;
                self.expect(b':')?;
            }
            self.skip_value(depth + 1)?;
            if self.token(close) {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_round_trip_and_are_json_for_everyone(value: Vec<u8>) {
            let mut text = Vec::new();
            write_bytes(&value, &mut text);
            prop_assert_eq!(Reader::new(&text).bytes().unwrap(), value);
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&text).is_ok());
        }

        #[test]
        fn any_text_reads_as_another_parser_reads_it(value: String) {
            let text = serde_json::to_vec(&value).unwrap();
            prop_assert_eq!(Reader::new(&text).bytes().unwrap(), value.into_bytes());
        }

        #[test]
        fn a_string_that_is_stepped_over_is_one_that_is_read(inner in "[\"\\\\u0-9a-d{}é\u{1f600}]*", tail: Vec<u8>) {
            let text = [b"\"", inner.as_bytes(), &tail, b"\""].concat();
            let (mut read, mut skipped) = (Reader::new(&text), Reader::new(&text));
            let is_read = read.string().is_ok();
            prop_assert_eq!(is_read, skipped.skip().is_ok());
            prop_assert!(!is_read || read.rest() == skipped.rest());
        }

        #[test]
        fn no_input_panics(text: Vec<u8>) {
            let mut reader = Reader::new(&text);
            while reader.skip().is_ok() && !reader.at_end() {}
            drop(Reader::new(&text).bytes());
            drop(Reader::new(&text).i64());
        }
    }

    #[test]
    fn every_byte_is_escaped_or_not_wherever_it_stands() {
        let escaped = |byte: u8| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b'\n' => "\\n".to_owned(),
            b'\t' => "\\t".to_owned(),
            b'\r' => "\\r".to_owned(),
            0..0x20 | 0x7f => format!("\\u00{byte:02x}"),
            _ => char::from(byte).to_string(),
        };
        for byte in 0..0x80_u8 {
            for place in 0..20 {
                let (before, after) = ("x".repeat(place), "é".repeat(place % 5));
                let text = format!("{before}{0}{0}{after}", char::from(byte));
                let mut out = Vec::new();
                write_bytes(text.as_bytes(), &mut out);
                let expected = format!("\"{before}{0}{0}{after}\"", escaped(byte));
                assert_eq!(String::from_utf8(out).unwrap(), expected);
            }
        }
    }

    #[test]
    fn numbers_keep_their_bounds() {
        assert_eq!(Reader::new(b"18446744073709551615").u64(), Ok(u64::MAX));
        assert!(Reader::new(b"18446744073709551616").u64().is_err());
        assert_eq!(Reader::new(b"-9223372036854775808").i64(), Ok(i64::MIN));
        assert!(Reader::new(b"1.5").u64().is_err());
        assert!(Reader::new(b"").u64().is_err());
    }

    #[test]
    fn escapes_of_other_writers_are_undone() {
        assert_eq!(Reader::new(br#""\u0041\/\ud83d\ude00\b""#).bytes().unwrap(), "A/😀\u{8}".as_bytes());
        assert!(Reader::new(br#""\ud83d""#).bytes().is_err());
    }

    #[test]
    fn deep_nesting_is_an_error() {
        assert!(Reader::new("[".repeat(100_000).as_bytes()).skip().is_err());
    }
}
