//! A volume's own bucket: the objects of a JuiceFS volume, found from its setting, as far as backups of its metadata and the
//! numbers of its slices go. It never touches data.

mod backups;
mod opened;
mod outgoing;
mod service;
mod slices;

pub use backups::{VolumeBackup, Wanted};
pub use opened::Bucket;
pub use outgoing::Outgoing;
