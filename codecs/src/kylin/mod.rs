//! Apache Kylin's metastore, 5.0.0-alpha and later: how its resources are named, stored and configured.

pub mod address;
pub mod content;
pub mod image;
pub mod key;
pub mod layout;
pub mod password;
pub mod properties;
pub mod types;
pub mod url;

pub use layout::Layout;
