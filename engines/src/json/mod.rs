//! JuiceFS's JSON dump as a store: read as a stream of any length, written in the order of the tree. It knows nothing of
//! where the bytes come from or go to.

mod batches;
mod feed;
mod rows;
mod source;
mod totals;

pub use source::JsonSource;

#[cfg(test)]
mod tests;
