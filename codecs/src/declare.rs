//! The `kinds!` macro: from one declaration of a system's kinds come the rows, the batch, the canonical form and JSON.

use crate::field::Field;
use crate::json::Reader;
use crate::{Error, Result};

/// What a row of any kind can do; implemented by `kinds!`.
pub(crate) trait Row: Sized + Default {
    /// Appends every field that is a key or not zero, by number.
    fn pack(&self, out: &mut Vec<u8>);
    /// Reads what [`Row::pack`] wrote.
    ///
    /// # Errors
    /// Bytes that it did not write.
    fn unpack(input: &[u8]) -> Result<Self>;
    /// Appends the fields whose digest is the row's: all but derived ones and secrets.
    fn put_primary(&self, out: &mut Vec<u8>);
    /// Appends the key and the derived fields; says whether the kind has any.
    fn put_derived(&self, out: &mut Vec<u8>) -> bool;
    /// Appends the key in the form that sorts bytewise.
    fn put_key(&self, out: &mut Vec<u8>);
    /// The inode or slice id whose bucket the row falls in, or what spreads rows over all buckets alike.
    fn bucket_id(&self) -> u64;
    /// Whether the row changes by itself and is never compared.
    fn is_volatile(&self) -> bool;
    /// What the row holds in memory, in bytes.
    fn weight(&self) -> usize;
    /// Appends a JSON object.
    fn write_json(&self, out: &mut Vec<u8>);
    /// Reads a JSON object: keys in the order of the declaration fast, in any order otherwise.
    ///
    /// # Errors
    /// What is not such an object; unknown and doubled fields.
    fn read_json(text: &[u8]) -> Result<Self>;
}

/// Steps over `"name":`, with the comma before it unless it is the first field.
#[inline]
pub(crate) fn next_field(reader: &mut Reader<'_>, first: bool, literal: &[u8]) -> bool {
    let mut ahead = reader.clone();
    if (first || ahead.literal(b",")) && ahead.literal(literal) {
        *reader = ahead;
        return true;
    }
    false
}

/// Steps to the next field in whatever order, and returns its name; `None` at the end of the object.
pub(crate) fn any_field(reader: &mut Reader<'_>, first: bool) -> Result<Option<Vec<u8>>> {
    if reader.token(b'}') {
        return Ok(None);
    }
    if !first {
        reader.expect(b',')?;
    }
    let name = reader.string()?;
    reader.expect(b':')?;
    Ok(Some(name))
}

/// Reads one tagged field of a packed row; `None` at its end.
pub(crate) fn next_tag(input: &mut &[u8]) -> Option<(u8, u8)> {
    let (&tag, rest) = input.split_first()?;
    *input = rest;
    Some((tag >> 3, tag & 7))
}

pub(crate) fn unknown(kind: &str, field: &[u8]) -> Error {
    Error::Unsupported { what: "field", found: format!("{kind}.{}", String::from_utf8_lossy(field)) }
}

pub(crate) fn once(seen: &mut u32, number: u8, kind: &'static str) -> Result<()> {
    let bit = 1_u32 << number;
    if *seen & bit != 0 {
        return Err(Error::malformed(kind, "a field comes twice"));
    }
    *seen |= bit;
    Ok(())
}

#[inline]
pub(crate) fn put_compared<F: Field>(field: &F, number: u8, always: bool, out: &mut Vec<u8>) {
    if always || !field.is_zero() {
        field.put_compared(number, out);
    }
}

#[inline]
pub(crate) fn put<F: Field>(field: &F, number: u8, always: bool, out: &mut Vec<u8>) {
    if always || !field.is_zero() {
        field.put(number, out);
    }
}

macro_rules! role {
    (is_key key) => {
        true
    };
    (is_key $other:ident) => {
        false
    };
    (is_primary key) => {
        true
    };
    (is_primary plain) => {
        true
    };
    (is_primary $other:ident) => {
        false
    };
    (is_derived derived) => {
        true
    };
    (is_derived $other:ident) => {
        false
    };
}

