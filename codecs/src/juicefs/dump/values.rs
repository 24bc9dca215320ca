//! The small values of a dump, read: attributes, extended attributes, ACL rules, chunks, quotas. Keys may come in any order,
//! unknown ones are skipped; the order in which JuiceFS writes is the fast one.

use super::escape::unescape;
use crate::field::Field;
use crate::json::Reader;
use crate::juicefs::kinds::{Acl, Node};
use crate::juicefs::types::{self, AclEntries, FileType, Slice};
use crate::{Error, Result};

/// Reads an object, field by field; `field` says whether it knows the key, and has read the value then.
pub(super) fn object<'a>(
    reader: &mut Reader<'a>,
    field: &mut dyn FnMut(&[u8], &mut Reader<'a>) -> Result<bool>,
) -> Result<()> {
    reader.expect(b'{')?;
    if reader.token(b'}') {
        return Ok(());
    }
    loop {
        let key = reader.text()?;
        reader.expect(b':')?;
        if !field(&key, reader)? {
            reader.skip()?;
        }
        if reader.token(b'}') {
            return Ok(());
        }
        reader.expect(b',')?;
    }
}

/// Reads a list, or null for an empty one.
pub(super) fn list<'a>(reader: &mut Reader<'a>, item: &mut dyn FnMut(&mut Reader<'a>) -> Result<()>) -> Result<()> {
    if null(reader) { Ok(()) } else { types::list(reader, item) }
}

/// Steps over a null.
pub(super) fn null(reader: &mut Reader<'_>) -> bool {
    let is_empty = reader.at_end();
    !is_empty && reader.literal(b"null")
}

/// An integer that must fit its field.
fn narrow<T: TryFrom<u64>>(reader: &mut Reader<'_>, what: &'static str) -> Result<T> {
    let value = reader.u64()?;
    T::try_from(value).map_err(|_| Error::malformed(what, format!("{value} is out of range")))
}

const ATTR: &str = "attr";

/// Reads `attr`; the parent and the ids of ACL rules are not in it.
pub(super) fn attr(reader: &mut Reader<'_>) -> Result<Node> {
    let mut ahead = reader.clone();
    let node = match predicted(&mut ahead) {
        Some(node) => {
            *reader = ahead;
            node
        }
        None => any_attr(reader)?,
    };
    let nanoseconds = [node.atimensec, node.mtimensec, node.ctimensec];
    if node.inode == 0 || node.kind.is_zero() {
        return Err(Error::malformed(ATTR, "it has no inode or no type"));
    }
    match nanoseconds.iter().find(|&&part| part >= 1_000_000_000) {
        Some(part) => Err(Error::malformed(ATTR, format!("{part} nanoseconds"))),
        None => Ok(node),
    }
}

/// The attributes as JuiceFS writes them; nothing where anything is otherwise.
fn predicted(reader: &mut Reader<'_>) -> Option<Node> {
    let mut node = Node::default();
    macro_rules! must {
        ($literal:literal, $value:expr) => {
            if reader.literal($literal.as_bytes()) { $value } else { return None }
        };
    }
    macro_rules! may {
        ($literal:literal, $place:ident) => {
            if reader.literal($literal.as_bytes()) {
                node.$place = narrow(reader, ATTR).ok()?;
            }
        };
    }
    must!("{\"inode\":", node.inode = reader.u64().ok()?);
    may!(",\"flags\":", flags);
    must!(",\"type\":", node.kind = FileType::read_json(reader).ok()?);
    must!(",\"mode\":", node.mode = narrow(reader, ATTR).ok()?);
    must!(",\"uid\":", node.uid = narrow(reader, ATTR).ok()?);
    must!(",\"gid\":", node.gid = narrow(reader, ATTR).ok()?);
    must!(",\"atime\":", node.atime = reader.i64().ok()?);
    must!(",\"mtime\":", node.mtime = reader.i64().ok()?);
    must!(",\"ctime\":", node.ctime = reader.i64().ok()?);
    may!(",\"atimensec\":", atimensec);
    may!(",\"mtimensec\":", mtimensec);
    may!(",\"ctimensec\":", ctimensec);
    must!(",\"nlink\":", node.nlink = narrow(reader, ATTR).ok()?);
    must!(",\"length\":", node.length = reader.u64().ok()?);
    may!(",\"rdev\":", rdev);
    may!(",\"tier\":", tier);
    (reader.literal(b"}") && node.mode < 1 << 12).then_some(node)
}

