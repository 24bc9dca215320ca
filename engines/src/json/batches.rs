//! Rows that were read and wait to be handed on, kind by kind.

use std::collections::BTreeMap;

use metaferry_codecs::juicefs::{
    Acl, Batch, Chunk, Counter, DelFile, DirStat, Edge, JuiceFs, Node, Parent, Quota, Setting, Symlink, Xattr,
};
use metaferry_codecs::system::Finding;
use metaferry_pipeline::{Emit, Result};

/// Bytes of rows at which they are handed on, whatever their number.
const FULL_BYTES: usize = 512 << 10;

/// Rows of every kind a dump has.
#[derive(Default)]
pub(super) struct Batches {
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    pub(super) chunks: Vec<Chunk>,
    pub(super) symlinks: Vec<Symlink>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) stats: Vec<DirStat>,
    pub(super) acls: Vec<Acl>,
    pub(super) parents: Vec<Parent>,
    pub(super) quotas: Vec<Quota>,
    pub(super) counters: Vec<Counter>,
    pub(super) del_files: Vec<DelFile>,
    pub(super) settings: Vec<Setting>,
    /// What is seen and not carried.
    left: BTreeMap<&'static str, u64>,
    /// What is wrong with the whole.
    found: Vec<Finding>,
    held_bytes: usize,
}

impl Batches {
    /// Counts bytes that rows hold.
    pub(super) fn hold(&mut self, bytes: usize) {
        self.held_bytes += bytes;
    }

    /// Counts what is seen and not carried.
    pub(super) fn leave(&mut self, what: &'static str, count: u64) {
        *self.left.entry(what).or_default() += count;
    }

    pub(super) fn find(&mut self, sort: &'static str, text: String) {
        self.hold(text.len());
        self.found.push(Finding { sort, text, mendable: false });
    }

    pub(super) fn is_full(&self) -> bool {
        self.held_bytes >= FULL_BYTES
    }

    /// Hands everything on.
    pub(super) fn flush(&mut self, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        self.held_bytes = 0;
        let mut hand = |batch: Batch, is_empty: bool| if is_empty { Ok(()) } else { out.emit(batch) };
        macro_rules! hand_on {
            ($($field:ident)*) => {
                $(let rows = std::mem::take(&mut self.$field);
                let is_empty = rows.is_empty();
                hand(rows.into(), is_empty)?;)*
            };
        }
        hand_on!(settings nodes edges chunks symlinks xattrs stats acls parents quotas counters del_files);
        std::mem::take(&mut self.left).into_iter().for_each(|(what, count)| out.left_behind(what, count));
        self.found.drain(..).for_each(|finding| out.found(finding));
        Ok(())
    }
}
