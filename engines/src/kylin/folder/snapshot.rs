//! A backup that was opened, whatever holds its files: it is planned in stretches of about as much work, which any worker
//! reads, and held against its manifest at the end.

use std::sync::Mutex;

use metaferry_codecs::kylin::{Kind, Kylin, Selection, Setting};
use metaferry_codecs::system::Selection as _;
use metaferry_pipeline::{About, Emit, Error, ErrorKind, Guarantee, KindSet, Partition, Result, Scope, Snapshot};

use super::contents::Contents;
use super::manifest::Manifest;
use super::rows::Rows;
use super::sums::Sums;
use crate::feed::held;

/// A stretch is full at so many rows, or so much content in bytes.
const FULL_ROWS: u64 = 1024;
const FULL_BYTES: u64 = 4 << 20;

/// Cuts what comes in order into stretches.
#[derive(Debug, Default)]
pub(super) struct Cut {
    rows: u64,
    bytes: u64,
}

impl Cut {
    /// Takes in one more; true where it begins a stretch.
    pub(super) fn begins(&mut self, bytes: u64) -> bool {
        let begins = self.rows == 0 || self.rows >= FULL_ROWS || self.bytes >= FULL_BYTES;
        if begins {
            *self = Self::default();
        }
        self.rows += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        begins
    }
}

/// What holds the files of a backup.
pub(super) trait Files: Send + Sync {
    /// How many rows there are in each stretch.
    fn rows(&self) -> Vec<u64>;

    /// Whether keys ascend from stretch to stretch, and in each.
    fn is_ordered(&self) -> bool {
        true
    }

    /// Reads the resources of a stretch.
    ///
    /// # Errors
    /// What cannot be read, and what is no longer as it was when it was looked at.
    fn read(&self, stretch: usize, rows: &mut Rows<'_>) -> Result<()>;

    /// Looks once more, when all was read.
    ///
    /// # Errors
    /// What changed.
    fn finish(&self) -> Result<()> {
        Ok(())
    }
}

/// A backup that was opened.
pub(super) struct BackupSnapshot {
    pub(super) name: String,
    pub(super) contents: Contents,
    files: Box<dyn Files>,
    rows: Vec<u64>,
    selection: Option<Selection>,
    /// The row that a copy ends with; none before the commit.
    seal: Option<Setting>,
    summed: Option<Mutex<Summed>>,
    promised: Option<Manifest>,
}

/// The sums of what was read.
#[derive(Debug, Default)]
struct Summed {
    stretches: Vec<bool>,
    sums: Sums,
}

impl BackupSnapshot {
    /// A backup, `promised` being what its manifest says where all of it is read.
    pub(super) fn new(name: String, contents: Contents, files: Box<dyn Files>, promised: Option<Manifest>) -> Self {
        let selection = contents.roles.project.as_deref().map(Selection::project);
        let mut seal = metaferry_codecs::kylin::Batch::from(vec![contents.setting()]);
        if let Some(selection) = &selection {
            selection.keep(&mut seal);
        }
        let seal = match seal {
            metaferry_codecs::kylin::Batch::Setting(rows) => rows.into_iter().next(),
            _ => None,
        };
        let mut snapshot = Self::uncommitted(name, contents, files);
        (snapshot.selection, snapshot.seal) = (selection, seal);
        if promised.is_some() {
            snapshot.sum();
        }
        Self { promised, ..snapshot }
    }

    /// What was written of a backup so far.
    pub(super) fn uncommitted(name: String, contents: Contents, files: Box<dyn Files>) -> Self {
        let rows = files.rows();
        Self { name, contents, files, rows, selection: None, seal: None, summed: None, promised: None }
    }

    /// Sums what is read.
    pub(super) fn sum(&mut self) {
        let stretches = vec![false; self.rows.len()];
        self.summed = Some(Mutex::new(Summed { stretches, sums: Sums::default() }));
    }

    /// The sums of everything, once every stretch was read.
    pub(super) fn sums(&self) -> Option<Sums> {
        let summed = held(self.summed.as_ref()?);
        summed.stretches.iter().all(|is_read| *is_read).then(|| summed.sums.clone())
    }

    fn read(&self, stretch: usize, out: &mut dyn Emit<Kylin>) -> Result<()> {
        let mut rows = Rows::new(out, self.selection.as_ref(), self.summed.is_some());
        self.files.read(stretch, &mut rows)?;
        let sums = rows.finish()?;
        let (Some(sums), Some(summed)) = (sums, &self.summed) else { return Ok(()) };
        let mut summed = held(summed);
        if let Some(is_read) = summed.stretches.get_mut(stretch)
            && !std::mem::replace(is_read, true)
        {
            summed.sums.merge(&sums);
        }
        Ok(())
    }
}

impl Snapshot<Kylin> for BackupSnapshot {
    /// A backup lies still: it is one point in time, and what is written to it while it is read is found.
    fn about(&self) -> About {
        let mut notes = self.contents.notes();
        notes.extend(self.selection.as_ref().map(|selection| selection.note().to_owned()));
        let unordered = KindSet::of([Kind::Resource]);
        About {
            origin: self.name.clone(),
            guarantee: Guarantee::Exact,
            ordered: if self.files.is_ordered() { KindSet::ALL } else { KindSet::ALL.without(unordered) },
            notes,
            live_sessions: 0,
            is_repeatable: true,
            is_partial: self.selection.is_some(),
        }
    }

    fn plan(&self, scope: &Scope<Kylin>) -> Result<Vec<Partition<Kylin>>> {
        let mut plan = Vec::new();
        if scope.wants(Kind::Setting) && self.seal.is_some() {
            plan.push(Partition { kind: Some(Kind::Setting), from: 0, to: 0, weight: 1 });
        }
        if scope.wants(Kind::Resource) {
            let stretches = (0..).zip(&self.rows);
            plan.extend(stretches.map(|(from, rows)| Partition {
                kind: Some(Kind::Resource),
                from,
                to: from + 1,
                weight: *rows,
            }));
        }
        Ok(plan)
    }

    fn scan(&self, partition: &Partition<Kylin>, out: &mut dyn Emit<Kylin>) -> Result<()> {
        if partition.kind == Some(Kind::Setting) {
            self.contents.aside.iter().for_each(|(what, count)| out.left_behind(what, *count));
            return self.seal.clone().map_or(Ok(()), |seal| out.emit(vec![seal].into()));
        }
        let stretches = (partition.from..partition.to).map(|stretch| usize::try_from(stretch).unwrap_or(usize::MAX));
        for stretch in stretches {
            if stretch >= self.rows.len() {
                return Err(Error::new(ErrorKind::Bug, format!("{}: there is no stretch {stretch}", self.name)));
            }
            self.read(stretch, out)?;
        }
        Ok(())
    }

    fn finish(&self) -> Result<()> {
        self.files.finish()?;
        let Some(promised) = &self.promised else { return Ok(()) };
        let sums = self.sums().ok_or_else(|| {
            Error::new(ErrorKind::Bug, format!("{}: not every stretch of the plan was scanned", self.name))
        })?;
        match promised.differences(&sums).first() {
            None => Ok(()),
            Some(difference) => Err(super::checked::changed(&self.name, difference)),
        }
    }
}
