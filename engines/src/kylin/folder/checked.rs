//! A backup held against its own manifest: whether it is whole, and still what it was when it was made.

use std::path::Path;

use metaferry_codecs::kylin::{Kind, Layout};
use metaferry_pipeline::{Error, ErrorKind, Result, Scope, Stop, verify};

use super::manifest::{Manifest, manifest};
use super::source::{BackupSource, Reading};

/// What a backup is, by its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// It is what it was when it was made.
    Whole(Box<Manifest>),
    /// It is not; a line for each thing that is otherwise.
    Changed(Box<Manifest>, Vec<String>),
    /// Nobody has written down what it was, as with every backup of Kylin's own. It could be read.
    NoManifest,
}

/// Reads a backup whole with `threads` workers, and holds it against its manifest.
///
/// # Errors
/// What is no backup, and what cannot be read.
pub fn check(path: &Path, threads: usize, stop: &Stop) -> Result<Checked> {
    let written = manifest(path)?;
    let source = BackupSource::open(path, Reading { unchecked: true, ..Reading::default() })?;
    let (snapshot, form) = source.summed(stop)?;
    let tally = verify::tally(&snapshot, &Scope::default(), threads, stop)?;
    metaferry_pipeline::Snapshot::finish(&snapshot)?;
    let sums = snapshot.sums().ok_or_else(|| Error::new(ErrorKind::Bug, "a backup was not read whole"))?;
    let Some(written) = written.map(Box::new) else { return Ok(Checked::NoManifest) };
    let mut differences = Vec::new();
    let setting = snapshot.contents.setting();
    if (setting.layout, form) != (written.layout, written.form) {
        let of = |layout: Layout, form: &str| format!("{} in the {} layout", form, layout.name());
        let (now, then) = (of(setting.layout, form.name()), of(written.layout, written.form.name()));
        differences.push(format!("it is a {now}, and was a {then}"));
    }
    let said = |offset: Option<u64>| offset.map_or_else(|| "nothing".to_owned(), |offset| offset.to_string());
    if setting.offset != written.offset {
        differences.push(format!("_image says {}, and said {}", said(setting.offset), said(written.offset)));
    }
    differences.extend(written.differences(&sums));
    if differences.is_empty() && tally.of(Kind::Resource).digest != written.tally {
        differences.push("its tally is not the one that its manifest says".to_owned());
    }
    Ok(if differences.is_empty() { Checked::Whole(written) } else { Checked::Changed(written, differences) })
}

/// A backup that is not what its manifest says.
pub(super) fn changed(name: &str, difference: &str) -> Error {
    Error::corrupt(format!("{name}: it is not what its manifest says: {difference}"))
        .hint("it was changed since it was made, or is no longer whole; move the manifest away to read it all the same")
}
