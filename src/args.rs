//! The command line as types. Everything here is words; nothing is opened.

mod keep;
mod kylin;
mod restore;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use metaferry_codecs::juicefs::tables::Widths;

pub(crate) use keep::{KeepArgs, seconds};
pub(crate) use kylin::{FromBackup, IntoFolder, KylinArgs, KylinCommand, MaintenanceCommand};

use crate::agent::AgentArgs;
pub(crate) use restore::RestoreArgs;

/// Moves file-system metadata between databases, and backs it up, proven equal.
#[derive(Debug, Parser)]
#[command(name = "metaferry", version, max_term_width = 110, propagate_version = true)]
pub(crate) struct Args {
    /// What is to be done.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// What every command understands.
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// Workers that read, and workers that write, where the stores take as many
    #[arg(long, global = true, value_name = "N", default_value_t = default_threads(), value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: u16,
    /// Memory for what is on the way, in MiB; what does not fit goes to the spill folder
    #[arg(long, global = true, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=1 << 20))]
    pub(crate) memory: u32,
    /// Folder for what does not fit in memory [default: the system's]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) spill_dir: Option<PathBuf>,
    /// One JSON object a line instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress and no summary; errors and findings only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Read Redis key by key (fuzzy: stop writers first) instead of through its replication stream
    #[arg(long, global = true)]
    pub(crate) scan: bool,
    /// Ask Redis for its replication stream without a file on its disk
    #[arg(long, global = true)]
    pub(crate) redis_diskless: bool,
    /// Take a dump of JuiceFS to be one point in time, as one of a volume at rest is: link counts and directory statistics
    /// are carried as they are
    #[arg(long, global = true)]
    pub(crate) exact: bool,
    /// The private RSA key of a volume that encrypts its data: opens its automatic backups. The passphrase of the key is
    /// taken from JFS_RSA_PASSPHRASE
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) encrypt_rsa_key: Option<PathBuf>,
    /// The file with the passphrase of an encrypted repository [default: METAFERRY_PASSPHRASE]; backup encrypts a repository
    /// that it makes where there is one
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "identity")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// The file with the secret key of age that opens an encrypted repository, as age-keygen writes it
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// How that volume encrypts its data
    #[arg(long, global = true, value_name = "NAME", default_value = "aes256gcm-rsa")]
    pub(crate) encrypt_algo: String,
}

/// How a dump is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// JSON lines under zstd, with everything a volume has
    Archive,
    /// What `juicefs dump` writes
    Json,
    /// The same in gzip
    #[value(name = "json.gz")]
    JsonGz,
    /// The same in zstd
    #[value(name = "json.zst")]
    JsonZst,
    /// What `juicefs dump --binary` writes
    Binary,
    /// The same in gzip
    #[value(name = "binary.gz")]
    BinaryGz,
    /// The same in zstd
    #[value(name = "binary.zst")]
    BinaryZst,
    /// The folder of a backup of Kylin
    #[value(name = "kylin")]
    KylinFolder,
    /// The same with one metadata.zip in it
    #[value(name = "kylin.zip")]
    KylinZip,
}

/// Options of every command that copies.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct CopyArgs {
    /// Leave secrets in a file; else they are taken out
    #[arg(long, alias = "keep-secret-key")]
    pub(crate) keep_secrets: bool,
    /// Go on past rows that cannot be decoded, count them, and exit with 3
    #[arg(long, visible_alias = "salvage")]
    pub(crate) skip_damaged: bool,
    /// Leave out what is only in the trash; counters, link counts and slice references are those of what is left
    #[arg(long)]
    pub(crate) skip_trash: bool,
    /// Carry only the directory at this path and what is below it; it becomes the root
    #[arg(long, value_name = "PATH", conflicts_with = "skip_trash")]
    pub(crate) subdir: Option<OsString>,
}

/// Options of every command that fills an engine.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct MendArgs {
    /// Take the counters as the source has them, though they be wrong
    #[arg(long, conflicts_with_all = ["mend", "skip_trash", "subdir"])]
    pub(crate) keep_counters: bool,
    /// Set link counts and directory statistics right too; else they are carried as they are, and told. A fuzzy dump is
    /// always mended
    #[arg(long)]
    pub(crate) mend: bool,
}

/// Options of every command that fills tables.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct WidenArgs {
    /// Make columns of PostgreSQL and MySQL wide enough for all that JuiceFS has: uid, gid, link counts and devices over 2^31,
    /// long lists of slices; JuiceFS works with them
    #[arg(long)]
    pub(crate) widen: bool,
}

