//! The source: a dump in a file, in a pipe, or behind any reader that gives its bytes.

use std::io::Read;

use metaferry_codecs::juicefs::JuiceFs;
use metaferry_pipeline::{About, Guarantee, KindSet, Result, Snapshot, Source, Stop};

use super::stream::BinarySnapshot;

/// What a row takes in a dump on the average, in bytes.
const ROW_BYTES: u64 = 52;

/// Reads a binary dump.
pub struct BinarySource {
    name: String,
    input: Box<dyn Read + Send>,
    length: u64,
    is_exact: bool,
}

impl BinarySource {
    /// A dump that comes from `input`; about `length` bytes of it, 0 where nobody knows.
    #[must_use]
    pub fn new(name: impl Into<String>, input: Box<dyn Read + Send>, length: u64) -> Self {
        Self { name: name.into(), input, length, is_exact: false }
    }

    /// Takes it to be one point in time where `is_exact`. A dump does not tell: JuiceFS makes one of SQL with one thread,
    /// of TiKV, and of what nobody writes to.
    #[must_use]
    pub fn exact(self, is_exact: bool) -> Self {
        Self { is_exact, ..self }
    }
}

impl Source<JuiceFs> for BinarySource {
    fn snapshot(self: Box<Self>, readers: usize, _stop: &Stop) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        let Self { name, input, length, is_exact } = *self;
        let (guarantee, note) = match is_exact {
            true => (Guarantee::Exact, "a binary dump, taken to be one point in time because --exact says so"),
            false => (
                Guarantee::Fuzzy,
                "a binary dump does not tell whether it is one point in time, so it is taken not to be: a load sets link \
                 counts and directory statistics right; --exact takes them as they are",
            ),
        };
        let about = About {
            origin: name,
            guarantee,
            ordered: KindSet::NONE,
            notes: vec![note.to_owned()],
            live_sessions: 0,
            is_repeatable: false,
            is_partial: false,
        };
        Ok(Box::new(BinarySnapshot::new(about, input, readers, length / ROW_BYTES)))
    }
}
