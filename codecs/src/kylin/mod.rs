//! Apache Kylin's metastore, 5.0.0-alpha and later: how its resources are named, stored and configured, its kinds, its
//! selection and its census.

pub mod address;
mod canonical;
mod census;
pub mod content;
pub mod image;
pub mod key;
mod kinds;
pub mod layout;
pub mod password;
pub mod properties;
mod selection;
pub mod types;
pub mod url;

pub use census::Census;
pub use kinds::{Audit, Batch, Kind, Resource, Setting};
pub use layout::Layout;
pub use selection::Selection;

use crate::Result;
use crate::system::System;

/// Apache Kylin's metastore as a system of metadata.
#[derive(Debug, PartialEq, Eq)]
pub struct Kylin;

impl System for Kylin {
    const NAME: &'static str = "kylin";
    /// A resource is one row, and may have up to [`content::BOUND`] bytes.
    const MAX_SEGMENT: usize = crate::archive::MAX_LONE;
    const SEAL: Kind = Kind::Setting;

    type Kind = Kind;
    type Batch = Batch;
    type Census = Census;
    type Selection = Selection;

    /// Takes nothing out. What is secret in Kylin's metadata, such as the hashes of users' passwords, is content that a
    /// restore needs to the byte; Kylin's own backups hold it, and a user without it could not log in. The password of the
    /// database is in no resource, and the `kylin.properties` that typed backups have beside theirs is never one. So a backup
    /// is as secret as the store.
    fn strip_secrets(_batch: &mut Batch) -> Result<u64> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests;
