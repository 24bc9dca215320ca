//! Sorting and summing more than memory holds: a bounded table, sorted runs on disk, one merge. Everything that must be
//! sorted, joined or summed goes through here. It knows bytes and integers, and no kind of record.

mod aggregator;
mod dir;
mod file;
mod merge;
mod runs;
mod sorter;

pub use aggregator::{Aggregator, Sums};
pub use dir::SpillDir;
pub use sorter::{Sorted, Sorter};

#[cfg(test)]
mod tests;
