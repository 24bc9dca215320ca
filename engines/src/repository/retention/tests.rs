//! What retention promises, held over three years of hourly backups that are pruned after each; and the same years under
//! JuiceFS's own rule.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3600;
const YEARS: i64 = 3;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn dated(seconds: impl IntoIterator<Item = i64>) -> Vec<Dated> {
    seconds.into_iter().map(|second| Dated { at: moment(second), stays: None }).collect()
}

/// What of `seconds` stays.
fn kept(policy: &Policy, seconds: &BTreeSet<i64>, now: i64) -> BTreeSet<i64> {
    let fates = policy.decide(&dated(seconds.iter().copied()), moment(now));
    let kept = seconds.iter().zip(fates).filter(|(_, fate)| *fate != Fate::Removed);
    kept.map(|(second, _)| *second).collect()
}

/// JuiceFS's rule (`pkg/vfs/backup.go`): buckets counted back from now, of each the oldest, nothing beyond two years.
fn juicefs(seconds: &BTreeSet<i64>, now: i64) -> BTreeSet<i64> {
    let mut kept = seconds.clone();
    let (mut edge, mut days) = (now - 2 * DAY, 2);
    let mut bucket: Vec<i64> = Vec::new();
    let zoned = moment(now).to_zoned(TimeZone::UTC).saturating_sub(jiff::Span::new().years(2));
    let two_years = zoned.timestamp().as_second();
    let empty = |bucket: &mut Vec<i64>, kept: &mut BTreeSet<i64>| {
        bucket.pop();
        bucket.drain(..).for_each(|second| assert!(kept.remove(&second)));
    };
    for &second in seconds.iter().rev() {
        if second < two_years {
            kept.retain(|other| *other > second);
            break;
        }
        if second < edge {
            empty(&mut bucket, &mut kept);
            while second < edge {
                let step = if days < 14 {
                    1
                } else if days < 60 {
                    7
                } else {
                    30
                };
                days += step;
                edge -= step * DAY;
            }
            bucket.push(second);
        } else if days > 2 {
            bucket.push(second);
        }
    }
    empty(&mut bucket, &mut kept);
    kept
}

/// The stretches of the calendar that lie between two moments with all they have.
fn whole(unit: Unit, from: i64, to: i64) -> Vec<(i64, i64)> {
    let start = |second| unit.start(moment(second)).to_zoned(TimeZone::UTC).unwrap().timestamp().as_second();
    let mut stretches = Vec::new();
    let mut begin = start(from);
    while begin < to {
        let mut end = begin + HOUR;
        while start(end) == begin {
            end += HOUR;
        }
        if begin >= from && end <= to {
            stretches.push((begin, end));
        }
        begin = end;
    }
    stretches
}

/// How often each part of the promise did not hold, step by step: all, daily, weekly, monthly.
#[derive(Debug, Default, PartialEq, Eq)]
struct Broken {
    steps: [usize; 4],
    most_missing: [usize; 4],
    most_kept: usize,
}

