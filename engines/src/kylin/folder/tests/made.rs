//! Zips that are made by hand, and that no tool would make.

use std::fs;
use std::path::PathBuf;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use super::kit::{Folder, flat};

/// One entry of a zip that is made by hand; whatever it says of itself can be a lie.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) name: Vec<u8>,
    pub(super) content: Vec<u8>,
    pub(super) method: u16,
    pub(super) flags: u16,
    /// What it says: the CRC, the packed length and the length.
    pub(super) says: Option<(u32, u32, u32)>,
    /// Its name in front, where that is another.
    pub(super) local_name: Option<Vec<u8>>,
    /// Data in place of the packed content.
    pub(super) data: Option<Vec<u8>>,
    /// Bytes before it that belong to no entry.
    pub(super) gap: Vec<u8>,
    /// It stands in no directory.
    pub(super) is_hidden: bool,
    pub(super) extra: Vec<u8>,
}

pub(super) fn made(name: &str, content: &[u8]) -> Made {
    Made {
        name: name.as_bytes().to_vec(),
        content: content.to_vec(),
        method: 8,
        flags: 0,
        says: None,
        local_name: None,
        data: None,
        gap: Vec::new(),
        is_hidden: false,
        extra: Vec::new(),
    }
}

pub(super) fn deflated(content: &[u8]) -> Vec<u8> {
    packed(content, Compression::fast())
}

pub(super) fn packed(content: &[u8], level: Compression) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = DeflateEncoder::new(Vec::new(), level);
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// The bytes of a zip of those entries.
pub(super) fn zip(entries: &[Made]) -> Vec<u8> {
    let (mut out, mut central, mut count) = (Vec::new(), Vec::new(), 0_u16);
    for entry in entries {
        out.extend(&entry.gap);
        let data = entry.data.clone().unwrap_or_else(|| match entry.method {
            8 => deflated(&entry.content),
            _ => entry.content.clone(),
        });
        let mut crc = Crc::new();
        crc.update(&entry.content);
        let (crc, packed, length) = entry.says.unwrap_or((crc.sum(), data.len() as u32, entry.content.len() as u32));
        let is_streamed = entry.flags & 8 != 0;
        let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
        let mut lengths = Vec::new();
        [crc, packed, length].iter().for_each(|value| lengths.extend(value.to_le_bytes()));
        let mut common = Vec::new();
        common.extend(20_u16.to_le_bytes());
        common.extend(entry.flags.to_le_bytes());
        common.extend(entry.method.to_le_bytes());
        common.extend([0, 0, 0x21, 0x56]);
        let offset = out.len() as u32;
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(if is_streamed { &[0; 12][..] } else { &lengths });
        out.extend((local_name.len() as u16).to_le_bytes());
        out.extend((entry.extra.len() as u16).to_le_bytes());
        out.extend(local_name);
        out.extend(&entry.extra);
        out.extend(&data);
        if is_streamed {
            out.extend(b"PK\x07\x08");
            out.extend(&lengths);
        }
        if entry.is_hidden {
            continue;
        }
        count += 1;
        central.extend(b"PK\x01\x02\x14\x00");
        central.extend(&common);
        central.extend(&lengths);
        central.extend((entry.name.len() as u16).to_le_bytes());
        central.extend((entry.extra.len() as u16).to_le_bytes());
        central.extend([0; 10]);
        central.extend(offset.to_le_bytes());
        central.extend(&entry.name);
        central.extend(&entry.extra);
    }
    let at = out.len() as u32;
    out.extend(&central);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend((central.len() as u32).to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0; 2]);
    out
}

/// The entries of a flat backup, in the order of keys.
pub(super) fn entries() -> Vec<Made> {
    let mut files = flat();
    files.sort();
    files.iter().map(|(path, content)| made(&format!("/{path}"), content)).collect()
}

impl Folder {
    /// A backup in a zip.
    pub(super) fn zip(&self, bytes: &[u8]) -> PathBuf {
        let path = self.path("metadata.zip");
        fs::write(&path, bytes).unwrap();
        path
    }
}
