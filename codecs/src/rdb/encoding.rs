//! The encodings of values, and the layout of each in the stream: which strings, numbers and bytes follow one another.

/// How a value lies in the stream; one of these stands for each type byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// A string (0).
    String,
    /// A list of strings (1).
    List,
    /// A set of strings (2).
    Set,
    /// Strings with scores in decimal (3).
    ZsetText,
    /// Strings with binary scores (5).
    Zset,
    /// Fields and values, all strings (4).
    Hash,
    /// Fields and values in one zipmap (9).
    HashZipmap,
    /// Items in one ziplist (10).
    ListZiplist,
    /// Integers in one intset (11).
    SetIntset,
    /// Members and scores in one ziplist (12).
    ZsetZiplist,
    /// Fields and values in one ziplist (13).
    HashZiplist,
    /// A list of ziplists (14).
    ListQuicklist,
    /// Fields and values in one listpack (16).
    HashListpack,
    /// Members and scores in one listpack (17).
    ZsetListpack,
    /// A list of listpacks and of plain items (18).
    ListQuicklist2,
    /// Members in one listpack (20).
    SetListpack,
    /// Expiry, field and value, one after the other (22 of Redis).
    HashExpiryPreview,
    /// Fields, values and expiries in one listpack (23).
    HashListpackExpiryPreview,
    /// Field, value and expiry, one after the other (22 of Valkey).
    HashExpiryValkey,
    /// As [`Self::HashExpiryPreview`], behind the earliest expiry (24).
    HashExpiry,
    /// As [`Self::HashListpackExpiryPreview`], behind the earliest expiry (25).
    HashListpackExpiry,
    /// A stream (15, 19, 21): told from others, never decoded.
    Stream(u8),
    /// The value of a module (7): told from others, never decoded.
    Module,
}

/// What a value is to its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    String,
    /// Items in an order.
    List,
    /// Items, each once.
    Set,
    /// Items with scores.
    Zset,
    /// Fields with values.
    Hash,
    /// A log of entries; not decoded.
    Stream,
    /// A module's own; not decoded.
    Module,
}

/// Whose format it is: from version 80 on, Valkey's goes its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Redis,
    Valkey,
}

/// One step of a layout.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// So many bytes.
    Bytes(u64),
    /// A number in the encoding of lengths.
    Length,
    /// A string.
    String,
    /// A score in decimal, one byte of length before it, or one byte for what is not finite.
    Score,
    /// A count, and the steps that many times.
    Each(&'static [Step]),
    /// Numbers and strings of a module, each behind its mark, up to the end mark.
    Module,
}

use Step::{Bytes, Each, Length, Module, Score, String};

/// Opcodes with strings in them.
pub(super) const AUX: &[Step] = &[String, String];
pub(super) const FUNCTION: &[Step] = &[String];
/// Name, engine, whether a description follows, code.
pub(super) const FUNCTION_PREVIEW: &[Step] = &[String, String, Each(&[String]), String];
/// The module's id, then its value.
pub(super) const MODULE: &[Step] = &[Length, Module];
/// Classes of key metadata, each with its four-byte name.
pub(super) const KEY_META: &[Step] = &[Each(&[Bytes(4), Module])];
/// Name of a slot migration, and its ranges of slots (Valkey).
pub(super) const SLOT_IMPORT: &[Step] = &[String, Each(&[Length, Length])];

const NODES: Step = Each(&[String, String]);
const PENDING: Step = Each(&[Bytes(16 + 8), Length]);
const OWNED: Step = Each(&[Bytes(16)]);
/// Nodes; length, last id; groups: name, last id, pending entries; consumers: name, seen, owned entries.
const STREAM_1: &[Step] =
    &[NODES, Length, Length, Length, Each(&[String, Length, Length, PENDING, Each(&[String, Bytes(8), OWNED])])];
/// Adds to the first: first id, largest deleted id, entries added; to a group: entries read.
const STREAM_2: &[Step] = &[
    NODES,
    Length,
    Length,
    Length,
    Length,
    Length,
    Length,
    Length,
    Length,
    Each(&[String, Length, Length, Length, PENDING, Each(&[String, Bytes(8), OWNED])]),
];
/// Adds to the second: when a consumer was last active.
const STREAM_3: &[Step] = &[
    NODES,
    Length,
    Length,
    Length,
    Length,
    Length,
    Length,
    Length,
    Length,
    Each(&[String, Length, Length, Length, PENDING, Each(&[String, Bytes(16), OWNED])]),
];

impl Encoding {
    /// The encoding of a type byte; none where it is not known, or cannot be skipped.
    pub(super) fn of(byte: u8, dialect: Dialect) -> Option<Self> {
        Some(match byte {
            0 => Self::String,
            1 => Self::List,
            2 => Self::Set,
            3 => Self::ZsetText,
            4 => Self::Hash,
            5 => Self::Zset,
            7 => Self::Module,
            9 => Self::HashZipmap,
            10 => Self::ListZiplist,
            11 => Self::SetIntset,
            12 => Self::ZsetZiplist,
            13 => Self::HashZiplist,
            14 => Self::ListQuicklist,
            16 => Self::HashListpack,
            17 => Self::ZsetListpack,
            18 => Self::ListQuicklist2,
            20 => Self::SetListpack,
            22 if dialect == Dialect::Valkey => Self::HashExpiryValkey,
            _ if byte > 21 && dialect == Dialect::Valkey => return None,
            22 => Self::HashExpiryPreview,
            23 => Self::HashListpackExpiryPreview,
            24 => Self::HashExpiry,
            25 => Self::HashListpackExpiry,
            15 | 19 | 21 => Self::Stream(byte),
            _ => return None,
        })
    }

    /// What the value is to its user.
    pub fn kind(self) -> Kind {
        match self {
            Self::String => Kind::String,
            Self::List | Self::ListZiplist | Self::ListQuicklist | Self::ListQuicklist2 => Kind::List,
            Self::Set | Self::SetIntset | Self::SetListpack => Kind::Set,
            Self::ZsetText | Self::Zset | Self::ZsetZiplist | Self::ZsetListpack => Kind::Zset,
            Self::Stream(_) => Kind::Stream,
            Self::Module => Kind::Module,
            _ => Kind::Hash,
        }
    }

    /// The steps of a value.
    pub(super) fn layout(self) -> &'static [Step] {
        match self {
            Self::List | Self::Set | Self::ListQuicklist => &[Each(&[String])],
            Self::ZsetText => &[Each(&[String, Score])],
            Self::Zset => &[Each(&[String, Bytes(8)])],
            Self::Hash => &[Each(&[String, String])],
            Self::ListQuicklist2 => &[Each(&[Length, String])],
            Self::HashExpiryPreview => &[Each(&[Length, String, String])],
            Self::HashExpiryValkey => &[Each(&[String, String, Bytes(8)])],
            Self::HashExpiry => &[Bytes(8), Each(&[Length, String, String])],
            Self::HashListpackExpiry => &[Bytes(8), String],
            Self::Stream(15) => STREAM_1,
            Self::Stream(19) => STREAM_2,
            Self::Stream(_) => STREAM_3,
            Self::Module => MODULE,
            _ => &[String],
        }
    }
}
