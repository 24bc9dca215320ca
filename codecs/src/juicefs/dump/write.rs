//! The trees of a dump, written: each entry with its fields on lines of their own, children after them. Whoever writes
//! gives the entries in the order of the tree, children by name.

use super::AclRole;
use super::escape::{escape, escape_ascii};
use crate::field::Field;
use crate::json::{write_i64, write_u64};
use crate::juicefs::kinds::{Acl, Node};
use crate::juicefs::types::Slice;

/// Writes trees, line by line, and keeps the indentation.
#[derive(Debug, Default)]
pub struct Writer {
    /// What was written and not yet taken.
    pub out: Vec<u8>,
    /// How deep the entry at hand lies, in steps of two spaces.
    pub indent: usize,
    /// Whether names, targets and values are written in ASCII alone, though JuiceFS itself does not.
    pub ascii: bool,
}

impl Writer {
    /// Begins a tree of this name, `FSTree` or `Trash`.
    pub fn root(&mut self, name: &str) {
        self.indent = 1;
        self.line();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\": {");
    }

    /// Begins an entry of the directory at hand; `is_first` where none came before.
    pub fn enter(&mut self, name: &[u8], is_first: bool) {
        if !is_first {
            self.out.push(b',');
        }
        self.indent += 2;
        self.line();
        self.out.push(b'"');
        self.escaped(name);
        self.out.extend_from_slice(b"\": {");
    }

    /// The attributes: the first field of an entry.
    pub fn attr(&mut self, node: &Node) {
        self.indent += 1;
        self.line();
        self.indent -= 1;
        let out = &mut self.out;
        out.extend_from_slice(b"\"attr\": {\"inode\":");
        write_u64(node.inode, out);
        let may = |name: &[u8], value: u64, out: &mut Vec<u8>| {
            if value != 0 {
                out.extend_from_slice(name);
                write_u64(value, out);
            }
        };
        may(b",\"flags\":", u64::from(node.flags), out);
        out.extend_from_slice(b",\"type\":");
        node.kind.write_json(out);
        for (name, value) in [
            (&b",\"mode\":"[..], u64::from(node.mode)),
            (b",\"uid\":", u64::from(node.uid)),
            (b",\"gid\":", u64::from(node.gid)),
        ] {
            out.extend_from_slice(name);
            write_u64(value, out);
        }
        for (name, value) in
            [(&b",\"atime\":"[..], node.atime), (b",\"mtime\":", node.mtime), (b",\"ctime\":", node.ctime)]
        {
            out.extend_from_slice(name);
            write_i64(value, out);
        }
        may(b",\"atimensec\":", u64::from(node.atimensec), out);
        may(b",\"mtimensec\":", u64::from(node.mtimensec), out);
        may(b",\"ctimensec\":", u64::from(node.ctimensec), out);
        out.extend_from_slice(b",\"nlink\":");
        write_u64(u64::from(node.nlink), out);
        out.extend_from_slice(b",\"length\":");
        write_u64(node.length, out);
        may(b",\"rdev\":", u64::from(node.rdev), out);
        may(b",\"tier\":", u64::from(node.tier), out);
        out.push(b'}');
    }

    /// The target of a symbolic link.
    pub fn symlink(&mut self, target: &[u8]) {
        self.field(b"\"symlink\": \"");
        self.escaped(target);
        self.out.push(b'"');
    }

    /// The extended attributes, by name; nothing where there are none. A name that is no UTF-8 is damaged: this form has no
    /// way to hold it.
    pub fn xattrs(&mut self, xattrs: &[(Vec<u8>, Vec<u8>)]) {
        if xattrs.is_empty() {
            return;
        }
        self.field(b"\"xattrs\": [");
        for (index, (name, value)) in xattrs.iter().enumerate() {
            self.out.extend_from_slice(if index == 0 { b"{\"name\":" } else { b",{\"name\":" });
            self.string(name);
            self.out.extend_from_slice(b",\"value\":");
            let mut text = Vec::with_capacity(value.len());
            if self.ascii {
                escape_ascii(value, &mut text)
            } else {
                escape(value, &mut text)
            }
            self.string(&text);
            self.out.push(b'}');
        }
        self.out.push(b']');
    }

    /// An ACL rule.
    pub fn acl(&mut self, role: AclRole, rule: &Acl) {
        self.field(match role {
            AclRole::Access => b"\"posix_acl_access\": {\"owner\":",
            AclRole::Default => b"\"posix_acl_default\": {\"owner\":",
        });
        let out = &mut self.out;
        write_u64(u64::from(rule.owner), out);
        for (name, value) in
            [(&b",\"group\":"[..], rule.group), (b",\"other\":", rule.other), (b",\"mask\":", rule.mask)]
        {
            out.extend_from_slice(name);
            write_u64(u64::from(value), out);
        }
        for (name, entries) in [(&b",\"users\":"[..], &rule.users), (b",\"groups\":", &rule.groups)] {
            out.extend_from_slice(name);
            if entries.0.is_empty() { out.extend_from_slice(b"null") } else { entries.write_json(out) }
        }
        out.push(b'}');
    }

    /// Begins the chunks; two or more are a line each.
    pub fn chunks(&mut self) {
        self.field(b"\"chunks\": [");
    }

    /// One of the chunks, by index; `are_many` where there are two or more.
    pub fn chunk(&mut self, index: u32, slices: &[Slice], is_first: bool, are_many: bool) {
        if !is_first {
            self.out.push(b',');
        }
        if are_many {
            self.indent += 2;
            self.line();
            self.indent -= 2;
        }
        self.out.extend_from_slice(b"{\"index\":");
        write_u64(u64::from(index), &mut self.out);
        self.out.extend_from_slice(b",\"slices\":");
        write_slices(slices, &mut self.out);
        self.out.push(b'}');
    }

    /// Ends the chunks.
    pub fn end_chunks(&mut self, are_many: bool) {
        if are_many {
            self.indent += 1;
            self.line();
            self.indent -= 1;
        }
        self.out.push(b']');
    }

    /// Children follow; every directory has them, if none.
    pub fn entries(&mut self) {
        self.field(b"\"entries\": {");
    }

    /// Ends the children of the entry at hand.
    pub fn end_entries(&mut self) {
        self.indent += 1;
        self.line();
        self.indent -= 1;
        self.out.push(b'}');
    }

    /// Ends an entry.
    pub fn leave(&mut self) {
        self.line();
        self.out.push(b'}');
        self.indent = self.indent.saturating_sub(2);
    }

    fn string(&mut self, text: &[u8]) {
        if self.ascii { ascii_string(text, &mut self.out) } else { go_string(text, &mut self.out) }
    }

    fn escaped(&mut self, raw: &[u8]) {
        if self.ascii { escape_ascii(raw, &mut self.out) } else { escape(raw, &mut self.out) }
    }

    fn field(&mut self, begin: &[u8]) {
        self.out.push(b',');
        self.indent += 1;
        self.line();
        self.indent -= 1;
        self.out.extend_from_slice(begin);
    }

    fn line(&mut self) {
        self.out.push(b'\n');
        self.out.resize(self.out.len() + 2 * self.indent, b' ');
    }
}

