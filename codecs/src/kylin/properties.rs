//! Kylin's configuration: texts in the form of Java's `Properties.load`, laid over each other. It opens no file, knows of no
//! environment, and shows no value, since any may be a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use zeroize::Zeroizing;

use crate::{Error, Result};

const WHAT: &str = "properties";
/// How deep `${name}` may lead to one another.
const DEPTH: usize = 16;
/// How long a value may become, in bytes.
const BOUND: usize = 1 << 20;

/// The property that says where the metadata is.
pub const METADATA_URL: &str = "kylin.metadata.url";
/// What it is where no layer says (`KylinConfigBase`).
pub const DEFAULT_METADATA_URL: &str = "kylin_metadata@jdbc";

/// Names and values. The layers of a Kylin are, from the first to the last: the defaults it is packaged with,
/// `kylin.properties`, and `kylin.properties.override` beside it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    values: BTreeMap<String, Zeroizing<String>>,
}

impl Properties {
    /// Lays a file's text over what is there: what it names again is replaced. Bytes that are no UTF-8 are read as Latin 1, as
    /// Java does.
    ///
    /// # Errors
    /// A `\u` without four hexadecimal digits behind it, and half a surrogate pair. Nothing is laid over then.
    pub fn lay(&mut self, text: &[u8]) -> Result<()> {
        let text = match std::str::from_utf8(text) {
            Ok(text) => Zeroizing::new(text.to_owned()),
            Err(_) => Zeroizing::new(text.iter().map(|byte| char::from(*byte)).collect::<String>()),
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n");
        let mut layer = BTreeMap::new();
        for line in logical_lines(&text) {
            let (name, value) = entry(&line)?;
            let value = value.trim_matches(|character| character <= ' ').to_owned();
            layer.insert(name, Zeroizing::new(value));
        }
        self.values.append(&mut layer);
        Ok(())
    }

    /// A value with every `${name}` in it replaced by that property's; what is no property stays as it is written.
    ///
    /// # Errors
    /// Properties that lead to themselves, or to more than 1 MiB.
    pub fn get(&self, name: &str) -> Result<Option<Zeroizing<String>>> {
        let Some(value) = self.values.get(name) else { return Ok(None) };
        let mut found = Zeroizing::new(String::new());
        self.substitute(value, DEPTH, &mut found)?;
        Ok(Some(found))
    }

    /// The metadata URL, or Kylin's default for it.
    ///
    /// # Errors
    /// As [`Properties::get`].
    pub fn metadata_url(&self) -> Result<Zeroizing<String>> {
        let found = self.get(METADATA_URL)?.filter(|url| !url.is_empty());
        Ok(found.unwrap_or_else(|| Zeroizing::new(DEFAULT_METADATA_URL.to_owned())))
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    fn substitute(&self, value: &str, depth: usize, out: &mut String) -> Result<()> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Error::malformed(WHAT, format!("${{name}} leads from one to another more than {DEPTH} times")));
        };
        let mut rest = value;
        while let Some((before, behind)) = rest.split_once("${") {
            let Some((name, after)) = behind.split_once('}') else { break };
            put(before, out)?;
            match self.values.get(name) {
                Some(value) => self.substitute(value, depth, out)?,
                None => {
                    put("${", out)?;
                    rest = behind;
                    continue;
                }
            }
            rest = after;
        }
        put(rest, out)
    }
}

fn put(text: &str, out: &mut String) -> Result<()> {
    if out.len() + text.len() > BOUND {
        return Err(Error::TooLarge { what: "a property's value", bound: BOUND as u64 });
    }
    out.push_str(text);
    Ok(())
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{c}')
}

/// Lines without comments and empty ones, each together with those that continue it.
fn logical_lines(text: &str) -> Vec<Zeroizing<String>> {
    let mut lines = Vec::new();
    let mut continued: Option<Zeroizing<String>> = None;
    for line in text.split(['\n', '\r']) {
        let line = line.trim_start_matches(is_blank);
        if continued.is_none() && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let mut whole = continued.take().unwrap_or_default();
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            whole.push_str(line.strip_suffix('\\').unwrap_or(line));
            continued = Some(whole);
        } else {
            whole.push_str(line);
            lines.push(whole);
        }
    }
    lines.extend(continued);
    lines
}

/// The name and the value of a line.
fn entry(line: &str) -> Result<(String, Zeroizing<String>)> {
    let mut rest = line.chars().peekable();
    let name = unescaped(&mut rest, |character| is_blank(character) || matches!(character, '=' | ':'))?;
    while rest.next_if(|character| is_blank(*character)).is_some() {}
    if rest.next_if(|character| matches!(character, '=' | ':')).is_some() {
        while rest.next_if(|character| is_blank(*character)).is_some() {}
    }
    Ok((name, Zeroizing::new(unescaped(&mut rest, |_| false)?)))
}

