//! Sorting and summing more than memory holds: a bounded table, sorted runs on disk, one merge. Everything that must be
//! sorted, joined or summed goes through here. It knows bytes and integers, and no kind of record.

mod aggregator;
mod backlog;
mod dir;
mod file;
mod merge;
mod runs;
mod shelf;
mod sorter;
mod spool;

pub use aggregator::{Aggregator, Sums};
pub use backlog::Backlog;
pub use dir::SpillDir;
pub use shelf::{Shelf, ShelfReader, ShelfWriter, Spot};
pub use sorter::{Sorted, Sorter};
pub use spool::{Block, Spool, SpoolWriter};

#[cfg(test)]
mod tests;
