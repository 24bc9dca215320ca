//! A tree of files, walked by handles in the order of keys: no path is followed twice, and no symbolic link at all. It knows
//! how names sort as keys, and no content.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use metaferry_codecs::kylin::Layout;
use metaferry_codecs::kylin::key::MAX_KEY;
use metaferry_pipeline::{Error, Result};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

/// What ends the name of a file of the typed layout, and is no part of its key.
const SUFFIX: &[u8] = b".json";
/// From so many names on, a listing is kept for whoever comes next.
const KEPT_NAMES: usize = 512;
/// How many such listings are kept.
const KEPT: usize = 4;

/// What a name in a folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Folder,
    File,
    /// Something that no backup holds.
    Other(&'static str),
}

/// A name in a folder; a folder's ends with a slash.
#[derive(Debug)]
pub(super) struct Entry {
    name: Vec<u8>,
    /// How much of the name is part of the key.
    stem: usize,
    pub(super) sort: Sort,
}

impl Entry {
    fn new(name: &[u8], sort: Sort, layout: Layout) -> Self {
        let mut name = name.to_vec();
        let stem = match (sort, layout) {
            (Sort::Folder, _) => {
                name.push(b'/');
                name.len()
            }
            (_, Layout::Typed) => name.strip_suffix(SUFFIX).map_or(name.len(), <[u8]>::len),
            (_, Layout::Flat) => name.len(),
        };
        Self { name, stem, sort }
    }

    /// Its name, without a slash.
    pub(super) fn name(&self) -> &[u8] {
        match self.sort {
            Sort::Folder => self.name.strip_suffix(b"/").unwrap_or(&self.name),
            _ => &self.name,
        }
    }

    /// Its part of the key: names of a folder sort by it as their keys do.
    fn stem(&self) -> &[u8] {
        self.name.get(..self.stem).unwrap_or(&self.name)
    }
}

/// A file on a walk.
pub(super) struct Visited<'a> {
    pub(super) folder: BorrowedFd<'a>,
    pub(super) name: &'a [u8],
    /// Its path from the top of the tree.
    pub(super) path: &'a [u8],
    /// What it sorts by: its path, without what is no part of its key.
    pub(super) place: &'a [u8],
}

/// Places from `from` up to and without `to`.
#[derive(Debug, Clone, Default)]
pub(super) struct Span {
    pub(super) from: Vec<u8>,
    pub(super) to: Option<Vec<u8>>,
}

impl Span {
    fn is_past(&self, place: &[u8]) -> bool {
        self.to.as_deref().is_some_and(|to| place >= to)
    }

    fn holds(&self, place: &[u8]) -> bool {
        place >= self.from.as_slice() && !self.is_past(place)
    }

    /// Whether anything below a folder, whose place ends with a slash, may be in it.
    fn meets(&self, folder: &[u8]) -> bool {
        (self.from.as_slice() <= folder || self.from.starts_with(folder)) && !self.is_past(folder)
    }
}

/// The folder at `path`; the last of its names alone may be a symbolic link, which the user has named.
pub(super) fn open_top(path: &Path) -> rustix::io::Result<OwnedFd> {
    openat(CWD, path, FOLDER, Mode::empty())
}

/// A folder in another one; a symbolic link is none.
pub(super) fn open_folder(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    openat(parent, name, FOLDER.union(OFlags::NOFOLLOW), Mode::empty())
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The names in a folder, in the order of keys.
pub(super) fn list(folder: impl AsFd, layout: Layout) -> rustix::io::Result<Vec<Entry>> {
    let folder = folder.as_fd();
    let mut entries = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let mut found = entry.file_type();
        if found == FileType::Unknown {
            // Some file systems do not say it in their listings.
            let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            found = FileType::from_raw_mode(stat.st_mode);
        }
        entries.push(Entry::new(name, sort_of(found), layout));
    }
    entries.sort_unstable_by(|one, other| one.stem().cmp(other.stem()));
    Ok(entries)
}

