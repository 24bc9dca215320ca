//! Backlog: bytes that come faster than they are read, first in first out: in memory up to a bound, in a file beyond it.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

use super::SpillDir;
use super::file::SpillFile;
use crate::Result;

/// Bytes in the order in which they came. One thread at a time has it.
pub struct Backlog {
    dir: SpillDir,
    budget: usize,
    /// The oldest bytes.
    kept: VecDeque<u8>,
    file: Option<Arc<SpillFile>>,
    /// What of the file is unread: while there is any, all that comes goes there.
    unread: std::ops::Range<u64>,
}

impl Backlog {
    /// Holds `budget_bytes` in memory, and spills to `dir` what is more.
    #[must_use]
    pub fn new(dir: &SpillDir, budget_bytes: usize) -> Self {
        Self { dir: dir.clone(), budget: budget_bytes, kept: VecDeque::new(), file: None, unread: 0..0 }
    }

    /// Takes bytes in; what it leaves in their place means nothing.
    pub fn push(&mut self, bytes: &mut [u8]) -> Result<()> {
        if self.unread.is_empty() && self.kept.len() + bytes.len() <= self.budget {
            self.kept.extend(&*bytes);
            return Ok(());
        }
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(self.dir.create_file()?),
        };
        file.write(bytes, self.unread.end).map_err(|cause| self.dir.error(cause))?;
        self.unread.end += bytes.len() as u64;
        self.dir.count(bytes.len());
        Ok(())
    }

    /// Hands out the oldest bytes, as many as there are and fit; 0 where there are none.
    pub fn pop(&mut self, out: &mut [u8]) -> Result<usize> {
        let failed = |cause| self.dir.error(cause);
        if !self.kept.is_empty() {
            return self.kept.read(out).map_err(failed);
        }
        let Some(file) = self.file.as_ref().filter(|_| !self.unread.is_empty()) else { return Ok(0) };
        let most = usize::try_from(self.unread.end - self.unread.start).unwrap_or(usize::MAX).min(out.len());
        let out = out.get_mut(..most).unwrap_or_default();
        file.read(out, self.unread.start).map_err(failed)?;
        self.unread.start += most as u64;
        if self.unread.is_empty() {
            // Another file comes next: each place of one is written once.
            (self.file, self.unread) = (None, 0..0);
        }
        Ok(most)
    }
}
