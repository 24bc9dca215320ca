//! What an agent is asked on the command line. Everything here is words.

use std::net::SocketAddr;

use crate::args::{CopyArgs, KeepArgs, seconds};

/// How an agent logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogStyle {
    /// Lines to read
    Text,
    /// One JSON object a line
    Json,
}

/// What an agent is asked.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AgentArgs {
    /// The engine
    pub(crate) source: String,
    /// The repository, such as repo+file:///backups or repo+s3://bucket/prefix; made where there is none
    pub(crate) repository: String,
    /// How long from one backup to the next, such as 1h, 1h30m50s or 2d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = period)]
    pub(crate) every: i64,
    #[command(flatten)]
    pub(crate) copy: CopyArgs,
    #[command(flatten)]
    pub(crate) keep: KeepArgs,
    /// Remove no backups
    #[arg(long)]
    pub(crate) no_prune: bool,
    /// How often the newest backup is restored into a scratch database and proven; 0s is never
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = seconds)]
    pub(crate) verify_every: i64,
    /// Take a backup with so much fewer inodes than the one before for suspect: it is kept, and nothing is pruned until it is
    /// acknowledged
    #[arg(long, value_name = "PERCENT", default_value = "20%", value_parser = percent)]
    pub(crate) shrink_alarm: u64,
    /// Make no backup of a volume that says it has more inodes
    #[arg(long, value_name = "INODES")]
    pub(crate) skip_above: Option<u64>,
    /// Abandon a backup that takes longer
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) max_duration: Option<i64>,
    /// Neither look at when JuiceFS's clients made their last backup nor tell them of ours: for an account that may only read
    #[arg(long)]
    pub(crate) no_shared_timestamp: bool,
    /// Make one backup if it is time, and end
    #[arg(long)]
    pub(crate) once: bool,
    /// Serve /metrics and /healthz here
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// How it logs, on standard error [default: text; with --json, json]
    #[arg(long, value_name = "STYLE")]
    pub(crate) log: Option<LogStyle>,
    /// A public key of age that is to open a repository that is made, beside --identity
    #[arg(long = "recipient", value_name = "age1…", requires = "identity")]
    pub(crate) recipients: Vec<String>,
}

/// A stretch of time that is one.
fn period(text: &str) -> Result<i64, String> {
    match seconds(text)? {
        0 => Err(format!("{text:?} is no time at all")),
        seconds => Ok(seconds),
    }
}

/// A share of a hundred, such as `20%`.
fn percent(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|number| (1..=100).contains(number));
    number.ok_or_else(|| format!("{text:?} is no share; 20% is one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_and_shares_are_read() {
        assert_eq!(period("1h30m50s"), Ok(5450));
        assert_eq!(period("2d"), Ok(172_800));
        assert_eq!((percent("20%"), percent("5")), (Ok(20), Ok(5)));
        for wrong in ["", "0s", "1", "h", "1y"] {
            assert!(period(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "%", "0%", "101%", "-1%"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
