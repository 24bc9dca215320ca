//! Messages become rows. An unknown field is passed over, as protobuf has it.

use super::block::{Block, Content};
use super::segment::SegmentType;
use super::wire::Value::{Bytes, Integer};
use super::wire::{each, field, integer, narrow};
use crate::juicefs::{
    Acl, Batch, Chunk, Counter, DelFile, DirStat, Document, Edge, FileType, Foreign, Limit, Node, Parent, Quota,
    Setting, SliceRef, Slices, Sustained, Symlink, Xattr, acl, attr, quota_class,
};
use crate::{Error, Result};

/// The rows of a block. `damaged` gets those that cannot be decoded: the byte of the stream where each begins, and what is
/// wrong.
pub fn decode(block: &Block, damaged: &mut dyn FnMut(u64, Error)) -> Batch {
    let sort = match block.content {
        Content::Messages(sort) => sort,
        Content::Piece(segment, piece) => {
            return vec![Foreign { segment, piece, bytes: block.bytes.clone(), ..Foreign::default() }].into();
        }
    };
    match sort {
        SegmentType::Format | SegmentType::ChangeLog => rows(block, damaged, setting).into(),
        SegmentType::Counter => rows(block, damaged, counter).into(),
        SegmentType::Node => rows(block, damaged, node).into(),
        SegmentType::Edge => rows(block, damaged, edge).into(),
        SegmentType::Chunk => rows(block, damaged, chunk).into(),
        SegmentType::SliceRef => rows(block, damaged, slice_ref).into(),
        SegmentType::Symlink => rows(block, damaged, symlink).into(),
        SegmentType::Sustained => rows(block, damaged, sustained).into(),
        SegmentType::DelFile => rows(block, damaged, del_file).into(),
        SegmentType::Xattr => rows(block, damaged, xattr).into(),
        SegmentType::Acl => rows(block, damaged, rule).into(),
        SegmentType::Stat => rows(block, damaged, stat).into(),
        SegmentType::Quota => rows(block, damaged, quota).into(),
        SegmentType::Parent => rows(block, damaged, parent).into(),
    }
}

/// Reads every message of a block by the number of its field in `Batch`.
fn rows<R>(
    block: &Block,
    damaged: &mut dyn FnMut(u64, Error),
    read: impl Fn(u32, &[u8], &mut Vec<R>) -> Result<()>,
) -> Vec<R> {
    let mut rows = Vec::with_capacity(block.messages);
    let mut rest = block.bytes.as_slice();
    while !rest.is_empty() {
        let place = block.offset() + (block.bytes.len() - rest.len()) as u64;
        let begin = rows.len();
        let one = match field(&mut rest) {
            Ok((number, Bytes(message))) => read(number, message, &mut rows),
            Ok(_) => Ok(()),
            Err(error) => {
                rest = &[];
                Err(error)
            }
        };
        if let Err(error) = one {
            rows.truncate(begin);
            damaged(place, error);
        }
    }
    rows
}

/// A function that reads a message of which each field is one of a row's.
macro_rules! plain {
    ($read:ident $row:ident { $($field:ident = $number:literal $value:pat => $set:expr,)* }) => {
        fn $read(_: u32, message: &[u8], rows: &mut Vec<$row>) -> Result<()> {
            let mut row = $row::default();
            each(message, |number, value| {
                match (number, value) {
                    $(($number, $value) => row.$field = $set,)*
                    _ => {}
                }
                Ok(())
            })?;
            rows.push(row);
            Ok(())
        }
    };
}

plain! { counter Counter {
    name = 1 Bytes(name) => name.to_vec(),
    value = 2 Integer(value) => value.cast_signed(),
} }

plain! { slice_ref SliceRef {
    id = 1 Integer(id) => id,
    size = 2 Integer(size) => narrow(size)?,
    refs = 3 Integer(refs) => refs.cast_signed(),
} }

plain! { symlink Symlink {
    inode = 1 Integer(inode) => inode,
    target = 2 Bytes(target) => target.to_vec(),
} }

plain! { del_file DelFile {
    inode = 1 Integer(inode) => inode,
    length = 2 Integer(length) => length,
    expire = 3 Integer(expire) => expire.cast_signed(),
} }

plain! { xattr Xattr {
    inode = 1 Integer(inode) => inode,
    name = 2 Bytes(name) => name.to_vec(),
    value = 3 Bytes(value) => value.to_vec(),
} }

plain! { stat DirStat {
    inode = 1 Integer(inode) => inode,
    length = 2 Integer(length) => length.cast_signed(),
    space = 3 Integer(space) => space.cast_signed(),
    inodes = 4 Integer(inodes) => inodes.cast_signed(),
} }

