//! Apache Kylin's metastore, 5.0.0-alpha and later: how its resources are named, stored and configured.

pub mod content;
