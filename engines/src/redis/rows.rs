//! Rows out of keys and their elements, wherever those come from. What is spread over several keys goes to `joins`.

use std::collections::BTreeMap;

use metaferry_codecs::juicefs::redis_keys::{self as keys, Key};
use metaferry_codecs::juicefs::{
    Acl, Chunk, Counter, DelFile, DelSlices, DelayedSlices, Detached, DirStat, Document, Edge, JuiceFs, Node, Parent,
    Quota, SLICE_BYTES, Setting, Slice, SliceRef, Slices, Sustained, Symlink, Token, Xattr, acl, attr, counter,
};
use metaferry_codecs::rdb::{self, Element};
use metaferry_codecs::{Error, Result};
use metaferry_pipeline::{self as pipeline, Emit};

use super::joins::{Part, Pending};

/// Rows in a batch.
const BATCH_ROWS: usize = 512;
/// Names, values and slices that are held, in bytes, before every batch is handed on, full or not.
const HELD_BYTES: usize = 4 << 20;

macro_rules! rows {
    ($($field:ident: $row:ident,)*) => {
        /// Rows that have been decoded and not yet been handed on.
        #[derive(Default)]
        pub(super) struct Rows {
            $(pub(super) $field: Vec<$row>,)*
            pub(super) pending: Pending,
            /// The slices of the chunk at hand, none once one of them is damaged.
            slices: Option<Vec<Slice>>,
            held_bytes: usize,
            left: BTreeMap<&'static str, u64>,
            damage: Vec<(String, Error)>,
        }

        impl Rows {
            /// Hands on batches of at least so many rows.
            fn hand_on(&mut self, least: usize, out: &mut dyn Emit<JuiceFs>) -> pipeline::Result<()> {
                $(if self.$field.len() >= least {
                    let room = if least > 1 { self.$field.len() } else { 0 };
                    let full = std::mem::replace(&mut self.$field, Vec::with_capacity(room));
                    out.emit(full.into())?;
                })*
                Ok(())
            }
        }
    };
}

rows! {
    nodes: Node,
    edges: Edge,
    chunks: Chunk,
    symlinks: Symlink,
    xattrs: Xattr,
    parents: Parent,
    references: SliceRef,
    stats: DirStat,
    quotas: Quota,
    delfiles: DelFile,
    delslices: DelSlices,
    detached: Detached,
    sustained: Sustained,
    acls: Acl,
    tokens: Token,
    counters: Counter,
    settings: Setting,
}

impl Rows {
    /// Hands on the batches that are full, or all of them, and what was found.
    pub(super) fn flush(&mut self, all: bool, out: &mut dyn Emit<JuiceFs>) -> pipeline::Result<()> {
        self.damage.drain(..).try_for_each(|(place, why)| out.damaged(place, why))?;
        let all = all || self.held_bytes >= HELD_BYTES;
        if all {
            self.held_bytes = 0;
        }
        self.hand_on(if all { 1 } else { BATCH_ROWS }, out)?;
        std::mem::take(&mut self.left).into_iter().for_each(|(what, count)| out.left_behind(what, count));
        Ok(())
    }

    /// Counts something that is not carried.
    pub(super) fn leave(&mut self, what: &'static str, count: u64) {
        if count > 0 {
            *self.left.entry(what).or_default() += count;
        }
    }

    /// Takes one piece of a key of this name.
    pub(super) fn piece(&mut self, name: &[u8], piece: &rdb::Piece<'_>, scratch: &mut rdb::Scratch) {
        let Some(key) = self.begin(name, piece.encoding.kind(), piece.part == 0) else { return };
        let whole = piece.each(scratch, |element| {
            self.element(key, name, element);
            Ok(())
        });
        if let Err(error) = whole {
            self.broken(name, error);
        }
        self.end(key, Part { number: piece.part, last: piece.last });
    }

    /// Begins a key, or another part of it; `None` where there is nothing to be had from it.
    pub(super) fn begin(&mut self, name: &[u8], kind: rdb::Kind, first: bool) -> Option<Key> {
        let Some(key) = Key::of(name) else {
            self.leave("foreign keys", u64::from(first));
            return None;
        };
        if key.kind() != kind {
            let found = format!("a {kind:?}, where a {:?} belongs", key.kind()).to_lowercase();
            self.damage.push((place(name, None), Error::malformed("redis value", found)));
            return None;
        }
        match &mut self.slices {
            Some(slices) => slices.clear(),
            none => *none = Some(Vec::new()),
        }
        Some(key)
    }

    /// Takes one element of a key of this name.
    #[inline]
    pub(super) fn element(&mut self, key: Key, name: &[u8], element: Element<'_>) {
        if let Err(error) = self.row(key, element) {
            self.slices = None;
            self.damage.push((place(name, Some(element)), error));
        }
    }

    /// Books a key that cannot be read on.
    pub(super) fn broken(&mut self, name: &[u8], error: Error) {
        self.slices = None;
        self.damage.push((place(name, None), error));
    }

    /// Ends a part of a key.
    #[inline]
    pub(super) fn end(&mut self, key: Key, part: Part) {
        let Key::Chunk(inode, index) = key else { return };
        let slices = self.slices.as_deref().map(<[Slice]>::to_vec);
        if part.number > 0 || !part.last {
            self.pending.parts.push(((inode, index), part, slices));
        } else if let Some(slices) = slices {
            self.chunk(inode, index, slices);
        }
    }