impl WidenArgs {
    /// How wide that makes them.
    pub(crate) fn widths(self) -> Widths {
        if self.widen { Widths::Wide } else { Widths::Stock }
    }
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Copy the metadata of an engine into a file
    Dump {
        /// The engine, such as redis://host:6379/1 or sqlite3:///path.db
        source: String,
        /// The file to write; - is standard output
        target: String,
        /// How it is written [default: as the name ends: .json or .bin, with .gz or .zst behind it; else archive]
        #[arg(long, value_enum)]
        format: Option<Format>,
        #[command(flatten)]
        copy: CopyArgs,
    },
    /// Copy an archive or a dump of JuiceFS into an empty engine
    Load {
        /// The file; - is standard input
        source: String,
        /// The empty engine
        target: String,
        #[command(flatten)]
        copy: CopyArgs,
        #[command(flatten)]
        mend: MendArgs,
        #[command(flatten)]
        widen: WidenArgs,
        /// Read the target back before it is committed, and compare
        #[arg(long)]
        verify: bool,
        /// Refuse a JSON dump whose counters promise over 1 % more inodes than it holds; else it is loaded and told
        #[arg(long)]
        strict: bool,
        /// Set the secret key of the object storage to what is in this file, in the form the volume uses
        #[arg(long, value_name = "FILE")]
        secret_key_file: Option<PathBuf>,
    },
    /// Copy a file of one format into a file of another
    Convert {
        /// An archive or a dump of JuiceFS; - is standard input
        source: String,
        /// The file to write; - is standard output
        target: String,
        /// How it is written [default: as the name ends: .json or .bin, with .gz or .zst behind it; else archive]
        #[arg(long, value_enum)]
        format: Option<Format>,
        #[command(flatten)]
        copy: CopyArgs,
    },
    /// Copy an engine into another, empty one, proven equal before it is committed
    Migrate {
        /// The engine to leave
        source: String,
        /// The empty engine to go to
        target: String,
        #[command(flatten)]
        copy: CopyArgs,
        #[command(flatten)]
        mend: MendArgs,
        #[command(flatten)]
        widen: WidenArgs,
        /// Do not read the target back
        #[arg(long)]
        no_verify: bool,
        /// Go on although clients have the source mounted
        #[arg(long)]
        live: bool,
    },
    /// Make a backup of an engine or a file in a repository; what it has in common with those before it is not sent again
    Backup {
        /// The engine or file
        source: String,
        /// The repository, such as repo+file:///backups or repo+s3://bucket/prefix; made where there is none
        #[arg(required_unless_present = "into_volume")]
        repository: Option<String>,
        /// Put it into the volume's own bucket instead, as JuiceFS does: meta/dump-….json.gz, encrypted where the volume is
        #[arg(long, conflicts_with_all = ["repository", "recipients", "subdir"])]
        into_volume: bool,
        #[command(flatten)]
        copy: CopyArgs,
        /// A public key of age that is to open a repository that is made, beside --identity
        #[arg(long = "recipient", value_name = "age1…", requires = "identity")]
        recipients: Vec<String>,
    },
    /// Make a backup each period, prune, and prove the newest now and then, until it is told to end; of many agents and clients
    /// of JuiceFS one makes each backup
    Agent(Box<AgentArgs>),
    /// Tell when a repository was backed up and verified last, who works on it, and what waits for a person
    Status {
        /// The repository
        repository: String,
    },
    /// Take a suspect backup for right, so that backups are pruned again
    Acknowledge {
        /// The repository, with @ and a moment or an id behind it
        repository: String,
    },
    /// List the backups in a repository
    Backups {
        /// The repository; with --from-volume the volume's engine, or its name's folder in its bucket
        repository: String,
        /// List those that JuiceFS, or backup --into-volume, made in the volume's own bucket
        #[arg(long)]
        from_volume: bool,
    },
    /// Remove the backups that no rule keeps, and in time what only they held
    Prune {
        /// The repository
        repository: String,
        #[command(flatten)]
        keep: KeepArgs,
        /// Only tell what would become of each backup, and why
        #[arg(long)]
        dry_run: bool,
        /// Remove also after a silence that may be a clock that jumped
        #[arg(long)]
        trust_clock: bool,
        /// How long what nothing needs stays, as a net under backups that are under way [default: twice the longest backup]
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        grace: Option<i64>,
    },
    /// Keep a backup whatever the rules say
    Pin {
        /// The repository, with @ and a moment or an id behind it
        repository: String,
    },
    /// Leave a pinned backup to the rules again
    Unpin {
        /// The repository, with @ and a moment or an id behind it
        repository: String,
    },
    /// Copy a backup into an empty engine, or into a file
    Restore(Box<RestoreArgs>),
    /// Tell what stands in the way of a copy and what it costs, without writing anything
    Preflight {
        /// The engine or file to copy
        source: String,
        /// The empty engine, or the file, to go to
        target: String,
        #[command(flatten)]
        widen: WidenArgs,
        /// Clients may have the source mounted
        #[arg(long)]
        live: bool,
    },
    /// Tell which paths came, went or changed from one source to another, directory by directory
    Diff {
        /// One engine, file or backup
        left: String,
        /// The other
        right: String,
        /// Only how many there are in each directory
        #[arg(long)]
        by_directory: bool,
    },
    /// Compare two sources: their tallies, then the rows that differ; or prove one that carries checksums
    Verify {
        /// One engine, file or backup
        left: String,
        /// The other; where there is none, all of an archive or a backup is read and proven
        right: Option<String>,
        /// Restore a backup into a scratch database, count what is in it, and read it back
        #[arg(long, conflicts_with = "right")]
        deep: bool,
        /// How many differing rows to tell
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// List a directory of an engine or a file
    Ls {
        /// The engine or file
        source: String,
        /// The directory, from the root of the volume; /.trash is the trash
        #[arg(default_value = "/")]
        path: OsString,
    },
    /// Print one entry of an engine or a file as JSON: its attributes, and what belongs to it
    Cat {
        /// The engine or file
        source: String,
        /// The entry, from the root of the volume
        path: OsString,
    },
    /// Tell what an engine or a file holds
    Info {
        /// The engine or file
        source: String,
    },
    /// Make a volume in SQLite, dump it, load the dump, verify, and tell how long it took
    Demo {
        /// The number of names in the volume
        #[arg(long, default_value_t = 1_000_000)]
        files: u64,
        /// Where to work [default: a temporary folder, removed at the end]
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Back up and restore the metastore of Apache Kylin 5, as its metastore.sh does, without a JVM
    Kylin {
        #[command(flatten)]
        args: KylinArgs,
        #[command(subcommand)]
        command: KylinCommand,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

fn default_threads() -> u16 {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    u16::try_from(cores.clamp(1, 16)).unwrap_or(2)
}
