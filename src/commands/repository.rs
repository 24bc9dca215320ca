//! backup and backups: copies into a repository, and what is in one.

use std::sync::PoisonError;
use std::time::Instant;

use metaferry_engines::repository::{
    Made, Repository, RepositoryAddress, RepositoryKeys, RepositoryOptions, RepositorySink,
};
use metaferry_pipeline::copy::{self, Report};
use metaferry_pipeline::{Error, ErrorKind, Result};
use serde_json::json;

use crate::Outcome;
use crate::args::CopyArgs;
use crate::commands::copy::selected;
use crate::context::Context;
use crate::open::Place;
use crate::output::{Printer, table};
use crate::progress::Progress;
use crate::served::Served;

/// Makes a backup; what it turned into, and what was seen on the way.
pub(crate) fn make<S: Served>(
    context: &Context,
    place: &Place,
    address: RepositoryAddress,
    args: &CopyArgs,
    recipients: Vec<String>,
) -> Result<(Report<S>, Made)> {
    let options = context.copy_options(args);
    let source = selected::<S>(context, place, args, &options)?;
    let how = RepositoryOptions {
        keep_secrets: options.keep_secrets,
        threads: options.threads,
        memory_bytes: options.memory_bytes,
        keys: RepositoryKeys { recipients, ..context.keys()? },
    };
    let (sink, made) = RepositorySink::<S>::new(address, how);
    let report = copy::copy(source, Box::new(sink), &options, &context.monitor, &context.stop)?;
    let made = made.lock().unwrap_or_else(PoisonError::into_inner).take();
    let made = made.ok_or_else(|| Error::new(ErrorKind::Bug, "a backup that was committed is not there"))?;
    Ok((report, made))
}

/// An engine or a file into a repository.
pub(crate) fn backup<S: Served>(
    context: &Context,
    source: &str,
    repository: &str,
    args: &CopyArgs,
    recipients: Vec<String>,
) -> Result<Outcome> {
    let (place, address) = (Place::parse(source)?, RepositoryAddress::parse(repository)?);
    let started = Instant::now();
    let progress = Progress::start(context);
    let (report, made) = make::<S>(context, &place, address, args, recipients)?;
    drop(progress);
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    printer.copied("backup", &report, started.elapsed());
    let Made { listed, new_bytes, total_bytes } = made;
    if !context.common.quiet {
        if context.common.json {
            printer.line(json!({ "version": 1, "event": "backup", "name": listed.name, "begun": listed.begun,
                "new_bytes": new_bytes, "total_bytes": total_bytes }));
        } else {
            printer.line(format!("backup {}: {new_bytes} new bytes of {total_bytes}", listed.name));
        }
    }
    Ok(if report.findings.is_damaged(report.mended) { Outcome::Found } else { Outcome::Holds })
}

/// What backups there are, the oldest first.
pub(crate) fn list<S: Served>(context: &Context, repository: &str) -> Result<Outcome> {
    let repository = Repository::open(&RepositoryAddress::parse(repository)?, &context.keys()?, &context.stop)?;
    let printer = Printer { json: context.common.json, quiet: false, to_stderr: false };
    let (verified, pinned, suspects) = (repository.verified()?, repository.pinned()?, repository.suspects()?);
    let mut table = table(["begun", "rows", "new bytes", "total bytes", "guarantee", "verified", "id", "origin"]);
    let backups = repository.backups()?;
    let manifests = repository.manifests::<S>(backups.iter().map(|backup| backup.name.clone()).collect())?;
    for (backup, manifest) in backups.iter().zip(manifests) {
        let guarantee = if manifest.is_exact { "exact" } else { "fuzzy" };
        let (proven, is_pinned) = (verified.get(&backup.name), pinned.contains_key(&backup.name));
        let is_suspect = suspects.contains_key(&backup.name);
        if context.common.json {
            printer.line(json!({ "version": 1, "event": "listed", "verified": proven, "pinned": is_pinned, "suspect": is_suspect, "name": backup.name, "id": backup.id(),
                "begun": manifest.begun, "ended": manifest.ended, "rows": manifest.rows(),
                "new_bytes": manifest.new_bytes, "total_bytes": manifest.total_bytes, "guarantee": guarantee,
                "origin": manifest.origin }));
            continue;
        }
        table.add_row([
            backup.begun.clone(),
            manifest.rows().to_string(),
            manifest.new_bytes.to_string(),
            manifest.total_bytes.to_string(),
            guarantee.to_owned(),
            proven.cloned().unwrap_or_default(),
            [backup.id(), if is_pinned { " pinned" } else { "" }, if is_suspect { " suspect" } else { "" }].concat(),
            manifest.origin.clone(),
        ]);
    }
    if !context.common.json {
        printer.line(table);
    }
    Ok(Outcome::Holds)
}