/// Runs a rule over three years of backups, one every so many seconds, pruned after each.
fn simulate(every: i64, rule: impl Fn(&BTreeSet<i64>, i64) -> BTreeSet<i64>) -> Broken {
    let begin = at("2024-01-01T00:00:00Z").as_second();
    let months = whole(Unit::Month, begin, begin + YEARS * 366 * DAY);
    let weeks = whole(Unit::Week, begin, begin + YEARS * 366 * DAY);
    let days = whole(Unit::Day, begin, begin + YEARS * 366 * DAY);
    let (mut made, mut backups, mut broken) = (BTreeSet::new(), BTreeSet::new(), Broken::default());
    for step in 0..YEARS * 365 * DAY / every {
        let now = begin + step * every;
        made.insert(now);
        backups.insert(now);
        backups = rule(&backups, now);
        assert!(backups.contains(&now), "the newest is never removed");
        // Of each stretch that lies within some age and in which anything was made, something is there.
        let missing = |stretches: &[(i64, i64)], age: i64| {
            let first = stretches.partition_point(|(from, _)| *from < now.saturating_sub(age));
            let due = stretches[first..].iter().take_while(|(_, to)| *to <= now);
            let has = |in_it: &BTreeSet<i64>, &(from, to): &(i64, i64)| in_it.range(from..to).next().is_some();
            due.filter(|stretch| has(&made, stretch) && !has(&backups, stretch)).count()
        };
        let young = made.range(now - 2 * DAY..).filter(|second| !backups.contains(second)).count();
        let missing = [young, missing(&days, 14 * DAY), missing(&weeks, 61 * DAY), missing(&months, i64::MAX)];
        for (part, missing) in missing.into_iter().enumerate() {
            broken.steps[part] += usize::from(missing > 0);
            broken.most_missing[part] = broken.most_missing[part].max(missing);
        }
        broken.most_kept = broken.most_kept.max(backups.len());
    }
    broken
}

/// How often backups are made: on the hour; as JuiceFS's loop does by default, some minutes late each time; three times a day;
/// daily, some minutes later each day.
const SCHEDULES: [(&str, i64); 4] = [("1 h", HOUR), ("1 h 3 min", 3780), ("8 h", 8 * HOUR), ("24 h 12 min", DAY + 720)];

#[test]
fn three_years_of_backups_keep_the_promise_at_every_step() {
    let policy = Policy::default();
    for (schedule, every) in SCHEDULES {
        let broken = simulate(every, |backups, now| kept(&policy, backups, now));
        println!("every {schedule}: {broken:?}");
        assert_eq!((broken.steps, broken.most_missing), ([0; 4], [0; 4]), "{schedule}");
        // 49 within two days, 14 days, 10 weeks and 37 months, of which many are one.
        assert!(broken.most_kept <= 49 + 14 + 10 + 37, "{schedule}: {}", broken.most_kept);
    }
}

#[test]
fn the_rule_of_juicefs_breaks_it() {
    for (schedule, every) in SCHEDULES {
        let broken = simulate(every, juicefs);
        println!("JuiceFS, every {schedule}: {broken:?}, of {} steps", YEARS * 365 * DAY / every);
        assert_eq!(broken.steps[0], 0, "all are kept for two days");
        assert!(broken.steps[3] > 0, "months are missing: buckets of 30 days, filled every 7, are 35 days apart");
    }
}

#[test]
fn counts_keep_the_newest_of_so_many_stretches() {
    let begin = at("2026-01-01T00:00:00Z").as_second();
    let now = begin + 100 * DAY;
    let all: BTreeSet<i64> = (0..=100 * 24).map(|hour| begin + hour * HOUR).collect();
    let rule = |each, most| Policy(vec![Rule { each, reach: Reach::Count(most) }]);
    for (each, most) in
        [(None, 5), (Some(Unit::Hour), 7), (Some(Unit::Day), 9), (Some(Unit::Week), 4), (Some(Unit::Month), 3)]
    {
        let kept = kept(&rule(each, most), &all, now);
        assert_eq!(kept.len(), most as usize, "{each:?}");
        assert!(kept.contains(&now));
    }
    assert_eq!(kept(&rule(Some(Unit::Year), 3), &all, now).len(), 1, "there was one year");
    assert_eq!(kept(&Policy(vec![Rule { each: None, reach: Reach::Age(3 * DAY) }]), &all, now).len(), 73);
    assert_eq!(kept(&Policy(Vec::new()), &all, now).len(), 0);
    let days = kept(&rule(Some(Unit::Day), 2), &all, now - HOUR);
    assert!(days.contains(&(now - HOUR)) && days.contains(&now), "the newest of a day, and what is from the future");
}

