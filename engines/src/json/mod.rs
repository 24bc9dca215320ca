//! JuiceFS's JSON dump as a store: read as a stream of any length, written in the order of the tree; and listings, which print
//! a part of one. It knows nothing of where the bytes come from or go to.

mod batches;
mod feed;
mod held;
mod listing;
mod print;
mod rows;
mod shelves;
mod sieve;
mod sink;
mod source;
mod totals;
mod tree;

pub use listing::{Listing, ListingSink};
pub use sink::{JsonOptions, JsonSink, Secrets};
pub use source::JsonSource;
