//! Apache Kylin's metastore, 5.0.0-alpha and later: how its resources are named, stored and configured.

pub mod address;
pub mod content;
pub mod password;
pub mod properties;
pub mod url;
