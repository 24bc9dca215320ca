//! Kylin's backups: a folder of files, or a `metadata.zip`, of either layout, as Kylin's own tool writes and reads them.
//!
//! In the flat layout, the file of a resource lies at its key below the backup's folder; in the typed one below `core_meta`,
//! with `.json` behind it. A file's time is the resource's, in milliseconds; `_image` says up to where the change log is in
//! the backup, and is no resource. Neither the change log nor the list of files to be cleaned up is ever in a backup.
//!
//! What we write has a manifest beside it, `<folder>.manifest.json`, by which [`check`] tells whether it is still whole.

mod booked;
mod checked;
mod contents;
mod files;
mod loader;
mod manifest;
mod roles;
mod rows;
mod sink;
mod snapshot;
mod source;
mod staging;
mod sums;
mod tree;
mod zip;
mod zipped;

pub use checked::{Checked, check};
pub use manifest::{Manifest, manifest, manifest_path};
pub use sink::{BackupSink, Form};
pub use source::{BackupSource, Reading};
pub use sums::Sum;

#[cfg(test)]
mod tests;
