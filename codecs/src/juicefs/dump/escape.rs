//! The percent escapes of names, link targets and xattr values (`dump.go: escape, unescape`).

/// Appends `raw` percent-escaped: control characters, space, `%`, `"`, `\` and bytes that are no UTF-8. U+FFFD, which
/// JuiceFS takes for a byte that is none and cuts to its first, is escaped whole: JuiceFS reads that right.
pub fn escape(raw: &[u8], out: &mut Vec<u8>) {
    for chunk in raw.utf8_chunks() {
        plain(chunk.valid().as_bytes(), out);
        chunk.invalid().iter().for_each(|&byte| escaped(byte, out));
    }
}

/// The same, and escapes every byte that is not ASCII too. Read right by JuiceFS whatever it is wrapped in: where it unzips a
/// dump, it takes a character that lies in two of its buffers for bytes that are none.
pub(crate) fn escape_ascii(raw: &[u8], out: &mut Vec<u8>) {
    for &byte in raw {
        if is_special(byte) || !byte.is_ascii() {
            escaped(byte, out);
        } else {
            out.push(byte);
        }
    }
}

fn is_special(byte: u8) -> bool {
    byte <= b' ' || matches!(byte, b'%' | b'"' | b'\\')
}

const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

fn plain(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = text.iter().position(|&byte| is_special(byte) || byte == 0xef) {
        let (head, rest) = text.split_at(at);
        out.extend_from_slice(head);
        let Some((&first, after)) = rest.split_first() else { return };
        if first != 0xef {
            escaped(first, out);
            text = after;
        } else if let Some(after) = rest.strip_prefix(REPLACEMENT) {
            REPLACEMENT.iter().for_each(|&byte| escaped(byte, out));
            text = after;
        } else {
            out.push(first);
            text = after;
        }
    }
    out.extend_from_slice(text);
}

fn escaped(byte: u8, out: &mut Vec<u8>) {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 };
    out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
}

/// Undoes the escapes in place: `%` and two digits, of upper case, become a byte; any other `%` stays.
#[must_use]
pub fn unescape(mut text: Vec<u8>) -> Vec<u8> {
    let Some(first) = memchr::memchr(b'%', &text) else { return text };
    let tail = text.split_off(first);
    let mut rest = tail.as_slice();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().and_then(|&[high, low]| Some(digit(high)? << 4 | digit(low)?));
        match digits {
            Some(value) if byte == b'%' => {
                text.push(value);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                text.push(byte);
                rest = after;
            }
        }
    }
    text
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped_text(raw: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        escape(raw, &mut out);
        out
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(raw: Vec<u8>) {
            let text = escaped_text(&raw);
            prop_assert!(std::str::from_utf8(&text).is_ok());
            prop_assert!(!text.iter().any(|byte| *byte <= b' ' || matches!(byte, b'"' | b'\\')));
            prop_assert_eq!(&unescape(text), &raw);
            let mut ascii = Vec::new();
            escape_ascii(&raw, &mut ascii);
            prop_assert!(ascii.is_ascii() && !ascii.iter().any(|byte| is_special(*byte) && *byte != b'%'));
            prop_assert_eq!(unescape(ascii), raw);
        }
    }

    /// The table of the format's description.
    #[test]
    fn escapes_are_those_of_juicefs() {
        let cases: [(&[u8], &str); 11] = [
            (b"plain", "plain"),
            (b"a b", "a%20b"),
            (b"100%", "100%25"),
            (b"%41", "%2541"),
            (b"q\"q", "q%22q"),
            (b"b\\s", "b%5Cs"),
            (b"\n\t", "%0A%09"),
            (b"\xff\xfe", "%FF%FE"),
            (b"ok\xb9\xfb", "ok%B9%FB"),
            (b"\x7f<&>", "\x7f<&>"),
            ("果汁ﬀ\u{fffd}".as_bytes(), "果汁ﬀ%EF%BF%BD"),
        ];
        for (raw, text) in cases {
            assert_eq!(String::from_utf8(escaped_text(raw)).unwrap(), text);
        }
        for kept in ["%b9", "%", "%B", "a%4"] {
            assert_eq!(unescape(kept.into()), kept.as_bytes());
        }
    }
}
