//! status: what a repository says of its backups: when the last one was made and proven, who works on it now, and which wait
//! for a person.

use jiff::Timestamp;
use metaferry_engines::repository::{Lease, Repository, RepositoryAddress};
use metaferry_pipeline::Result;
use serde_json::json;

use crate::Outcome;
use crate::context::Context;
use crate::output::Printer;
use crate::served::Served;

/// Tells; suspect backups are something that was found.
pub(crate) fn run<S: Served>(context: &Context, address: &str) -> Result<Outcome> {
    let address = RepositoryAddress::parse(address)?;
    let repository = Repository::open(&address, &context.keys()?, &context.stop)?;
    let backups = repository.backups()?;
    let newest = backups.last();
    let manifest = newest.map(|newest| repository.manifest::<S>(&newest.name)).transpose()?;
    let is_there = |name: &String| backups.iter().any(|backup| backup.name == *name);
    let suspects: Vec<String> = repository.suspects()?.into_keys().filter(is_there).collect();
    let verified = repository.verified()?.into_iter().filter(|(name, _)| is_there(name));
    let verified = verified.max_by(|(_, one), (_, other)| one.cmp(other));
    let holder = Lease::holder(&address, &context.stop)?;
    let age =
        |moment: &str| moment.parse::<Timestamp>().map(|moment| Timestamp::now().as_second() - moment.as_second());
    let outcome = if suspects.is_empty() { Outcome::Holds } else { Outcome::Found };
    let printer = Printer { json: context.common.json, quiet: false, to_stderr: false };
    if context.common.json {
        printer.line(json!({ "version": 1, "event": "status", "backups": backups.len(),
            "last": newest.map(|newest| &newest.name), "begun": newest.map(|newest| &newest.begun),
            "age_seconds": newest.and_then(|newest| age(&newest.begun).ok()),
            "rows": manifest.as_ref().map(|manifest| manifest.rows()),
            "origin": manifest.as_ref().map(|manifest| &manifest.origin), "lease": holder, "suspects": suspects,
            "verified": verified.as_ref().map(|(name, _)| name), "verified_at": verified.as_ref().map(|(_, at)| at) }));
        return Ok(outcome);
    }
    let ago = |moment: &str| age(moment).map_or_else(|_| String::new(), |seconds| format!(", {} ago", span(seconds)));
    match newest.zip(manifest) {
        None => printer.line("last backup: none"),
        Some((newest, manifest)) => printer.line(format!(
            "last backup: {}{}, {} rows of {}; {} backups in all",
            newest.name,
            ago(&newest.begun),
            manifest.rows(),
            manifest.origin,
            backups.len()
        )),
    }
    match verified {
        None => printer.line("last verified: none"),
        Some((name, at)) => printer.line(format!("last verified: {name} at {at}{}", ago(&at))),
    }
    printer.line(holder.map_or_else(|| "lease: free".to_owned(), |holder| format!("lease: {holder}")));
    for name in &suspects {
        printer
            .line(format!("suspect: {name}; look at it, then: metaferry acknowledge '{}@{name}'", repository.shown()));
    }
    Ok(outcome)
}

/// A stretch of time, in its two largest units.
fn span(seconds: i64) -> String {
    let (seconds, before) = (seconds.abs(), if seconds < 0 { "-" } else { "" });
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{before}{seconds}s"),
        (0, 0, _) => format!("{before}{minutes}m{}s", seconds % 60),
        (0, ..) => format!("{before}{hours}h{minutes}m"),
        _ => format!("{before}{days}d{hours}h"),
    }
}
