//! The ACL rule (`pkg/acl/acl.go: Rule.Encode`): four permissions, then named users and named groups with their counts.

use super::kinds::Acl;
use super::types::AclEntries;
use crate::{Error, Result};

const WHAT: &str = "ACL rule";

/// Appends the binary rule that Redis and ordered stores hold.
pub fn encode(rule: &Acl, out: &mut Vec<u8>) {
    for permission in [rule.owner, rule.group, rule.mask, rule.other] {
        out.extend_from_slice(&permission.to_be_bytes());
    }
    for entries in [&rule.users, &rule.groups] {
        out.extend_from_slice(&u32::try_from(entries.0.len()).unwrap_or(u32::MAX).to_be_bytes());
        entries.encode(out);
    }
}

/// Reads the binary rule of this id.
///
/// # Errors
/// Counts that do not fit the length.
pub fn decode(id: u32, bytes: &[u8]) -> Result<Acl> {
    let (head, mut rest) = bytes.split_first_chunk::<8>().ok_or(Error::Truncated(WHAT))?;
    let [a, b, c, d, e, f, g, h] = *head;
    let users = entries(&mut rest)?;
    let groups = entries(&mut rest)?;
    if !rest.is_empty() {
        return Err(Error::malformed(WHAT, format!("{} bytes too many", rest.len())));
    }
    Ok(Acl {
        id,
        owner: u16::from_be_bytes([a, b]),
        group: u16::from_be_bytes([c, d]),
        mask: u16::from_be_bytes([e, f]),
        other: u16::from_be_bytes([g, h]),
        users,
        groups,
    })
}

fn entries(input: &mut &[u8]) -> Result<AclEntries> {
    let (count, rest) = input.split_first_chunk::<4>().ok_or(Error::Truncated(WHAT))?;
    let length = (u32::from_be_bytes(*count) as usize).checked_mul(6).ok_or(Error::Truncated(WHAT))?;
    let (bytes, rest) = rest.split_at_checked(length).ok_or(Error::Truncated(WHAT))?;
    *input = rest;
    AclEntries::decode(bytes)
}
