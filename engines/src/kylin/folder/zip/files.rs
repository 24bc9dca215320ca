//! The entries of a zip as files of a backup: which of them are resources, in what order they come, and which come again.

use std::collections::{BTreeSet, HashMap};

use jiff::tz::TimeZone;
use metaferry_codecs::kylin::{Layout, image};
use metaferry_codecs::system::Finding;
use metaferry_codecs::tally::spread;
use metaferry_pipeline::{Error, Result, Stop};

use super::input::{Stamp, Zip};
use super::records::Entry;
use super::time;
use crate::kylin::folder::contents::Contents;
use crate::kylin::folder::roles::{Role, Roles};
use crate::kylin::folder::rows::Rows;
use crate::kylin::folder::snapshot::{Cut, Files};
use crate::kylin::folder::tree::shown;

/// How many names at the top are looked at, to tell the layout.
const MOST_TOPS: usize = 1 << 16;

/// The files in a zip.
#[derive(Debug)]
pub(in crate::kylin::folder) struct ZipFiles {
    zip: Zip,
    roles: Roles,
    /// Where each stretch begins in the directory, and how many rows it has.
    stretches: Vec<(u64, u64)>,
    /// Where entries lie in the directory of which a later one has the name, ascending.
    superseded: Vec<u64>,
    is_ordered: bool,
    stamp: Stamp,
}

/// The layout of what is in a zip, by the names at its top.
///
/// # Errors
/// What is no backup of Kylin 5.
pub(in crate::kylin::folder) fn layout(zip: &Zip) -> Result<Layout> {
    let mut tops = BTreeSet::new();
    let mut records = zip.records(0);
    while let Some((_, entry)) = records.next()? {
        let path = path(&entry);
        let top = path.split(|byte| *byte == b'/').next().unwrap_or(path);
        if tops.len() < MOST_TOPS && !tops.contains(top) {
            tops.insert(top.to_vec());
        }
        if top == b"_global" {
            return Ok(Layout::Flat);
        }
    }
    if tops.is_empty() {
        return Err(Error::refused("it is an empty zip").hint("look whether it is the backup that was meant"));
    }
    Ok(Layout::of_backup(tops.iter().map(Vec::as_slice))?)
}

/// The path of an entry, from the top; flat ones begin with a slash, and typed ones may.
fn path(entry: &Entry) -> &[u8] {
    entry.name.strip_prefix(b"/").unwrap_or(&entry.name)
}

fn is_folder(entry: &Entry) -> bool {
    entry.name.ends_with(b"/") && entry.length == 0
}

/// What is remembered while the directory is read.
#[derive(Default)]
struct Looking {
    last: Option<Vec<u8>>,
    is_ordered: bool,
    may_repeat: bool,
    hashes: Vec<u64>,
    lacking: u64,
    first_lacking: Vec<u8>,
    image: Option<(Entry, u64)>,
}

impl Looking {
    fn key(&mut self, key: Vec<u8>) {
        self.hashes.push(spread(&key));
        if let Some(last) = &self.last {
            self.is_ordered &= *last <= key;
            self.may_repeat |= *last >= key;
        }
        self.last = Some(key);
    }

    /// Kylin passes over such an entry.
    fn slash(&mut self, entry: &Entry) {
        if !entry.name.starts_with(b"/") {
            if self.lacking == 0 {
                self.first_lacking.clone_from(&entry.name);
            }
            self.lacking += 1;
        }
    }
}

impl ZipFiles {
    /// Looks at every entry.
    ///
    /// # Errors
    /// Entries that Kylin reads otherwise or not at all, and those that are no resource's.
    pub(in crate::kylin::folder) fn look(zip: Zip, contents: &mut Contents, stop: &Stop) -> Result<Self> {
        let roles = contents.roles.clone();
        let stamp = zip.stamp()?;
        let mut looking = Looking { is_ordered: true, ..Looking::default() };
        let (mut stretches, mut cut, mut entries) = (Vec::new(), Cut::default(), 0);
        let mut records = zip.records(0);
        let mut next = records.next()?;
        while let Some((at, entry)) = next {
            stop.check()?;
            next = records.next()?;
            entries += 1;
            let end = next.as_ref().map_or(zip.end(), |(_, next)| next.offset);
            if is_folder(&entry) {
                *contents.aside.entry("folders in the zip").or_default() += 1;
                continue;
            }
            if std::str::from_utf8(&entry.name).is_err() {
                return Err(zip.at(&entry, Error::refused("its name is not UTF-8, and Kylin reads no other")));
            }
            let role = contents.see(path(&entry), entry.length).map_err(|error| zip.at(&entry, error))?;
            if roles.layout == Layout::Flat && !matches!(role, Role::Aside(_)) {
                looking.slash(&entry);
            }
            match role {
                Role::Image => looking.image = Some((entry, end)),
                Role::Resource(key) => {
                    looking.key(key);
                    if cut.begins(entry.length) {
                        stretches.push((if stretches.is_empty() { 0 } else { at }, 0));
                    }
                    if let Some((_, rows)) = stretches.last_mut() {
                        *rows += 1;
                    }
                }
                Role::Aside(_) | Role::Elsewhere => {}
            }
        }
        if entries != zip.entries() {
            let what = format!("{}: its end says {} entries, and there are {entries}", zip.name, zip.entries());
            return Err(Error::corrupt(what));
        }
        looking.check_slashes(&zip)?;
        contents.offset = looking.offset(&zip)?;
        let superseded = if looking.may_repeat { superseded(&zip, &roles, looking.hashes)? } else { Vec::new() };
        Ok(Self { zip, roles, stretches, superseded, is_ordered: looking.is_ordered, stamp })
    }
}

