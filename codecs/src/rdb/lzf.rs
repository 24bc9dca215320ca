//! LZF, the compression of strings: runs of literals, and copies of up to 264 bytes from at most 8 KiB back.

use crate::{Error, Result};

/// The most bytes that one compressed byte can stand for: three bytes make a copy of 264.
const MAX_EXPANSION: u64 = 88;

const WHAT: &str = "LZF string";

/// Unpacks `packed` into `out`, which is cleared first. Fails where the result would not be `unpacked` bytes long.
pub(super) fn decompress(packed: &[u8], unpacked: u64, out: &mut Vec<u8>) -> Result<()> {
    out.clear();
    if unpacked > packed.len() as u64 * MAX_EXPANSION {
        return Err(Error::malformed(WHAT, format!("{} bytes cannot unpack to {unpacked}", packed.len())));
    }
    let length = usize::try_from(unpacked).map_err(|_| Error::malformed(WHAT, "longer than memory"))?;
    out.reserve(length);
    let mut input = packed;
    while let Some((&control, rest)) = input.split_first() {
        input = rest;
        if control < 32 {
            literals(&mut input, usize::from(control) + 1, out)?;
        } else {
            copy(&mut input, control, out)?;
        }
        if out.len() > length {
            break;
        }
    }
    match out.len() == length {
        true => Ok(()),
        false => Err(Error::malformed(WHAT, format!("does not unpack to its declared {length} bytes"))),
    }
}

#[inline]
fn literals(input: &mut &[u8], count: usize, out: &mut Vec<u8>) -> Result<()> {
    let (head, rest) = input.split_at_checked(count).ok_or_else(|| Error::malformed(WHAT, "ends inside literals"))?;
    out.extend_from_slice(head);
    *input = rest;
    Ok(())
}

#[inline]
fn copy(input: &mut &[u8], control: u8, out: &mut Vec<u8>) -> Result<()> {
    let mut next = || {
        let (&head, rest) = input.split_first().ok_or_else(|| Error::malformed(WHAT, "ends inside a copy"))?;
        *input = rest;
        Ok::<_, Error>(usize::from(head))
    };
    let short = usize::from(control >> 5);
    let count = if short == 7 { 9 + next()? } else { 2 + short };
    let back = (usize::from(control & 0x1f) << 8 | next()?) + 1;
    let from = out.len().checked_sub(back).ok_or_else(|| Error::malformed(WHAT, "copies from before its start"))?;
    if back >= count {
        out.extend_from_within(from..from + count);
        return Ok(());
    }
    if let (1, Some(&last)) = (back, out.last()) {
        out.resize(out.len() + count, last);
        return Ok(());
    }
    // The copy overlaps what it writes: it repeats the last `back` bytes.
    let mut left = count;
    while left > 0 {
        let step = left.min(out.len() - from);
        out.extend_from_within(from..from + step);
        left -= step;
    }
    Ok(())
}
