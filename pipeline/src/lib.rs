//! How batches of metadata move fast and safely: the seams every store implements, and the verbs that combine them.
//!
//! Nothing here knows an engine, a format or a system by name; nothing here is async.

pub mod copy;
mod error;
mod findings;
pub mod memory;
mod monitor;
mod observe;
pub mod patch;
pub mod preflight;
mod scan;
mod select;
mod settle;
mod sink;
mod sort;
mod source;
pub mod spill;
mod spool;
pub mod stage;
mod survey;
pub mod verify;

pub use error::{Error, ErrorKind, Result};
pub use findings::{Findings, Sort};
pub use monitor::{Glance, Monitor};
pub use select::Select;
pub use sink::{Commit, Loader, Needs, Sieve, Sink};
pub use source::{About, Emit, Guarantee, KindSet, Partition, Scope, Snapshot, Source};
pub use stage::Stop;