impl Looking {
    fn check_slashes(&self, zip: &Zip) -> Result<()> {
        if self.lacking == 0 {
            return Ok(());
        }
        let (count, first) = (self.lacking, shown(&self.first_lacking));
        let what = format!(
            "{}: {count} entries do not begin with a slash, such as {first}: Kylin passes over such without a word, and \
             would read the zip as empty",
            zip.name
        );
        Err(Error::refused(what).hint("unpack it, and name the folder; ordinary tools leave the slash out"))
    }

    fn offset(&self, zip: &Zip) -> Result<Option<u64>> {
        let Some((entry, end)) = &self.image else { return Ok(None) };
        let content = zip.data(entry.offset).next(entry, *end, true)?;
        let content = content.transpose().map_err(|error| zip.at(entry, error))?.unwrap_or_default();
        image::read_image(&content).map(Some).map_err(|error| zip.at(entry, error))
    }
}

/// The entries of which a later one has the name. Keys are told apart by 64 bits first, so that those of a whole zip take
/// little memory.
fn superseded(zip: &Zip, roles: &Roles, mut hashes: Vec<u64>) -> Result<Vec<u64>> {
    hashes.sort_unstable();
    let alike = hashes.chunk_by(|one, other| one == other).filter(|alike| alike.len() > 1);
    let repeated: Vec<u64> = alike.filter_map(|alike| alike.first().copied()).collect();
    drop(hashes);
    let mut last = HashMap::<Vec<u8>, u64>::new();
    let mut superseded = Vec::new();
    let mut records = zip.records(0);
    while let Some((at, entry)) = records.next()? {
        if is_folder(&entry) {
            continue;
        }
        let Ok(Role::Resource(key)) = roles.role(path(&entry)) else { continue };
        if repeated.binary_search(&spread(&key)).is_ok()
            && let Some(before) = last.insert(key, at)
        {
            superseded.push(before);
        }
    }
    superseded.sort_unstable();
    Ok(superseded)
}

impl Files for ZipFiles {
    fn rows(&self) -> Vec<u64> {
        self.stretches.iter().map(|(_, rows)| *rows).collect()
    }

    fn is_ordered(&self) -> bool {
        self.is_ordered
    }

    fn read(&self, stretch: usize, rows: &mut Rows<'_>) -> Result<()> {
        let zone = TimeZone::system();
        let from = self.stretches.get(stretch).map_or(0, |(from, _)| *from);
        let to = self.stretches.get(stretch + 1).map_or(u64::MAX, |(from, _)| *from);
        let mut records = self.zip.records(from);
        let mut next = records.next()?;
        // Nothing may lie in front of the first: who reads from the front would see it.
        let begin = next.as_ref().filter(|(at, _)| *at > 0).map_or(0, |(_, entry)| entry.offset);
        let mut data = self.zip.data(begin);
        while let Some((at, entry)) = next.filter(|(at, _)| *at < to) {
            next = records.next()?;
            let end = next.as_ref().map_or(self.zip.end(), |(_, next)| next.offset);
            // What is no valid key's was refused, or let pass, when it was looked at.
            let role = if is_folder(&entry) { None } else { self.roles.role(path(&entry)).ok() };
            let is_superseded = self.superseded.binary_search(&at).is_ok();
            let is_wanted = matches!(role, Some(Role::Resource(_))) && !is_superseded;
            let content = data.next(&entry, end, is_wanted)?;
            if is_superseded {
                let text =
                    format!("{}: a later entry has the same name, and is the one that Kylin takes", shown(&entry.name));
                rows.found(Finding { sort: "entry that comes again", text, mendable: false });
            }
            match (role, content) {
                (Some(Role::Resource(key)), Some(Ok(content))) => rows.push(key, content, time::get(&entry, &zone))?,
                (_, Some(Err(why))) => rows.damaged(format!("{}: entry {}", self.zip.name, shown(&entry.name)), why)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn finish(&self) -> Result<()> {
        if self.zip.stamp()? == self.stamp {
            return Ok(());
        }
        let what = format!("{}: it was written to while it was read", self.zip.name);
        Err(Error::corrupt(what).hint("nothing may write into a backup while it is read; run again"))
    }
}
