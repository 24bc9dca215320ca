//! How far a restored volume's next numbers are moved on, as the user says it.

/// What a restore does so that no object in the bucket is written over.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct MarginArgs {
    /// Move the next inode and the next slice on by so many: clients may have handed out more after the backup was made
    /// [default: 1048576, and for each second of its age 100 inodes and 1000 slices more]
    #[arg(long, value_name = "N", conflicts_with = "keep_counters")]
    pub(crate) margin: Option<u64>,
    /// Move the next slice past the largest one in the volume's bucket, instead of by what its age asks for
    #[arg(long, conflicts_with = "keep_counters")]
    pub(crate) scan_bucket: bool,
}
