//! The offset of a snapshot: the last id of the change log up to which every effect is in it. Ids are given out before they are
//! committed, so the highest one that is seen need not be it.

use super::select;
use super::session::Session;
use super::tables::Placed;
use crate::sql::rows::{Cells, Mismatch};
use metaferry_pipeline::{Error, Result};

/// For how long a transaction may have been under way whose ids are missing, in milliseconds: longer than Kylin waits for one.
const UNSETTLED: i64 = 10 * 60 * 1000;
/// How the log is walked.
const WALK: Steps = Steps { page: 1000, pages: 4 };
/// Stretches of ids that are counted, at most, and how many ids are in one, at least.
const STRETCHES: i64 = 10_000;
const WIDTH: i64 = 1000;

/// Entries that are looked at at a time, and how often that is done before the stretches are asked for that have no gap.
#[derive(Clone, Copy)]
struct Steps {
    page: usize,
    pages: usize,
}

/// An entry: its id and its time.
type Entry = (i64, Option<i64>);

/// Entries with neighbouring ids: how many, the lowest id and the highest.
type Stretch = (i64, i64, i64);

/// A change log, as far as it is looked at.
trait Log {
    /// The last entries before an id, that with the highest id first.
    fn newest(&mut self, before: i64, rows: usize) -> Result<Vec<Entry>>;

    /// All entries in stretches, that with the highest ids first; `highest` is about the highest id.
    fn stretches(&mut self, highest: i64) -> Result<Vec<Stretch>>;
}

/// Reads the offset from a change log.
pub(super) fn read(session: &mut Session, log: &Placed) -> Result<u64> {
    let now = session.number(select::now(session.dialect()))?;
    let offset = walk(&mut Stored { session, log }, now, WALK)?;
    Ok(offset.unwrap_or_default().cast_unsigned())
}

/// A change log in a database.
struct Stored<'a> {
    session: &'a mut Session,
    log: &'a Placed,
}

impl Log for Stored<'_> {
    fn newest(&mut self, before: i64, rows: usize) -> Result<Vec<Entry>> {
        let mut page = Vec::with_capacity(rows);
        self.session.rows(&select::newest(self.log, before, rows), &mut |row| {
            let cells = row.integer(0).and_then(|id| Ok((id.ok_or(Mismatch)?, row.integer(1)?)));
            page.push(cells.map_err(|Mismatch| Error::corrupt("an entry of the change log has no number"))?);
            Ok(())
        })?;
        Ok(page)
    }

    fn stretches(&mut self, highest: i64) -> Result<Vec<Stretch>> {
        let dialect = self.session.dialect();
        let lowest = self.session.number(&select::lowest(dialect, self.log))?;
        let width = (highest.saturating_sub(lowest) / STRETCHES).max(WIDTH);
        let mut stretches = Vec::new();
        self.session.rows(&select::stretches(dialect, self.log, width), &mut |row| {
            let [count, lowest, highest] = [0, 1, 2].map(|index| row.integer(index).ok().flatten());
            let stretch = count.zip(lowest).zip(highest).map(|((count, lowest), highest)| (count, lowest, highest));
            stretches.push(stretch.ok_or_else(|| Error::corrupt("the change log does not say which ids it has"))?);
            Ok(())
        })?;
        Ok(stretches)
    }
}

/// Walks down the log as far as it is recent: all entries of some pages first, then those alone that have a gap near them.
fn walk(log: &mut dyn Log, now: i64, steps: Steps) -> Result<Option<i64>> {
    let mut walk = Walk::new(now, steps.page);
    for _ in 0..steps.pages {
        let page = log.newest(walk.below(), steps.page)?;
        if !walk.take(&page) || page.len() < steps.page {
            return Ok(walk.offset);
        }
    }
    let highest = walk.below();
    let stretches = log.stretches(highest)?;
    let below = stretches.iter().skip(1).map(|(.., highest)| Some(*highest)).chain([None]);
    for (&(count, low, high), below) in stretches.iter().zip(below) {
        // Those that were walked already have no entry below.
        if low >= highest {
            continue;
        }
        let is_full = high.checked_sub(low).is_some_and(|span| count.checked_sub(1) == Some(span));
        let is_next = below.is_none_or(|below| low.checked_sub(1) == Some(below));
        let goes_on = if is_full && is_next && high < highest {
            walk.step_over(log, (low, high))?
        } else {
            walk.step_through(log, low)?
        };
        if !goes_on {
            break;
        }
    }
    Ok(walk.offset)
}

