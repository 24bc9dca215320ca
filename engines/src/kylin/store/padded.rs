//! Resources in the order of their keys' bytes, made of MySQL's own order without sorting the table: both are the same but for
//! keys with control characters.
//!
//! A `_bin` collation of Unicode compares code points, in the order of the bytes. But many fill the shorter key up with blanks: a
//! key that goes on, behind blanks or at once, with a character below a blank comes before the key it begins with. So such keys
//! are held back until one without such a character comes. Whatever comes after that belongs behind all of them: between a key
//! that was held and the beginning it has to follow there is none without such a character. For the same reason a table may be
//! cut behind any key without one.

use metaferry_codecs::kylin::Resource;
use metaferry_pipeline::{Error, Result};

/// What may be held back, in bytes of keys and contents, unless one row has more.
const MOST: usize = 16 << 20;

/// Whether a key has no character that comes before a blank.
pub(super) fn is_clean(key: &[u8]) -> bool {
    key.iter().all(|byte| *byte >= b' ')
}

/// Takes resources in the server's order, and hands them out in that of their bytes.
#[derive(Default)]
pub(super) struct Padded {
    held: Vec<Resource>,
    bytes: usize,
    /// The key that was handed out last.
    last: Vec<u8>,
}

impl Padded {
    /// Takes the next one.
    ///
    /// # Errors
    /// `Unsupported` where too much has to be held back; whatever `each` fails with.
    pub(super) fn take(&mut self, row: Resource, each: &mut dyn FnMut(Resource) -> Result<()>) -> Result<()> {
        match (is_clean(&row.key), self.held.is_empty()) {
            (true, true) => self.hand_out(row, each),
            (true, false) => {
                self.held.push(row);
                self.finish(each)
            }
            (false, _) => self.hold(row),
        }
    }

    /// Hands out what is held back: no more comes, or what comes belongs behind it.
    ///
    /// # Errors
    /// Whatever `each` fails with.
    pub(super) fn finish(&mut self, each: &mut dyn FnMut(Resource) -> Result<()>) -> Result<()> {
        self.bytes = 0;
        let mut held = std::mem::take(&mut self.held);
        held.sort_by(|one, other| one.key.cmp(&other.key));
        held.into_iter().try_for_each(|row| self.hand_out(row, each))
    }

    fn hold(&mut self, row: Resource) -> Result<()> {
        self.bytes += row.key.len() + row.content.len();
        if self.bytes > MOST && !self.held.is_empty() {
            let key = String::from_utf8_lossy(&row.key).into_owned();
            let what = format!("{key:?} and the keys before it have control characters: too many to be put in order");
            return Err(Error::unsupported(what).hint("Kylin itself makes no such keys: see where they come from"));
        }
        self.held.push(row);
        Ok(())
    }

    fn hand_out(&mut self, row: Resource, each: &mut dyn FnMut(Resource) -> Result<()>) -> Result<()> {
        if row.key < self.last {
            // Two keys that differ in nothing but blanks at their ends, which no primary key allows.
            let keys = [&self.last, &row.key].map(|key| String::from_utf8_lossy(key).into_owned());
            return Err(Error::corrupt(format!("the key {:?} comes before {:?}", keys[0], keys[1]))
                .hint("see whether the table has its primary key"));
        }
        self.last.clear();
        self.last.extend_from_slice(&row.key);
        each(row)
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;
    use std::collections::BTreeMap;

    use metaferry_pipeline::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    fn row(key: &str) -> Resource {
        Resource { key: key.as_bytes().to_vec(), ..Resource::default() }
    }

    /// As the server compares: whichever is shorter is filled up with blanks.
    fn compare(one: &str, other: &str) -> Ordering {
        let length = one.len().max(other.len());
        let [one, other] = [one, other].map(|key| key.bytes().chain(std::iter::repeat(b' ')).take(length));
        one.cmp(other)
    }

    /// Keys as the server gives them, no two of which are the same to it.
    fn keys() -> impl Strategy<Value = Vec<String>> {
        let letters = prop::sample::select(vec!['/', 'a', 'b', ' ', '\u{1}', '\u{1f}', 'é', '🦀']);
        let key = prop::collection::vec(letters, 0..7).prop_map(|letters| letters.into_iter().collect::<String>());
        prop::collection::vec(key, 0..60).prop_map(|keys| {
            let distinct: BTreeMap<_, _> = keys.iter().map(|key| (key.trim_end_matches(' '), key.clone())).collect();
            let mut keys: Vec<_> = distinct.into_values().collect();
            keys.sort_by(|one, other| compare(one, other));
            keys
        })
    }

    fn ordered(pieces: &[&[String]]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for piece in pieces {
            let mut padded = Padded::default();
            let mut each = |row: Resource| {
                out.push(row.key);
                Ok(())
            };
            piece.iter().try_for_each(|key| padded.take(row(key), &mut each)).unwrap();
            padded.finish(&mut each).unwrap();
        }
        out
    }

    fn by_bytes(keys: &[String]) -> Vec<Vec<u8>> {
        let mut keys: Vec<_> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        keys.sort();
        keys
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn keys_come_out_in_the_order_of_their_bytes(keys in keys()) {
            prop_assert_eq!(ordered(&[&keys]), by_bytes(&keys));
        }

        #[test]
        fn a_table_may_be_cut_behind_any_key_without_control_characters(keys in keys(), cuts: [bool; 60]) {
            let is_cut = |(key, is_cut): &(&String, bool)| *is_cut && is_clean(key.as_bytes());
            let ends: Vec<_> = keys.iter().zip(cuts).map(|pair| is_cut(&pair)).collect();
            let (mut pieces, mut from) = (Vec::new(), 0);
            for (place, is_end) in ends.iter().enumerate() {
                if *is_end {
                    pieces.push(&keys[from..=place]);
                    from = place + 1;
                }
            }
            pieces.push(&keys[from..]);
            prop_assert_eq!(ordered(&pieces), by_bytes(&keys));
        }

        #[test]
        fn rows_that_are_left_out_change_no_order(keys in keys(), left: [bool; 60]) {
            let keys: Vec<_> = keys.into_iter().zip(left).filter_map(|(key, is_left)| is_left.then_some(key)).collect();
            prop_assert_eq!(ordered(&[&keys]), by_bytes(&keys));
        }
    }

    #[test]
    fn what_is_held_back_is_bounded_but_for_one_row() {
        let (mut padded, mut count) = (Padded::default(), 0);
        let mut each = |_| {
            count += 1;
            Ok(())
        };
        let large = |key: &str| Resource { content: vec![0; MOST + 1], ..row(key) };
        padded.take(large("/a\u{1}"), &mut each).unwrap();
        padded.take(large("/b"), &mut each).unwrap();
        padded.take(large("/b\u{1}"), &mut each).unwrap();
        let error = padded.take(row("/b\u{2}"), &mut each).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains(r"/b\u{2}"), "{error}");
        assert_eq!(count, 2);
    }

    #[test]
    fn another_order_is_refused() {
        let mut padded = Padded::default();
        padded.take(row("/a "), &mut |_| Ok(())).unwrap();
        let error = padded.take(row("/a"), &mut |_| Ok(())).unwrap_err();
        assert!(error.kind() == ErrorKind::Corrupt && error.what_to_do().is_some(), "{error}");
    }
}
