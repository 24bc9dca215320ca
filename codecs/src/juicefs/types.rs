//! The types of fields that are JuiceFS's own: the type of a file, slices, ACL entries, the setting document.

use super::setting;
use crate::field::{Field, put_bytes, put_uint, take_bytes, take_uint};
use crate::json::{Reader, write_u64};
use crate::{Error, Result};

/// The type of an inode, by JuiceFS's number for it (`pkg/meta/interface.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileType(u8);

const TYPES: [&str; 8] = ["", "regular", "directory", "symlink", "fifo", "blockdev", "chardev", "socket"];

impl FileType {
    /// A regular file.
    pub const REGULAR: Self = Self(1);
    /// A directory.
    pub const DIRECTORY: Self = Self(2);
    /// A symbolic link.
    pub const SYMLINK: Self = Self(3);

    /// The type of this number.
    ///
    /// # Errors
    /// A number outside 1 to 7.
    pub fn new(number: u64) -> Result<Self> {
        match u8::try_from(number) {
            Ok(number @ 1..=7) => Ok(Self(number)),
            _ => Err(Error::malformed("file type", format!("{number} is none of 1 to 7"))),
        }
    }

    /// JuiceFS's number for it.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

impl Field for FileType {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
    fn put(&self, number: u8, out: &mut Vec<u8>) {
        put_uint(number, u64::from(self.0), out);
    }
    fn take(short: u8, input: &mut &[u8]) -> Result<Self> {
        Self::new(take_uint(short, input)?)
    }
    fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(TYPES.get(usize::from(self.0)).unwrap_or(&"").as_bytes());
        out.push(b'"');
    }
    fn read_json(reader: &mut Reader<'_>) -> Result<Self> {
        let name = reader.string()?;
        let number = TYPES.iter().position(|known| !known.is_empty() && known.as_bytes() == name);
        Self::new(number.ok_or_else(|| Error::malformed("file type", String::from_utf8_lossy(&name)))? as u64)
    }
}

/// One slice record of a chunk (`pkg/meta/slice.go`): `len` bytes at `pos` of the chunk show `off`.. of slice `id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slice {
    /// Where it starts in the chunk, in bytes.
    pub pos: u32,
    /// The slice; 0 is a hole.
    pub id: u64,
    /// The size of the whole slice, in bytes.
    pub size: u32,
    /// Where the visible part starts in the slice, in bytes.
    pub off: u32,
    /// The length of the visible part, in bytes.
    pub len: u32,
}

/// The size of one slice record, in bytes.
pub const SLICE_BYTES: usize = 24;

impl Slice {
    /// Appends the 24 bytes JuiceFS stores.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.pos.to_be_bytes());
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.off.to_be_bytes());
        out.extend_from_slice(&self.len.to_be_bytes());
    }

    /// Reads the 24 bytes JuiceFS stores.
    #[must_use]
    #[inline]
    pub fn decode(bytes: &[u8; SLICE_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x] = *bytes;
        Self {
            pos: u32::from_be_bytes([a, b, c, d]),
            id: u64::from_be_bytes([e, f, g, h, i, j, k, l]),
            size: u32::from_be_bytes([m, n, o, p]),
            off: u32::from_be_bytes([q, r, s, t]),
            len: u32::from_be_bytes([u, v, w, x]),
        }
    }
}

/// The slice records of a chunk, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slices(pub Vec<Slice>);

impl Slices {
    /// Reads concatenated records.
    ///
    /// # Errors
    /// A length that is no multiple of 24.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (records, rest) = bytes.as_chunks::<SLICE_BYTES>();
        if rest.is_empty() {
            Ok(Self(records.iter().map(Slice::decode).collect()))
        } else {
            Err(Error::malformed("slices", format!("{} bytes are no multiple of {SLICE_BYTES}", bytes.len())))
        }
    }

    /// Appends concatenated records.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.0.iter().for_each(|slice| slice.encode(out));
    }
}

