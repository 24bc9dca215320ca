//! `metadata.zip`, read by its directory and written as a stream. A reader of Kylin's goes over it from the front and never
//! looks at the directory, so a zip is read only where both ways lead to the same.
//!
//! It is read and written here, and by no library: what has to be refused (entries that overlap or hide between others, that
//! say one thing in front and another in the directory) is what general readers are lenient about or pass over.

mod directory;
mod files;
mod input;
mod output;
mod records;
mod time;

pub(super) use files::{ZipFiles, layout};
pub(super) use input::Zip;
pub(super) use output::ZipOutput;
