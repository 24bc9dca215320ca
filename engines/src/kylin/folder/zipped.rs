//! The loader of a zip: resources become entries, one after another, in the order of their keys or as they come.

use std::sync::{Arc, Mutex};

use metaferry_codecs::kylin::{Batch, Kylin};
use metaferry_codecs::tally::spread;
use metaferry_pipeline::{Error, ErrorKind, Loader, Result};

use super::booked::{Booked, Shared};
use super::sink::entry_name;
use super::tree::shown;
use super::zip::ZipOutput;
use crate::feed::held;

/// A worker's hand on a zip; it has but one.
pub(super) struct ZipLoader {
    shared: Arc<Shared>,
    zip: Arc<Mutex<ZipOutput>>,
    booked: Booked,
    keys: Keys,
}

/// Sees to it that no key comes twice: of two entries of one name, Kylin takes the last.
enum Keys {
    /// The last of those that ascend.
    Ascending(Vec<u8>),
    /// Of those that come as they like, 64 bits each.
    Scattered(Vec<u64>),
}

impl Keys {
    fn see(&mut self, key: &[u8]) -> Result<()> {
        match self {
            Self::Ascending(last) if *key <= **last => {
                return Err(Error::corrupt(format!("the key {} comes twice, or late", shown(key))));
            }
            Self::Ascending(last) => key.clone_into(last),
            Self::Scattered(seen) => seen.push(spread(key)),
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        let Self::Scattered(mut seen) = self else { return Ok(()) };
        seen.sort_unstable();
        match seen.array_windows().any(|[one, other]| one == other) {
            true => Err(Error::corrupt("a key comes twice")),
            false => Ok(()),
        }
    }
}

impl ZipLoader {
    pub(super) fn new(shared: Arc<Shared>, zip: Arc<Mutex<ZipOutput>>, is_ordered: bool) -> Self {
        let keys = if is_ordered { Keys::Ascending(Vec::new()) } else { Keys::Scattered(Vec::new()) };
        Self { shared, zip, booked: Booked::default(), keys }
    }
}

impl Loader<Kylin> for ZipLoader {
    fn load(&mut self, batch: Batch) -> Result<()> {
        let Batch::Resource(rows) = batch else {
            return Err(Error::new(ErrorKind::Bug, "a backup is given more than resources"));
        };
        let mut zip = held(&self.zip);
        for row in rows {
            self.shared.stop.check()?;
            // A zip is read from anywhere: the path is made only to see that the key could be a file's.
            self.shared.path(&row.key, row.content.len())?;
            self.keys.see(&row.key)?;
            zip.append(&entry_name(&row.key), &row)?;
            self.booked.book(&row);
        }
        Ok(())
    }

    fn amend(&mut self, _batch: Batch) -> Result<()> {
        Err(Error::new(ErrorKind::Bug, "a backup carries rows as they are and amends none"))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.keys.finish()?;
        self.shared.finish(self.booked);
        Ok(())
    }
}