macro_rules! kinds {
    ($(
        $(#[$doc:meta])*
        $number:literal $kind:ident $name:literal $class:ident $(by $bucket:ident)? $(spread by $spread:ident)? $(unless $volatile:path)? {
            $($tag:literal $role:ident $field:ident: $type:ty = $json:literal,)*
        }
    )*) => {
        /// One sort of record.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl $crate::system::Kind for Kind {
            fn all() -> &'static [Self] {
                &[$(Self::$kind),*]
            }
            fn info(self) -> &'static $crate::system::KindInfo {
                match self {$(
                    Self::$kind => &$crate::system::KindInfo {
                        number: $number,
                        name: $name,
                        class: $crate::system::Class::$class,
                        fields: &[$($crate::system::FieldInfo {
                            number: $tag,
                            name: $json,
                            role: stringify!($role),
                            is_number: <$type as $crate::field::Field>::IS_NUMBER,
                        }),*],
                    },
                )*}
            }
        }

        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Default)]
            pub struct $kind {
                $(#[doc = concat!("`", $json, "`, a ", stringify!($role), " field.")] pub $field: $type,)*
            }

            impl $crate::declare::Row for $kind {
                #[inline]
                fn pack(&self, out: &mut Vec<u8>) {
                    $($crate::declare::put(&self.$field, $tag, $crate::declare::role!(is_key $role), out);)*
                }
                fn unpack(mut input: &[u8]) -> $crate::Result<Self> {
                    let mut row = Self::default();
                    let mut seen = 0;
                    while let Some((number, short)) = $crate::declare::next_tag(&mut input) {
                        match number {
                            $($tag => row.$field = $crate::field::Field::take(short, &mut input)?,)*
                            _ => return Err($crate::Error::malformed($name, "unknown tag in a packed row")),
                        }
                        $crate::declare::once(&mut seen, number, $name)?;
                    }
                    Ok(row)
                }
                #[inline]
                fn put_primary(&self, out: &mut Vec<u8>) {
                    out.push($number);
                    $(if $crate::declare::role!(is_primary $role) {
                        $crate::declare::put_compared(&self.$field, $tag, $crate::declare::role!(is_key $role), out);
                    })*
                }
                #[inline]
                fn put_derived(&self, out: &mut Vec<u8>) -> bool {
                    const ANY: bool = false $(|| $crate::declare::role!(is_derived $role))*;
                    if ANY {
                        out.push($number | 0x80);
                        $(if $crate::declare::role!(is_key $role) || $crate::declare::role!(is_derived $role) {
                            $crate::declare::put_compared(&self.$field, $tag, $crate::declare::role!(is_key $role), out);
                        })*
                    }
                    ANY
                }
                #[inline]
                fn put_key(&self, out: &mut Vec<u8>) {
                    $(if $crate::declare::role!(is_key $role) {
                        $crate::field::Field::put_key(&self.$field, out);
                    })*
                }
                #[inline]
                fn bucket_id(&self) -> u64 {
                    0 $(+ self.$bucket)? $(+ $crate::tally::spread(&self.$spread))?
                }
                #[inline]
                fn is_volatile(&self) -> bool {
                    false $(|| $volatile(self))?
                }
                #[inline]
                fn weight(&self) -> usize {
                    size_of::<Self>() $(+ $crate::field::Field::weight(&self.$field))*
                }
                #[inline]
                fn write_json(&self, out: &mut Vec<u8>) {
                    let start = out.len();
                    $(if $crate::declare::role!(is_key $role) || !$crate::field::Field::is_zero(&self.$field) {
                        out.extend_from_slice(concat!(",\"", $json, "\":").as_bytes());
                        $crate::field::Field::write_json(&self.$field, out);
                    })*
                    if let Some(first) = out.get_mut(start) {
                        *first = b'{';
                    }
                    out.push(b'}');
                }
                fn read_json(text: &[u8]) -> $crate::Result<Self> {
                    let mut row = Self::default();
                    let mut reader = $crate::json::Reader::new(text);
                    reader.expect(b'{')?;
                    let mut seen = 0_u32;
                    $(if $crate::declare::next_field(&mut reader, seen == 0, concat!("\"", $json, "\":").as_bytes()) {
                        row.$field = $crate::field::Field::read_json(&mut reader)?;
                        seen |= 1 << $tag;
                    })*
                    while let Some(name) = $crate::declare::any_field(&mut reader, seen == 0)? {
                        match name.as_slice() {
                            $(name if name == $json.as_bytes() => {
                                $crate::declare::once(&mut seen, $tag, $name)?;
                                row.$field = $crate::field::Field::read_json(&mut reader)?;
                            })*
                            other => return Err($crate::declare::unknown($name, other)),
                        }
                    }
                    if !reader.at_end() {
                        return Err($crate::Error::malformed($name, "something after the row"));
                    }
                    $(if $crate::declare::role!(is_key $role) && seen & 1 << $tag == 0 {
                        return Err($crate::Error::malformed($name, concat!("no ", $json)));
                    })*
                    Ok(row)
                }
            }
        )*

        /// Some thousand rows of one kind.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Batch { $($(#[$doc])* $kind(Vec<$kind>),)* }

        $(impl From<Vec<$kind>> for Batch {
            fn from(rows: Vec<$kind>) -> Self {
                Self::$kind(rows)
            }
        })*

        /// Runs the same code over the rows of a batch, whatever their kind.
        macro_rules! each_kind {
            ($batch:expr, $rows:ident => $body:expr) => {
                match $batch { $(Batch::$kind($rows) => $body,)* }
            };
        }

        impl $crate::system::Batch for Batch {
            type Kind = Kind;

            fn empty(kind: Kind) -> Self {
                match kind { $(Kind::$kind => Self::$kind(Vec::new()),)* }
            }
            fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)* }
            }
            fn len(&self) -> usize {
                each_kind!(self, rows => rows.len())
            }
            fn weight(&self) -> usize {
                each_kind!(self, rows => rows.iter().map($crate::declare::Row::weight).sum())
            }
            fn canonicalize(&mut self) {
                super::canonical::canonicalize(self);
            }
            fn tally(&self, tally: &mut $crate::Tally<Kind>) {
                if !super::canonical::tally_apart(self, tally) {
                    each_kind!(self, rows => $crate::declare::tally_rows(self.kind(), rows, tally))
                }
            }
            fn tally_canonical(&self, tally: &mut $crate::Tally<Kind>) {
                let mut canonical = self.clone();
                canonical.canonicalize();
                canonical.tally(tally);
            }
            fn write_lines(&self, out: &mut Vec<u8>) {
                each_kind!(self, rows => for row in rows {
                    $crate::declare::Row::write_json(row, out);
                    out.push(b'\n');
                })
            }
            fn read_line(&mut self, line: &[u8]) -> $crate::Result<()> {
                each_kind!(self, rows => rows.push($crate::declare::Row::read_json(line)?));
                Ok(())
            }
            fn pack(&self, index: usize, key: &mut Vec<u8>, packed: &mut Vec<u8>) {
                each_kind!(self, rows => if let Some(row) = rows.get(index) {
                    $crate::declare::Row::put_key(row, key);
                    $crate::declare::Row::pack(row, packed);
                })
            }
            fn put_key(&self, index: usize, key: &mut Vec<u8>) {
                each_kind!(self, rows => if let Some(row) = rows.get(index) {
                    $crate::declare::Row::put_key(row, key);
                })
            }
            fn append(&mut self, other: &mut Self) {
                match (self, other) {
                    $((Self::$kind(rows), Self::$kind(more)) => rows.append(more),)*
                    _ => {}
                }
            }
            fn clear(&mut self) {
                each_kind!(self, rows => rows.clear());
            }
            fn unpack(&mut self, packed: &[u8]) -> $crate::Result<()> {
                each_kind!(self, rows => rows.push($crate::declare::Row::unpack(packed)?));
                Ok(())
            }
            fn largest(&self, each: &mut dyn FnMut(&'static str, u64)) {
                match self {$(
                    Self::$kind(rows) => {$(
                        each($json, rows.iter().map(|row| $crate::field::Field::size(&row.$field)).max().unwrap_or(0));
                    )*}
                )*}
            }
            fn retain_buckets(&mut self, keep: &mut dyn FnMut(u16) -> bool) {
                each_kind!(self, rows => {
                    rows.retain(|row| keep($crate::tally::bucket_of($crate::declare::Row::bucket_id(row))));
                })
            }
        }
    };
}
pub(crate) use {kinds, role};

/// Adds rows of one kind to a tally; volatile rows are no part of it.
pub(crate) fn tally_rows<K: crate::system::Kind, R: Row>(kind: K, rows: &[R], tally: &mut crate::Tally<K>) {
    let mut buffer = Vec::with_capacity(256);
    let mut bucket = None;
    let mut cell = crate::tally::Cell::default();
    for row in rows.iter().filter(|row| !row.is_volatile()) {
        let this = crate::tally::bucket_of(row.bucket_id());
        if bucket != Some(this)
            && let Some(bucket) = bucket.replace(this)
        {
            tally.cell(kind, bucket).add(&std::mem::take(&mut cell));
        }
        buffer.clear();
        row.put_primary(&mut buffer);
        cell.rows += 1;
        cell.bytes += buffer.len() as u64;
        cell.digest = cell.digest.wrapping_add(crate::tally::digest(&buffer));
        buffer.clear();
        if row.put_derived(&mut buffer) {
            cell.derived = cell.derived.wrapping_add(crate::tally::digest(&buffer));
        }
    }
    if let Some(bucket) = bucket {
        tally.cell(kind, bucket).add(&cell);
    }
}