    /// Adds a whole chunk.
    pub(super) fn chunk(&mut self, inode: u64, index: u32, slices: Vec<Slice>) {
        self.held_bytes += size_of_val(slices.as_slice());
        self.chunks.push(Chunk { inode, index, slices: Slices(slices) });
    }

    #[inline]
    fn hold(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held_bytes += bytes.len();
        bytes.to_vec()
    }

    /// What a file system is made of, by far the most of all elements.
    #[inline]
    fn row(&mut self, key: Key, element: Element<'_>) -> Result<()> {
        match (key, element) {
            (Key::Node(inode), Element::Value(record)) => self.nodes.push(attr::decode(inode, record)?),
            (Key::Directory(parent), Element::Field(name, value)) => {
                let (kind, inode) = keys::entry(value)?;
                if name.is_empty() {
                    return Err(Error::malformed("directory entry", "it has no name"));
                }
                let name = self.hold(name);
                self.edges.push(Edge { parent, name, inode, kind });
            }
            (Key::Chunk(..), Element::Item(record)) => {
                let record = <&[u8; SLICE_BYTES]>::try_from(record).map_err(|_| {
                    Error::malformed("slice", format!("{} bytes, where {SLICE_BYTES} are written", record.len()))
                })?;
                if let Some(slices) = &mut self.slices {
                    slices.push(Slice::decode(record));
                }
            }
            (Key::Symlink(inode), Element::Value(target)) => {
                let target = self.hold(target);
                self.symlinks.push(Symlink { inode, target });
            }
            (Key::Xattrs(inode), Element::Field(name, value)) => {
                let (name, value) = (self.hold(name), self.hold(value));
                self.xattrs.push(Xattr { inode, name, value });
            }
            (Key::Parents(inode), Element::Field(parent, count)) => {
                self.parents.push(Parent { inode, parent: keys::id(parent)?, count: keys::signed(count)? });
            }
            (Key::SliceRefs, Element::Field(field, value)) => match keys::slice_field(field) {
                Some((id, size)) => self.reference(id, size, value)?,
                None => self.leave("slice references of no slice", 1),
            },
            (Key::OldSliceRef(id, size), Element::Value(value)) => self.reference(id, size, value)?,
            (Key::DirStats(..) | Key::Quotas(..), Element::Field(id, value)) => {
                self.pending.sum(key, keys::id(id)?, value)?;
            }
            (Key::Left(what, _), _) => what.into_iter().for_each(|what| self.leave(what, 1)),
            _ => self.rare_row(key, element)?,
        }
        Ok(())
    }

    /// Redis holds how often a slice is used more than once; a zero is a mark that a clean-up has yet to remove.
    fn reference(&mut self, id: u64, size: u32, value: &[u8]) -> Result<()> {
        let more = keys::signed(value)?;
        if more != 0 {
            self.references.push(SliceRef { id, size, refs: more.saturating_add(1) });
        }
        Ok(())
    }

    fn rare_row(&mut self, key: Key, element: Element<'_>) -> Result<()> {
        match (key, element) {
            (Key::Setting, Element::Value(text)) => {
                self.pending.settings += 1;
                self.settings.push(Setting { document: Document(text.to_vec()) });
            }
            (Key::Counter(name), Element::Value(value)) => {
                let value = keys::signed(value)?.saturating_add(counter::redis_offset(name));
                self.pending.has_next_inode |= name == counter::NEXT_INODE;
                self.pending.has_next_chunk |= name == counter::NEXT_CHUNK;
                self.counters.push(Counter { name: name.to_vec(), value });
            }
            (Key::DelFiles, Element::Scored(member, score)) => {
                let (inode, length) = keys::del_file(member)?;
                self.delfiles.push(DelFile { inode, length, expire: score as i64 });
            }
            (Key::DelSlices, Element::Field(field, value)) => {
                let (id, deleted) = keys::del_slices(field)?;
                self.held_bytes += value.len();
                self.delslices.push(DelSlices { id, deleted, slices: DelayedSlices::decode(value)? });
            }
            (Key::Detached, Element::Scored(member, score)) => {
                self.detached.push(Detached { inode: keys::id(member)?, added: score as i64 });
            }
            (Key::Sustained(sid), Element::Item(member)) => {
                self.sustained.push(Sustained { sid, inode: keys::id(member)? });
            }
            (Key::Acls, Element::Field(id, rule)) => self.acls.push(acl::decode(narrow(id)?, rule)?),
            (Key::Tokens, Element::Field(id, token)) => {
                let token = self.hold(token);
                self.tokens.push(Token { id: narrow(id)?, token });
            }
            _ => return Err(Error::malformed("redis value", "its elements are not of its type")),
        }
        Ok(())
    }
}

fn narrow(id: &[u8]) -> Result<u32> {
    u32::try_from(keys::id(id)?).map_err(|_| Error::malformed("id", "it is over 32 bits"))
}

/// Where something is, for a person to find.
fn place(name: &[u8], element: Option<Element<'_>>) -> String {
    let key = format!("key {}", String::from_utf8_lossy(name));
    match element {
        Some(Element::Field(field, _)) => format!("{key}, field {}", String::from_utf8_lossy(field)),
        Some(Element::Scored(member, _)) => format!("{key}, member {}", String::from_utf8_lossy(member)),
        _ => key,
    }
}
