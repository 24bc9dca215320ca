//! The loader of a zip: resources become entries, one after another, in the order of their keys.

use std::sync::{Arc, Mutex};

use metaferry_codecs::kylin::{Batch, Kylin};
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
    last: Vec<u8>,
}

impl ZipLoader {
    pub(super) fn new(shared: Arc<Shared>, zip: Arc<Mutex<ZipOutput>>) -> Self {
        Self { shared, zip, booked: Booked::default(), last: Vec::new() }
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
            if row.key <= self.last {
                // Of two entries of one name, Kylin takes the last.
                return Err(Error::corrupt(format!("the key {} comes twice, or late", shown(&row.key))));
            }
            zip.append(&entry_name(&row.key), &row)?;
            self.booked.book(&row);
            self.last = row.key;
        }
        Ok(())
    }

    fn amend(&mut self, _batch: Batch) -> Result<()> {
        Err(Error::new(ErrorKind::Bug, "a backup carries rows as they are and amends none"))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.shared.finish(self.booked);
        Ok(())
    }
}
