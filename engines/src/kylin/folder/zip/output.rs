//! Writing a zip as Kylin does: entries one after another, each streamed, its length behind it; the directory last. What the
//! directory will say waits in a file, so that memory does not grow with the number of entries.

use std::fs::File;
use std::io::{BufWriter, Write};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use jiff::tz::TimeZone;
use metaferry_codecs::kylin::Resource;
use metaferry_pipeline::{Error, Result};

use super::directory::Directory;
use super::input::Zip;
use super::records::Entry;
use super::time;
use crate::kylin::folder::tree::shown;

/// Bytes written at once.
const WRITE_BYTES: usize = 1 << 20;
/// Room for packed content made at a time, at least, in bytes.
const STEP: usize = 64 << 10;

/// A zip that grows.
pub(in crate::kylin::folder) struct ZipOutput {
    /// As messages call it.
    name: String,
    out: BufWriter<File>,
    index: BufWriter<File>,
    deflate: Compress,
    zone: TimeZone,
    packed: Vec<u8>,
    /// Bytes of entries, bytes of their directory, and how many there are.
    written: u64,
    indexed: u64,
    entries: u64,
}

impl ZipOutput {
    /// A zip in an empty file, with another one for its directory.
    pub(in crate::kylin::folder) fn new(name: String, out: File, index: File) -> Self {
        Self {
            name,
            out: BufWriter::with_capacity(WRITE_BYTES, out),
            index: BufWriter::with_capacity(WRITE_BYTES, index),
            deflate: Compress::new(Compression::fast(), false),
            zone: TimeZone::system(),
            packed: Vec::new(),
            written: 0,
            indexed: 0,
            entries: 0,
        }
    }

    /// Appends an entry under `name`.
    pub(in crate::kylin::folder) fn append(&mut self, name: &[u8], row: &Resource) -> Result<()> {
        if std::str::from_utf8(name).is_err() {
            let what = format!("the key {}: it is not UTF-8, and names in a zip of Kylin are", shown(&row.key));
            return Err(Error::unsupported(what).hint("a folder holds it"));
        }
        self.packed.clear();
        pack(&mut self.deflate, &row.content, &mut self.packed)
            .ok_or_else(|| Error::unsupported(format!("the key {}: its content cannot be packed", shown(&row.key))))?;
        let mut crc = Crc::new();
        crc.update(&row.content);
        let (packed, length) = (self.packed.len() as u64, row.content.len() as u64);
        let mut entry =
            Entry { name: name.to_vec(), crc: crc.sum(), packed, length, offset: self.written, ..Entry::default() };
        time::put(&mut entry, row.ts, &self.zone);
        let (mut front, mut behind, mut central) = (Vec::new(), Vec::new(), Vec::new());
        entry.put_local(&mut front);
        entry.put_descriptor(&mut behind);
        entry.put_central(&mut central);
        let parts = [front.as_slice(), &self.packed, &behind];
        let written = parts.iter().try_for_each(|part| self.out.write_all(part));
        written.and_then(|()| self.index.write_all(&central)).map_err(|cause| failed(&self.name, cause))?;
        self.written += parts.iter().map(|part| part.len() as u64).sum::<u64>();
        self.indexed += central.len() as u64;
        self.entries += 1;
        Ok(())
    }

    /// What was written so far, to be read.
    pub(in crate::kylin::folder) fn reopen(&mut self) -> Result<Zip> {
        let again = |out: &mut BufWriter<File>| out.flush().and_then(|()| out.get_ref().try_clone());
        let (out, index) = (again(&mut self.out), again(&mut self.index));
        let failed = |cause| failed(&self.name, cause);
        let parts = [self.written, self.indexed, self.entries];
        Ok(Zip::unfinished(self.name.clone(), out.map_err(failed)?, index.map_err(failed)?, parts))
    }

    /// Appends the directory and the end.
    pub(in crate::kylin::folder) fn finish(mut self) -> Result<()> {
        let mut end = Vec::new();
        Directory { offset: self.written, length: self.indexed, entries: self.entries }.put_end(&mut end);
        let mut write = || {
            self.index.flush()?;
            let mut index = self.index.get_ref();
            std::io::Seek::rewind(&mut index)?;
            let copied = std::io::copy(&mut index, &mut self.out)?;
            if copied != self.indexed {
                return Err(std::io::Error::other("its directory was cut off"));
            }
            self.out.write_all(&end)?;
            self.out.flush()?;
            self.out.get_ref().sync_all()
        };
        write().map_err(|cause| failed(&self.name, cause))
    }
}

fn failed(name: &str, cause: std::io::Error) -> Error {
    let hint = match cause.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => "make room, or choose another place",
        _ => "look at the disk",
    };
    Error::engine(format!("{name}: write"), cause).hint(hint)
}

/// Packs content as a stream of its own.
fn pack(deflate: &mut Compress, content: &[u8], packed: &mut Vec<u8>) -> Option<()> {
    deflate.reset();
    let mut rest = content;
    loop {
        packed.reserve((rest.len() / 2).clamp(64, STEP.max(rest.len() / 8)));
        let before = deflate.total_in();
        let status = deflate.compress_vec(rest, packed, FlushCompress::Finish).ok()?;
        rest = rest.get(usize::try_from(deflate.total_in() - before).ok()?..)?;
        if status == Status::StreamEnd {
            return Some(());
        }
    }
}
