//! backup --into-volume and backups --from-volume: JuiceFS's own backups in a volume's own bucket.

use std::time::Instant;

use metaferry_engines::bucket::Outgoing;
use metaferry_engines::json::{JsonOptions, JsonSink, Secrets};
use metaferry_engines::output::Destination;
use metaferry_engines::wrapping::{Compression, Sealing};
use metaferry_pipeline::{Error, Result, copy};
use serde_json::json;

use crate::Outcome;
use crate::args::CopyArgs;
use crate::commands::copy::selected;
use crate::context::Context;
use crate::juicefs::stored::VolumeBucket;
use crate::open::Place;
use crate::output::{Printer, table};
use crate::progress::Progress;

/// An engine into its volume's own bucket, in the form that JuiceFS gives its backups.
pub(crate) fn backup(context: &Context, source: &str, args: &CopyArgs) -> Result<Outcome> {
    let place = Place::parse(source)?;
    if !place.is_engine() {
        return Err(
            Error::config(format!("{place} is no engine")).hint("--into-volume backs up the engine of a volume")
        );
    }
    let started = Instant::now();
    let volume = VolumeBucket::of(context, &place)?;
    let (key, backup) = (volume.key(context)?, volume.bucket.name_now()?);
    let options = context.copy_options(args);
    let mut outgoing = Outgoing::new(&options.spill);
    let destination = Destination::pipe(backup.name.clone(), Box::new(outgoing.clone()));
    let how = JsonOptions {
        secrets: if options.keep_secrets { Secrets::Kept } else { Secrets::KeyKept },
        ascii: true,
        skip_trash: args.skip_trash,
        threads: options.threads,
        memory_bytes: options.memory_bytes,
        spill: options.spill.clone(),
    };
    let sink = JsonSink::new(destination.compressed(Some(Compression::Gzip), options.threads), how);
    let progress = Progress::start(context);
    let source = selected(context, &place, args, &options)?;
    let report = copy::copy(source, Box::new(sink), &options, &context.monitor, &context.stop)?;
    context.monitor.begin("send", 0);
    let length = outgoing.length();
    let made = match &key {
        None => volume.bucket.put(backup, &mut outgoing, length)?,
        Some(key) => {
            let (mut sealed, length) = Sealing::begin(outgoing, length, key)?;
            volume.bucket.put(backup, &mut sealed, length)?
        }
    };
    drop(progress);
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    printer.copied("backup", &report, started.elapsed());
    if context.common.json {
        printer.line(json!({ "version": 1, "event": "backup", "name": made.name, "begun": made.made,
            "bucket": volume.bucket.shown(), "bytes": made.bytes, "encrypted": key.is_some() }));
    } else if !context.common.quiet {
        let sealed = if key.is_some() { ", encrypted" } else { "" };
        printer.line(format!("backup {} in {}: {} bytes{sealed}", made.name, volume.bucket.shown(), made.bytes));
    }
    Ok(if report.findings.is_damaged(report.mended) { Outcome::Found } else { Outcome::Holds })
}

/// What backups there are in a volume's own bucket, the oldest first.
pub(crate) fn list(context: &Context, volume: &str) -> Result<Outcome> {
    let volume = VolumeBucket::open(context, volume)?;
    let printer = Printer { json: context.common.json, quiet: false, to_stderr: false };
    let mut table = table(["begun", "bytes", "name"]);
    for backup in volume.bucket.backups()? {
        if context.common.json {
            printer.line(json!({ "version": 1, "event": "listed", "name": backup.name, "begun": backup.made,
                "bytes": backup.bytes }));
        } else {
            table.add_row([backup.made, backup.bytes.to_string(), backup.name]);
        }
    }
    if !context.common.json {
        printer.line(table);
    }
    Ok(Outcome::Holds)
}