/// A walk down the log from its highest id.
///
/// An id that is missing below an entry was given out before that entry's. Where the entry is old, whoever had the id is long
/// done and it stays missing: a transaction that was rolled back. Where it is recent, the transaction may be open still, and
/// the offset is what comes before the gap. That is never too high, and too low does no harm: what is played again changes
/// nothing. Ids missing below the lowest entry are no gap, since the log is cut off there from time to time.
///
/// It ends behind a page of entries none of which is recent.
struct Walk {
    now: i64,
    /// From when on an entry is recent, known from the first page on.
    recent: Option<i64>,
    /// The entry that was looked at last.
    lowest: Option<Entry>,
    offset: Option<i64>,
    /// Entries of a page, how many of this one have been seen, and whether any of those is recent.
    page: usize,
    seen: usize,
    is_any_recent: bool,
}

impl Walk {
    fn new(now: i64, page: usize) -> Self {
        Self { now, recent: None, lowest: None, offset: None, page, seen: 0, is_any_recent: false }
    }

    /// The id below which nothing has been looked at.
    fn below(&self) -> i64 {
        self.lowest.map_or(i64::MAX, |(id, _)| id)
    }

    /// Takes the next entries in, descending by id; false where the walk is at its end.
    fn take(&mut self, entries: &[Entry]) -> bool {
        self.recent.get_or_insert_with(|| {
            // Clocks differ, and whichever is behind decides.
            let newest = entries.iter().filter_map(|(_, ts)| *ts).max().unwrap_or(self.now);
            newest.min(self.now).saturating_sub(UNSETTLED)
        });
        entries.iter().all(|&entry| self.see(entry, 1, self.is_recent(entry.1)))
    }

    /// Steps over entries without a gap among them and to what is below. Whether the walk goes on is seen by one of each page, or
    /// by all of it where that one is old.
    fn step_over(&mut self, log: &mut dyn Log, (low, mut high): (i64, i64)) -> Result<bool> {
        loop {
            let rest = high.saturating_sub(low).saturating_add(1);
            let rows = usize::try_from(rest).unwrap_or(usize::MAX).min(self.page - self.seen);
            let mut is_recent = self.is_any_recent;
            for rows in [1, rows] {
                if !is_recent {
                    let seen = log.newest(high.saturating_add(1), rows)?;
                    is_recent = seen.iter().any(|(_, ts)| self.is_recent(*ts));
                }
            }
            let goes_on = self.see((high, None), rows, is_recent);
            let last = high.saturating_sub_unsigned((rows as u64).saturating_sub(1));
            // There is no gap below it, so its time does not matter.
            self.lowest = Some((last, None));
            if !goes_on || last <= low {
                return Ok(goes_on);
            }
            high = last.saturating_sub(1);
        }
    }

