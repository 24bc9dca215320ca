//! What a restore is asked on the command line. Everything here is words.

use std::path::PathBuf;

use super::{CopyArgs, Format, MendArgs, WidenArgs};

/// A restore of one backup.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The repository, with @ and a moment in UTC or an id behind it [default: the newest backup]
    pub(crate) source: String,
    /// The empty engine; or an archive or a JSON dump, in which nothing is moved on
    pub(crate) target: String,
    /// How a file is written [default: as the name ends: .json or .bin, with .gz or .zst behind it; else archive]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Take one of JuiceFS's own: SOURCE is the volume's engine, or its name's folder in its bucket, such as
    /// s3://bucket/name, with @ and a moment or a name behind it
    #[arg(long)]
    pub(crate) from_volume: bool,
    /// Move the next inode and the next slice on by so many: clients may have handed out more after the backup was made
    /// [default: 1048576, and for each second of its age 100 inodes and 1000 slices more]
    #[arg(long, value_name = "N", conflicts_with = "keep_counters")]
    pub(crate) margin: Option<u64>,
    /// Move the next slice past the largest one in the volume's bucket, instead of by what its age asks for
    #[arg(long, conflicts_with = "keep_counters")]
    pub(crate) scan_bucket: bool,
    #[command(flatten)]
    pub(crate) copy: CopyArgs,
    #[command(flatten)]
    pub(crate) mend: MendArgs,
    #[command(flatten)]
    pub(crate) widen: WidenArgs,
    /// Read the target back before it is committed, and compare
    #[arg(long)]
    pub(crate) verify: bool,
    /// Set the secret key of the object storage to what is in this file, in the form the volume uses
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_key_file: Option<PathBuf>,
}
