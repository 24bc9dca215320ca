//! Sums over the resources of a backup, by the folder at its top that they are in. They do not depend on any order, so many
//! workers make them; and anybody can make them again with `sha256sum`.

use std::collections::BTreeMap;

use metaferry_codecs::archive::sha256;
use metaferry_codecs::json::write_hex;

/// What a folder at the top holds. The digest of a resource is the SHA-256 of the line that `sha256sum` would print of a file
/// with its content and its key for a name; that of many is their sum, as numbers of 256 bits, big-endian, wrapping.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many resources.
    pub resources: u64,
    /// The length of their content, in bytes.
    pub bytes: u64,
    high: u128,
    low: u128,
}

impl Sum {
    /// The sum of some digests.
    #[must_use]
    pub fn of(resources: u64, bytes: u64, digest: [u8; 32]) -> Self {
        let [high, low] = halves(digest);
        Self { resources, bytes, high, low }
    }

    /// The digest, big-endian.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        let bytes = self.high.to_be_bytes().into_iter().chain(self.low.to_be_bytes());
        digest.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        digest
    }

    fn add(&mut self, other: &Self) {
        self.resources = self.resources.wrapping_add(other.resources);
        self.bytes = self.bytes.wrapping_add(other.bytes);
        let (low, carry) = self.low.overflowing_add(other.low);
        self.low = low;
        self.high = self.high.wrapping_add(other.high).wrapping_add(u128::from(carry));
    }
}

fn halves(digest: [u8; 32]) -> [u128; 2] {
    let mut halves = [0; 2];
    for (half, bytes) in halves.iter_mut().zip(digest.chunks_exact(16)) {
        *half = bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
    }
    halves
}

/// Sums by folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sums(pub(super) BTreeMap<Vec<u8>, Sum>);

impl Sums {
    pub(super) fn add(&mut self, key: &[u8], content: &[u8]) {
        let mut line = Vec::with_capacity(72 + key.len());
        write_hex(&sha256(content), &mut line);
        line.extend_from_slice(b"  ");
        line.extend_from_slice(key);
        line.push(b'\n');
        let sum = Sum::of(1, content.len() as u64, sha256(&line));
        self.put(top(key), &sum);
    }

    fn put(&mut self, folder: &[u8], sum: &Sum) {
        match self.0.get_mut(folder) {
            Some(there) => there.add(sum),
            None => drop(self.0.insert(folder.to_vec(), *sum)),
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(folder, sum)| self.put(folder, sum));
    }

    /// The sum of all folders.
    pub(super) fn total(&self) -> Sum {
        let mut total = Sum::default();
        self.0.values().for_each(|sum| total.add(sum));
        total
    }
}

/// The folder at the top that a key is in; a file there is one by itself.
fn top(key: &[u8]) -> &[u8] {
    let path = key.strip_prefix(b"/").unwrap_or(key);
    path.split(|byte| *byte == b'/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_standard_tools() {
        let mut sums = Sums::default();
        sums.add(b"/p/a", b"hello\n");
        // $ printf 'hello\n' | sha256sum, and the same of the line with the key.
        let line = b"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03  /p/a\n";
        assert_eq!(sums.0[&b"p"[..]], Sum::of(1, 6, sha256(line)));
    }

    #[test]
    fn sums_know_no_order_and_lose_nothing() {
        let rows = [(&b"/p/a"[..], &b"1"[..]), (b"/p/b", b"2"), (b"/q/a", b"1"), (b"/UUID", b"")];
        let sum = |rows: &[(&[u8], &[u8])]| {
            let mut sums = Sums::default();
            rows.iter().for_each(|(key, content)| sums.add(key, content));
            sums
        };
        let all = sum(&rows);
        assert_eq!(all.0.keys().collect::<Vec<_>>(), [&b"UUID"[..], b"p", b"q"]);
        let mut parts = sum(&rows[2..]);
        parts.merge(&sum(&rows[..2]));
        assert_eq!(parts, all);
        assert_eq!(all.total().resources, 4);
        for (index, changed) in [(0, (&b"/p/a"[..], &b"2"[..])), (1, (b"/p/a", b"1")), (2, (b"/q/b", b"1"))] {
            let mut other = rows;
            other[index] = changed;
            assert_ne!(sum(&other), all);
        }
    }

    #[test]
    fn numbers_carry_and_wrap() {
        let mut sum = Sum::of(1, 1, [0xff; 32]);
        let mut one = [0; 32];
        one[31] = 1;
        sum.add(&Sum::of(0, 0, one));
        assert_eq!(sum, Sum::of(1, 1, [0; 32]));
        let mut low = [0; 32];
        low[16..].fill(0xff);
        let mut sum = Sum::of(0, 0, low);
        sum.add(&Sum::of(0, 0, one));
        one[31] = 0;
        one[15] = 1;
        assert_eq!(sum.digest(), one);
    }
}
