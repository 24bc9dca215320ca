//! How each store is read and bulk-loaded: one folder a store, files included.

pub mod archive;
mod claimed;
pub mod redis;
pub mod sqlite;
pub mod synthetic;
pub mod wrapping;