#[test]
fn what_stays_whatever_the_rules_say_and_what_is_from_the_future_is_kept_with_its_reason() {
    let now = at("2026-01-01T00:00:00Z").as_second();
    let mut backups = dated([now - 400 * DAY, now - 399 * DAY, now - HOUR, now, now + DAY]);
    backups[0].stays = Some("it is pinned");
    let fates = Policy(vec![Rule { each: None, reach: Reach::Count(1) }]).sure(&backups, moment(now));
    let told: Vec<String> = fates.iter().map(Fate::to_string).collect();
    assert_eq!(
        told,
        [
            "kept: it is pinned",
            "removed: no rule keeps it",
            "removed: no rule keeps it",
            "kept: one of the last 1",
            "kept: it is from the future"
        ]
    );
}

#[test]
fn a_clock_that_jumps_ahead_and_back_removes_nothing_it_should_not() {
    let policy = Policy::default();
    let begin = at("2026-01-01T00:00:00Z").as_second();
    let mut backups: BTreeSet<i64> = BTreeSet::new();
    let mut now = begin;
    for _ in 0..90 * 24 {
        backups.insert(now);
        backups = kept(&policy, &backups, now);
        now += HOUR;
    }
    for jump in [2 * DAY, 20 * DAY, 400 * DAY, 4000 * DAY] {
        let before = backups.clone();
        for hour in 0..47 {
            let wrong = now + jump + hour * HOUR;
            backups.insert(wrong);
            backups = kept(&policy, &backups, wrong);
            assert!(backups.is_superset(&before), "a jump of {} days", jump / DAY);
        }
        backups.insert(now);
        backups = kept(&policy, &backups, now);
        let future: BTreeSet<i64> = backups.iter().copied().filter(|second| *second > now).collect();
        assert_eq!(future.len(), 47, "what is from the future is kept");
        let mut without = before.clone();
        without.insert(now);
        let without = kept(&policy, &without, now);
        assert_eq!(backups.difference(&future).copied().collect::<BTreeSet<_>>(), without);
        backups = without;
        now += HOUR;
    }
    // A silence that was real is believed after two days.
    let silent = now + 30 * DAY;
    for hour in 0..72 {
        let now = silent + hour * HOUR;
        backups.insert(now);
        let doubted = doubt(&backups.iter().map(|&second| moment(second)).collect::<Vec<_>>(), moment(now));
        assert_eq!(doubted.is_some(), hour < 48, "{hour}");
    }
}

#[test]
fn slow_schedules_are_not_doubted() {
    let begin = at("2026-01-01T00:00:00Z").as_second();
    for days in [1, 3, 7, 30] {
        let moments: Vec<_> = (0..20).map(|number| moment(begin + number * days * DAY)).collect();
        assert_eq!(doubt(&moments, *moments.last().unwrap()).map(|doubt| doubt.to_string()), None, "every {days} days");
        assert!(
            doubt(&moments, moment(begin + (19 + 4) * days * DAY + 1)).is_some(),
            "every {days} days, and then none"
        );
    }
}

proptest! {
    #[test]
    fn the_order_in_which_backups_are_listed_means_nothing(seconds in prop::collection::btree_set(0_i64..40 * DAY, 1..60), seed: u64) {
        let now = at("2026-01-01T00:00:00Z").as_second();
        let sorted: Vec<Dated> = dated(seconds.iter().map(|second| now - second));
        let fates = Policy::default().decide(&sorted, moment(now));
        let mut order: Vec<usize> = (0..sorted.len()).collect();
        order.sort_by_key(|&index| (index as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
        let mixed: Vec<Dated> = order.iter().map(|&index| sorted[index]).collect();
        let again = Policy::default().decide(&mixed, moment(now));
        for (place, &index) in order.iter().enumerate() {
            prop_assert_eq!(&again[place], &fates[index]);
        }
        prop_assert_ne!(&fates[0], &Fate::Removed, "the newest");
    }
}
