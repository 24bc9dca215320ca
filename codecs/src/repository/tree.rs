//! Tree: pages over blobs, and pages over pages, until one is left. The same rows have the same tree, whatever tree was there
//! before; two trees share every page under which nothing differs.

use std::collections::BTreeMap;

use super::cut::ends_page;
use super::{Entry, Id, Page, Root};
use crate::system::Kind;

/// Makes the pages over the blobs of one kind. It holds the open page of each height.
#[derive(Debug)]
pub struct Tree<K> {
    kind: K,
    /// By height, from the blobs on.
    open: BTreeMap<u8, Vec<Keyed>>,
}

/// An entry, and the digest of its whole first key.
#[derive(Debug, Clone)]
struct Keyed {
    entry: Entry,
    digest: u64,
}

/// Puts a page away, and says which it is.
pub type Put<'a, E> = &'a mut dyn FnMut(Vec<u8>) -> Result<Id, E>;

impl<K: Kind> Tree<K> {
    /// A tree over nothing.
    #[must_use]
    pub fn new(kind: K) -> Self {
        Self { kind, open: BTreeMap::new() }
    }

    /// Adds the next blob; `digest` is that of its first key.
    ///
    /// # Errors
    /// Those of `put`.
    pub fn push<E>(&mut self, blob: Entry, digest: u64, put: Put<'_, E>) -> Result<(), E> {
        let (mut next, mut height) = (Some(Keyed { entry: blob, digest }), 0_u8);
        while let Some(entry) = next.take() {
            if ends_page(height.saturating_add(1), self.at(height).len(), entry.digest) {
                next = self.close(height, put)?;
            }
            self.at(height).push(entry);
            height = height.saturating_add(1);
        }
        Ok(())
    }

    /// The open page over what is at a height.
    fn at(&mut self, height: u8) -> &mut Vec<Keyed> {
        self.open.entry(height).or_default()
    }

    /// Puts the open page over a height away; what stands for it.
    fn close<E>(&mut self, height: u8, put: Put<'_, E>) -> Result<Option<Keyed>, E> {
        let open = std::mem::take(self.at(height));
        let Some(Keyed { entry, digest }) = open.first() else { return Ok(None) };
        let (first, digest) = (entry.first.clone(), *digest);
        let entries: Vec<Entry> = open.into_iter().map(|keyed| keyed.entry).collect();
        let rows = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.rows));
        let page = Page { kind: self.kind, height: height.saturating_add(1), entries };
        Ok(Some(Keyed { entry: Entry { first, rows, id: put(page.write())? }, digest }))
    }

    /// Ends it: closes every page, until one entry stands for all; none where there was no blob.
    ///
    /// # Errors
    /// Those of `put`.
    pub fn finish<E>(mut self, put: Put<'_, E>) -> Result<Option<Root<K>>, E> {
        let mut height = 0_u8;
        loop {
            let is_top = self.open.range(height.saturating_add(1)..).next().is_none();
            match self.at(height).as_slice() {
                [] if is_top => return Ok(None),
                [only] if is_top => {
                    let Entry { rows, id, .. } = only.entry;
                    return Ok(Some(Root { kind: self.kind, height, rows, id }));
                }
                _ => {
                    if let Some(page) = self.close(height, put)? {
                        self.at(height.saturating_add(1)).push(page);
                    }
                }
            }
            height = height.saturating_add(1);
        }
    }
}