fn write_slices(slices: &[Slice], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, slice) in slices.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"id\":" } else { b",{\"id\":" });
        write_u64(slice.id, out);
        if slice.pos != 0 {
            out.extend_from_slice(b",\"pos\":");
            write_u64(u64::from(slice.pos), out);
        }
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

/// A string as Go's encoder writes it: `<`, `>`, `&`, U+2028 and U+2029 are escaped, bytes that are no UTF-8 become U+FFFD.
pub(crate) fn go_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        chunk.valid().chars().for_each(|character| go_character(character, out));
        chunk.invalid().iter().for_each(|_| out.extend_from_slice(b"\\ufffd"));
    }
    out.push(b'"');
}

fn go_character(character: char, out: &mut Vec<u8>) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\u{0}'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
            out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
        }
        _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// The same in ASCII alone.
fn ascii_string(text: &[u8], out: &mut Vec<u8>) {
    let mut whole = Vec::with_capacity(text.len() + 2);
    go_string(text, &mut whole);
    for character in String::from_utf8_lossy(&whole).chars() {
        if character.is_ascii() {
            out.push(character as u8);
        } else {
            let mut units = [0; 2];
            let units = character.encode_utf16(&mut units).iter();
            out.extend(units.flat_map(|unit| format!("\\u{unit:04x}").into_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_in_ascii_is_the_same_string() {
        for text in ["", "plain", "é\"<\n", "\u{2028}\u{fffd}", "😀 and 木"] {
            let mut out = Vec::new();
            ascii_string(text.as_bytes(), &mut out);
            assert!(out.is_ascii());
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
