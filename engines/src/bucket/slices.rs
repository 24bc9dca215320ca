//! The largest slice that a volume's bucket has a block of. Blocks lie in folders by the number of their slice, so that few
//! of them need to be listed.

use metaferry_codecs::juicefs::storage::{number, slice_of};
use metaferry_pipeline::Result;

use super::Bucket;
use crate::objects::Store;

const CHUNKS: &str = "chunks";

impl Bucket {
    /// The largest slice, 0 where there is none (`chunk/cached_store.go: key`). Blocks are in
    /// `chunks/ID÷1000000/ID÷1000/`, or, where the volume spreads them by the last byte of the number, in
    /// `chunks/XX/ID÷1000000/`.
    ///
    /// # Errors
    /// Those of the store.
    pub fn largest_slice(&self) -> Result<u64> {
        let mut largest = 0;
        for store in self.stores() {
            let folders = store.folders(CHUNKS)?;
            largest = largest.max(largest_by_number(store, CHUNKS, &folders, 2)?);
            for prefix in folders.iter().filter(|name| is_hash(name)) {
                let folder = format!("{CHUNKS}/{prefix}");
                largest = largest.max(largest_by_number(store, &folder, &store.folders(&folder)?, 1)?);
            }
        }
        Ok(largest)
    }
}

/// Two digits as Go's `%02X` writes them; `10` is a number too.
fn is_hash(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'))
}

/// The largest slice in the folder of the largest number that has any block, `depth` folders down.
fn largest_by_number(store: &Store, parent: &str, folders: &[String], depth: u32) -> Result<u64> {
    let mut numbers: Vec<(u64, &String)> = folders.iter().filter_map(|name| Some((number(name)?, name))).collect();
    numbers.sort_by(|one, other| other.cmp(one));
    for (_, name) in numbers {
        let folder = format!("{parent}/{name}");
        let largest = if depth > 1 {
            largest_by_number(store, &folder, &store.folders(&folder)?, depth - 1)?
        } else {
            let objects = store.list(&folder)?;
            let slices = objects.iter().filter_map(|object| slice_of(object.name.rsplit('/').next()?));
            slices.max().unwrap_or_default()
        };
        if largest > 0 {
            return Ok(largest);
        }
    }
    Ok(0)
}
