//! How batches of metadata move fast and safely: the seams every store implements, and the verbs that combine them.
//!
//! Nothing here knows an engine, a format or a system by name; nothing here is async.

mod error;
pub mod spill;
pub mod stage;

pub use error::{Error, ErrorKind, Result};
