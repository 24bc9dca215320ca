//! Where Kylin says how it is set up: the files of properties, found as Kylin finds them, and what of them is asked here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use metaferry_codecs::kylin::properties::{METADATA_URL, Properties};
use metaferry_engines::kylin::store::StoreAddress;
use metaferry_pipeline::{Error, Result};

use crate::args::KylinArgs;

/// The layers, each over the one before.
const LAYERS: [&str; 2] = ["kylin.properties", "kylin.properties.override"];
/// The largest of them, in bytes.
const MOST_BYTES: u64 = 16 << 20;

/// How long a live Kylin takes to see what was written, where nothing says otherwise (`kylin.metadata.audit-log.catchup-interval`).
const CATCH_UP: Duration = Duration::from_secs(5);

/// How a Kylin is set up.
pub(super) struct Settings {
    pub(super) store: StoreAddress,
    /// Whether content is stored compressed.
    pub(super) compress: bool,
    /// Whether changes are logged.
    pub(super) audit: bool,
    /// After how long a live node has seen a change.
    pub(super) catch_up: Duration,
    /// What `server_mode` rows of the mode are given.
    pub(super) server_mode: String,
    /// The address that this machine goes by.
    pub(super) address: Option<String>,
    /// Where Kylin is.
    home: Option<PathBuf>,
}

impl Settings {
    /// Reads the properties, where there are any, and the metadata URL, which may be named instead.
    pub(super) fn find(args: &KylinArgs) -> Result<Self> {
        let home = std::env::var_os("KYLIN_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let conf = match &args.conf {
            Some(conf) if !conf.is_dir() => {
                return Err(Error::config(format!("--conf {}: there is no such folder", conf.display())));
            }
            Some(conf) => Some(conf.clone()),
            None => std::env::var_os("KYLIN_CONF")
                .filter(|conf| !conf.is_empty())
                .map(PathBuf::from)
                .or_else(|| home.as_ref().map(|home| home.join("conf"))),
        };
        let properties = conf.as_deref().map(read).transpose()?.unwrap_or_default();
        let at = |error: metaferry_codecs::Error| Error::config("the properties of Kylin").because(error);
        let asked = |name: &str| properties.get(name).map_err(at).map(|value| value.filter(|text| !text.is_empty()));
        let url = match &args.metadata_url {
            Some(url) => zeroize::Zeroizing::new(url.clone()),
            None if asked(METADATA_URL)?.is_some() => properties.metadata_url().map_err(at)?,
            None => {
                return Err(Error::config("which metastore is meant is not known")
                    .hint("name it with --metadata-url, or the folder of kylin.properties with --conf, KYLIN_CONF or KYLIN_HOME"));
            }
        };
        let is_on = |name: &str| Ok::<_, Error>(asked(name)?.is_none_or(|text| text.trim() != "false"));
        let interval = asked("kylin.metadata.audit-log.catchup-interval")?;
        Ok(Self {
            store: StoreAddress::parse(&url)?,
            compress: is_on("kylin.metadata.compress.enabled")?,
            audit: is_on("kylin.metadata.audit-log.enabled")?,
            catch_up: interval.and_then(|text| span(&text)).unwrap_or(CATCH_UP),
            server_mode: asked("kylin.server.mode")?.map_or_else(|| "all".to_owned(), |mode| mode.to_string()),
            address: asked("kylin.env.ip-address")?.map(|address| address.to_string()),
            home,
        })
    }

    /// A folder in Kylin's own, which is made where it is not.
    pub(super) fn own_folder(&self, name: &str) -> Result<Option<PathBuf>> {
        let Some(folder) = self.home.as_ref().map(|home| home.join(name)) else { return Ok(None) };
        let made = std::fs::create_dir_all(&folder);
        made.map_err(|cause| Error::engine(format!("{}: it cannot be made", folder.display()), cause))?;
        Ok(Some(folder))
    }
}

/// The layers in a folder, those that are there.
fn read(conf: &Path) -> Result<Properties> {
    let mut properties = Properties::default();
    for name in LAYERS {
        let path = conf.join(name);
        let unreadable = |cause| Error::config(format!("{}: it cannot be read", path.display())).because(cause);
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(error)),
        };
        let mut text = zeroize::Zeroizing::new(Vec::new());
        std::io::Read::read_to_end(&mut std::io::Read::take(file, MOST_BYTES), &mut text).map_err(unreadable)?;
        let wrong = |error| Error::config(format!("{}: it is not understood", path.display())).because(error);
        properties.lay(&text).map_err(wrong)?;
    }
    Ok(properties)
}

/// A stretch of time as Kylin writes it, such as `5s`, `2m` or, in milliseconds, `500ms` or `500`.
fn span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|each: char| each.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_of_time_are_read() {
        for (text, milliseconds) in [("5s", 5000), ("500ms", 500), (" 2m ", 120_000), ("1h", 3_600_000), ("7", 7)] {
            assert_eq!(span(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in ["", "s", "5 years", "-1s", "99999999999999999999s"] {
            assert_eq!(span(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn layers_lie_over_each_other() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), Properties::default());
        std::fs::write(folder.path().join("kylin.properties"), "a=1\nb=2\n").unwrap();
        std::fs::write(folder.path().join("kylin.properties.override"), "b=3\n").unwrap();
        let properties = read(folder.path()).unwrap();
        assert_eq!(properties.get("a").unwrap().unwrap().as_str(), "1");
        assert_eq!(properties.get("b").unwrap().unwrap().as_str(), "3");
        std::fs::write(folder.path().join("kylin.properties"), "a=\\u12\n").unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("kylin.properties"));
    }
}
