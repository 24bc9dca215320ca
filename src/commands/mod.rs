//! One file a command; each is what the user asked, in the words of the pipeline.

mod copy;
mod demo;
mod diff;
mod info;
mod look;
mod preflight;
mod prove;
mod prune;
mod repository;
mod restore;
mod status;
mod verify;
mod volume;

pub(crate) use prove::{prove, prove_deep};
pub(crate) use prune::policy;
pub(crate) use repository::make as make_backup;
pub(crate) use restore::{Chosen, advance};
pub(crate) use verify::settled;

use clap::CommandFactory;
use metaferry_codecs::juicefs::JuiceFs;
use metaferry_codecs::system::Advance;
use metaferry_engines::repository::PruneOptions;
use metaferry_pipeline::{Error, ErrorKind, Result};

use crate::Outcome;
use crate::agent;
use crate::args::{Args, Command};
use crate::context::Context;
use crate::kylin;
use crate::output::print;
use crate::served::{Which, of_system};

/// Runs the command that was asked for. Whatever fails once the user has interrupted, fails because of that.
pub(crate) fn run(args: Args) -> Result<Outcome> {
    let context = Context::new(args.common)?;
    one(&context, args.command).map_err(|error| match context.stop.check() {
        Err(why) if why.kind() == ErrorKind::Interrupted => why,
        _ => error,
    })
}

fn one(context: &Context, command: Command) -> Result<Outcome> {
    match command {
        Command::Dump { source, target, format, copy } => {
            let into = copy::IntoFile { format, copy: &copy };
            of_system!(Which::of(context, &[&source, &target])?, S => copy::dump::<S>(context, &source, &target, &into))
        }
        Command::Convert { source, target, format, copy } => {
            let into = copy::IntoFile { format, copy: &copy };
            of_system!(Which::of(context, &[&source, &target])?, S => copy::convert::<S>(context, &source, &target, &into))
        }
        Command::Load { source, target, copy, mend, widen, verify, strict, secret_key_file } => {
            let load = copy::Load { mend, widen, verify, strict, secret_key_file, advance: Advance::default() };
            of_system!(Which::of(context, &[&source, &target])?, S => copy::load::<S>(context, &source, &target, &copy, &load))
        }
        Command::Migrate { source, target, copy, mend, widen, no_verify, live } => {
            let migrate = copy::Migrate { mend, widen, no_verify, live };
            of_system!(Which::of(context, &[&source, &target])?, S => copy::migrate::<S>(context, &source, &target, &copy, &migrate))
        }
        Command::Backup { source, repository: Some(repository), copy, recipients, .. } => {
            of_system!(Which::of(context, &[&source])?, S => repository::backup::<S>(context, &source, &repository, &copy, recipients))
        }
        Command::Backup { source, repository: None, copy, .. } => volume::backup(context, &source, &copy),
        Command::Preflight { source, target, widen, live } => {
            of_system!(Which::of(context, &[&source, &target])?, S => preflight::run::<S>(context, &source, &target, widen, live))
        }
        Command::Verify { left, deep: true, .. } => {
            of_system!(Which::of(context, &[&left])?, S => prove::deep::<S>(context, &left))
        }
        Command::Verify { left, right: Some(right), limit, .. } => {
            of_system!(Which::of(context, &[&left, &right])?, S => verify::run::<S>(context, &left, &right, limit))
        }
        Command::Verify { left, right: None, limit, .. } => {
            of_system!(Which::of(context, &[&left])?, S => prove::<S>(context, &left, limit))
        }
        Command::Diff { left, right, by_directory } => diff::run(context, &left, &right, by_directory),
        Command::Ls { source, path } => look::ls(context, &source, &path),
        Command::Cat { source, path } => look::cat(context, &source, &path),
        Command::Info { source } => of_system!(Which::of(context, &[&source])?, S => info::run::<S>(context, &source)),
        Command::Demo { files, dir } => demo::run(context, files, dir),
        Command::Kylin { args, command } => kylin::run(context, &args, command),
        Command::Completions { .. } | Command::Man => printed(&command),
        kept => of_backups(context, kept),
    }
}

/// What is about backups that are there.
fn of_backups(context: &Context, command: Command) -> Result<Outcome> {
    match command {
        Command::Agent(args) => of_system!(Which::of(context, &[&args.source])?, S => agent::run::<S>(context, *args)),
        Command::Status { repository } => {
            of_system!(Which::of_repository(context, &repository)?, S => status::run::<S>(context, &repository))
        }
        Command::Acknowledge { repository } => prune::acknowledge(context, &repository),
        Command::Backups { repository, from_volume: false } => {
            of_system!(Which::of_repository(context, &repository)?, S => repository::list::<S>(context, &repository))
        }
        Command::Backups { repository, from_volume: true } => volume::list(context, &repository),
        Command::Prune { repository, keep, dry_run, trust_clock, grace } => {
            let options = PruneOptions { policy: policy(&keep), trust_clock, grace };
            of_system!(Which::of_repository(context, &repository)?, S => prune::run::<S>(context, &repository, &options, dry_run))
        }
        Command::Pin { repository } => prune::pin(context, &repository, true),
        Command::Unpin { repository } => prune::pin(context, &repository, false),
        Command::Restore(args) if args.from_volume => restore::run::<JuiceFs>(context, &args),
        Command::Restore(args) => {
            of_system!(Which::of(context, &[&args.target, &args.source])?, S => restore::run::<S>(context, &args))
        }
        _ => Err(Error::new(ErrorKind::Bug, "a command that nobody runs")),
    }
}

/// What is about the command line itself.
fn printed(command: &Command) -> Result<Outcome> {
    match command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Args::command(), "metaferry", &mut script);
            print(String::from_utf8_lossy(&script));
            Ok(Outcome::Holds)
        }
        Command::Man => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Args::command()).render(&mut page);
            rendered.map_err(|error| Error::engine("the manual page", error))?;
            print(String::from_utf8_lossy(&page));
            Ok(Outcome::Holds)
        }
        _ => Err(Error::new(ErrorKind::Bug, "a command that prints nothing")),
    }
}
