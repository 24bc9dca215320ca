//! Where a table is cut that lies in the order of its keys: found by looking at some keys through its index, not at all of them.
//! What it takes for sizes are guesses of the server; whatever they are, no row is missed and none comes twice.

use std::collections::BinaryHeap;
use std::ops::RangeInclusive;

use metaferry_pipeline::Result;

use super::padded::is_clean;

/// Rows of a piece, about at most, and at least where there are more.
const ROWS: RangeInclusive<u64> = 512..=4096;
/// Pieces that a small table should have.
const PIECES: u64 = 16;
/// How often a table is split, at most.
const SPLITS: usize = 4096;

/// An index, as far as it is looked into.
pub(super) trait Index {
    /// The last key before a text, and the first from there on.
    fn around(&mut self, text: &[u8]) -> Result<[Option<Vec<u8>>; 2]>;

    /// About how many rows there are from one key to another, both among them; `None` where nobody says.
    fn rows(&mut self, first: &[u8], last: &[u8]) -> Result<Option<u64>>;
}

/// A cut: the key that is the last before it, and about how many rows there are since the cut before.
pub(super) type Cut = (Vec<u8>, u64);

/// Neighbouring rows, by their first and their last key.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    /// About how many, which comes first: the largest part is split first.
    rows: u64,
    first: Vec<u8>,
    last: Vec<u8>,
    /// Where it ends, if there may be a cut.
    cut: Option<Vec<u8>>,
}

/// The cuts of a table whose first and last key are these, ascending, and about how many rows are behind the last one.
pub(super) fn cuts(index: &mut dyn Index, first: Vec<u8>, last: Vec<u8>) -> Result<(Vec<Cut>, u64)> {
    let rows = index.rows(&first, &last)?.unwrap_or_default();
    let (mut large, mut parts) = (BinaryHeap::from([Part { rows, first, last, cut: None }]), Vec::new());
    // Of a large part servers say too little: what its halves have counts.
    let (mut total, mut most) = (rows, 0);
    for _ in 0..SPLITS {
        most = (total / PIECES).clamp(*ROWS.start(), *ROWS.end());
        let Some(part) = large.pop() else { break };
        if part.rows <= most {
            large.push(part);
            break;
        }
        match split(index, &part)? {
            Some(halves) => {
                let rows = halves.iter().fold(0, |rows: u64, half| rows.saturating_add(half.rows));
                total = total.saturating_sub(part.rows).saturating_add(rows);
                large.extend(halves);
            }
            None => parts.push(part),
        }
    }
    parts.extend(large);
    parts.sort_by(|one, other| one.first.cmp(&other.first));
    Ok(joined(parts, most / 2))
}

/// Cuts behind parts, small ones together.
fn joined(parts: Vec<Part>, least: u64) -> (Vec<Cut>, u64) {
    let (mut cuts, mut since) = (Vec::<Cut>::new(), 0_u64);
    for part in parts {
        since = since.saturating_add(part.rows);
        let Some(cut) = part.cut.filter(|_| since >= least) else { continue };
        // Parts overlap where the server's order is another than that of the bytes.
        if cuts.last().is_none_or(|(before, _)| *before < cut) {
            cuts.push((cut, since));
            since = 0;
        }
    }
    (cuts, since)
}

/// The keys of a part before and behind the middle between its first and its last; none where there is nothing between.
fn split(index: &mut dyn Index, part: &Part) -> Result<Option<[Part; 2]>> {
    let Some(middle) = middle(&part.first, &part.last) else { return Ok(None) };
    let [Some(before), Some(behind)] = index.around(middle.as_bytes())? else { return Ok(None) };
    if before < part.first || before >= behind || behind > part.last {
        return Ok(None);
    }
    let cut = [&before, &behind].into_iter().find(|key| is_clean(key)).cloned();
    let mut of = |first: &[u8], last: &[u8], cut| {
        let rows = if first == last { 1 } else { index.rows(first, last)?.unwrap_or_default() };
        Ok::<_, metaferry_pipeline::Error>(Part { rows, first: first.to_vec(), last: last.to_vec(), cut })
    };
    Ok(Some([of(&part.first, &before, cut)?, of(&behind, &part.last, part.cut.clone())?]))
}

/// How many characters behind what two keys have in common make the number that is halved, and of how many sorts they are: none,
/// those from the blank on that ASCII shows, and all behind them.
const DIGITS: usize = 8;
const SORTS: u64 = 97;

/// A text behind the first and not behind the last, about in the middle; it may miss where there are other characters.
fn middle(first: &[u8], last: &[u8]) -> Option<String> {
    let (first, last) = (str::from_utf8(first).ok()?, str::from_utf8(last).ok()?);
    let common: String =
        first.chars().zip(last.chars()).take_while(|(one, other)| one == other).map(|(one, _)| one).collect();
    let (first, last) = (first.strip_prefix(&common)?, last.strip_prefix(&common)?);
    let behind = |text: &str| text.chars().next().filter(|found| *found > '~').map(u32::from);
    if let (Some(from), Some(to)) = (behind(first), behind(last)) {
        let between = char::from_u32(from.checked_add(to)?.div_ceil(2))?;
        return Some(format!("{common}{between}"));
    }
    let (from, to) = (number(first), number(last));
    let mut rest = from + to.checked_sub(from)?.div_ceil(2);
    let mut digits = [0; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = rest % SORTS;
        rest /= SORTS;
    }
    let shown = digits.iter().filter_map(|digit| u8::try_from(digit.saturating_sub(1)).ok());
    let text: String = shown.map(|digit| char::from(b' '.saturating_add(digit).min(b'~'))).collect();
    Some(common + text.trim_end())
}

