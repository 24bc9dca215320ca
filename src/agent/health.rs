//! How an agent is: what it has done, as Prometheus reads it, and whether that is recent enough. It does nothing itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

/// What an agent and whoever asks after it share.
#[derive(Debug, Clone)]
pub(super) struct Health(Arc<Mutex<State>>);

/// What is known.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// When the agent began.
    pub(super) started: Timestamp,
    /// The period, in seconds.
    pub(super) every: i64,
    /// When the newest backup of the volume was begun, whoever made it.
    pub(super) last_success: Option<Timestamp>,
    /// When a backup was proven last.
    pub(super) last_verify: Option<Timestamp>,
    /// How long the last backup took, in seconds.
    pub(super) duration: f64,
    /// What it had.
    pub(super) rows: u64,
    pub(super) inodes: u64,
    /// What it added, and what all of it takes, in bytes.
    pub(super) new_bytes: u64,
    pub(super) total_bytes: u64,
    /// Since the agent began.
    pub(super) made: u64,
    pub(super) failures: u64,
    pub(super) skipped: u64,
    pub(super) verify_failures: u64,
    pub(super) prune_failures: u64,
    /// Backups that wait to be acknowledged.
    pub(super) suspects: u64,
    pub(super) is_running: bool,
}

impl Health {
    pub(super) fn new(every: i64) -> Self {
        Self(Arc::new(Mutex::new(State {
            started: Timestamp::now(),
            every,
            last_success: None,
            last_verify: None,
            duration: 0.0,
            rows: 0,
            inodes: 0,
            new_bytes: 0,
            total_bytes: 0,
            made: 0,
            failures: 0,
            skipped: 0,
            verify_failures: 0,
            prune_failures: 0,
            suspects: 0,
            is_running: false,
        })))
    }

    /// What is known, to be read or changed.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether there is a backup that is younger than two periods. Where there is none, an agent has as long to make one.
    pub(super) fn is_healthy(&self, now: Timestamp) -> bool {
        let last = self.last_success.unwrap_or(self.started);
        now.as_second().saturating_sub(last.as_second()) < self.every.saturating_mul(2)
    }

    /// All of it in the text format of Prometheus.
    pub(super) fn metrics(&self, now: Timestamp) -> String {
        let at = |moment: Option<Timestamp>| moment.map(|moment| moment.as_second().to_string());
        let age = |moment: Option<Timestamp>| Some((now.as_second() - moment?.as_second()).max(0).to_string());
        let number = |number: u64| Some(number.to_string());
        let yes = |yes: bool| Some(u8::from(yes).to_string());
        let mut out = String::new();
        let mut put = |kind: &str, name: &str, help: &str, value: Option<String>| {
            if let Some(value) = value {
                let name = format!("metaferry_{name}");
                out += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
            }
        };
        let gauges = [
            ("period_seconds", "The time from one backup to the next.", Some(self.every.to_string())),
            ("last_success_timestamp_seconds", "When the newest backup was begun.", at(self.last_success)),
            ("last_backup_duration_seconds", "How long the last backup took.", Some(format!("{:.3}", self.duration))),
            ("last_backup_rows", "The rows of the last backup.", number(self.rows)),
            ("last_backup_inodes", "The inodes of the last backup.", number(self.inodes)),
            ("last_backup_new_bytes", "What the last backup added to the repository.", number(self.new_bytes)),
            ("last_backup_total_bytes", "What all of the last backup takes.", number(self.total_bytes)),
            ("last_verify_timestamp_seconds", "When a backup was proven last.", at(self.last_verify)),
            ("verify_age_seconds", "How long ago a backup was proven last.", age(self.last_verify)),
            ("suspect_backups", "Backups that wait to be acknowledged.", number(self.suspects)),
            ("backup_running", "Whether a backup is under way.", yes(self.is_running)),
            ("healthy", "Whether the newest backup is younger than two periods.", yes(self.is_healthy(now))),
        ];
        let counters = [
            ("backups_total", "Backups that were made.", self.made),
            ("backup_failures_total", "Backups that failed.", self.failures),
            ("backups_skipped_total", "Backups that were skipped, as the volume is too large.", self.skipped),
            ("verify_failures_total", "Proofs that failed.", self.verify_failures),
            ("prune_failures_total", "Prunes that failed.", self.prune_failures),
        ];
        gauges.into_iter().for_each(|(name, help, value)| put("gauge", name, help, value));
        counters.into_iter().for_each(|(name, help, value)| put("counter", name, help, number(value)));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn it_is_healthy_for_two_periods_after_a_backup() {
        let health = Health::new(100);
        let mut state = health.state().clone();
        state.started = at(1000);
        assert!(state.is_healthy(at(1199)) && !state.is_healthy(at(1200)));
        state.last_success = Some(at(1150));
        assert!(state.is_healthy(at(1349)) && !state.is_healthy(at(1350)));
        state.last_success = Some(at(900));
        assert!(!state.is_healthy(at(1100)), "the backup is old, though the agent is young");
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        let mut state = Health::new(3600).state().clone();
        assert!(!state.metrics(at(0)).contains("verify_age_seconds"));
        state.last_verify = Some(at(40));
        let text = state.metrics(at(100));
        assert!(text.contains("\nmetaferry_verify_age_seconds 60\n"), "{text}");
        assert!(text.contains("# TYPE metaferry_backups_total counter\nmetaferry_backups_total 0\n"), "{text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        assert!(lines.into_iter().all(|line| line.split(' ').count() == 2), "{text}");
    }
}
