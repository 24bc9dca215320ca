//! Apache Kylin's metastore: where it is kept, read and written.

pub mod folder;
pub mod store;
pub mod synthetic;
