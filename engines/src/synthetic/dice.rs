//! Chance without a state: every number is a function of the seed, a purpose and an index, so that any worker can work out
//! any entry. Integers only, so that a seed means the same volume on every machine.

/// What a number decides; two purposes never share one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Subdirectories = 1,
    Weight,
    Slices,
    Shift,
    Identity,
    Links,
    Share,
    Role,
    Length,
    Pieces,
    Owner,
    Times,
    Mark,
    Name,
    Target,
    Xattr,
    Bytes,
    Origin,
    Quota,
}

/// The chances of one seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The number of this purpose and index.
    #[inline]
    pub(super) fn roll(self, purpose: Purpose, index: u64) -> u64 {
        mix(mix(self.0 ^ (purpose as u64) << 56) ^ index)
    }
}

/// One step of splitmix64.
#[inline]
pub(super) fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ state >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ state >> 31
}

/// A number about 2^(bits/2), log-normal: the set bits of many coins are nearly normal. `bits` is at most 32.
#[inline]
pub(super) fn skewed(roll: u64, bits: u32) -> u64 {
    let power = 1_u64 << (roll & ((1 << bits) - 1)).count_ones();
    power + (roll >> 32) % power
}

/// One of a table.
#[inline]
pub(super) fn pick<T: Copy + Default>(table: &[T], roll: u64) -> T {
    let index = roll % (table.len() as u64).max(1);
    table.get(index as usize).copied().unwrap_or_default()
}
