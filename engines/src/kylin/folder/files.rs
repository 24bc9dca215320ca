//! The files of a backup in folders: opened by handles, read whole, and held against what they were when they were looked at.

use std::fs::File;
use std::io::Read;

use metaferry_codecs::kylin::image;
use metaferry_codecs::tally::digest;
use metaferry_pipeline::{Error, Result, Stop};
use rustix::fs::{Advice, AtFlags, FileType, Mode, OFlags, Stat, fadvise, fstat, openat, statat};

use super::contents::{Contents, MOST_IMAGE};
use super::roles::{Role, Roles};
use super::rows::Rows;
use super::snapshot::{Cut, Files};
use super::tree::{Sort, Span, Tree, Visited, no_file, sort_of};

/// The files in a tree.
#[derive(Debug)]
pub(super) struct TreeFiles {
    tree: Tree,
    roles: Roles,
    stretches: Vec<Stretch>,
}

/// Files that follow each other in the order of keys.
#[derive(Debug)]
struct Stretch {
    /// Where it begins.
    from: Vec<u8>,
    rows: u64,
    /// The sum of what was seen of its files: their keys, lengths and times.
    stamp: u128,
}

/// Without the number of the inode, which some file systems make up anew.
fn stamp(key: &[u8], stat: &Stat) -> u128 {
    let mut seen = key.to_vec();
    seen.push(0);
    seen.extend(stat.st_size.to_le_bytes());
    for (seconds, nanos) in [(stat.st_mtime, stat.st_mtime_nsec), (stat.st_ctime, stat.st_ctime_nsec)] {
        seen.extend(seconds.to_le_bytes());
        seen.extend(nanos.to_le_bytes());
    }
    digest(&seen)
}

/// When a file was written, in milliseconds since 1970: by floor.
fn millis(stat: &Stat) -> i64 {
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    stat.st_mtime.saturating_mul(1000).saturating_add(nanos / 1_000_000)
}

fn length(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

impl TreeFiles {
    /// Looks at every file.
    ///
    /// # Errors
    /// What is no file and no folder, and what is no resource.
    pub(super) fn look(tree: Tree, contents: &mut Contents, stop: &Stop) -> Result<Self> {
        let roles = contents.roles.clone();
        let (mut stretches, mut cut) = (Vec::<Stretch>::new(), Cut::default());
        tree.walk(&Span::default(), &mut |visited| {
            stop.check()?;
            let stat = statat(visited.folder, visited.name, AtFlags::SYMLINK_NOFOLLOW);
            let stat = stat.map_err(|cause| tree.failed(visited.path, "look at", cause))?;
            if let Sort::Other(what) = sort_of(FileType::from_raw_mode(stat.st_mode)) {
                return Err(no_file(&tree.name, visited.path, what));
            }
            let role = contents.see(visited.path, length(&stat)).map_err(|error| error.at(&tree.name))?;
            match role {
                Role::Image => contents.offset = Some(Self::read_image(&tree, visited)?),
                Role::Resource(key) => {
                    if cut.begins(length(&stat)) {
                        let from = if stretches.is_empty() { Vec::new() } else { visited.place.to_vec() };
                        stretches.push(Stretch { from, rows: 0, stamp: 0 });
                    }
                    if let Some(stretch) = stretches.last_mut() {
                        stretch.rows += 1;
                        stretch.stamp = stretch.stamp.wrapping_add(stamp(&key, &stat));
                    }
                }
                Role::Aside(_) | Role::Elsewhere => {}
            }
            Ok(())
        })?;
        Ok(Self { tree, roles, stretches })
    }

    /// Says which files are read next: a disk then brings them side by side, where a reader would wait for one after the other.
    fn announce(&self, span: &Span) -> Result<()> {
        self.tree.walk(span, &mut |visited| {
            // Whatever is wrong with a file shows when it is read; no advice has to be taken.
            if let Ok(file) = openat(visited.folder, visited.name, OPEN, Mode::empty()) {
                fadvise(&file, 0, None, Advice::WillNeed).ok();
            }
            Ok(())
        })
    }

    fn read_image(tree: &Tree, visited: &Visited<'_>) -> Result<u64> {
        let (content, _) = read(tree, visited, MOST_IMAGE)?;
        let place = format!("{}: {}", tree.name, super::tree::shown(visited.path));
        image::read_image(&content).map_err(|why| Error::from(why).at(place))
    }
}

/// A pipe that took the place of a file would else be waited for.
const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Reads a file whole, which must not change meanwhile.
fn read(tree: &Tree, visited: &Visited<'_>, bound: u64) -> Result<(Vec<u8>, Stat)> {
    let path = visited.path;
    let file = openat(visited.folder, visited.name, OPEN, Mode::empty());
    let mut file = File::from(file.map_err(|cause| match cause {
        rustix::io::Errno::LOOP => no_file(&tree.name, path, "a symbolic link"),
        cause => tree.failed(path, "open", cause),
    })?);
    let before = fstat(&file).map_err(|cause| tree.failed(path, "look at", cause))?;
    if let Sort::Other(what) = sort_of(FileType::from_raw_mode(before.st_mode)) {
        return Err(no_file(&tree.name, path, what));
    }
    if length(&before) > bound {
        let what = format!("{}: {} has more than {bound} bytes", tree.name, super::tree::shown(path));
        return Err(Error::refused(what));
    }
    let wanted = usize::try_from(before.st_size).unwrap_or(0);
    // Room for one more byte: whether there is one is asked anyway, and tells of a file that grows.
    let mut content = Vec::with_capacity(wanted + 1);
    let read = file.by_ref().take(before.st_size.unsigned_abs() + 1).read_to_end(&mut content);
    read.map_err(|cause| Error::engine(format!("{}: read {}", tree.name, super::tree::shown(path)), cause))?;
    let after = fstat(&file).map_err(|cause| tree.failed(path, "look at", cause))?;
    if content.len() != wanted || stamp(path, &before) != stamp(path, &after) {
        return Err(tree.changed(path, "has changed"));
    }
    Ok((content, before))
}

impl Files for TreeFiles {
    fn rows(&self) -> Vec<u64> {
        self.stretches.iter().map(|stretch| stretch.rows).collect()
    }

    fn read(&self, stretch: usize, rows: &mut Rows<'_>) -> Result<()> {
        let Some(Stretch { from, rows: expected, stamp: promised }) = self.stretches.get(stretch) else {
            return Ok(());
        };
        let to = self.stretches.get(stretch + 1).map(|next| next.from.clone());
        let span = Span { from: from.clone(), to };
        self.announce(&span)?;
        let (mut count, mut seen) = (0, 0_u128);
        self.tree.walk(&span, &mut |visited| {
            // What is no valid key's was refused when it was looked at, or came since; that shows in the sum.
            let Ok(Role::Resource(key)) = self.roles.role(visited.path) else { return Ok(()) };
            let (content, stat) = read(&self.tree, visited, metaferry_codecs::kylin::content::BOUND as u64)?;
            count += 1;
            seen = seen.wrapping_add(stamp(&key, &stat));
            rows.push(key, content, millis(&stat))
        })?;
        if (count, seen) == (*expected, *promised) {
            return Ok(());
        }
        Err(self.tree.changed(from, "or what follows it has changed"))
    }
}
