//! Two ways along a layout: [`whole`] passes a value that is all there at once; a [`Walk`] consumes a value from a stream
//! that comes in parts, and remembers where it stands in it.

use crate::{Error, Result};

use super::bytes::{byte, head, length, slice};
use super::encoding::Step;

/// A value that was passed at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    /// How many elements it has; one where they are not counted.
    pub(super) elements: u64,
    /// How many bytes they take, at its end.
    pub(super) body: usize,
}

/// Passes a value that lies in `input` as a whole; [`Error::Truncated`] where it does not, or may not. What is `kept` is
/// refused where a string is over the bound.
pub(super) fn whole(steps: &[Step], input: &mut &[u8], kept: bool) -> Result<Passed> {
    let mut elements = 1;
    let mut begin = input.len();
    for step in steps {
        match *step {
            Step::Bytes(count) => drop(slice(input, count)?),
            Step::Length => drop(length(input)?),
            Step::String => {
                let count = stored(input, kept)?;
                slice(input, count)?;
            }
            Step::Score => {
                let count = scored(input)?;
                slice(input, count)?;
            }
            Step::Each(steps) => {
                elements = length(input)?;
                begin = input.len();
                for _ in 0..elements {
                    whole(steps, input, kept)?;
                }
            }
            Step::Module => return Err(Error::Truncated("module value")),
        }
    }
    Ok(Passed { elements, body: begin - input.len() })
}

/// Reads the head of a string: how many bytes of it are stored.
#[inline]
fn stored(input: &mut &[u8], kept: bool) -> Result<u64> {
    let head = head(input)?;
    Ok(if kept { head.bounded()?.stored() } else { head.stored() })
}

/// Reads the length of a score in decimal; the largest stand for what has no digits.
fn scored(input: &mut &[u8]) -> Result<u64> {
    Ok(Some(byte(input)?).filter(|&count| count < 253).map_or(0, u64::from))
}

/// Where the walk stands in one level of the layout.
#[derive(Debug)]
struct Level {
    steps: &'static [Step],
    /// The next step.
    at: usize,
    /// Rounds left, this one included.
    rounds: u64,
}

/// Why a walk came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// The input is used up, but for the few bytes of an unfinished number.
    Input,
    /// The count of the elements of the value was read: its elements begin here.
    Body,
    /// An element of the value ends here, and the room is used up.
    Room,
    /// The value ends here.
    End,
}

/// A walk along a layout.
#[derive(Debug, Default)]
pub(super) struct Walk {
    levels: Vec<Level>,
    /// Bytes of the current step that are yet to come.
    pending: u64,
    /// Elements passed since this was last taken.
    elements: u64,
    /// Whether strings are held to the bound of what is kept.
    kept: bool,
}

impl Walk {
    /// Begins a walk. What is `kept` is refused where a string is over the bound.
    pub(super) fn begin(&mut self, steps: &'static [Step], kept: bool) {
        self.levels.clear();
        self.levels.push(Level { steps, at: 0, rounds: 1 });
        (self.pending, self.elements, self.kept) = (0, 1, kept);
    }

    /// How many whole elements were passed since the last call; one for a value that is not counted.
    pub(super) fn take_elements(&mut self) -> u64 {
        std::mem::take(&mut self.elements)
    }

    /// Goes on as far as the input reaches, or to the first end of an element behind `room` bytes.
    pub(super) fn advance(&mut self, input: &mut &[u8], room: usize) -> Result<Pause> {
        let begin = input.len();
        loop {
            if self.pending > 0 && !self.drain(input) {
                return Ok(Pause::Input);
            }
            let depth = self.levels.len();
            let Some(level) = self.levels.last_mut() else { return Ok(Pause::End) };
            let Some(&step) = level.steps.get(level.at) else {
                (level.at, level.rounds) = (0, level.rounds.saturating_sub(1));
                let more = level.rounds > 0;
                if !more {
                    self.levels.pop();
                }
                if depth == 2 {
                    self.elements += 1;
                    if more && begin - input.len() >= room {
                        return Ok(Pause::Room);
                    }
                }
                continue;
            };
            let mut rest = *input;
            match self.step(step, &mut rest) {
                Ok(()) => *input = rest,
                Err(Error::Truncated(_)) => return Ok(Pause::Input),
                Err(error) => return Err(error),
            }
            if depth == 1 && matches!(step, Step::Each(_)) {
                self.elements = 0;
                return Ok(Pause::Body);
            }
        }
    }

    /// Passes the bytes still to come; whether all of them came.
    fn drain(&mut self, input: &mut &[u8]) -> bool {
        let here = self.pending.min(input.len() as u64);
        if slice(input, here).is_ok() {
            self.pending -= here;
        }
        self.pending == 0
    }

    /// Reads the numbers of one step; its bytes become pending.
    fn step(&mut self, step: Step, input: &mut &[u8]) -> Result<()> {
        let mut below = None;
        match step {
            Step::Bytes(count) => self.pending = count,
            Step::Length => drop(length(input)?),
            Step::String => self.pending = stored(input, self.kept)?,
            Step::Score => self.pending = scored(input)?,
            Step::Each(steps) => below = Some(Level { steps, at: 0, rounds: length(input)? }),
            Step::Module => {
                let steps: &'static [Step] = match length(input)? {
                    0 => &[],
                    1 | 2 => &[Step::Length],
                    3 => &[Step::Bytes(4)],
                    4 => &[Step::Bytes(8)],
                    5 => &[Step::String],
                    mark => return Err(Error::malformed("module value", format!("has the unknown mark {mark}"))),
                };
                if !steps.is_empty() {
                    // The step stays where it is, until its end mark comes.
                    self.levels.push(Level { steps, at: 0, rounds: 1 });
                    return Ok(());
                }
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.at += 1;
        }
        self.levels.extend(below.filter(|level| level.rounds > 0));
        Ok(())
    }
}
