//! The offset of a snapshot: the last id of the change log up to which every effect is in it. Ids are given out before they are
//! committed, so the highest one that is seen need not be it.

use super::select;
use super::session::Session;
use super::tables::Placed;
use crate::sql::rows::{Cells, Mismatch};
use metaferry_pipeline::{Error, Result};

/// For how long a transaction may have been under way whose ids are missing, in milliseconds: longer than Kylin waits for one.
const UNSETTLED: i64 = 10 * 60 * 1000;
/// Entries that are looked at at a time.
const PAGE: usize = 1000;

/// Reads the offset from a change log.
pub(super) fn read(session: &mut Session, log: &Placed) -> Result<u64> {
    let now = session.number(select::now(session.dialect()))?;
    let mut walk = Walk::new(now);
    loop {
        let mut page = Vec::with_capacity(PAGE);
        session.rows(&select::newest(log, walk.lowest.map_or(i64::MAX, |(id, _)| id), PAGE), &mut |row| {
            let cells = row.integer(0).and_then(|id| Ok((id.ok_or(Mismatch)?, row.integer(1)?)));
            page.push(cells.map_err(|Mismatch| Error::corrupt("an entry of the change log has no number"))?);
            Ok(())
        })?;
        if !walk.page(&page) || page.len() < PAGE {
            return Ok(walk.offset.unwrap_or_default().cast_unsigned());
        }
    }
}

/// A walk down the log from its highest id.
///
/// An id that is missing below an entry was given out before that entry's. Where the entry is old, whoever had the id is long
/// done and it stays missing: a transaction that was rolled back. Where it is recent, the transaction may be open still, and
/// the offset is what comes before the gap. That is never too high, and too low does no harm: what is played again changes
/// nothing. Ids missing below the lowest entry are no gap, since the log is cut off there from time to time.
struct Walk {
    now: i64,
    /// From when on an entry is recent, known from the first page on.
    recent: Option<i64>,
    /// The entry that was looked at last.
    lowest: Option<(i64, Option<i64>)>,
    offset: Option<i64>,
}

impl Walk {
    fn new(now: i64) -> Self {
        Self { now, recent: None, lowest: None, offset: None }
    }

    /// Takes the next entries in, descending by id; false where none of them is recent.
    fn page(&mut self, entries: &[(i64, Option<i64>)]) -> bool {
        let recent = *self.recent.get_or_insert_with(|| {
            // Clocks differ, and whichever is behind decides.
            let newest = entries.iter().filter_map(|(_, ts)| *ts).max().unwrap_or(self.now);
            newest.min(self.now).saturating_sub(UNSETTLED)
        });
        let is_recent = |ts: Option<i64>| ts.is_none_or(|ts| ts >= recent);
        let mut is_any_recent = false;
        for &(id, ts) in entries {
            let is_gap = self.lowest.is_some_and(|(above, ts)| above - 1 != id && is_recent(ts));
            if is_gap || self.offset.is_none() {
                self.offset = Some(id);
            }
            self.lowest = Some((id, ts));
            is_any_recent |= is_recent(ts);
        }
        is_any_recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;
    const OLD: i64 = NOW - UNSETTLED - 1;

    fn offset(pages: &[&[(i64, i64)]]) -> Option<i64> {
        let mut walk = Walk::new(NOW);
        for page in pages {
            let page: Vec<_> = page.iter().map(|&(id, ts)| (id, Some(ts))).collect();
            if !walk.page(&page) {
                break;
            }
        }
        walk.offset
    }

    #[test]
    fn without_gaps_it_is_the_highest_id() {
        assert_eq!(offset(&[&[]]), None);
        assert_eq!(offset(&[&[(9, NOW)]]), Some(9));
        assert_eq!(offset(&[&[(9, NOW), (8, NOW - 1), (7, OLD)]]), Some(9));
    }

    #[test]
    fn a_gap_below_a_recent_entry_may_be_an_open_transaction() {
        assert_eq!(offset(&[&[(9, NOW), (7, NOW)]]), Some(7));
        assert_eq!(offset(&[&[(9, NOW), (7, NOW), (6, NOW), (3, OLD)]]), Some(3), "the lowest of them counts");
        assert_eq!(offset(&[&[(9, NOW), (8, NOW)], &[(5, OLD), (4, OLD)]]), Some(5), "from one page to the next");
    }

    #[test]
    fn a_gap_below_an_old_entry_is_no_transaction_any_more() {
        assert_eq!(offset(&[&[(9, NOW), (8, OLD), (5, OLD)]]), Some(9));
        assert_eq!(
            offset(&[&[(9, NOW)], &[(8, OLD), (7, OLD)], &[(3, NOW), (1, OLD)]]),
            Some(9),
            "no further is looked"
        );
    }

    #[test]
    fn of_two_clocks_the_one_behind_decides() {
        let behind = NOW - 24 * 3600 * 1000;
        assert_eq!(offset(&[&[(9, behind), (7, behind)]]), Some(7), "a node whose clock is behind");
        let ahead = NOW + 24 * 3600 * 1000;
        assert_eq!(offset(&[&[(9, ahead), (8, NOW), (6, NOW)]]), Some(6), "a node whose clock is ahead");
    }
}
