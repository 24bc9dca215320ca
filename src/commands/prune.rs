//! prune, pin and unpin: which backups stay, and the removal of what no longer does.

use std::sync::Arc;

use metaferry_engines::repository::retention::{Fate, Policy, Reach, Rule, Unit};
use metaferry_engines::repository::{PruneOptions, Repository, RepositoryAddress, decide, prune};
use metaferry_pipeline::Result;
use serde_json::json;

use crate::Outcome;
use crate::args::KeepArgs;
use crate::context::Context;
use crate::output::{Printer, tell};
use crate::served::Served;

/// The rules that were asked for, or those that hold where none was.
pub(crate) fn policy(keep: &KeepArgs) -> Policy {
    let count = |each, most: Option<u32>| most.map(|most| Rule { each, reach: Reach::Count(most) });
    let rules = [
        count(None, keep.keep_last),
        count(Some(Unit::Hour), keep.keep_hourly),
        count(Some(Unit::Day), keep.keep_daily),
        count(Some(Unit::Week), keep.keep_weekly),
        count(Some(Unit::Month), keep.keep_monthly),
        count(Some(Unit::Year), keep.keep_yearly),
        keep.keep_within.map(|seconds| Rule { each: None, reach: Reach::Age(seconds) }),
    ];
    let rules: Vec<Rule> = rules.into_iter().flatten().collect();
    if rules.is_empty() { Policy::default() } else { Policy(rules) }
}

/// Tells what becomes of each backup, and does it.
pub(crate) fn run<S: Served>(
    context: &Context,
    address: &str,
    options: &PruneOptions,
    dry_run: bool,
) -> Result<Outcome> {
    let repository = Arc::new(Repository::open(&RepositoryAddress::parse(address)?, &context.keys()?, &context.stop)?);
    let decided = decide(&repository, options)?;
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    for (backup, fate) in decided.iter().filter(|(_, fate)| dry_run || *fate == Fate::Removed) {
        if context.common.json {
            printer.line(json!({ "version": 1, "event": "decided", "name": backup.name,
                "kept": *fate != Fate::Removed, "reason": fate.to_string() }));
        } else if !context.common.quiet {
            printer.line(format!("{} {fate}", backup.name));
        }
    }
    if dry_run {
        return Ok(Outcome::Holds);
    }
    let pruned = prune::<S>(&repository, &decided, options, &context.stop)?;
    let backups = decided.iter().filter(|(_, fate)| *fate == Fate::Removed).count();
    if context.common.json {
        printer.line(json!({ "version": 1, "event": "pruned", "backups": backups,
            "doomed_packs": pruned.doomed.0, "doomed_bytes": pruned.doomed.1,
            "removed_packs": pruned.removed.0, "removed_bytes": pruned.removed.1,
            "repacked_packs": pruned.repacked.0, "repacked_bytes": pruned.repacked.1, "held_back": pruned.held_back }));
    } else if !context.common.quiet {
        let packs = |what: &str, (packs, bytes): (u64, u64)| format!("{what} {packs} packs of {bytes} bytes");
        let told =
            [packs("doomed", pruned.doomed), packs("removed", pruned.removed), packs("repacked", pruned.repacked)];
        printer.line(format!("prune: removed {backups} backups, {}", told.join(", ")));
    }
    if let Some(why) = &pruned.held_back {
        tell(format_args!("note: no pack was removed: {why}"));
    }
    Ok(Outcome::Holds)
}

/// Takes a suspect backup for right.
pub(crate) fn acknowledge(context: &Context, address: &str) -> Result<Outcome> {
    let repository = Repository::open(&RepositoryAddress::parse(address)?, &context.keys()?, &context.stop)?;
    let backup = repository.chosen()?;
    let changed = repository.acknowledge(&backup)?;
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    if context.common.json {
        printer.line(json!({ "version": 1, "event": "acknowledge", "name": backup.name, "changed": changed }));
    } else if !context.common.quiet {
        let before = if changed { "is no longer suspect" } else { "was not suspect" };
        printer.line(format!("{} {before}", backup.name));
    }
    Ok(Outcome::Holds)
}

/// Pins a backup, or no longer.
pub(crate) fn pin(context: &Context, address: &str, is_pinned: bool) -> Result<Outcome> {
    let repository = Repository::open(&RepositoryAddress::parse(address)?, &context.keys()?, &context.stop)?;
    let backup = repository.chosen()?;
    let changed = repository.pin(&backup, is_pinned)?;
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    if context.common.json {
        printer.line(
            json!({ "version": 1, "event": "pin", "name": backup.name, "pinned": is_pinned, "changed": changed }),
        );
    } else if !context.common.quiet {
        let state = if is_pinned { "pinned" } else { "not pinned" };
        let before = if changed { "" } else { ", as it was before" };
        printer.line(format!("{} is {state}{before}", backup.name));
    }
    Ok(Outcome::Holds)
}
