//! What an agent does after a backup: looks whether it is far smaller than the one before, removes what no rule keeps, proves the
//! newest backup now and then. None of it undoes the backup.

use std::sync::Arc;

use jiff::Timestamp;
use metaferry_engines::repository::retention::Fate;
use metaferry_engines::repository::{Listed, PruneOptions, Repository, decide, prune};
use metaferry_pipeline::{ErrorKind, Result};
use serde_json::json;

use super::Agent;
use super::log::Level;
use crate::commands::{policy, prove_deep};
use crate::context::Context;
use crate::served::Served;

impl<S: Served> Agent<'_, S> {
    /// All of it; whether anything failed, which is said.
    pub(super) fn tidy(&self, context: &Context, backup: &Listed) -> Result<bool> {
        let repository = Arc::new(Repository::open(&self.address, &context.keys()?, &context.stop)?);
        self.compare(&repository, backup)?;
        let mut is_troubled = false;
        if !self.args.no_prune
            && let Err(error) = self.prune(context, &repository)
        {
            self.health.state().prune_failures += 1;
            self.log.failed("prune", "nothing more was pruned", &error);
            is_troubled = true;
        }
        if self.must_prove(&repository)?
            && let Err(error) = self.prove(context, &repository, backup)
        {
            self.health.state().verify_failures += u64::from(error.kind() != ErrorKind::Interrupted);
            self.log.failed("verify", "the newest backup was not proven", &error);
            is_troubled = true;
        }
        self.learn(&repository)?;
        Ok(is_troubled)
    }

    /// Marks a backup that has far fewer inodes than the one before.
    fn compare(&self, repository: &Repository, backup: &Listed) -> Result<()> {
        let Some((before, had)) = self.newest(repository, Some(backup))? else { return Ok(()) };
        let has = self.health.state().inodes;
        if !is_shrunk(had, has, self.args.shrink_alarm) {
            return Ok(());
        }
        repository.suspect(backup)?;
        let (name, shown, what) = (&backup.name, repository.shown(), S::COUNTED.1);
        let text = format!(
            "backup {name} is suspect: it has {has} {what}, and {} had {had}; nothing is pruned until it is acknowledged: \
             metaferry acknowledge '{shown}@{name}'",
            before.name
        );
        self.log.say(Level::Error, "suspect", &text, json!({ "name": name, "inodes": has, "before": had }));
        Ok(())
    }

    fn prune(&self, context: &Context, repository: &Arc<Repository>) -> Result<()> {
        let backups = repository.backups()?;
        let suspects = repository.suspects()?;
        if let Some(suspect) = backups.iter().find(|backup| suspects.contains_key(&backup.name)) {
            let text = format!("nothing is pruned, since backup {} is suspect", suspect.name);
            self.log.say(Level::Warning, "held_back", &text, json!({ "name": suspect.name }));
            return Ok(());
        }
        let options = PruneOptions { policy: policy(&self.args.keep), trust_clock: false, grace: None };
        let decided = decide(repository, &options)?;
        let gone = decided.iter().filter(|(_, fate)| *fate == Fate::Removed).count();
        let pruned = prune::<S>(repository, &decided, &options, &context.stop)?;
        let (packs, bytes) = pruned.removed;
        let text = format!("pruned: {gone} backups, {packs} packs of {bytes} bytes");
        let fields = json!({ "backups": gone, "removed_packs": packs, "removed_bytes": bytes,
            "doomed_packs": pruned.doomed.0, "held_back": pruned.held_back });
        self.log.say(Level::Info, "pruned", &text, fields);
        Ok(())
    }

    /// Whether no backup was proven for as long as one may go without.
    fn must_prove(&self, repository: &Repository) -> Result<bool> {
        if self.args.verify_every == 0 {
            return Ok(false);
        }
        let moments = repository.verified()?.into_values().filter_map(|at| at.parse::<Timestamp>().ok());
        let (now, last) = (Timestamp::now(), moments.max());
        let is_recent = |last: Timestamp| last <= now && now.as_second() - last.as_second() < self.args.verify_every;
        Ok(!last.is_some_and(is_recent))
    }

    fn prove(&self, context: &Context, repository: &Arc<Repository>, backup: &Listed) -> Result<()> {
        let report = prove_deep::<S>(context, repository, (&self.address, backup))?;
        let (name, rows) = (&backup.name, report.rows.values().sum::<u64>());
        let text = format!("proven: backup {name} restores, and its {rows} rows are equal when they are read back");
        self.log.say(Level::Info, "verified", &text, json!({ "name": name, "rows": rows }));
        Ok(())
    }

    /// Takes note of what the repository says.
    pub(super) fn learn(&self, repository: &Repository) -> Result<()> {
        let newest = self.newest(repository, None)?;
        let last_success = newest.and_then(|(backup, _)| backup.begun.parse().ok());
        let backups = repository.backups()?;
        let is_there = |name: &String| backups.iter().any(|backup| backup.name == *name);
        let suspects = repository.suspects()?.keys().filter(|name| is_there(name)).count();
        let last_verify = repository.verified()?.values().filter_map(|at| at.parse().ok()).max();
        let mut state = self.health.state();
        (state.last_success, state.last_verify) = (last_success, last_verify);
        state.suspects = suspects as u64;
        Ok(())
    }
}

/// Whether `has` is less than `had` by more than so much of a hundred.
fn is_shrunk(had: u64, has: u64, percent: u64) -> bool {
    u128::from(has) * 100 < u128::from(had) * u128::from(100_u64.saturating_sub(percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_smaller_is_suspect() {
        assert!(is_shrunk(1000, 799, 20) && !is_shrunk(1000, 800, 20) && !is_shrunk(1000, 2000, 20));
        assert!(is_shrunk(u64::MAX, 1, 99) && !is_shrunk(u64::MAX, 0, 100) && !is_shrunk(0, 0, 20));
    }
}
