//! One turn of an agent: is it time, is nobody else at work, then a backup, and what is to be done after one.

use std::time::Instant;

use jiff::Timestamp;
use metaferry_engines::repository::{Lease, Listed, Made, Repository, Taking};
use metaferry_engines::stamp::{Asking, Turn};
use metaferry_pipeline::Result;
use metaferry_pipeline::copy::Report;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::keeper::{self, Bounds};
use super::log::Level;
use super::{Agent, apart, rhythm};
use crate::commands::make_backup;
use crate::served::Served;

/// Manifests that are looked at for one of the same volume.
const LOOK_BACK: usize = 100;

/// What came of a turn.
#[derive(Serialize, Deserialize)]
pub(super) enum Done {
    /// A backup; when it will be time again.
    Made {
        next: Timestamp,
        /// Whether something around it failed, or something is wrong with the volume.
        is_troubled: bool,
    },
    /// It is not time before then.
    NotYet(Timestamp),
    /// Another is at work.
    Busy(String),
    /// The volume is too large.
    Skipped,
}

impl<S: Served> Agent<'_, S> {
    /// One turn. One that `resumes` may make a backup that was begun and not made, though it is not time.
    pub(super) fn turn(&mut self, resumes: bool) -> Result<Done> {
        if self.is_too_large()? {
            return Ok(Done::Skipped);
        }
        if !resumes
            && let Some(stamp) = self.stamp.as_deref().filter(|_| !self.args.no_shared_timestamp)
            && let Turn::NotYet { until } = self.asking(None).look(stamp, &self.context.stop)?
        {
            self.learn_anew();
            return Ok(Done::NotYet(until));
        }
        let mut keys = self.context.keys()?;
        keys.recipients.clone_from(&self.args.recipients);
        let repository = Repository::open_or_make(&self.address, &keys, &self.context.stop)?;
        self.learn(&repository)?;
        let mut lease = match Lease::take(&self.address, &self.holder, &self.patience)? {
            Taking::Taken(lease) => lease,
            Taking::Busy { holder } => return Ok(Done::Busy(holder)),
        };
        self.tell_of(&lease);
        let unfinished = lease.unfinished().unwrap_or_default().to_owned();
        let asking = self.asking(Some(unfinished.clone()).filter(|turn| !turn.is_empty()));
        match self.claim(&mut lease, &asking, &repository) {
            Ok(Turn::Ours { stamp, repaired }) => {
                if let Some(wrong) = repaired {
                    self.log.say(Level::Warning, "repaired", &format!("{wrong}; it was set to {stamp}"), json!({}));
                }
                drop(repository);
                self.work(lease, &asking)
            }
            Ok(Turn::NotYet { until }) => {
                lease.release("")?;
                Ok(Done::NotYet(until))
            }
            Err(error) => {
                self.give_back(lease, &unfinished);
                Err(error)
            }
        }
    }

    fn asking(&self, unfinished: Option<String>) -> Asking {
        Asking { now: Timestamp::now(), every: self.args.every, unfinished }
    }

    /// Whether the volume has more inodes than are wanted; then it is said.
    fn is_too_large(&self) -> Result<bool> {
        let (Some(most), Some(stamp)) = (self.args.skip_above, &self.stamp) else { return Ok(false) };
        let inodes = stamp.inodes(&self.context.stop)?;
        if inodes > most {
            let text = format!("skipped: the volume has {inodes} inodes, and a backup is wanted up to {most}");
            self.log.say(Level::Warning, "skipped", &text, json!({ "inodes": inodes }));
            self.health.state().skipped += 1;
        }
        Ok(inodes > most)
    }

    fn tell_of(&mut self, lease: &Lease) {
        if !lease.guards() && !self.has_told_of_lease {
            self.has_told_of_lease = true;
            let text = "the store knows no conditional puts, so its lease holds nobody off: the stamp in the volume alone does";
            self.log.say(Level::Warning, "unguarded", text, json!({}));
        }
    }

    /// Whose turn it is. What is begun is noted in the lease first, so that it is not lost with whoever began it.
    fn claim(&self, lease: &mut Lease, asking: &Asking, repository: &Repository) -> Result<Turn> {
        match &self.stamp {
            Some(stamp) if !self.args.no_shared_timestamp => {
                lease.begin(&asking.stamp())?;
                asking.take(stamp.as_ref(), &self.context.stop).map_err(|error| match error.what_to_do() {
                    Some(_) => error,
                    None => error.hint("an account that may not write needs --no-shared-timestamp"),
                })
            }
            _ => {
                let last = self.newest(repository, None)?.map(|(backup, _)| backup.begun);
                Ok(match asking.turn(last.as_deref().map(str::as_bytes)) {
                    Turn::Ours { stamp, .. } => Turn::Ours { stamp, repaired: None },
                    not_yet @ Turn::NotYet { .. } => not_yet,
                })
            }
        }
    }

    /// The newest backup of the volume, before another, and how many inodes it has.
    pub(super) fn newest(&self, repository: &Repository, before: Option<&Listed>) -> Result<Option<(Listed, u64)>> {
        let backups = repository.backups()?;
        let earlier = backups.into_iter().rev().filter(|backup| before.is_none_or(|before| backup < before));
        for backup in earlier.take(LOOK_BACK) {
            let manifest = repository.manifest::<S>(&backup.name)?;
            if manifest.origin == self.origin {
                let nodes = manifest.tally.iter().find(|(kind, _)| *kind == S::COUNTED.0);
                return Ok(Some((backup, nodes.map_or(0, |(_, cell)| cell.rows))));
            }
        }
        Ok(None)
    }

    /// Makes the backup, and does what is to be done after one.
    fn work(&mut self, mut lease: Lease, asking: &Asking) -> Result<Done> {
        let begun = Instant::now();
        self.health.state().is_running = true;
        apart::tell(self.known());
        let bounds = Bounds { outer: &self.context.stop, most: self.args.max_duration };
        let made = keeper::under(&mut lease, &bounds, |stop| {
            let (copy, recipients) = (&self.args.copy, self.args.recipients.clone());
            make_backup::<S>(&self.context.stopped_by(stop), &self.source, self.address.clone(), copy, recipients)
        });
        self.health.state().is_running = false;
        let (report, made) = match made {
            Ok(made) => made,
            Err(error) => {
                self.give_back(lease, &asking.stamp());
                return Err(error);
            }
        };
        self.origin.clone_from(&report.about.origin);
        let is_damaged = self.tell_made(&report, &made, begun.elapsed().as_secs_f64());
        apart::tell(self.known());
        let bounds = Bounds { outer: &self.context.stop, most: None };
        let tidied = lease.begin("").and_then(|()| {
            keeper::under(&mut lease, &bounds, |stop| self.tidy(&self.context.stopped_by(stop), &made.listed))
        });
        self.give_back(lease, "");
        let is_troubled = match tidied {
            Ok(is_troubled) => is_troubled,
            Err(error) => {
                self.log.failed("untidy", "the backup was made, what comes after was not", &error);
                true
            }
        };
        let passed = Timestamp::now().as_second() - asking.now.as_second();
        Ok(Done::Made { next: rhythm::after(self.args.every - passed), is_troubled: is_troubled || is_damaged })
    }

    /// Says what was made; whether anything is wrong with it.
    fn tell_made(&self, report: &Report<S>, made: &Made, seconds: f64) -> bool {
        let (rows, inodes) = (report.rows.values().sum(), report.tally.of(S::COUNTED.0).rows);
        let Made { listed, new_bytes, total_bytes } = made;
        {
            let mut state = self.health.state();
            (state.duration, state.rows, state.inodes) = (seconds, rows, inodes);
            (state.new_bytes, state.total_bytes) = (*new_bytes, *total_bytes);
            state.made += 1;
            state.last_success = listed.begun.parse().ok();
        }
        let name = &listed.name;
        let text = format!("backup {name}: {rows} rows, {new_bytes} new bytes of {total_bytes}, in {seconds:.2} s");
        let fields = json!({ "name": name, "rows": rows, "inodes": inodes, "new_bytes": new_bytes,
            "total_bytes": total_bytes, "seconds": seconds, "guarantee": report.about.guarantee.to_string() });
        self.log.say(Level::Info, "backup", &text, fields);
        let findings = &report.findings;
        for (sort, found) in &findings.census {
            let text = format!("backup {name}: {} of {sort} in the volume", found.count);
            self.log.say(Level::Warning, "found", &text, json!({ "count": found.count, "told": found.told }));
        }
        if findings.damaged.count > 0 {
            let text = format!("backup {name}: {} damaged rows were left out", findings.damaged.count);
            self.log.say(Level::Warning, "damaged", &text, json!({ "count": findings.damaged.count }));
        }
        if seconds * 2.0 > self.args.every as f64 {
            let text =
                format!("backup {name}: it took {seconds:.0} s, more than half of its period of {} s", self.args.every);
            self.log.say(Level::Warning, "slow", &text, json!({ "seconds": seconds }));
        }
        findings.is_damaged(report.mended)
    }

    /// Gives the lease back; where that fails, it runs out by itself.
    fn give_back(&self, lease: Lease, unfinished: &str) {
        if let Err(error) = lease.release(unfinished) {
            self.log.failed("lease", "the lease was not given back, and runs out by itself", &error);
        }
    }
}
