//! The one merge of sorted cursors, by a tree of losers: each step compares along one path from a leaf to the root. It
//! knows an order, and neither where records come from nor what they are.

use std::cmp::Ordering;

use super::runs::{RunReader, RunWriter};
use crate::Result;

/// A position in a sorted stream of records. It stands before the first one until it is advanced.
pub(super) trait Cursor: Sized {
    /// A cursor over a run on disk.
    fn open(run: RunReader) -> Self;
    /// Steps to the next record; false past the last one.
    fn advance(&mut self) -> Result<bool>;
    /// The order of the records that the two cursors stand at.
    fn order(&self, other: &Self) -> Ordering;
    /// Writes the record it stands at, as `open` reads it.
    fn write(&self, run: &mut RunWriter) -> Result<()>;
}

/// Merges cursors; of equal records, that of the earlier cursor comes first.
pub(super) struct Merge<C> {
    /// Each at a record; none where it ended, which frees its buffer and its file.
    cursors: Vec<Option<C>>,
    /// Node `n` has the children `2n` and `2n + 1`, the leaf of cursor `c` is node `c + cursors.len()`.
    losers: Vec<usize>,
    winner: usize,
}

impl<C: Cursor> Merge<C> {
    pub(super) fn new(cursors: Vec<C>) -> Result<Self> {
        let advanced = |mut cursor: C| Ok(cursor.advance()?.then_some(cursor));
        Ok(Self::over(cursors.into_iter().map(advanced).collect::<Result<_>>()?))
    }

    /// Merges what is left of several merges.
    pub(super) fn join(merges: impl IntoIterator<Item = Self>) -> Self {
        Self::over(merges.into_iter().flat_map(|merge| merge.cursors).collect())
    }

    fn over(mut cursors: Vec<Option<C>>) -> Self {
        cursors.retain(Option::is_some);
        let mut merge = Self { losers: vec![0; cursors.len()], cursors, winner: 0 };
        merge.winner = merge.play(1);
        merge
    }

    /// The cursor at the smallest record, if there is one left.
    pub(super) fn peek(&self) -> Option<&C> {
        self.cursors.get(self.winner)?.as_ref()
    }

    /// Steps over the smallest record.
    pub(super) fn pop(&mut self) -> Result<()> {
        let Some(slot) = self.cursors.get_mut(self.winner) else { return Ok(()) };
        if let Some(cursor) = slot
            && !cursor.advance()?
        {
            *slot = None;
        }
        let mut node = (self.winner + self.cursors.len()) / 2;
        let mut winner = self.winner;
        while let Some(&loser) = self.losers.get(node)
            && node > 0
        {
            if self.is_before(loser, winner) {
                if let Some(place) = self.losers.get_mut(node) {
                    *place = winner;
                }
                winner = loser;
            }
            node /= 2;
        }
        self.winner = winner;
        Ok(())
    }

    /// Plays the matches under `node`, and returns who wins them.
    fn play(&mut self, node: usize) -> usize {
        if node >= self.cursors.len() {
            return node.saturating_sub(self.cursors.len());
        }
        let (left, right) = (self.play(2 * node), self.play(2 * node + 1));
        let (winner, loser) = if self.is_before(right, left) { (right, left) } else { (left, right) };
        if let Some(place) = self.losers.get_mut(node) {
            *place = loser;
        }
        winner
    }

    fn is_before(&self, left: usize, right: usize) -> bool {
        let cursor = |at: usize| self.cursors.get(at).and_then(Option::as_ref);
        match (cursor(left), cursor(right)) {
            (Some(one), Some(other)) => one.order(other).then(left.cmp(&right)).is_lt(),
            (one, other) => one.is_some() && other.is_none(),
        }
    }
}
