//! What a metadata record is, what must be true of it, and how it becomes bytes.
//!
//! Everything here is pure: no I/O, no threads, no async. Decoders take bytes and return values or an [`Error`]; they
//! never panic, whatever the input.

mod error;
pub mod rdb;

pub use error::{Error, Result};
