//! Times of entries, as Java writes and reads them: local time in steps of two seconds, from 1980 to 2107; what is earlier or
//! later also stands in seconds beside it.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::records::Entry;

/// 1980-01-01 00:00, which stands for all before it.
const FIRST: u32 = 1 << 21 | 1 << 16;
/// 2107-12-31 23:59:58.
const LAST: u32 = 127 << 25 | 12 << 21 | 31 << 16 | 23 << 11 | 59 << 5 | 29;

/// Gives an entry its time, in milliseconds since 1970.
pub(super) fn put(entry: &mut Entry, millis: i64, zone: &TimeZone) {
    let local = Timestamp::from_millisecond(millis).ok().map(|time| time.to_zoned(zone.clone()).datetime());
    let seconds = millis.div_euclid(1000);
    let dos = local.and_then(|local| {
        let year = u32::try_from(i32::from(local.year()) - 1980).ok().filter(|year| *year < 128)?;
        let [month, day, hour, minute, second] =
            [local.month(), local.day(), local.hour(), local.minute(), local.second()].map(i8::unsigned_abs);
        let date = year << 25 | u32::from(month) << 21 | u32::from(day) << 16;
        Some(date | u32::from(hour) << 11 | u32::from(minute) << 5 | u32::from(second >> 1))
    });
    entry.dos = dos.unwrap_or(if millis < 0 || seconds < 1 << 30 { FIRST } else { LAST });
    entry.seconds = if dos.is_none() { i32::try_from(seconds).ok() } else { None };
}

/// The time of an entry, in milliseconds since 1970; 0 where it has none that is any.
pub(super) fn get(entry: &Entry, zone: &TimeZone) -> i64 {
    if let Some(seconds) = entry.seconds {
        return i64::from(seconds) * 1000;
    }
    let part = |shift: u32, bits: u32| (entry.dos >> shift & ((1 << bits) - 1)) as i8;
    let year = (entry.dos >> 25) as i16 + 1980;
    let local = DateTime::new(year, part(21, 4), part(16, 5), part(11, 5), part(5, 6), part(0, 5).saturating_mul(2), 0);
    let zoned = local.ok().and_then(|local| local.to_zoned(zone.clone()).ok());
    zoned.map_or(0, |zoned| zoned.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(millis: i64, zone: &TimeZone) -> i64 {
        let mut entry = Entry::default();
        put(&mut entry, millis, zone);
        get(&entry, zone)
    }

    #[test]
    fn times_come_back_in_steps_of_two_seconds() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for zone in [TimeZone::UTC, zone] {
            for millis in [1_700_000_000_000, 1_700_000_001_999, 1_690_000_000_000, 4_000_000_000_123] {
                assert_eq!(through(millis, &zone), millis / 2000 * 2000);
            }
        }
        let mut entry = Entry::default();
        put(&mut entry, 1_700_000_000_000, &TimeZone::UTC);
        // 2023-11-14 22:13:20
        assert_eq!(entry.dos, 43 << 25 | 11 << 21 | 14 << 16 | 22 << 11 | 13 << 5 | 10);
        assert_eq!(entry.seconds, None);
    }

    #[test]
    fn what_the_format_has_no_room_for_stands_in_seconds() {
        for millis in [0, 1_000, -5_000, 315_000_000_000] {
            assert_eq!(through(millis, &TimeZone::UTC), millis);
        }
        for (millis, dos) in [(0, FIRST), (i64::MIN, FIRST), (i64::MAX, LAST), (5_000_000_000_000, LAST)] {
            let mut entry = Entry::default();
            put(&mut entry, millis, &TimeZone::UTC);
            assert_eq!(entry.dos, dos, "{millis}");
            get(&entry, &TimeZone::UTC);
        }
    }

    #[test]
    fn no_time_panics() {
        for dos in (0..=u32::MAX).step_by(65_521) {
            get(&Entry { dos, ..Entry::default() }, &TimeZone::UTC);
        }
        assert_eq!(get(&Entry::default(), &TimeZone::UTC), 0);
    }
}
