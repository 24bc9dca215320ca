//! When something is to be done next: waiting by the clock on the wall, pauses after failures, and a little chance. It knows
//! nothing of what is done.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use metaferry_pipeline::{Result, Stop};

/// How often whoever waits looks at the clock and at the stop.
const TICK: Duration = Duration::from_millis(250);
/// The shortest and the longest pause after a first failure, in seconds.
const FIRST_PAUSE: (i64, i64) = (1, 300);
/// The longest time that chance adds, in milliseconds.
const MOST_CHANCE: i64 = 30_000;

/// So many seconds from now.
pub(super) fn after(seconds: i64) -> Timestamp {
    let length = SignedDuration::from_secs(seconds);
    Timestamp::now().checked_add(length).unwrap_or(Timestamp::MAX)
}

/// How long to wait, in seconds, after so many failures one after the other: twice as long each time, never longer than the
/// period.
pub(super) fn pause(failures: u32, every: i64) -> i64 {
    let (shortest, longest) = FIRST_PAUSE;
    let first = (every / 60).clamp(shortest, longest);
    let factor = 1_i64.checked_shl(failures.saturating_sub(1)).filter(|factor| *factor > 0).unwrap_or(i64::MAX);
    first.saturating_mul(factor).min(every.max(1))
}

/// The same moment, or a little later, so that many do not come at once.
pub(super) fn about(moment: Timestamp, every: i64) -> Timestamp {
    let most = every.saturating_mul(1000 / 20).clamp(0, MOST_CHANCE);
    let mut bytes = [0; 4];
    // Without chance all come at once, and no harm is done.
    let chance = getrandom::fill(&mut bytes).map_or(0, |()| i64::from(u32::from_le_bytes(bytes)));
    let length = SignedDuration::from_millis(chance.checked_rem(most).unwrap_or(0));
    moment.checked_add(length).unwrap_or(moment)
}

/// Waits until a moment, by the clock on the wall, which goes on while the machine sleeps; and never longer than it is from
/// now, wherever that clock is put meanwhile.
pub(super) fn wait(until: Timestamp, stop: &Stop) -> Result<()> {
    let (begun, length) = (Instant::now(), left(until));
    while let Some(left) = Some(left(until).min(length.saturating_sub(begun.elapsed()))).filter(|left| !left.is_zero())
    {
        stop.check()?;
        std::thread::sleep(left.min(TICK));
    }
    stop.check()
}

fn left(until: Timestamp) -> Duration {
    Timestamp::now().duration_until(until).try_into().unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_period() {
        let pauses: Vec<i64> = (1..9).map(|failures| pause(failures, 3600)).collect();
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!((pause(1, 2), pause(9, 2), pause(1, 86_400 * 7), pause(200, 3600)), (1, 2, 300, 3600));
    }

    #[test]
    fn chance_adds_little_and_takes_nothing() {
        let now = Timestamp::now();
        for every in [0, 1, 60, 3600, i64::MAX] {
            let later = now.duration_until(about(now, every));
            assert!(!later.is_negative() && later <= SignedDuration::from_secs(30), "{every}: {later:?}");
            assert!(later.as_millis() <= i128::from(every) * 50, "{every}: {later:?}");
        }
    }

    #[test]
    fn what_is_over_is_not_waited_for() {
        let begun = Instant::now();
        wait(after(-10), &Stop::new()).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1));
        let stop = Stop::new();
        stop.interrupt();
        assert!(wait(after(3600), &stop).is_err());
    }
}
