//! What was loaded, until it is written: rows on their shelves, and what is few in memory.

use std::sync::{Arc, Mutex, PoisonError};

use metaferry_codecs::juicefs::dump::Head;
use metaferry_codecs::juicefs::{Batch, JuiceFs};
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{Error, ErrorKind, Loader, Result};

use super::shelves::{Filling, Rules, Shelves};

/// Shared by a sink and its loader; `None` before it is prepared and after it is taken.
#[derive(Clone, Default)]
pub(super) struct Held(Arc<Mutex<Option<Rows>>>);

/// What was loaded.
struct Rows {
    filling: Filling,
    head: Head,
    rules: Rules,
}

/// Everything, once it was loaded.
pub(super) struct Loaded {
    pub(super) shelves: Shelves,
    /// Without the setting.
    pub(super) head: Head,
    pub(super) rules: Arc<Rules>,
}

pub(super) fn bug(what: &str) -> Error {
    Error::new(ErrorKind::Bug, what)
}

impl Held {
    pub(super) fn prepare(&self, spill: &SpillDir, memory_bytes: usize) {
        let rows = Rows { filling: Filling::new(spill, memory_bytes), head: Head::default(), rules: Rules::new() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows);
    }

    pub(super) fn loader(&self) -> Box<dyn Loader<JuiceFs>> {
        Box::new(HeldLoader(self.clone()))
    }

    pub(super) fn take(&self) -> Result<Loaded> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Rows { filling, mut head, rules } = rows.ok_or_else(|| bug("a dump is committed before it is prepared"))?;
        head.sustained.values_mut().for_each(|inodes| inodes.sort_unstable());
        Ok(Loaded { shelves: filling.finish()?, head, rules: Arc::new(rules) })
    }
}

struct HeldLoader(Held);

impl Loader<JuiceFs> for HeldLoader {
    fn load(&mut self, batch: Batch) -> Result<()> {
        let mut held = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = held.as_mut().ok_or_else(|| bug("a dump is loaded after its commit"))?;
        if !rows.filling.put(&batch)? {
            rows.keep(batch);
        }
        Ok(())
    }

    fn amend(&mut self, _batch: Batch) -> Result<()> {
        Err(bug("a dump carries rows as they are and amends none"))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Rows {
    fn keep(&mut self, batch: Batch) {
        let Head { counters, sustained, quotas, .. } = &mut self.head;
        match batch {
            Batch::Counter(rows) => counters.extend(rows.into_iter().map(|row| (row.name, row.value))),
            Batch::Sustained(rows) => {
                rows.iter().for_each(|row| sustained.entry(row.sid).or_default().push(row.inode));
            }
            Batch::Quota(rows) => {
                for row in rows {
                    if let Some(quotas) = quotas.get_mut(usize::from(row.class)) {
                        quotas.insert(row.id, (row.max_space, row.max_inodes));
                    }
                }
            }
            Batch::Acl(rows) => self.rules.extend(rows.into_iter().map(|row| (row.id, row))),
            _ => {}
        }
    }
}
