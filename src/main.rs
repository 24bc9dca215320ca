//! The command line: what did the user ask? Runs one command, prints one error, maps it to an exit code.

mod agent;
mod args;
mod commands;
mod context;
mod files;
mod juicefs;
mod kylin;
mod open;
mod output;
mod progress;
mod secrets;
mod served;

use std::process::ExitCode;

use clap::Parser;
use metaferry_pipeline::{Error, ErrorKind};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How a command ended that did what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Done, and it holds.
    Holds,
    /// Done, but differences or damage were found and listed.
    Found,
}

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are no errors; clap prints all of them where they belong.
            let code = if error.use_stderr() { 2 } else { 0 };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    let json = args.common.json;
    match commands::run(args) {
        Ok(Outcome::Holds) => ExitCode::SUCCESS,
        Ok(Outcome::Found) => ExitCode::from(3),
        Err(error) => {
            output::error(&error, json);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::Config => 2,
        ErrorKind::Refused => 4,
        ErrorKind::Interrupted => 130,
        _ => 1,
    }
}
