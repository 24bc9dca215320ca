//! What the loaders of one backup share, and what each has booked of the resources it wrote.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use metaferry_codecs::kylin::content::BOUND;
use metaferry_codecs::kylin::image::{FLAT_IMAGE, TYPED_IMAGE};
use metaferry_codecs::kylin::key::{self, GLOBAL, Owner};
use metaferry_codecs::kylin::{Layout, Resource};
use metaferry_codecs::system::Finding;
use metaferry_pipeline::{Error, ErrorKind, Findings, Result, Stop};
use rustix::fs::fstatfs;

use super::sums::Sums;
use super::tree::shown;
use crate::feed::held;

/// File systems that tell whoever syncs all of one what was lost of any file: ext, XFS, Btrfs, tmpfs, F2FS, ZFS, bcachefs, and
/// overlays, which containers lay over one of those. Those on a network or in user space may tell it when a file is closed,
/// and then nobody.
const TELLS_LATER: [u32; 8] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0xF2F5_2010, 0x2FC1_2FC1, 0xCA45_1A4E, 0x794C_7630];

/// What the loaders of one backup share.
pub(super) struct Shared {
    pub(super) top: Arc<OwnedFd>,
    /// That of the first key; all are of one.
    pub(super) layout: OnceLock<Layout>,
    pub(super) booked: Mutex<Booked>,
    /// How many loaders have not finished.
    pub(super) open: AtomicUsize,
    pub(super) stop: Stop,
    /// Whether each file is made durable by itself, because nobody would be told of those that the file system loses later.
    pub(super) syncs_each: bool,
}

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Booked {
    pub(super) sums: Sums,
    /// Projects of the flat layout that have a resource that is the project.
    projects: BTreeSet<Vec<u8>>,
    /// The keys of resources without content: how many, and the first.
    empty: (u64, Vec<u8>),
}

impl Booked {
    pub(super) fn book(&mut self, row: &Resource) {
        self.sums.add(&row.key, &row.content);
        if row.content.is_empty() {
            self.empty.0 += 1;
            if self.empty.0 == 1 {
                self.empty.1.clone_from(&row.key);
            }
        }
        if row.key.starts_with(b"/_global/project/")
            && let Owner::Project(name) = key::owner(&row.key, b"")
        {
            self.projects.insert(name.into_owned());
        }
    }

    fn merge(&mut self, other: Self) {
        self.sums.merge(&other.sums);
        self.projects.extend(other.projects);
        if self.empty.0 == 0 {
            self.empty.1 = other.empty.1;
        }
        self.empty.0 += other.empty.0;
    }

    /// What Kylin would not do with such a backup.
    pub(super) fn findings(&self, layout: Layout, is_zip: bool) -> Findings {
        let mut findings = Findings::default();
        let (count, first) = &self.empty;
        if is_zip && *count > 0 {
            let have = if *count == 1 { "resource has" } else { "resources have" };
            let text = format!("{count} {have} no content, such as {}: Kylin itself writes no such zip", shown(first));
            findings.found(Finding { sort: "resource without content", text, mendable: false });
        }
        let is_project = |folder: &&Vec<u8>| folder.as_slice() != GLOBAL && folder.as_slice() != b"UUID";
        let folders = self.sums.0.keys().filter(|_| layout == Layout::Flat).filter(is_project);
        for folder in folders.filter(|folder| !self.projects.contains(*folder)) {
            let text =
                format!("{}: there is no such project in the backup, so Kylin would not restore it", shown(folder));
            findings.found(Finding { sort: "illegal project", text, mendable: false });
        }
        findings
    }
}

/// The key of `_image`.
pub(super) fn image_key(layout: Layout) -> &'static [u8] {
    match layout {
        Layout::Flat => FLAT_IMAGE,
        Layout::Typed => TYPED_IMAGE,
    }
}

impl Shared {
    pub(super) fn new(top: Arc<OwnedFd>, stop: &Stop) -> Self {
        let syncs_each = !fstatfs(&*top).is_ok_and(|found| TELLS_LATER.contains(&(found.f_type as u32)));
        Self {
            top,
            layout: OnceLock::new(),
            booked: Mutex::default(),
            open: AtomicUsize::new(0),
            stop: stop.clone(),
            syncs_each,
        }
    }

    /// Where the file of a resource lies, from the top of the backup.
    ///
    /// # Errors
    /// A key that no file can have, keys of two layouts, and content that is too long to be read back.
    pub(super) fn path(&self, key: &[u8], length: usize) -> Result<Vec<u8>> {
        let layout = Layout::of_key(key);
        if *self.layout.get_or_init(|| layout) != layout {
            return Err(Error::corrupt(format!("the key {}: the others are of another layout", shown(key))));
        }
        if length > BOUND {
            let what = format!("the key {}: its content has {length} bytes, and may have {BOUND}", shown(key));
            return Err(Error::unsupported(what));
        }
        Ok(key::path(layout, key)?)
    }

    pub(super) fn finish(&self, booked: Booked) {
        held(&self.booked).merge(booked);
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn check_finished(&self) -> Result<()> {
        match self.open.load(Ordering::Acquire) {
            0 => Ok(()),
            open => Err(Error::new(ErrorKind::Bug, format!("{open} loaders of a backup have not finished"))),
        }
    }
}
