//! Which backups are kept, and stretches of time, as words.

/// Which backups are kept: what any of these keeps. Where none is given: all of 2 days, one a day of 2 weeks, one a week of 2
/// months, one a month for ever.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct KeepArgs {
    /// The last so many
    #[arg(long, value_name = "N")]
    pub(crate) keep_last: Option<u32>,
    /// The last of each of so many hours
    #[arg(long, value_name = "N")]
    pub(crate) keep_hourly: Option<u32>,
    /// The last of each of so many days
    #[arg(long, value_name = "N")]
    pub(crate) keep_daily: Option<u32>,
    /// The last of each of so many weeks
    #[arg(long, value_name = "N")]
    pub(crate) keep_weekly: Option<u32>,
    /// The last of each of so many months
    #[arg(long, value_name = "N")]
    pub(crate) keep_monthly: Option<u32>,
    /// The last of each of so many years
    #[arg(long, value_name = "N")]
    pub(crate) keep_yearly: Option<u32>,
    /// All that are younger, such as 3d or 1h30m
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(crate) keep_within: Option<i64>,
}

/// A stretch of time, such as `2d12h`, in seconds.
pub(crate) fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no stretch of time; 3d, 12h or 1h30m is one");
    let (mut sum, mut rest) = (0_i64, text);
    while !rest.is_empty() {
        let end = rest.find(|digit: char| !digit.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = rest.split_at_checked(end).ok_or_else(wrong)?;
        let seconds = match unit.chars().next() {
            Some('w') => 7 * 86_400,
            Some('d') => 86_400,
            Some('h') => 3600,
            Some('m') => 60,
            Some('s') => 1,
            _ => return Err(wrong()),
        };
        let more = number.parse::<i64>().ok().and_then(|number| number.checked_mul(seconds));
        sum = more.and_then(|more| sum.checked_add(more)).ok_or_else(wrong)?;
        rest = unit.get(1..).unwrap_or_default();
    }
    if text.is_empty() { Err(wrong()) } else { Ok(sum) }
}
