//! Retention: which of many backups stay, in calendar buckets of UTC. It decides, with a reason for each, and removes
//! nothing.

use std::cmp::Reverse;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const DAY: i64 = 86_400;

/// A stretch of the calendar; of the backups in one, the newest stands for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// An hour.
    Hour,
    /// A day, from midnight.
    Day,
    /// A week, from Monday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

/// How far back a rule goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// As many stretches as that in which there is a backup.
    Count(u32),
    /// As many seconds.
    Age(i64),
    /// For ever.
    Always,
}

/// What keeps backups: every one, or the newest of each stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Of each of these one; every one where there is none.
    pub each: Option<Unit>,
    /// How far back.
    pub reach: Reach,
}

/// What is kept is what any of its rules keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy(pub Vec<Rule>);

impl Default for Policy {
    /// What JuiceFS promises of its own backups (`docs/en/administration/metadata_dump_load.md`): all for 2 days, one a day for
    /// 2 weeks, one a week for 2 months, one a month after.
    fn default() -> Self {
        let rule = |each, reach| Rule { each, reach };
        Self(vec![
            rule(None, Reach::Age(2 * DAY)),
            rule(Some(Unit::Day), Reach::Age(14 * DAY)),
            // No two months are longer.
            rule(Some(Unit::Week), Reach::Age(62 * DAY)),
            rule(Some(Unit::Month), Reach::Always),
        ])
    }
}

/// One backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dated {
    /// When it was made.
    pub at: Timestamp,
    /// Whether it stays whatever the rules say: it is pinned, or the last that was proven to restore.
    pub stays: Option<&'static str>,
}

/// What becomes of a backup, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Kept(String),
    /// It goes.
    Removed,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(reason) => write!(f, "kept: {reason}"),
            Self::Removed => f.write_str("removed: no rule keeps it"),
        }
    }
}

impl Policy {
    /// Decides over backups, in whatever order they come; their fates are in the same. What was made after `now` stays: a
    /// clock has jumped, and nobody can say which way. While [`doubt`] holds, all of them do.
    #[must_use]
    pub fn decide(&self, backups: &[Dated], now: Timestamp) -> Vec<Fate> {
        let moments: Vec<Timestamp> = backups.iter().map(|backup| backup.at).collect();
        let doubt = doubt(&moments, now).map(|doubt| doubt.to_string());
        self.sure(backups, now)
            .into_iter()
            .map(|fate| match (fate, &doubt) {
                (Fate::Removed, Some(doubt)) => Fate::Kept(doubt.clone()),
                (fate, _) => fate,
            })
            .collect()
    }

    /// The same by who is sure that the clock is right.
    #[must_use]
    pub fn sure(&self, backups: &[Dated], now: Timestamp) -> Vec<Fate> {
        let stays = |backup: &Dated| match backup.stays {
            Some(reason) => Some(reason.to_owned()),
            None => (backup.at > now).then(|| "it is from the future".to_owned()),
        };
        let mut reasons: Vec<_> = backups.iter().map(stays).collect();
        let past = backups.iter().enumerate().filter(|(_, backup)| backup.at <= now);
        let mut newest_first: Vec<_> = past.map(|(index, backup)| (index, backup.at)).collect();
        newest_first.sort_by_key(|&(_, at)| Reverse(at));
        for rule in &self.0 {
            rule.keep(&newest_first, now, &mut reasons);
        }
        reasons.into_iter().map(|reason| reason.map_or(Fate::Removed, Fate::Kept)).collect()
    }
}

/// Why it is in doubt that the clock is right: there was nothing for much longer than is usual, until a little while ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// The last moment before the silence.
    pub from: Timestamp,
    /// The first one after it.
    pub to: Timestamp,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing was made from {} to {}, so the clock may be wrong", self.from, self.to)
    }
}

/// Whether the clock may have jumped ahead: between two backups, or between the newest one and `now`, lies more than a day and
/// more than three times what is usual there, and since then fewer than two days went by. A clock that has been right for
/// two days is believed.
#[must_use]
pub fn doubt(moments: &[Timestamp], now: Timestamp) -> Option<Doubt> {
    let mut past: Vec<i64> = moments.iter().filter(|at| **at <= now).map(|at| at.as_second()).collect();
    past.push(now.as_second());
    past.sort_unstable();
    let gaps: Vec<i64> = past.iter().zip(past.iter().skip(1)).map(|(from, to)| to - from).collect();
    let since = gaps.iter().enumerate().rev().find(|&(index, gap)| *gap > usual(gaps.get(..index).unwrap_or_default()));
    let (index, _) = since?;
    let (from, to) = (*past.get(index)?, *past.get(index + 1)?);
    let doubt = Doubt { from: Timestamp::from_second(from).ok()?, to: Timestamp::from_second(to).ok()? };
    (now.as_second() - to < 2 * DAY).then_some(doubt)
}

/// The longest silence that is plausible behind those gaps.
fn usual(gaps: &[i64]) -> i64 {
    let mut last: Vec<i64> = gaps.iter().rev().take(10).copied().collect();
    last.sort_unstable();
    DAY.max(3 * last.get(last.len() / 2).copied().unwrap_or(0))
}

impl Rule {
    fn keep(&self, newest_first: &[(usize, Timestamp)], now: Timestamp, reasons: &mut [Option<String>]) {
        let mut last = None;
        let mut kept = 0_u32;
        for &(index, at) in newest_first {
            let is_within = match self.reach {
                Reach::Count(most) => kept < most,
                Reach::Age(seconds) => now.as_second() - at.as_second() <= seconds,
                Reach::Always => true,
            };
            if !is_within {
                break;
            }
            let start = self.each.map(|unit| unit.start(at));
            if start.is_none() || start != last {
                last = start;
                kept += 1;
                if let Some(reason) = reasons.get_mut(index) {
                    reason.get_or_insert_with(|| self.to_string());
                }
            }
        }
    }
}

impl Unit {
    /// When the stretch began that a moment is in.
    fn start(self, at: Timestamp) -> DateTime {
        let moment = at.to_zoned(TimeZone::UTC).datetime();
        let date = moment.date();
        let days_since_monday = i64::from(date.weekday().to_monday_zero_offset());
        let date = match self {
            Self::Hour => return date.at(moment.hour(), 0, 0, 0),
            Self::Day => date,
            Self::Week => date.saturating_sub(jiff::Span::new().days(days_since_monday)),
            Self::Month => date.first_of_month(),
            Self::Year => date.first_of_year(),
        };
        date.at(0, 0, 0, 0)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.each, self.reach) {
            (None, Reach::Count(most)) => write!(f, "one of the last {most}"),
            (None, Reach::Age(seconds)) => write!(f, "younger than {}", span(seconds)),
            (None, Reach::Always) => f.write_str("all are kept"),
            (Some(unit), Reach::Count(most)) => write!(f, "the newest of its {}, one of {most}", unit.name()),
            (Some(unit), Reach::Age(seconds)) => {
                write!(f, "the newest of its {}, younger than {}", unit.name(), span(seconds))
            }
            (Some(unit), Reach::Always) => write!(f, "the newest of its {}", unit.name()),
        }
    }
}

fn span(seconds: i64) -> String {
    match seconds {
        whole if whole % DAY == 0 => format!("{} days", whole / DAY),
        whole if whole % 3600 == 0 => format!("{} hours", whole / 3600),
        other => format!("{other} s"),
    }
}

#[cfg(test)]
mod tests;
