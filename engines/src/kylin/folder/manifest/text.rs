//! The text of a manifest: JSON, a line for each folder, of a version that is told.

use std::collections::BTreeMap;

use metaferry_codecs::json::{Reader, read_hex, write_bytes, write_hex, write_u64};
use metaferry_codecs::kylin::Layout;
use metaferry_codecs::tally::DIGEST_VERSION;
use metaferry_codecs::{Error, Result};
use metaferry_pipeline::Guarantee;

use super::Manifest;
use crate::kylin::folder::sink::Form;
use crate::kylin::folder::sums::Sum;
use crate::kylin::folder::tree::shown;

/// The version of the manifest.
const VERSION: u64 = 1;

const WHAT: &str = "manifest";

impl Manifest {
    pub(in crate::kylin::folder) fn write(&self) -> Vec<u8> {
        let mut out = format!(
            "{{\n\"metaferry\": {{\"manifest\": {VERSION}, \"system\": \"kylin\", \"digest\": {DIGEST_VERSION}}},\n"
        )
        .into_bytes();
        for (name, value) in [
            ("writer", self.writer.as_bytes()),
            ("created", self.created.as_bytes()),
            ("origin", self.origin.as_bytes()),
            ("guarantee", self.guarantee.to_string().as_bytes()),
            ("layout", self.layout.name().as_bytes()),
            ("form", self.form.name().as_bytes()),
            ("project", &self.project),
        ] {
            out.extend_from_slice(format!("\"{name}\": ").as_bytes());
            write_bytes(value, &mut out);
            out.extend_from_slice(b",\n");
        }
        let total = self.total();
        let counts = [("offset", self.offset), ("resources", Some(total.resources)), ("bytes", Some(total.bytes))];
        for (name, value) in counts.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            out.extend_from_slice(format!("\"{name}\": {value},\n").as_bytes());
        }
        out.extend_from_slice(format!("\"tally\": \"{:032x}\",\n\"folders\": [", self.tally).as_bytes());
        for (index, (name, sum)) in self.folders.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"\n{\"name\": " } else { b",\n{\"name\": " });
            write_bytes(name, &mut out);
            out.extend_from_slice(b", \"resources\": ");
            write_u64(sum.resources, &mut out);
            out.extend_from_slice(b", \"bytes\": ");
            write_u64(sum.bytes, &mut out);
            out.extend_from_slice(b", \"sha256\": \"");
            write_hex(&sum.digest(), &mut out);
            out.extend_from_slice(b"\"}");
        }
        out.extend_from_slice(b"\n]\n}\n");
        out
    }

    pub(in crate::kylin::folder) fn read(text: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(text);
        let mut found = Self::default();
        let (mut version, mut total) = (None, (None, None));
        object(&mut reader, &mut |name, reader| {
            match name {
                b"metaferry" => version = Some(head(reader)?),
                b"writer" => found.writer = string(reader)?,
                b"created" => found.created = string(reader)?,
                b"origin" => found.origin = string(reader)?,
                b"guarantee" => found.guarantee = guarantee(&reader.string()?)?,
                b"layout" => found.layout = Layout::named(&reader.string()?)?,
                b"form" => found.form = Form::named(&reader.string()?)?,
                b"project" => found.project = reader.bytes()?,
                b"offset" => found.offset = Some(reader.u64()?),
                b"resources" => total.0 = Some(reader.u64()?),
                b"bytes" => total.1 = Some(reader.u64()?),
                b"tally" => found.tally = u128::from_be_bytes(digest(reader)?),
                b"folders" => found.folders = folders(reader)?,
                _ => drop(reader.skip()?),
            }
            Ok(())
        })?;
        if version.is_none() || !reader.at_end() {
            return Err(Error::malformed(WHAT, "it is none of a backup of Kylin's metadata"));
        }
        let sum = found.total();
        if total != (Some(sum.resources), Some(sum.bytes)) {
            return Err(Error::malformed(WHAT, "what its folders hold is not what it says of all of them"));
        }
        Ok(found)
    }
}

type Field<'a> = &'a mut dyn FnMut(&[u8], &mut Reader<'_>) -> Result<()>;

fn object(reader: &mut Reader<'_>, field: Field<'_>) -> Result<()> {
    reader.expect(b'{')?;
    if reader.token(b'}') {
        return Ok(());
    }
    loop {
        let name = reader.string()?;
        reader.expect(b':')?;
        field(&name, reader)?;
        if reader.token(b'}') {
            return Ok(());
        }
        reader.expect(b',')?;
    }
}

fn string(reader: &mut Reader<'_>) -> Result<String> {
    Ok(String::from_utf8_lossy(&reader.bytes()?).into_owned())
}

/// Which manifest it is.
fn head(reader: &mut Reader<'_>) -> Result<()> {
    let (mut version, mut system, mut digest) = (0, Vec::new(), 0);
    object(reader, &mut |name, reader| {
        match name {
            b"manifest" => version = reader.u64()?,
            b"system" => system = reader.string()?,
            b"digest" => digest = reader.u64()?,
            _ => drop(reader.skip()?),
        }
        Ok(())
    })?;
    let unsupported = |found: String| Err(Error::Unsupported { what: WHAT, found });
    match (version, system.as_slice()) {
        (VERSION, b"kylin") if digest <= u64::from(DIGEST_VERSION) => Ok(()),
        (VERSION, b"kylin") => unsupported(format!("digest {digest}, while {DIGEST_VERSION} is understood")),
        (_, b"kylin") => unsupported(format!("version {version}, while {VERSION} is understood")),
        (_, other) => unsupported(format!("of the system {}", shown(other))),
    }
}

fn guarantee(name: &[u8]) -> Result<Guarantee> {
    match name {
        b"exact" => Ok(Guarantee::Exact),
        b"fuzzy" => Ok(Guarantee::Fuzzy),
        _ => Err(Error::malformed(WHAT, "an unknown guarantee")),
    }
}

fn digest<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N]> {
    let digits = read_hex(&reader.string()?).and_then(|bytes| bytes.try_into().ok());
    digits.ok_or_else(|| Error::malformed(WHAT, "a digest of another length"))
}

fn folders(reader: &mut Reader<'_>) -> Result<BTreeMap<Vec<u8>, Sum>> {
    let mut folders = BTreeMap::new();
    reader.expect(b'[')?;
    if reader.token(b']') {
        return Ok(folders);
    }
    loop {
        let (mut name, mut counts, mut sum) = (None, [0; 2], [0; 32]);
        object(reader, &mut |field, reader| {
            match field {
                b"name" => name = Some(reader.bytes()?),
                b"resources" => counts[0] = reader.u64()?,
                b"bytes" => counts[1] = reader.u64()?,
                b"sha256" => sum = digest(reader)?,
                _ => drop(reader.skip()?),
            }
            Ok(())
        })?;
        let name = name.ok_or_else(|| Error::malformed(WHAT, "a folder without a name"))?;
        if folders.insert(name, Sum::of(counts[0], counts[1], sum)).is_some() {
            return Err(Error::malformed(WHAT, "a folder comes twice"));
        }
        if reader.token(b']') {
            return Ok(folders);
        }
        reader.expect(b',')?;
    }
}