plain! { parent Parent {
    inode = 1 Integer(inode) => inode,
    parent = 2 Integer(parent) => parent,
    count = 3 Integer(count) => count.cast_signed(),
} }

/// The format message, read as if its one field were a message.
fn setting(number: u32, document: &[u8], rows: &mut Vec<Setting>) -> Result<()> {
    if number == 1 {
        rows.push(Setting { document: Document(document.to_vec()) });
    }
    Ok(())
}

fn node(_: u32, message: &[u8], rows: &mut Vec<Node>) -> Result<()> {
    let (inode, record) = number_and_bytes(message)?;
    rows.push(attr::decode(inode, record).map_err(|error| at("inode", inode, &error))?);
    Ok(())
}

fn edge(_: u32, message: &[u8], rows: &mut Vec<Edge>) -> Result<()> {
    let (mut row, mut kind) = (Edge::default(), 0);
    each(message, |number, value| {
        match (number, value) {
            (1, Integer(parent)) => row.parent = parent,
            (2, Integer(inode)) => row.inode = inode,
            (3, Bytes(name)) => row.name = name.to_vec(),
            (4, Integer(value)) => kind = value,
            _ => {}
        }
        Ok(())
    })?;
    if row.name.is_empty() {
        let error = Error::malformed("directory entry", "it has no name");
        return Err(at("directory", row.parent, &error));
    }
    row.kind = FileType::new(kind).map_err(|error| at("directory", row.parent, &error))?;
    rows.push(row);
    Ok(())
}

fn chunk(_: u32, message: &[u8], rows: &mut Vec<Chunk>) -> Result<()> {
    let (mut row, mut slices) = (Chunk::default(), &[][..]);
    each(message, |number, value| {
        match (number, value) {
            (1, Integer(inode)) => row.inode = inode,
            (2, Integer(index)) => row.index = narrow(index)?,
            (3, Bytes(records)) => slices = records,
            _ => {}
        }
        Ok(())
    })?;
    row.slices = Slices::decode(slices).map_err(|error| at("inode", row.inode, &error))?;
    rows.push(row);
    Ok(())
}

/// One message names all inodes of a session, packed or each by itself.
fn sustained(_: u32, message: &[u8], rows: &mut Vec<Sustained>) -> Result<()> {
    let begin = rows.len();
    let mut sid = 0;
    each(message, |number, value| {
        match (number, value) {
            (1, Integer(value)) => sid = value,
            (2, Integer(inode)) => rows.push(Sustained { sid, inode }),
            (2, Bytes(mut packed)) => {
                while !packed.is_empty() {
                    rows.push(Sustained { sid, inode: integer(&mut packed)? });
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    rows.iter_mut().skip(begin).for_each(|row| row.sid = sid);
    Ok(())
}

fn rule(_: u32, message: &[u8], rows: &mut Vec<Acl>) -> Result<()> {
    let (id, bytes) = number_and_bytes(message)?;
    rows.push(acl::decode(narrow(id)?, bytes).map_err(|error| at("rule", id, &error))?);
    Ok(())
}

/// The field tells the class of users' and groups' quotas; those in the first one tell it themselves (`loadQuota`).
fn quota(field: u32, message: &[u8], rows: &mut Vec<Quota>) -> Result<()> {
    let (mut row, mut class) = (Quota::default(), 0);
    each(message, |number, value| {
        match (number, value) {
            (1, Integer(id)) => row.id = id,
            (2, Integer(limit)) => row.max_space = Limit(limit.cast_signed()),
            (3, Integer(limit)) => row.max_inodes = Limit(limit.cast_signed()),
            (4, Integer(used)) => row.used_space = used.cast_signed(),
            (5, Integer(used)) => row.used_inodes = used.cast_signed(),
            (6, Integer(value)) => class = value,
            _ => {}
        }
        Ok(())
    })?;
    row.class = match (field, class) {
        (11, 0) => quota_class::DIRECTORY,
        (15, _) | (11, 1) => quota_class::USER,
        (16, _) | (11, 2) => quota_class::GROUP,
        _ => return Err(at("id", row.id, &Error::malformed("quota", format!("it is of type {class}")))),
    };
    rows.push(row);
    Ok(())
}

/// Nodes and rules: a number, and bytes in JuiceFS's own layout.
#[inline]
fn number_and_bytes(message: &[u8]) -> Result<(u64, &[u8])> {
    let (mut id, mut bytes) = (0, &[][..]);
    each(message, |number, value| {
        match (number, value) {
            (1, Integer(value)) => id = value,
            (2, Bytes(value)) => bytes = value,
            _ => {}
        }
        Ok(())
    })?;
    Ok((id, bytes))
}

fn at(what: &'static str, id: u64, error: &Error) -> Error {
    Error::malformed("message", format!("{what} {id}: {error}"))
}
