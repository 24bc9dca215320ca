//! Unwrapping: layer after layer by what is found, all of it on a thread of its own, ahead of whoever reads. It refuses to
//! know what is inside.

use std::fmt;
use std::io::{self, BufRead, Read};

use metaferry_pipeline::stage::{ReadAhead, read_ahead};
use metaferry_pipeline::{Error, Result, Stop};

use super::peeked::{Base, Peeked};
use super::{EnvelopeKey, Layer};

/// JuiceFS wraps twice.
const MOST_LAYERS: usize = 4;

/// What was in a file or a stream, to be read once. Only its end, a read of no bytes, proves that all of it was whole:
/// until then nothing that was read may become usable.
pub struct Unwrapped {
    layers: Vec<Layer>,
    beginning: Vec<u8>,
    inside: Inside,
}

enum Inside {
    Plain(Peeked),
    Ahead(ReadAhead),
}

/// Looks into `input`, which messages call `name`, and takes off what it is wrapped in.
///
/// # Errors
/// A layer that is damaged from the beginning, and one that is encrypted where no key was given, or another one.
pub fn unwrap(name: &str, input: Box<dyn Read + Send>, key: Option<&EnvelopeKey>, stop: &Stop) -> Result<Unwrapped> {
    take_off(input, key, stop).map_err(|error| error.at(name))
}

fn take_off(input: Box<dyn Read + Send>, key: Option<&EnvelopeKey>, stop: &Stop) -> Result<Unwrapped> {
    let mut layers = Vec::new();
    let mut inside = peek(Box::new(Base { input, offset: 0 }))?;
    while let Some(layer) = Layer::at(inside.beginning()) {
        if layers.len() >= MOST_LAYERS {
            return Err(Error::unsupported(format!("it is wrapped more than {MOST_LAYERS} times")));
        }
        layers.push(layer);
        inside = peek(layer.open(inside, key)?)?;
    }
    let beginning = inside.beginning().to_vec();
    let inside = match layers.as_slice() {
        [] => Inside::Plain(inside),
        _ => Inside::Ahead(read_ahead("unwrap", inside, stop)?),
    };
    Ok(Unwrapped { layers, beginning, inside })
}

fn peek(input: Box<dyn Read + Send>) -> Result<Peeked> {
    Peeked::new(input).map_err(|error| match error.downcast::<Error>() {
        Ok(error) => error,
        Err(cause) => Error::engine("read", cause),
    })
}

impl Unwrapped {
    /// What was taken off, outermost first.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// How the inside begins, whatever of it was read: up to [`Layer::BEGINNING`] bytes.
    #[must_use]
    pub fn beginning(&self) -> &[u8] {
        &self.beginning
    }

    /// What messages call it: the name, and what it was wrapped in.
    #[must_use]
    pub fn describe(&self, name: &str) -> String {
        let layers: Vec<_> = self.layers.iter().map(Layer::to_string).collect();
        if layers.is_empty() { name.to_owned() } else { format!("{name} ({})", layers.join(", ")) }
    }
}

impl BufRead for Unwrapped {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match &mut self.inside {
            Inside::Plain(reader) => reader.fill_buf(),
            Inside::Ahead(reader) => reader.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        match &mut self.inside {
            Inside::Plain(reader) => reader.consume(amount),
            Inside::Ahead(reader) => reader.consume(amount),
        }
    }
}

impl Read for Unwrapped {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.inside {
            Inside::Plain(reader) => reader.read(out),
            Inside::Ahead(reader) => reader.read(out),
        }
    }
}

impl fmt::Debug for Unwrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unwrapped").field("layers", &self.layers).finish_non_exhaustive()
    }
}