impl Field for Slices {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
    fn put(&self, number: u8, out: &mut Vec<u8>) {
        put_bytes(number, &[], out);
        let start = out.len();
        self.encode(out);
        let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(place) = out.get_mut(start - 4..start) {
            place.copy_from_slice(&length);
        }
    }
    fn take(_short: u8, input: &mut &[u8]) -> Result<Self> {
        Self::decode(take_bytes(input)?)
    }
    fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (index, slice) in self.0.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{" } else { b",{" });
            if slice.pos != 0 {
                out.extend_from_slice(b"\"pos\":");
                write_u64(u64::from(slice.pos), out);
                out.push(b',');
            }
            out.extend_from_slice(b"\"id\":");
            write_u64(slice.id, out);
            out.extend_from_slice(b",\"size\":");
            write_u64(u64::from(slice.size), out);
            if slice.off != 0 {
                out.extend_from_slice(b",\"off\":");
                write_u64(u64::from(slice.off), out);
            }
            out.extend_from_slice(b",\"len\":");
            write_u64(u64::from(slice.len), out);
            out.push(b'}');
        }
        out.push(b']');
    }
    fn read_json(reader: &mut Reader<'_>) -> Result<Self> {
        let mut slices = Vec::new();
        list(reader, |reader| {
            slices.push(read_slice(reader)?);
            Ok(())
        })?;
        Ok(Self(slices))
    }
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn weight(&self) -> usize {
        self.0.capacity() * size_of::<Slice>()
    }
}

fn read_slice(reader: &mut Reader<'_>) -> Result<Slice> {
    let mut slice = Slice::default();
    let narrow = |value: u64| u32::try_from(value).map_err(|_| Error::malformed("slice", "number out of range"));
    reader.expect(b'{')?;
    loop {
        if reader.literal(b"\"id\":") {
            slice.id = reader.u64()?;
        } else if reader.literal(b"\"size\":") {
            slice.size = narrow(reader.u64()?)?;
        } else if reader.literal(b"\"len\":") {
            slice.len = narrow(reader.u64()?)?;
        } else if reader.literal(b"\"pos\":") {
            slice.pos = narrow(reader.u64()?)?;
        } else if reader.literal(b"\"off\":") {
            slice.off = narrow(reader.u64()?)?;
        } else {
            let name = reader.string()?;
            return Err(Error::malformed("slice", format!("unexpected field {:?}", String::from_utf8_lossy(&name))));
        }
        if reader.literal(b"}") {
            return Ok(slice);
        }
        reader.expect(b',')?;
    }
}

/// Reads a JSON list, calling `item` at the beginning of each item.
pub(super) fn list<'a>(reader: &mut Reader<'a>, mut item: impl FnMut(&mut Reader<'a>) -> Result<()>) -> Result<()> {
    reader.expect(b'[')?;
    if reader.token(b']') {
        return Ok(());
    }
    loop {
        item(reader)?;
        if reader.token(b']') {
            return Ok(());
        }
        reader.expect(b',')?;
    }
}