fn number(text: &str) -> u64 {
    let digit = |found: char| match found {
        '\0'..' ' => 0,
        ' '..='~' => u64::from(u32::from(found)) - u64::from(b' ') + 1,
        _ => SORTS - 1,
    };
    text.chars().map(digit).chain(std::iter::repeat(0)).take(DIGITS).fold(0, |number, digit| number * SORTS + digit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keys in the order of their bytes, whose number is told as `lie` makes it.
    struct Keys<F>(Vec<Vec<u8>>, F, usize);

    impl<F: Fn(u64) -> Option<u64>> Index for Keys<F> {
        fn around(&mut self, text: &[u8]) -> Result<[Option<Vec<u8>>; 2]> {
            self.2 += 1;
            let place = self.0.partition_point(|key| key.as_slice() < text);
            Ok([place.checked_sub(1).and_then(|before| self.0.get(before)), self.0.get(place)]
                .map(Option::<&_>::cloned))
        }

        fn rows(&mut self, first: &[u8], last: &[u8]) -> Result<Option<u64>> {
            let within = self.0.iter().filter(|key| key.as_slice() >= first && key.as_slice() <= last);
            Ok((self.1)(within.count() as u64))
        }
    }

    fn cut<F: Fn(u64) -> Option<u64>>(keys: Vec<Vec<u8>>, lie: F) -> (Vec<Cut>, u64, usize) {
        let [first, last] = [keys.first(), keys.last()].map(|key| key.unwrap().clone());
        let mut index = Keys(keys, lie, 0);
        let (cuts, rest) = cuts(&mut index, first, last).unwrap();
        (cuts, rest, index.2)
    }

    fn store(projects: usize, each: usize) -> Vec<Vec<u8>> {
        let key = |number: usize| format!("/p{:02}/table/DB.T{}.json", number % projects, number * 7919);
        let mut keys: Vec<_> = (0..projects * each).map(key).map(String::into_bytes).collect();
        keys.extend([b"/UUID".to_vec(), b"/_global/project/p.json".to_vec(), "/zürich/华/x".into()]);
        keys.sort();
        keys
    }

    #[test]
    fn pieces_are_of_about_one_size() {
        for (projects, each) in [(1, 40_000), (64, 700), (9, 300)] {
            let keys = store(projects, each);
            let (cuts, rest, looks) = cut(keys.clone(), Some);
            let most = (keys.len() as u64 / PIECES).clamp(512, 4096);
            let mut before = 0;
            for (key, rows) in &cuts {
                let place = keys.binary_search(key).unwrap() + 1;
                assert_eq!(*rows, (place - before) as u64);
                assert!(*rows <= most * 3 / 2 && *rows >= most / 2, "{rows} of {most}");
                before = place;
            }
            assert_eq!(rest, (keys.len() - before) as u64);
            assert!(rest <= most * 3 / 2 && looks < 200, "{rest} {looks}");
        }
    }

    #[test]
    fn projects_in_any_script_are_cut() {
        let key = |number: u32| format!("/{}/x", char::from_u32(0x4e00 + number).unwrap()).into_bytes();
        let (cuts, ..) = cut((0..5000).map(key).collect(), Some);
        assert!(cuts.len() > 8, "{}", cuts.len());
    }

    #[test]
    fn no_cut_is_behind_a_key_with_control_characters() {
        let keys = (0..5000).map(|number| format!("/p/{number:04}\u{1}").into_bytes());
        assert_eq!(cut(keys.collect(), Some).0, []);
        let keys = (0..5000).map(|number| format!("/p/{number:04}{}", if number % 2 == 0 { "\u{1}" } else { "" }));
        let (cuts, ..) = cut(keys.map(String::into_bytes).collect(), Some);
        assert!(cuts.len() > 8 && cuts.iter().all(|(key, _)| is_clean(key)));
    }

    #[test]
    fn where_nobody_says_how_many_there_are_nothing_is_cut() {
        assert_eq!(cut(store(2, 5000), |_| None).0, []);
        assert_eq!(cut(vec![Vec::new()], |_| Some(u64::MAX)).0, []);
    }

    proptest! {
        #[test]
        fn whatever_the_server_guesses_cuts_ascend_among_the_keys(
            keys in prop::collection::btree_set("[/ab~ \u{1}é华🦀]{0,6}", 1..200),
            lie in 1..u64::MAX,
        ) {
            let keys: Vec<_> = keys.into_iter().map(String::into_bytes).collect();
            let (cuts, ..) = cut(keys.clone(), |rows| Some(rows.saturating_mul(lie)));
            prop_assert!(cuts.iter().all(|(key, _)| keys.contains(key) && is_clean(key)));
            prop_assert!(cuts.is_sorted_by(|(one, _), (other, _)| one < other));
        }
    }
}
