//! Spooling: a snapshot that can be scanned only once is read to its end and put aside, so that it can be scanned again and
//! kind by kind. What it reported on the way is kept for whoever scans it for good.

use std::collections::BTreeMap;

use metaferry_codecs::system::{Batch, Finding, System};

use crate::scan::scan_all;
use crate::spill::{Block, SpillDir, Spool, SpoolWriter};
use crate::{About, Emit, Error, ErrorKind, Monitor, Partition, Result, Scope, Snapshot, Stop};

/// Bytes of packed rows in a block, about.
const BLOCK_BYTES: usize = 256 << 10;
/// Rows in a batch that comes out.
const BATCH_ROWS: usize = 4096;
/// Damaged rows that are remembered; with more, nothing is worth going on for.
const MOST_DAMAGED: usize = 1 << 16;

/// What surrounds a reading.
pub(crate) struct Reading<'a> {
    pub(crate) readers: usize,
    pub(crate) spill: &'a SpillDir,
    pub(crate) monitor: &'a Monitor,
    pub(crate) stop: &'a Stop,
}

/// What a snapshot reported beside its rows.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    damaged: Vec<(String, metaferry_codecs::Error)>,
    left_behind: BTreeMap<&'static str, u64>,
    found: Vec<Finding>,
}

impl Aside {
    /// Reports it again.
    pub(crate) fn replay<S: System>(self, out: &mut dyn Emit<S>) -> Result<()> {
        self.left_behind.into_iter().for_each(|(what, count)| out.left_behind(what, count));
        self.found.into_iter().for_each(|finding| out.found(finding));
        self.damaged.into_iter().try_for_each(|(place, why)| out.damaged(place, why))
    }

    fn add(&mut self, other: Self) {
        self.damaged.extend(other.damaged);
        self.found.extend(other.found);
        for (what, count) in other.left_behind {
            *self.left_behind.entry(what).or_default() += count;
        }
    }
}

/// A snapshot that was put aside.
pub(crate) struct Spooled<S: System> {
    about: About,
    spool: Spool,
    blocks: Vec<RowBlock<S>>,
}

/// Packed rows of one kind.
struct RowBlock<S: System> {
    kind: S::Kind,
    rows: u64,
    block: Block,
}

/// Reads all of a snapshot and puts it aside; `see` is shown every batch.
///
/// # Errors
/// Those of the snapshot, its end included, and of the spill folder.
pub(crate) fn spool<S: System>(
    snapshot: &dyn Snapshot<S>,
    reading: &Reading<'_>,
    see: &(dyn Fn(&S::Batch) + Sync),
) -> Result<(Spooled<S>, Aside)> {
    let spool = Spool::new(reading.spill)?;
    let worker = || {
        let writer = spool.writer()?;
        let pages = BTreeMap::new();
        Ok(Spooling::<S> { see, reading, writer, pages, blocks: Vec::new(), aside: Aside::default() })
    };
    let partitions = snapshot.plan(&Scope::default())?;
    reading.monitor.begin("spool", partitions.iter().map(|partition| partition.weight).sum());
    let workers = scan_all(snapshot, &partitions, (reading.readers, reading.stop), &worker)?;
    snapshot.finish()?;
    let (mut blocks, mut aside) = (Vec::new(), Aside::default());
    for mut worker in workers {
        worker.flush()?;
        blocks.append(&mut worker.blocks);
        aside.add(worker.aside);
    }
    Ok((Spooled { about: snapshot.about(), spool, blocks }, aside))
}

/// One worker's way into the spool.
struct Spooling<'a, S: System> {
    see: &'a (dyn Fn(&S::Batch) + Sync),
    reading: &'a Reading<'a>,
    writer: SpoolWriter<'a>,
    pages: BTreeMap<S::Kind, Page>,
    blocks: Vec<RowBlock<S>>,
    aside: Aside,
}