    /// Looks at every entry down to an id.
    fn step_through(&mut self, log: &mut dyn Log, low: i64) -> Result<bool> {
        while self.below() > low {
            let mut page = log.newest(self.below(), self.page)?;
            page.retain(|(id, _)| *id >= low);
            if page.is_empty() {
                break;
            }
            if !self.take(&page) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes in some entries of a page, of which this is the highest; false where the page is full and none of it is recent.
    fn see(&mut self, (id, ts): Entry, rows: usize, is_recent: bool) -> bool {
        let is_gap = self.lowest.is_some_and(|(above, ts)| above - 1 != id && self.is_recent(ts));
        if is_gap || self.offset.is_none() {
            self.offset = Some(id);
        }
        self.lowest = Some((id, ts));
        self.is_any_recent |= is_recent;
        self.seen += rows;
        if self.seen < self.page {
            return true;
        }
        self.seen = 0;
        std::mem::take(&mut self.is_any_recent)
    }

    fn is_recent(&self, ts: Option<i64>) -> bool {
        ts.zip(self.recent).is_none_or(|(ts, recent)| ts >= recent)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_700_000_000_000;
    const OLD: i64 = NOW - UNSETTLED - 1;

    fn offset(pages: &[&[(i64, i64)]]) -> Option<i64> {
        // A page may have fewer entries than the log has at a time.
        let mut walk = Walk::new(NOW, usize::MAX);
        for page in pages {
            let page: Vec<_> = page.iter().map(|&(id, ts)| (id, Some(ts))).collect();
            (walk.page, walk.seen) = (page.len().max(1), 0);
            if !walk.take(&page) {
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

    /// A log in memory, descending by id, whose stretches are so wide; it counts what it is asked for.
    struct Held {
        entries: Vec<Entry>,
        width: i64,
        rows: usize,
    }

    impl Log for Held {
        fn newest(&mut self, before: i64, rows: usize) -> Result<Vec<Entry>> {
            let below = self.entries.iter().skip_while(|(id, _)| *id >= before);
            let page: Vec<_> = below.take(rows).copied().collect();
            self.rows += page.len();
            Ok(page)
        }

        fn stretches(&mut self, _highest: i64) -> Result<Vec<Stretch>> {
            let mut stretches = Vec::<Stretch>::new();
            for (id, _) in &self.entries {
                match stretches.last_mut().filter(|(_, low, _)| *low / self.width == *id / self.width) {
                    Some((count, low, _)) => (*count, *low) = (*count + 1, *id),
                    None => stretches.push((1, *id, *id)),
                }
            }
            Ok(stretches)
        }
    }

    /// By looking at all entries, and by stepping over those that need not be looked at.
    fn both(entries: &[Entry], (page, width): (usize, i64)) -> [(Option<i64>, usize); 2] {
        [usize::MAX, 1].map(|pages| {
            let mut held = Held { entries: entries.to_vec(), width, rows: 0 };
            (walk(&mut held, NOW, Steps { page, pages }).unwrap(), held.rows)
        })
    }

    #[test]
    fn what_has_no_gap_is_stepped_over() {
        let mut entries: Vec<_> = (1..=100_000).rev().map(|id| (id, Some(NOW))).collect();
        let [plain, stepped] = both(&entries, (1000, 1000));
        assert_eq!((plain, stepped.0), ((Some(100_000), 100_000), Some(100_000)));
        assert!(stepped.1 < 4000, "{}", stepped.1);
        entries.retain(|(id, _)| *id != 50_000);
        let [plain, stepped] = both(&entries, (1000, 1000));
        assert_eq!((plain.0, stepped.0), (Some(49_999), Some(49_999)));
        assert!(stepped.1 < 8000, "{}", stepped.1);
    }

    /// Runs of entries: how many ids are missing before each, how many it has, and when they are of.
    fn logs() -> impl Strategy<Value = Vec<Entry>> {
        let gap = prop_oneof![4 => Just(0_i64), 2 => 1..3_i64, 1 => 1..60_i64];
        let ts = prop_oneof![5 => Just(Some(NOW)), 5 => Just(Some(OLD)), 1 => Just(None)];
        let run = (gap, 1..20_i64, ts, prop::option::weighted(0.3, 0..20_i64));
        prop::collection::vec(run, 0..40).prop_map(|runs| {
            let (mut entries, mut next) = (Vec::new(), 1);
            for (gap, count, ts, odd) in runs {
                next += gap;
                for place in 0..count {
                    entries.push((next, if odd == Some(place) { Some(NOW - 5) } else { ts }));
                    next += 1;
                }
            }
            entries.reverse();
            entries
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn stepping_over_comes_to_the_same(entries in logs(), page in 1..12_usize, width in 1..30_i64) {
            let [plain, stepped] = both(&entries, (page, width));
            prop_assert_eq!(plain.0, stepped.0);
        }
    }
}