fn any_attr(reader: &mut Reader<'_>) -> Result<Node> {
    let mut node = Node::default();
    object(reader, &mut |key, reader| {
        match key {
            b"inode" => node.inode = reader.u64()?,
            b"flags" => node.flags = narrow(reader, ATTR)?,
            b"type" => node.kind = FileType::read_json(reader)?,
            b"mode" => node.mode = narrow::<u16>(reader, ATTR)? & 0xfff,
            b"uid" => node.uid = narrow(reader, ATTR)?,
            b"gid" => node.gid = narrow(reader, ATTR)?,
            b"atime" => node.atime = reader.i64()?,
            b"mtime" => node.mtime = reader.i64()?,
            b"ctime" => node.ctime = reader.i64()?,
            b"atimensec" => node.atimensec = narrow(reader, ATTR)?,
            b"mtimensec" => node.mtimensec = narrow(reader, ATTR)?,
            b"ctimensec" => node.ctimensec = narrow(reader, ATTR)?,
            b"nlink" => node.nlink = narrow(reader, ATTR)?,
            b"length" => node.length = reader.u64()?,
            b"rdev" => node.rdev = narrow(reader, ATTR)?,
            b"tier" => node.tier = narrow(reader, ATTR)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(node)
}

/// Reads one extended attribute: its name is plain JSON, its value escaped on top of that.
pub(super) fn xattr(reader: &mut Reader<'_>) -> Result<(Vec<u8>, Vec<u8>)> {
    let (mut name, mut value) = (Vec::new(), Vec::new());
    object(reader, &mut |key, reader| {
        match key {
            b"name" => name = reader.text()?.into_owned(),
            b"value" => value = unescape(reader.text()?.into_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if name.is_empty() {
        return Err(Error::malformed("xattr", "it has no name"));
    }
    Ok((name, value))
}

/// Reads an ACL rule; it has no id yet.
pub(super) fn rule(reader: &mut Reader<'_>) -> Result<Acl> {
    const WHAT: &str = "ACL rule";
    const UNSET: u16 = u16::MAX;
    let mut rule = Acl { owner: UNSET, group: UNSET, mask: UNSET, other: UNSET, ..Acl::default() };
    object(reader, &mut |key, reader| {
        match key {
            b"owner" => rule.owner = narrow(reader, WHAT)?,
            b"group" => rule.group = narrow(reader, WHAT)?,
            b"other" => rule.other = narrow(reader, WHAT)?,
            b"mask" => rule.mask = narrow(reader, WHAT)?,
            b"users" => rule.users = entries(reader)?,
            b"groups" => rule.groups = entries(reader)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(rule)
}

fn entries(reader: &mut Reader<'_>) -> Result<AclEntries> {
    const WHAT: &str = "ACL entry";
    let mut entries = Vec::new();
    list(reader, &mut |reader| {
        let (mut id, mut permission) = (0, 0);
        object(reader, &mut |key, reader| {
            match key {
                b"id" => id = narrow(reader, WHAT)?,
                b"perm" => permission = narrow(reader, WHAT)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        entries.push((id, permission));
        Ok(())
    })?;
    Ok(AclEntries(entries))
}

/// Reads one chunk: its index and its slices.
pub(super) fn chunk(reader: &mut Reader<'_>) -> Result<(u32, Vec<Slice>)> {
    let (mut index, mut slices) = (0, Vec::new());
    object(reader, &mut |key, reader| {
        match key {
            b"index" => index = narrow(reader, "chunk")?,
            b"slices" => list(reader, &mut |reader| {
                slices.push(slice(reader)?);
                Ok(())
            })?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((index, slices))
}

/// Up to v1.0.0-rc3 the id of a slice is `chunkid`.
fn slice(reader: &mut Reader<'_>) -> Result<Slice> {
    const WHAT: &str = "slice";
    let (mut slice, mut old_id) = (Slice::default(), 0);
    object(reader, &mut |key, reader| {
        match key {
            b"id" => slice.id = reader.u64()?,
            b"size" => slice.size = narrow(reader, WHAT)?,
            b"len" => slice.len = narrow(reader, WHAT)?,
            b"pos" => slice.pos = narrow(reader, WHAT)?,
            b"off" => slice.off = narrow(reader, WHAT)?,
            b"chunkid" => old_id = reader.u64()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if slice.id == 0 {
        slice.id = old_id;
    }
    Ok(slice)
}

/// The limits of a quota: space in bytes, and inodes.
pub(super) fn limits(reader: &mut Reader<'_>) -> Result<(i64, i64)> {
    let (mut space, mut inodes) = (0, 0);
    object(reader, &mut |key, reader| {
        match key {
            b"maxSpace" => space = reader.i64()?,
            b"maxInodes" => inodes = reader.i64()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((space, inodes))
}

/// A session and the inodes that it keeps.
pub(super) fn sustained(reader: &mut Reader<'_>) -> Result<(u64, Vec<u64>)> {
    let (mut session, mut inodes) = (0, Vec::new());
    object(reader, &mut |key, reader| {
        match key {
            b"sid" => session = reader.u64()?,
            b"inodes" => list(reader, &mut |reader| {
                inodes.push(reader.u64()?);
                Ok(())
            })?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((session, inodes))
}

/// A file that waits for its data to be freed: inode, length, and when it was queued.
pub(super) fn del_file(reader: &mut Reader<'_>) -> Result<(u64, u64, i64)> {
    let (mut inode, mut length, mut expire) = (0, 0, 0);
    object(reader, &mut |key, reader| {
        match key {
            b"inode" => inode = reader.u64()?,
            b"length" => length = reader.u64()?,
            b"expire" => expire = reader.i64()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((inode, length, expire))
}