/// Packed rows, each behind its length.
#[derive(Default)]
struct Page {
    bytes: Vec<u8>,
    rows: u64,
}

impl<S: System> Spooling<'_, S> {
    fn flush(&mut self) -> Result<()> {
        for (kind, page) in std::mem::take(&mut self.pages) {
            self.write(kind, &page)?;
        }
        Ok(())
    }

    fn write(&mut self, kind: S::Kind, page: &Page) -> Result<()> {
        let block = self.writer.append(&page.bytes)?;
        self.blocks.push(RowBlock { kind, rows: page.rows, block });
        Ok(())
    }
}

impl<S: System> Emit<S> for Spooling<'_, S> {
    fn emit(&mut self, batch: S::Batch) -> Result<()> {
        self.reading.stop.check()?;
        self.reading.monitor.scanned(batch.len());
        (self.see)(&batch);
        let kind = batch.kind();
        let mut page = self.pages.remove(&kind).unwrap_or_default();
        let (mut key, mut row) = (Vec::new(), Vec::new());
        for index in 0..batch.len() {
            key.clear();
            row.clear();
            batch.pack(index, &mut key, &mut row);
            let length = u32::try_from(row.len()).map_err(|_| Error::unsupported("a row over 4 GiB"))?;
            page.bytes.extend_from_slice(&length.to_le_bytes());
            page.bytes.extend_from_slice(&row);
            page.rows += 1;
            if page.bytes.len() >= BLOCK_BYTES {
                self.write(kind, &page)?;
                page.bytes.clear();
                page.rows = 0;
            }
        }
        if page.rows > 0 {
            self.pages.insert(kind, page);
        }
        Ok(())
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        if self.aside.damaged.len() >= MOST_DAMAGED {
            return Err(Error::from(why).at(place).at("more damaged rows than can be told"));
        }
        self.aside.damaged.push((place, why));
        Ok(())
    }

    fn left_behind(&mut self, what: &'static str, count: u64) {
        *self.aside.left_behind.entry(what).or_default() += count;
    }

    fn found(&mut self, finding: Finding) {
        self.aside.found.push(finding);
    }
}

impl<S: System> Snapshot<S> for Spooled<S> {
    fn about(&self) -> About {
        About { is_repeatable: true, ..self.about.clone() }
    }

    fn plan(&self, scope: &Scope<S>) -> Result<Vec<Partition<S>>> {
        let wanted = (0..).zip(&self.blocks).filter(|(_, block)| scope.wants(block.kind));
        let partition = |(from, block): (u64, &RowBlock<S>)| Partition {
            kind: Some(block.kind),
            from,
            to: from + 1,
            weight: block.rows,
        };
        Ok(wanted.map(partition).collect())
    }

    fn scan(&self, partition: &Partition<S>, out: &mut dyn Emit<S>) -> Result<()> {
        let index = usize::try_from(partition.from).unwrap_or(usize::MAX);
        let unknown = || Error::new(ErrorKind::Bug, "a block that was not put aside");
        let RowBlock { kind, rows, block } = self.blocks.get(index).ok_or_else(unknown)?;
        let bytes = self.spool.read(*block)?;
        let (mut rest, mut read) = (bytes.as_slice(), 0_u64);
        let mut batch = S::Batch::empty(*kind);
        while let Some((length, more)) = rest.split_first_chunk() {
            let row = more.split_at_checked(u32::from_le_bytes(*length) as usize);
            let (row, more) = row.ok_or(metaferry_codecs::Error::Truncated("spooled row"))?;
            batch.unpack(row)?;
            (rest, read) = (more, read + 1);
            if batch.len() == BATCH_ROWS {
                out.emit(std::mem::replace(&mut batch, S::Batch::empty(*kind)))?;
            }
        }
        if read != *rows {
            return Err(Error::new(ErrorKind::Bug, format!("{read} of {rows} rows were read back")));
        }
        if batch.is_empty() { Ok(()) } else { out.emit(batch) }
    }
}