/// The text up to where `ends` holds of a character that is not escaped, with escapes undone.
fn unescaped(rest: &mut Peekable<Chars<'_>>, ends: impl Fn(char) -> bool) -> Result<String> {
    let mut units = Zeroizing::new(Vec::new());
    while let Some(character) = rest.next_if(|character| !ends(*character)) {
        let meant = match character {
            '\\' => match rest.next() {
                Some('u') => {
                    units.push(unit(rest)?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
                None => break,
            },
            plain => plain,
        };
        units.extend_from_slice(meant.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16(&units).map_err(|_| Error::malformed(WHAT, "half a surrogate pair"))
}

/// The four hexadecimal digits of a `\u`.
fn unit(rest: &mut Peekable<Chars<'_>>) -> Result<u16> {
    let bad = || Error::malformed(WHAT, "\\u without four hexadecimal digits behind it");
    (0..4).try_fold(0, |unit: u16, _| {
        let digit = rest.next().and_then(|digit| digit.to_digit(16)).and_then(|digit| u16::try_from(digit).ok());
        digit.map(|digit| unit << 4 | digit).ok_or_else(bad)
    })
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Properties {
        let mut properties = Properties::default();
        properties.lay(text.as_bytes()).unwrap();
        properties
    }

    fn value(text: &str, name: &str) -> Option<String> {
        read(text).get(name).unwrap().map(|value| value.to_string())
    }

    #[test]
    fn lines_are_read_as_java_reads_them() {
        let text = "# comment \\\n! another\n\n  a = b \nc:d\ne f\ng\t=  \nh\n\
                    fruits   apple, banana, \\\n      pear, \\\r\n   kiwi\nlast = \\\\\n=empty\nkey\\ with\\:two\\=x = y\n\
                    tail = end\\";
        for (name, expected) in [
            ("a", "b"),
            ("c", "d"),
            ("e", "f"),
            ("g", ""),
            ("h", ""),
            ("fruits", "apple, banana, pear, kiwi"),
            ("last", "\\"),
            ("", "empty"),
            ("key with:two=x", "y"),
            ("tail", "end"),
        ] {
            assert_eq!(value(text, name).as_deref(), Some(expected), "{name:?}");
        }
        assert_eq!(read(text).names().count(), 10);
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(value("a=\\u0041\\ud83d\\ude00\\t\\q\\\\.", "a").as_deref(), Some("A😀\tq\\."));
        assert_eq!(value("k=a\\u003db", "k").as_deref(), Some("a=b"));
        for bad in ["a=\\u12", "a=\\u12g4", "a=\\ud83d", "a=\\ude00x"] {
            assert!(Properties::default().lay(bad.as_bytes()).is_err(), "{bad}");
        }
        let mut latin = Properties::default();
        latin.lay(b"a=\xe9").unwrap();
        assert_eq!(**latin.get("a").unwrap().unwrap(), *"é");
    }

    #[test]
    fn later_layers_win() {
        let mut properties = read("a=1\nb=1\na=2\n");
        properties.lay(b"b=3\nc=${a}${b}").unwrap();
        assert_eq!(**properties.get("a").unwrap().unwrap(), *"2");
        assert_eq!(**properties.get("c").unwrap().unwrap(), *"23");
        assert!(properties.lay(b"b=4\nd=\\u").is_err());
        assert_eq!(**properties.get("b").unwrap().unwrap(), *"3");
    }

    #[test]
    fn names_in_values_are_replaced_and_bounded() {
        assert_eq!(value("a=x${b}y${c}z\nb=${d}\nd=1", "a").as_deref(), Some("x1y${c}z"));
        assert_eq!(value("a=${ ${b}\nb=1", "a").as_deref(), Some("${ 1"));
        assert_eq!(value("a=$x {b} ${", "a").as_deref(), Some("$x {b} ${"));
        assert!(read("a=${b}\nb=${a}").get("a").is_err());
        assert!(read("a=${a}").get("a").is_err());
        let doubling: String =
            (0..15).map(|n| format!("k{n}=${{k{0}}}${{k{0}}}{1}\n", n + 1, "-".repeat(99))).collect();
        assert!(matches!(read(&doubling).get("k0"), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn the_metadata_url_has_a_default() {
        assert_eq!(*read("").metadata_url().unwrap(), "kylin_metadata@jdbc");
        assert_eq!(*read("kylin.metadata.url=").metadata_url().unwrap(), "kylin_metadata@jdbc");
        let text = "host=h\nkylin.metadata.url=k@jdbc,url=jdbc:mysql://${host}/k?a=b";
        assert_eq!(*read(text).metadata_url().unwrap(), "k@jdbc,url=jdbc:mysql://h/k?a=b");
        assert!(!format!("{:?}", read("password=hush")).contains("hush"));
    }

    proptest! {
        #[test]
        fn escaped_values_come_back(value in "[ -~é😀\t]*") {
            let units: String = value.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let properties = read(&format!("a={units}"));
            prop_assert_eq!(&**properties.values["a"], value.trim());
        }

        #[test]
        fn no_input_panics(text in any::<Vec<u8>>(), lines in "[a\\\\u0-9=:#!${} \n\r]*") {
            let mut properties = Properties::default();
            drop(properties.lay(&text));
            drop(properties.lay(lines.as_bytes()));
            properties.names().for_each(|name| drop(properties.get(name)));
        }
    }
}
