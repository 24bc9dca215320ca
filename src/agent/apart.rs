//! A turn in a process of its own: the memory that a backup needs goes with it, and what ends it does not end the agent. On its
//! standard input a turn is handed what the agent knows, and that it is to end by the end of that; on its standard output it
//! says what it learns.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use metaferry_pipeline::{Error, ErrorKind, Result, Stop};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Agent;
use super::health::State;
use super::turn::Done;
use crate::output::causes_of;
use crate::served::Served;

/// Set in the environment of a process that is one turn.
const TURN: &str = "METAFERRY_AGENT_TURN";
/// The program that runs, also where another has taken its name since.
const THIS_PROGRAM: &str = "/proc/self/exe";
/// How often it is looked whether a turn is to end.
const TICK: Duration = Duration::from_millis(100);

/// What one turn leaves to the next.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) state: State,
    pub(super) origin: String,
    pub(super) has_told_of_lease: bool,
}

/// What a turn is handed.
#[derive(Serialize, Deserialize)]
struct Handed {
    known: Known,
    resumes: bool,
}

/// What a turn says.
#[derive(Serialize, Deserialize)]
enum Said {
    /// What is known by now.
    Known(Known),
    /// The last word: what came of it.
    Done(Done),
    /// The last word: why nothing came of it.
    Failed { kind: String, what: String, hint: Option<String> },
}

/// Whether this process is one turn of an agent.
pub(super) fn is_turn() -> bool {
    std::env::var_os(TURN).is_some()
}

/// Says what is known by now, where this process is one turn.
pub(super) fn tell(known: Known) {
    if is_turn() {
        say(&Said::Known(known));
    }
}

/// This process's one turn. What comes of it is said, not returned.
pub(super) fn take<'a, S: Served>(stop: &Stop, agent: impl FnOnce() -> Result<Agent<'a, S>>) -> Result<()> {
    let mut input = BufReader::new(std::io::stdin());
    let handed: Handed = heard(&line(&mut input)?)?;
    let ends = stop.clone();
    let watch = move || {
        drop(input.read(&mut [0]));
        ends.interrupt();
    };
    std::thread::Builder::new().spawn(watch).map_err(|cause| Error::engine("a thread", cause))?;
    let done = agent().and_then(|mut agent| {
        agent.recall(handed.known);
        let done = agent.turn(handed.resumes);
        tell(agent.known());
        done
    });
    say(&match done {
        Ok(done) => Said::Done(done),
        Err(error) => {
            let causes: String = causes_of(&error).iter().map(|cause| format!(": {cause}")).collect();
            let (kind, what) = (format!("{:?}", error.kind()), format!("{error}{causes}"));
            Said::Failed { kind, what, hint: error.what_to_do().map(str::to_owned) }
        }
    });
    Ok(())
}

/// Has a turn made by another process.
pub(super) fn turn<S: Served>(agent: &mut Agent<'_, S>, resumes: bool) -> Result<Done> {
    let mut child = spawn()?;
    let handed = Handed { known: agent.known(), resumes };
    let stop = agent.context.stop.clone();
    let done = match (child.stdin.take(), child.stdout.take()) {
        (Some(input), Some(output)) => attend(agent, (input, output), &handed, &stop),
        _ => Err(Error::new(ErrorKind::Bug, "a turn has no pipes")),
    };
    let ended = child.wait().map_err(|cause| Error::engine("the process of a turn", cause))?;
    agent.health.state().is_running = false;
    done?.ok_or_else(|| Error::new(ErrorKind::Engine, format!("the process of a turn ended too early: {ended}")))?
}

fn spawn() -> Result<Child> {
    let failed = |cause| Error::engine("a process for a turn", cause);
    let this = Path::new(THIS_PROGRAM);
    let program = if this.exists() { this.to_owned() } else { std::env::current_exe().map_err(failed)? };
    let mut command = Command::new(program);
    let mut args = std::env::args_os();
    command.arg0(args.next().unwrap_or_else(|| PathBuf::from("metaferry").into())).args(args).env(TURN, "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)
}

/// Hands a turn what it needs, learns what it says, and tells it to end when the agent is; its last word, where it had one.
fn attend<S: Served>(
    agent: &mut Agent<'_, S>,
    (mut input, output): (ChildStdin, impl Read),
    handed: &Handed,
    stop: &Stop,
) -> Result<Option<Result<Done>>> {
    let lost = |cause| Error::engine("the process of a turn", cause);
    writeln!(input, "{}", text(handed)).map_err(lost)?;
    let (over, is_over) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || hold(input, stop, &is_over));
        let _over = over;
        for line in BufReader::new(output).lines() {
            match heard(&line.map_err(lost)?)? {
                Said::Known(known) => agent.recall(known),
                Said::Done(done) => return Ok(Some(Ok(done))),
                Said::Failed { kind, what, hint } => {
                    let error = Error::new(kind_of(&kind), what);
                    return Ok(Some(Err(if let Some(hint) = hint { error.hint(hint) } else { error })));
                }
            }
        }
        Ok(None)
    })
}

/// Holds the pipe by which a turn knows that it may go on.
fn hold(input: ChildStdin, stop: &Stop, is_over: &Receiver<()>) {
    while is_over.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) && !stop.is_set() {}
    drop(input);
}

fn line(input: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    input.read_line(&mut line).map_err(|cause| Error::engine("standard input", cause))?;
    Ok(line)
}

fn heard<T: DeserializeOwned>(line: &str) -> Result<T> {
    serde_json::from_str(line).map_err(|cause| Error::new(ErrorKind::Bug, "a turn is not understood").because(cause))
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn say(said: &Said) {
    // Whoever hears nothing more has ended, and ends the turn too.
    drop(writeln!(std::io::stdout(), "{}", text(said)));
}

/// The kind of this name; the names are those of the log.
fn kind_of(name: &str) -> ErrorKind {
    let kinds = [
        ErrorKind::Config,
        ErrorKind::Refused,
        ErrorKind::Unsupported,
        ErrorKind::Corrupt,
        ErrorKind::Engine,
        ErrorKind::Interrupted,
        ErrorKind::Stopped,
    ];
    kinds.into_iter().find(|kind| format!("{kind:?}") == name).unwrap_or(ErrorKind::Bug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_back_as_the_kind_that_it_was() {
        for kind in [ErrorKind::Config, ErrorKind::Interrupted, ErrorKind::Engine, ErrorKind::Bug] {
            assert_eq!(kind_of(&format!("{kind:?}")), kind);
        }
    }

    #[test]
    fn what_is_said_is_heard() {
        let said = Said::Failed { kind: "Engine".to_owned(), what: "a\nb".to_owned(), hint: None };
        let line = text(&said);
        assert!(!line.contains('\n'));
        assert!(matches!(heard(&line), Ok(Said::Failed { what, .. }) if what == "a\nb"));
        assert!(heard::<Said>("{").is_err() && heard::<Said>("").is_err());
    }
}
