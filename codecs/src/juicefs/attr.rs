//! The attribute record (`pkg/meta/interface.go: Attr.Marshal`): 72 bytes, 80 with ACL ids, one more with a tier; big-endian,
//! with a trailing zero that is an accident of JuiceFS's buffer and part of the format.

use super::kinds::Node;
use super::types::FileType;
use crate::{Error, Result};

const WHAT: &str = "attribute record";

/// Where the link count lies in the record, in bytes: four of them.
pub const NLINK_OFFSET: usize = 47;

/// Appends the record of a node.
pub fn encode(node: &Node, out: &mut Vec<u8>) {
    out.push(node.flags);
    out.extend_from_slice(&(u16::from(node.kind.number()) << 12 | node.mode & 0xfff).to_be_bytes());
    out.extend_from_slice(&node.uid.to_be_bytes());
    out.extend_from_slice(&node.gid.to_be_bytes());
    for (seconds, nanoseconds) in
        [(node.atime, node.atimensec), (node.mtime, node.mtimensec), (node.ctime, node.ctimensec)]
    {
        out.extend_from_slice(&seconds.to_be_bytes());
        out.extend_from_slice(&nanoseconds.to_be_bytes());
    }
    out.extend_from_slice(&node.nlink.to_be_bytes());
    out.extend_from_slice(&node.length.to_be_bytes());
    out.extend_from_slice(&node.rdev.to_be_bytes());
    out.extend_from_slice(&node.parent.to_be_bytes());
    if node.access_acl != 0 || node.default_acl != 0 {
        out.extend_from_slice(&node.access_acl.to_be_bytes());
        out.extend_from_slice(&node.default_acl.to_be_bytes());
    }
    if node.tier != 0 {
        out.push(node.tier);
    }
    out.push(0);
}

/// Reads the record of inode `inode`.
///
/// # Errors
/// A length that no version of JuiceFS writes (72, 73, 80, 81, and 63 to 71 from before 1.0), a file type that does not
/// exist, nanoseconds of a second or more.
pub fn decode(inode: u64, record: &[u8]) -> Result<Node> {
    if !matches!(record.len(), 63..=73 | 80 | 81) {
        return Err(Error::malformed(WHAT, format!("{} bytes, where 72, 73, 80 or 81 are written", record.len())));
    }
    let mut input = record;
    let flags = take::<1>(&mut input)?[0];
    let packed = u16::from_be_bytes(take(&mut input)?);
    let mut node = Node {
        inode,
        flags,
        kind: FileType::new(u64::from(packed >> 12))?,
        mode: packed & 0xfff,
        uid: u32::from_be_bytes(take(&mut input)?),
        gid: u32::from_be_bytes(take(&mut input)?),
        atime: i64::from_be_bytes(take(&mut input)?),
        atimensec: nanoseconds(&mut input)?,
        mtime: i64::from_be_bytes(take(&mut input)?),
        mtimensec: nanoseconds(&mut input)?,
        ctime: i64::from_be_bytes(take(&mut input)?),
        ctimensec: nanoseconds(&mut input)?,
        nlink: u32::from_be_bytes(take(&mut input)?),
        length: u64::from_be_bytes(take(&mut input)?),
        rdev: u32::from_be_bytes(take(&mut input)?),
        ..Node::default()
    };
    if input.len() >= 8 {
        node.parent = u64::from_be_bytes(take(&mut input)?);
    }
    if input.len() >= 8 {
        node.access_acl = u32::from_be_bytes(take(&mut input)?);
        node.default_acl = u32::from_be_bytes(take(&mut input)?);
    }
    node.tier = input.first().copied().unwrap_or(0);
    Ok(node)
}

#[inline]
fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N]> {
    let (head, rest) = input.split_first_chunk::<N>().ok_or(Error::Truncated(WHAT))?;
    *input = rest;
    Ok(*head)
}

#[inline]
fn nanoseconds(input: &mut &[u8]) -> Result<u32> {
    match u32::from_be_bytes(take(input)?) {
        value @ ..1_000_000_000 => Ok(value),
        value => Err(Error::malformed(WHAT, format!("{value} nanoseconds"))),
    }
}
