//! What is asked of Kylin's metastore on the command line, in the words of `metastore.sh` where it has them.

use std::ffi::OsString;
use std::path::PathBuf;

/// Which metastore.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct KylinArgs {
    /// The metadata URL, such as kylin_metadata@jdbc,url=jdbc:postgresql://host:5432/kylin,username=…,password=…
    /// [default: kylin.metadata.url in kylin.properties]
    #[arg(long, global = true, value_name = "URL", env = "METAFERRY_KYLIN_URL", hide_env_values = true)]
    pub(crate) metadata_url: Option<String>,
    /// The folder of kylin.properties [default: KYLIN_CONF, else conf in KYLIN_HOME]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) conf: Option<PathBuf>,
}

/// What is done with it.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum KylinCommand {
    /// Make a backup of everything in a folder of its own in DIR
    Backup {
        #[command(flatten)]
        into: IntoFolder,
    },
    /// Make a backup of one project in a folder of its own in DIR
    BackupProject {
        /// The project
        project: OsString,
        #[command(flatten)]
        into: IntoFolder,
    },
    /// Bring everything in a backup back; what the backup has not stays, unless it is asked to go
    Restore {
        #[command(flatten)]
        from: FromBackup,
    },
    /// Bring one project of a backup back
    RestoreProject {
        /// The project
        project: OsString,
        #[command(flatten)]
        from: FromBackup,
    },
    /// List what is directly in a folder of the metastore
    List {
        /// The folder, such as /_global or, in the typed layout, TABLE_INFO
        #[arg(default_value = "/")]
        path: OsString,
    },
    /// Copy one resource, or a folder of them, into a folder of its own in DIR
    Fetch {
        /// The resource or folder
        path: OsString,
        /// Where to [default: meta_fetch in KYLIN_HOME]
        dir: Option<PathBuf>,
    },
    /// Print one resource as it is
    Cat {
        /// Its key, such as /_global/project/demo.json
        key: OsString,
    },
    /// Switch the maintenance mode on or off, in which Kylin changes no metadata, or tell who has it on
    Maintenance {
        #[command(subcommand)]
        what: MaintenanceCommand,
    },
    /// Prove that a backup is whole, and that the metastore holds what is in it
    Verify {
        /// The backup: its folder, a metadata.zip, an archive, or a repository
        backup: String,
        /// Only look at the backup
        #[arg(long)]
        alone: bool,
    },
    /// List the resources that came, went or changed in the metastore since a backup
    Diff {
        /// The backup: its folder, a metadata.zip, an archive, or a repository
        backup: String,
    },
}

/// How a backup is written.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct IntoFolder {
    /// Where to; it must be there [default: meta_backups in KYLIN_HOME]
    pub(crate) dir: Option<PathBuf>,
    /// What the folder in it is called [default: the time, as 2026-11-21-00-25-18_backup]
    #[arg(long, value_name = "NAME")]
    pub(crate) folder: Option<OsString>,
    /// Write one metadata.zip in place of many files
    #[arg(long)]
    pub(crate) compress: bool,
    /// Leave out what sampling found out about tables
    #[arg(long, alias = "excludeTableExd")]
    pub(crate) exclude_table_exd: bool,
}

/// How a backup is brought back.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FromBackup {
    /// The backup: its folder, a metadata.zip, an archive, or a repository
    pub(crate) backup: String,
    /// Remove what the backup has not
    #[arg(long, short = 'd')]
    pub(crate) after_truncate: bool,
    /// Leave resources alone whose content is what the backup has; else they are written again, as Kylin does
    #[arg(long)]
    pub(crate) skip_equal: bool,
    /// Only list what would be inserted, replaced and removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Remove what the backup has not though the backup is empty, or is not of all there is
    #[arg(long, requires = "after_truncate")]
    pub(crate) force: bool,
    /// Where the metastore as it was is saved first [default: beside a backup in a folder, else meta_backups in KYLIN_HOME]
    #[arg(long, value_name = "DIR")]
    pub(crate) safety_dir: Option<PathBuf>,
    /// Save nothing first
    #[arg(long, conflicts_with = "safety_dir")]
    pub(crate) no_safety_backup: bool,
    /// Neither switch the maintenance mode on nor ask for it: for a metastore that no Kylin has in use
    #[arg(long)]
    pub(crate) no_maintenance: bool,
}

/// What is done with the maintenance mode.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum MaintenanceCommand {
    /// Switch it on; it stays on when the command ends
    On {
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Switch it off
    Off {
        /// Though it is off, or somebody else's
        #[arg(long, short)]
        force: bool,
    },
    /// Tell whether it is on, and by whom
    Status,
}
