//! One file a command; each is what the user asked, in the words of the pipeline.

mod copy;
mod demo;
mod info;
mod verify;

use clap::CommandFactory;
use metaferry_pipeline::{Error, Result};

use crate::Outcome;
use crate::args::{Args, Command};
use crate::context::Context;

/// Runs the command that was asked for.
pub(crate) fn run(args: Args) -> Result<Outcome> {
    let context = Context::new(args.common)?;
    match args.command {
        Command::Dump { source, target, copy } => copy::dump(&context, &source, &target, &copy),
        Command::Load { source, target, copy, mend, verify } => {
            let load = copy::Load { mend, verify };
            copy::load(&context, &source, &target, &copy, &load)
        }
        Command::Migrate { source, target, copy, mend, no_verify, live } => {
            let migrate = copy::Migrate { mend, no_verify, live };
            copy::migrate(&context, &source, &target, &copy, &migrate)
        }
        Command::Verify { left, right, limit } => verify::run(&context, &left, &right, limit),
        Command::Info { source } => info::run(&context, &source),
        Command::Demo { files, dir } => demo::run(&context, files, dir),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "metaferry", &mut std::io::stdout());
            Ok(Outcome::Holds)
        }
        Command::Man => {
            let page = clap_mangen::Man::new(Args::command());
            page.render(&mut std::io::stdout()).map_err(|error| Error::engine("standard output", error))?;
            Ok(Outcome::Holds)
        }
    }
}