pub(super) fn sort_of(found: FileType) -> Sort {
    Sort::Other(match found {
        FileType::RegularFile => return Sort::File,
        FileType::Directory => return Sort::Folder,
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "neither a file nor a folder",
    })
}

/// A backup holds files and folders alone: what else is in it was put there by somebody.
pub(super) fn no_file(name: &str, path: &[u8], what: &str) -> Error {
    Error::refused(format!("{name}: {} is {what}", shown(path)))
        .hint("a backup holds nothing but files and folders; look who put it there, and remove it")
}

/// A path as messages show it.
pub(super) fn shown(path: &[u8]) -> String {
    let most = 4 * MAX_KEY;
    let more = if path.len() > most { "…" } else { "" };
    format!("{:?}{more}", String::from_utf8_lossy(path.get(..most).unwrap_or(path)))
}

type Listing = Arc<Vec<Entry>>;

/// A tree of files, from its top.
#[derive(Debug)]
pub(super) struct Tree {
    /// As messages call it.
    pub(super) name: String,
    pub(super) top: OwnedFd,
    pub(super) layout: Layout,
    kept: Mutex<Vec<(Vec<u8>, Listing)>>,
}

type Visit<'a> = &'a mut dyn FnMut(&Visited<'_>) -> Result<()>;

impl Tree {
    pub(super) fn new(name: String, top: OwnedFd, layout: Layout) -> Self {
        Self { name, top, layout, kept: Mutex::default() }
    }

    /// Shows every file in `span`, in the order of keys; memory grows with the widest folder on the way, and no further.
    pub(super) fn walk(&self, span: &Span, visit: Visit<'_>) -> Result<()> {
        self.walk_folder(self.top.as_fd(), &mut Vec::new(), span, visit)
    }

    fn walk_folder(&self, folder: BorrowedFd<'_>, path: &mut Vec<u8>, span: &Span, visit: Visit<'_>) -> Result<()> {
        let length = path.len();
        for entry in self.listing(folder, path)?.iter() {
            path.truncate(length);
            path.extend_from_slice(&entry.name);
            let place = path.get(..length + entry.stem).unwrap_or(path);
            match entry.sort {
                _ if span.is_past(place) => break,
                Sort::Folder if span.meets(place) => {
                    self.check_depth(path)?;
                    let inner = open_folder(folder, entry.name()).map_err(|cause| self.failed(path, "open", cause))?;
                    self.walk_folder(inner.as_fd(), path, span, visit)?;
                }
                Sort::File if span.holds(place) => {
                    visit(&Visited { folder, name: entry.name(), path, place })?;
                }
                Sort::Other(what) if span.holds(place) => return Err(no_file(&self.name, path, what)),
                _ => {}
            }
        }
        path.truncate(length);
        Ok(())
    }

    /// No key is longer, so nothing below is one; and each folder on the way is held open.
    fn check_depth(&self, path: &[u8]) -> Result<()> {
        let characters = std::str::from_utf8(path).map_or(path.len(), |path| path.chars().count());
        if characters <= MAX_KEY {
            return Ok(());
        }
        Err(Error::refused(format!("{}: {}: a key has {MAX_KEY} characters at most", self.name, shown(path))))
    }

    fn listing(&self, folder: BorrowedFd<'_>, path: &[u8]) -> Result<Listing> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, listing)) = kept.iter().find(|(other, _)| other == path) {
            return Ok(Arc::clone(listing));
        }
        drop(kept);
        let listing = list(folder, self.layout).map_err(|cause| self.failed(path, "list", cause))?;
        let listing = Arc::new(listing);
        if listing.len() >= KEPT_NAMES {
            kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= KEPT {
                kept.remove(0);
            }
            kept.push((path.to_vec(), Arc::clone(&listing)));
        }
        Ok(listing)
    }

    /// What went wrong with a file or folder of the tree.
    pub(super) fn failed(&self, path: &[u8], what: &str, cause: Errno) -> Error {
        match cause {
            Errno::LOOP | Errno::NOTDIR => no_file(&self.name, path, "no longer a folder"),
            Errno::NOENT => self.changed(path, "is gone"),
            _ => Error::engine(format!("{}: {what} {}", self.name, shown(path)), cause),
        }
    }

    /// Something that was otherwise when the backup was opened.
    pub(super) fn changed(&self, path: &[u8], what: &str) -> Error {
        Error::corrupt(format!("{}: {} {what} since it was opened", self.name, shown(path)))
            .hint("nothing may write into a backup while it is read; run again")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(tree: &Tree, span: &Span) -> Vec<String> {
        let mut found = Vec::new();
        tree.walk(span, &mut |visited| {
            found.push(String::from_utf8(visited.place.to_vec()).unwrap());
            Ok(())
        })
        .unwrap();
        found
    }

    fn made(layout: Layout, files: &[&str]) -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let tree = Tree::new("backup".to_owned(), open_top(folder.path()).unwrap(), layout);
        (folder, tree)
    }

    #[test]
    fn files_come_in_the_order_of_their_whole_keys() {
        let files = ["a/x", "a.json", "a0", "a-b/c/d", "a-b/c.json", "B", "_x/y"];
        let (_folder, tree) = made(Layout::Flat, &files);
        let mut sorted = files.map(str::to_owned).to_vec();
        sorted.sort();
        assert_eq!(walked(&tree, &Span::default()), sorted);
    }

    #[test]
    fn what_ends_a_typed_file_is_no_part_of_its_order() {
        let files =
            ["ACL/p.json", "ACL/p.u.json", "ACL/p/x.json", "ACL/p-.json", "ACL/p.json.json", "ACL/q.json/y.json"];
        let (_folder, tree) = made(Layout::Typed, &files);
        let mut keys: Vec<_> = files.iter().map(|file| file.strip_suffix(".json").unwrap().to_owned()).collect();
        keys.sort();
        assert_eq!(walked(&tree, &Span::default()), keys);
    }

    #[test]
    fn spans_cut_a_tree_into_parts_that_are_the_whole() {
        let files = ["a/x", "a/y", "a.json", "a0", "b/c/d", "b/c.json", "b/c/e", "z"];
        let (_folder, tree) = made(Layout::Flat, &files);
        let all = walked(&tree, &Span::default());
        for from in 0..all.len() {
            for to in from..=all.len() {
                let span = Span {
                    from: all[from].clone().into_bytes(),
                    to: all.get(to).map(|place| place.clone().into_bytes()),
                };
                assert_eq!(walked(&tree, &span), all[from..to], "{span:?}");
            }
        }
    }

    #[test]
    fn a_wide_folder_is_listed_once_for_its_parts() {
        let files: Vec<_> = (0..KEPT_NAMES).map(|number| format!("wide/{number:04}")).collect();
        let (_folder, tree) = made(Layout::Flat, &files.iter().map(String::as_str).collect::<Vec<_>>());
        let span = Span { from: b"wide/0100".to_vec(), to: Some(b"wide/0103".to_vec()) };
        assert_eq!(walked(&tree, &span), ["wide/0100", "wide/0101", "wide/0102"]);
        assert_eq!(tree.kept.lock().unwrap().len(), 1);
        assert_eq!(walked(&tree, &Span::default()), files);
        assert_eq!(tree.kept.lock().unwrap().len(), 1);
    }

    #[test]
    fn depth_ends_where_keys_do() {
        let deep = "d/".repeat(140) + "x";
        let (_folder, tree) = made(Layout::Flat, &[deep.as_str()]);
        let error = tree.walk(&Span::default(), &mut |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("255 characters"), "{error}");
    }
}
