//! kylin verify: whether a backup is whole, by its manifest and by Kylin's own check, and whether the store holds what is in it.

use std::time::Instant;

use metaferry_codecs::kylin::Kylin;
use metaferry_engines::kylin::folder::{Checked, check};
use metaferry_engines::kylin::store::{KylinSource, Reading};
use metaferry_pipeline::Result;
use metaferry_pipeline::verify::{Options, verify};
use serde_json::json;

use super::settings::Settings;
use super::wanted::Wanted;
use crate::Outcome;
use crate::commands::prove;
use crate::context::Context;
use crate::open::Place;
use crate::output::{Printer, tell};
use crate::progress::Progress;

/// How many differing resources are told.
const LIMIT: usize = 20;

/// Looks at a backup alone.
pub(super) fn alone(context: &Context, backup: &str) -> Result<Outcome> {
    let Place::KylinBackup(path) = Place::parse(backup)? else { return prove::<Kylin>(context, backup, LIMIT) };
    let started = Instant::now();
    let progress = Progress::start(context);
    let checked = check(&path, context.threads(), &context.stop)?;
    drop(progress);
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    let seconds = started.elapsed().as_secs_f64();
    let (word, resources, wrong) = match &checked {
        Checked::Whole(manifest) => ("whole", Some(manifest.total().resources), &[][..]),
        Checked::Changed(_, wrong) => ("changed", None, wrong.as_slice()),
        Checked::NoManifest => ("readable", None, &[][..]),
    };
    if printer.json {
        printer.line(json!({ "version": 1, "event": "proof", "backup": word, "resources": resources, "wrong": wrong,
            "seconds": seconds }));
    } else {
        wrong.iter().for_each(|text| tell(format_args!("differs: {text}")));
        let line = match resources {
            Some(resources) => format!("whole: {resources} resources, as its manifest says, in {seconds:.2} s"),
            None if wrong.is_empty() => "readable, with no manifest beside it that could prove more".to_owned(),
            None => "changed since it was made".to_owned(),
        };
        if !printer.quiet || !wrong.is_empty() {
            printer.line(line);
        }
    }
    Ok(if wrong.is_empty() { Outcome::Holds } else { Outcome::Found })
}

/// Looks at a backup, and compares the store with it.
pub(super) fn run(context: &Context, settings: &Settings, backup: &str) -> Result<Outcome> {
    let itself = alone(context, backup)?;
    if itself != Outcome::Holds {
        return Ok(itself);
    }
    let wanted = Wanted::find(context, backup, None)?;
    let started = Instant::now();
    let options = Options {
        threads: context.threads(),
        memory_bytes: context.memory_bytes(),
        spill: context.spill(),
        limit: LIMIT,
    };
    let reading = || Reading { project: wanted.project().map(<[u8]>::to_vec), ..Reading::default() };
    let progress = Progress::start(context);
    let verdict = verify(
        &|| wanted.source(context),
        &|| Ok(Box::new(KylinSource::new(settings.store.clone(), reading()))),
        &options,
        &context.stop,
    )?;
    drop(progress);
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    printer.verdict(&verdict, &[], started.elapsed());
    Ok(if verdict.differences.is_empty() { Outcome::Holds } else { Outcome::Found })
}
