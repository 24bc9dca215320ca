//! A sum that can be asked for at any index, and be inverted, in constant time and memory: steps that repeat.

/// After how many steps they repeat.
pub(super) const PERIOD: u64 = 4096;

/// Sums of a sequence of steps that repeats.
#[derive(Debug)]
pub(super) struct Staircase {
    /// The sums before each step of a period, and after the last.
    before: Vec<u64>,
    total: u64,
}

impl Staircase {
    /// Of steps that `step(index, sum so far)` tells for one period.
    pub(super) fn new(mut step: impl FnMut(u64, u64) -> u64) -> Self {
        let mut total = 0;
        let mut before = vec![0];
        for index in 0..PERIOD {
            total += step(index, total);
            before.push(total);
        }
        Self { before, total }
    }

    /// The sum of all steps before `index`.
    #[inline]
    pub(super) fn before(&self, index: u64) -> u64 {
        index / PERIOD * self.total + self.before.get((index % PERIOD) as usize).copied().unwrap_or(0)
    }

    /// The step at `index`.
    #[inline]
    pub(super) fn step(&self, index: u64) -> u64 {
        self.before(index + 1) - self.before(index)
    }

    /// The last index whose sum before it is not above `sum`; its step is not zero.
    pub(super) fn find(&self, sum: u64) -> u64 {
        let total = self.total.max(1);
        let rest = sum % total;
        let above = self.before.partition_point(|&before| before <= rest);
        sum / total * PERIOD + (above as u64).saturating_sub(1)
    }
}
