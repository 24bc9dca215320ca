//! The rows that the benchmarks beside this file work on: always the same, and about as varied as those of a volume.

use metaferry_codecs::juicefs::{Chunk, Edge, FileType, Node, Slice, Slices};

/// How many rows a batch has.
pub const ROWS: u64 = 4096;

/// Numbers that look random and never change.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Default for Dice {
    fn default() -> Self {
        Self(7)
    }
}

impl Dice {
    /// The next number (splitmix64).
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number under `bound`.
    pub fn under(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn narrow(&mut self, bound: u32) -> u32 {
        (self.under(u64::from(bound))) as u32
    }
}

/// Regular files of several owners, one in eight with an ACL.
#[must_use]
pub fn nodes() -> Vec<Node> {
    let mut dice = Dice::default();
    let node = |row| Node {
        inode: 1000 + row,
        kind: FileType::REGULAR,
        mode: 0o644,
        uid: dice.narrow(2000),
        gid: dice.narrow(100),
        atime: 1_700_000_000 + i64::from(dice.narrow(40_000_000)),
        atimensec: dice.narrow(1_000_000_000),
        mtime: 1_600_000_000 + i64::from(dice.narrow(40_000_000)),
        mtimensec: dice.narrow(1_000_000_000),
        ctime: 1_650_000_000 + i64::from(dice.narrow(40_000_000)),
        ctimensec: dice.narrow(1_000_000_000),
        nlink: 1,
        length: dice.under(1 << 30),
        parent: 1 + dice.under(1000),
        access_acl: u32::from(dice.under(8) == 0),
        ..Node::default()
    };
    (0..ROWS).map(node).collect()
}

/// Entries whose names are plain, in another script, or not UTF-8.
#[must_use]
pub fn edges() -> Vec<Edge> {
    let mut dice = Dice::default();
    let edge = |row| {
        let number = dice.roll();
        let name = match row % 16 {
            0 => format!("отчёт-{number:x}.pdf").into_bytes(),
            1 => [b"raw-\xff\xfe-".as_slice(), format!("{number:x}").as_bytes()].concat(),
            2 => format!("a \"quoted\" name\t{number:x}").into_bytes(),
            _ => format!("part-{number:016x}.parquet").into_bytes(),
        };
        Edge { parent: 1 + row / 100, name, inode: 1000 + row, kind: FileType::REGULAR }
    };
    (0..ROWS).map(edge).collect()
}

/// Chunks of 1.2 slices in the mean.
#[must_use]
pub fn chunks() -> Vec<Chunk> {
    let mut dice = Dice::default();
    let chunk = |row| {
        let count = if dice.under(100) < 85 { 1 } else { 2 + dice.under(2) };
        let slice = |_| {
            let len = 1 + dice.narrow(4 << 20);
            Slice { pos: dice.narrow(1 << 20), id: dice.under(10_000_000), size: len, off: 0, len }
        };
        let slices = Slices((0..count).map(slice).collect());
        Chunk { inode: 1000 + row, index: dice.narrow(2), slices }
    };
    (0..ROWS).map(chunk).collect()
}
