//! What can be said of a folder before a file is made in it: whether it may be written to, and how much is left.

use std::path::{Path, PathBuf};

use metaferry_pipeline::preflight::Remark;
use metaferry_pipeline::{Error, Result};
use rustix::fs::{Access, access, statvfs};

/// The folder that a file is to be in.
///
/// # Errors
/// It is not there.
pub(crate) fn folder_of(path: &Path) -> Result<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.map_or_else(|| PathBuf::from("."), Path::to_owned);
    let none = || Error::config(format!("{}: there is no folder {}", path.display(), folder.display()));
    if folder.is_dir() { Ok(folder) } else { Err(none()) }
}

/// Looks at the folder of a file that is to take about `needed` bytes.
///
/// # Errors
/// It is not there.
pub(crate) fn look(path: &Path, needed: Option<u64>) -> Result<Vec<Remark>> {
    let folder = folder_of(path)?;
    let shown = folder.display();
    if access(&folder, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let what = format!("{}: nothing can be written into the folder {shown}", path.display());
        let advice = "look at its owner and mode, and whether it is mounted read-only";
        return Ok(vec![Remark::refusal("rights", what, advice)]);
    }
    let may = Remark::ok("rights", format!("the folder {shown} can be written to"));
    let Ok(found) = statvfs(&folder) else { return Ok(vec![may]) };
    let left = found.f_bavail.saturating_mul(found.f_frsize);
    Ok(vec![may, room(needed, left)])
}

fn room(needed: Option<u64>, left: u64) -> Remark {
    let left_mib = left >> 20;
    match needed.map(|needed| (needed, (needed >> 20).max(1))) {
        None => Remark::ok("room", format!("{left_mib} MiB are left on the disk; how much is needed is not known yet")),
        Some((needed, mib)) => {
            let what = format!("about {mib} MiB are needed, and {left_mib} are left on the disk");
            if needed > left {
                Remark::refusal("room", what, "make room, or name another folder")
            } else {
                Remark::ok("room", what)
            }
        }
    }
}