macro_rules! pairs {
    ($(#[$doc:meta])* $name:ident($first:ty as $first_name:literal, $second:ty as $second_name:literal), $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $name(pub Vec<($first, $second)>);

        impl $name {
            /// Reads concatenated big-endian entries.
            ///
            /// # Errors
            /// A length that is no multiple of the entry's.
            pub fn decode(bytes: &[u8]) -> Result<Self> {
                const FIRST: usize = size_of::<$first>();
                let (entries, rest) = bytes.as_chunks::<$bytes>();
                if !rest.is_empty() {
                    return Err(Error::malformed($what, format!("{} bytes are no multiple of {}", bytes.len(), $bytes)));
                }
                let entry = |entry: &[u8; $bytes]| {
                    let (first, second) = entry.split_first_chunk::<FIRST>()?;
                    Some((<$first>::from_be_bytes(*first), <$second>::from_be_bytes(*second.first_chunk()?)))
                };
                Ok(Self(entries.iter().filter_map(entry).collect()))
            }

            /// Appends concatenated big-endian entries.
            pub fn encode(&self, out: &mut Vec<u8>) {
                for (first, second) in &self.0 {
                    out.extend_from_slice(&first.to_be_bytes());
                    out.extend_from_slice(&second.to_be_bytes());
                }
            }
        }

        impl Field for $name {
            fn is_zero(&self) -> bool {
                self.0.is_empty()
            }
            fn put(&self, number: u8, out: &mut Vec<u8>) {
                let mut bytes = Vec::with_capacity(self.0.len() * $bytes);
                self.encode(&mut bytes);
                put_bytes(number, &bytes, out);
            }
            fn take(_short: u8, input: &mut &[u8]) -> Result<Self> {
                Self::decode(take_bytes(input)?)
            }
            fn write_json(&self, out: &mut Vec<u8>) {
                out.push(b'[');
                for (index, (first, second)) in self.0.iter().enumerate() {
                    out.extend_from_slice(if index == 0 { b"{\"" } else { b",{\"" });
                    out.extend_from_slice(concat!($first_name, "\":").as_bytes());
                    write_u64(u64::from(*first), out);
                    out.extend_from_slice(concat!(",\"", $second_name, "\":").as_bytes());
                    write_u64(u64::from(*second), out);
                    out.push(b'}');
                }
                out.push(b']');
            }
            fn read_json(reader: &mut Reader<'_>) -> Result<Self> {
                let mut entries = Vec::new();
                let wrong = || Error::malformed($what, "an entry that is not as it should be");
                list(reader, |reader| {
                    reader.expect(b'{')?;
                    if !reader.literal(concat!("\"", $first_name, "\":").as_bytes()) {
                        return Err(wrong());
                    }
                    let first = <$first>::read_json(reader)?;
                    if !reader.literal(concat!(",\"", $second_name, "\":").as_bytes()) {
                        return Err(wrong());
                    }
                    entries.push((first, <$second>::read_json(reader)?));
                    reader.expect(b'}')
                })?;
                Ok(Self(entries))
            }
            fn size(&self) -> u64 {
                self.0.len() as u64
            }
            fn weight(&self) -> usize {
                self.0.capacity() * size_of::<($first, $second)>()
            }
        }
    };
}

pairs! {
    /// The named users or groups of an ACL rule: id and permission bits (`pkg/acl/acl.go`).
    AclEntries(u32 as "id", u16 as "perm"), 6, "ACL entries"
}
pairs! {
    /// Slices kept after a compaction while the trash is on: id and size in bytes (`base.go: encodeDelayedSlice`).
    DelayedSlices(u64 as "id", u32 as "size"), 12, "delayed slices"
}

/// A limit of a quota, as stored: 0 and everything below is no limit, whatever the spelling (`pkg/meta/quota.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit(pub i64);

impl Field for Limit {
    /// No limit is a value, and one that is compared.
    fn is_zero(&self) -> bool {
        false
    }
    fn put(&self, number: u8, out: &mut Vec<u8>) {
        self.0.put(number, out);
    }
    fn put_compared(&self, number: u8, out: &mut Vec<u8>) {
        (if self.0 <= 0 { -1 } else { self.0 }).put(number, out);
    }
    fn take(short: u8, input: &mut &[u8]) -> Result<Self> {
        i64::take(short, input).map(Self)
    }
    fn write_json(&self, out: &mut Vec<u8>) {
        self.0.write_json(out);
    }
    fn read_json(reader: &mut Reader<'_>) -> Result<Self> {
        i64::read_json(reader).map(Self)
    }
}

/// The setting: a JSON document, its bytes as stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document(pub Vec<u8>);

impl Field for Document {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
    fn put(&self, number: u8, out: &mut Vec<u8>) {
        put_bytes(number, &self.0, out);
    }
    fn put_compared(&self, number: u8, out: &mut Vec<u8>) {
        put_bytes(number, &setting::canonical(&self.0), out);
    }
    fn take(_short: u8, input: &mut &[u8]) -> Result<Self> {
        Ok(Self(take_bytes(input)?.to_vec()))
    }
    fn write_json(&self, out: &mut Vec<u8>) {
        setting::write_compact(&self.0, out);
    }
    fn read_json(reader: &mut Reader<'_>) -> Result<Self> {
        setting::stored_form(reader.skip()?).map(Self)
    }
    fn weight(&self) -> usize {
        self.0.capacity()
    }
}
