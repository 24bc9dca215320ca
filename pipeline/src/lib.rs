//! How batches of metadata move fast and safely: the seams every store implements, and the verbs that combine them.
//!
//! Nothing here knows an engine, a format or a system by name; nothing here is async.

mod error;
mod sink;
mod source;
pub mod spill;
pub mod stage;

pub use error::{Error, ErrorKind, Result};
pub use sink::{Commit, Loader, Needs, Sink};
pub use source::{About, Emit, Guarantee, Order, Partition, Scope, Snapshot, Source};
pub use stage::Stop;
