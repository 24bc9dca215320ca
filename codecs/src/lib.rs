//! What a metadata record is, what must be true of it, and how it becomes bytes.
//!
//! Everything here is pure: no I/O, no threads, no async. Decoders take bytes and return values or an [`Error`]; they
//! never panic, whatever the input.

pub mod archive;
mod declare;
mod error;
mod field;
pub mod json;
pub mod juicefs;
pub mod kylin;
mod lines;
pub mod rdb;
pub mod repository;
pub mod system;
pub mod tally;

pub use error::{Error, Result};
pub use tally::Tally;
