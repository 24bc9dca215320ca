//! kylin maintenance: the mode in which Kylin changes no metadata, switched on and off, and who has it on.

use metaferry_engines::kylin::store::maintenance::{Maintenance, Off, Status};
use metaferry_pipeline::Result;
use serde_json::json;

use super::settings::Settings;
use crate::Outcome;
use crate::args::MaintenanceCommand;
use crate::context::Context;
use crate::output::Printer;

/// Switches it, or tells.
pub(super) fn run(context: &Context, settings: &Settings, what: MaintenanceCommand) -> Result<Outcome> {
    let mode = of(settings);
    let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
    let (word, line) = match what {
        MaintenanceCommand::On { reason } => {
            mode.on(&reason, &settings.server_mode, &context.stop)?.keep();
            ("on", "The system is under maintenance mode now.".to_owned())
        }
        MaintenanceCommand::Off { force } => {
            mode.off(if force { Off::Force } else { Off::IfOn }, &context.stop)?;
            ("off", "The system is out of maintenance mode.".to_owned())
        }
        MaintenanceCommand::Status => return status(&printer, &mode, context),
    };
    if context.common.json {
        printer.line(json!({ "version": 1, "event": "maintenance", "mode": word }));
    } else if !context.common.quiet {
        printer.line(line);
    }
    Ok(Outcome::Holds)
}

fn status(printer: &Printer, mode: &Maintenance, context: &Context) -> Result<Outcome> {
    let Status { is_on, owner, epoch, reason, by } = mode.status(&context.stop)?;
    let word = if is_on { "on" } else { "off" };
    if context.common.json {
        printer.line(json!({ "version": 1, "event": "maintenance", "mode": word, "owner": owner, "epoch": epoch,
            "reason": reason, "host": by.as_ref().map(|by| &by.host), "process": by.as_ref().map(|by| by.id) }));
        return Ok(Outcome::Holds);
    }
    let told = |what: &str, text: &str| if text.is_empty() { String::new() } else { format!(", {what} {text}") };
    let reason = reason.unwrap_or_default();
    printer.line(format!("maintenance mode: {word}{}{}", told("owner", &owner), told("reason:", &reason)));
    if let (true, Some(by)) = (is_on, by) {
        printer.line(format!(
            "a restore has it on, process {} of {}; if that was killed: metaferry kylin maintenance off",
            by.id, by.host
        ));
    }
    Ok(Outcome::Holds)
}

/// The mode of the store that is meant.
pub(super) fn of(settings: &Settings) -> Maintenance {
    Maintenance::new(settings.store.clone()).with_ip(settings.address.as_deref())
}
