//! Sorted runs on disk: written once from start to end, read back through one buffer each. It refuses to know what a
//! record is; a [`Cursor`] does.

use std::sync::Arc;

use super::SpillDir;
use super::file::SpillFile;
use super::merge::{Cursor, Merge};
use crate::Result;

/// Runs in one file, so that a few hundred runs a worker stay far from the limit of open files.
const RUNS_PER_FILE: usize = 64;
const MOST_RUNS_MERGED: usize = 256;
const LEAST_BUFFER: usize = 4 << 10;
const FAIR_BUFFER: usize = 64 << 10;
const MOST_BUFFER: usize = 1 << 20;

/// The runs of one sorter or aggregator, in order of arrival.
pub(super) struct Runs {
    dir: SpillDir,
    budget: usize,
    runs: Vec<Run>,
}

struct Run {
    file: Arc<SpillFile>,
    start: u64,
    end: u64,
}

impl Runs {
    pub(super) fn new(dir: &SpillDir, budget: usize) -> Self {
        Self { dir: dir.clone(), budget, runs: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Writes one more run with what `fill` writes, behind the last one.
    pub(super) fn write(&mut self, fill: impl FnOnce(&mut RunWriter) -> Result<()>) -> Result<()> {
        let (file, start) = match self.runs.last() {
            Some(last) if !self.runs.len().is_multiple_of(RUNS_PER_FILE) => (Arc::clone(&last.file), last.end),
            _ => (self.dir.create_file()?, 0),
        };
        let run = self.write_at(file, start, fill)?;
        self.runs.push(run);
        Ok(())
    }

    /// Opens every run, after merging neighbours until there are few enough for each to have a fair buffer.
    pub(super) fn open<C: Cursor>(mut self) -> Result<Vec<C>> {
        let most = (self.budget / FAIR_BUFFER).clamp(2, MOST_RUNS_MERGED);
        while self.runs.len() > most {
            self.merge_smallest::<C>(most)?;
        }
        let runs = std::mem::take(&mut self.runs);
        Ok(self.cursors(runs))
    }

    /// Merges those neighbours, as many as needed and at most `most`, that are the fewest bytes. Neighbours, because
    /// equal keys must stay in order of arrival.
    fn merge_smallest<C: Cursor>(&mut self, most: usize) -> Result<()> {
        let width = most.min(self.runs.len() - most + 1);
        let bytes = |window: &[Run]| window.iter().map(|run| run.end - run.start).sum::<u64>();
        let smallest = self.runs.windows(width).enumerate().min_by_key(|(_, window)| bytes(window));
        let at = smallest.map_or(0, |(at, _)| at);
        let some: Vec<Run> = self.runs.drain(at..at + width).collect();
        let mut merge = Merge::new(self.cursors::<C>(some))?;
        let merged = self.write_at(self.dir.create_file()?, 0, |writer| {
            while let Some(record) = merge.peek() {
                record.write(writer)?;
                merge.pop()?;
            }
            Ok(())
        })?;
        self.runs.insert(at, merged);
        Ok(())
    }

    fn write_at(
        &self,
        file: Arc<SpillFile>,
        start: u64,
        fill: impl FnOnce(&mut RunWriter) -> Result<()>,
    ) -> Result<Run> {
        let room = self.buffer_for(8);
        let mut writer = RunWriter { dir: self.dir.clone(), file, end: start, buffer: Vec::with_capacity(room), room };
        fill(&mut writer)?;
        writer.flush()?;
        Ok(Run { file: writer.file, start, end: writer.end })
    }

    fn cursors<C: Cursor>(&self, runs: Vec<Run>) -> Vec<C> {
        let room = self.buffer_for(runs.len());
        let reader = |run| RunReader { dir: self.dir.clone(), run, buffer: Vec::new(), at: 0, room };
        runs.into_iter().map(|run| C::open(reader(run))).collect()
    }

    fn buffer_for(&self, buffers: usize) -> usize {
        (self.budget / buffers.max(1)).clamp(LEAST_BUFFER, MOST_BUFFER)
    }
}

/// Appends to one run.
pub(super) struct RunWriter {
    dir: SpillDir,
    file: Arc<SpillFile>,
    end: u64,
    buffer: Vec<u8>,
    room: usize,
}

impl RunWriter {
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while self.buffer.len() + bytes.len() > self.room {
            let (now, later) = bytes.split_at(self.room - self.buffer.len());
            self.buffer.extend_from_slice(now);
            self.flush()?;
            bytes = later;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write(&mut self.buffer, self.end).map_err(|error| self.dir.error(error))?;
        self.end += self.buffer.len() as u64;
        self.dir.count(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }
}

/// Reads one run, through a buffer that grows only for a record that is larger.
pub(super) struct RunReader {
    dir: SpillDir,
    run: Run,
    buffer: Vec<u8>,
    at: usize,
    room: usize,
}

impl RunReader {
    /// The next `len` bytes, not yet consumed; none only at the end of the run.
    pub(super) fn peek(&mut self, len: usize) -> Result<Option<&[u8]>> {
        if self.buffer.len() - self.at < len {
            self.refill(len)?;
        }
        Ok(self.buffer.get(self.at..self.at + len))
    }

    /// The first `len` bytes of what was peeked at, or nothing where that was less.
    pub(super) fn peeked(&self, len: usize) -> &[u8] {
        self.buffer.get(self.at..self.at + len).unwrap_or_default()
    }

    /// Steps over `len` bytes that were peeked at.
    pub(super) fn consume(&mut self, len: usize) {
        self.at = (self.at + len).min(self.buffer.len());
    }

    fn refill(&mut self, len: usize) -> Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let kept = self.buffer.len();
        let left = usize::try_from(self.run.end - self.run.start).unwrap_or(usize::MAX);
        self.buffer.resize(kept + (self.room.max(len) - kept).min(left), 0);
        let new = self.buffer.get_mut(kept..).unwrap_or_default();
        self.run.file.read(new, self.run.start).map_err(|error| self.dir.error(error))?;
        self.run.start += new.len() as u64;
        Ok(())
    }
}
