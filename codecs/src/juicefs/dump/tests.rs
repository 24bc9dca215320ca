//! A whole dump, walked through and written again.

use proptest::prelude::*;

use super::*;
use crate::Error;
use crate::juicefs::kinds::DelFile;
use crate::juicefs::types::{Limit, Slice};

/// The complete example of the format's description: what JuiceFS 1.4.1 prints of a small volume.
const EXAMPLE: &str = include_str!("example.json");

/// Walks through a text that comes in parts of `part` bytes.
fn events(text: &[u8], part: usize) -> Result<Vec<Event>, Error> {
    let (mut walk, mut events, mut end) = (Walk::new(), Vec::new(), part.min(text.len()));
    let mut begin = 0;
    while !walk.is_over() {
        let mut input = &text[begin..end];
        let before = input.len();
        match walk.step(&mut input) {
            Ok(event) => {
                begin += before - input.len();
                events.extend(event);
            }
            Err(error) if end == text.len() => return Err(error),
            Err(_) => end = (end + part).min(text.len()),
        }
    }
    Ok(events)
}

/// An entry that is being written again.
#[derive(Default)]
struct Entry {
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    chunks: Vec<(u32, Vec<Slice>)>,
    rules: Vec<(AclRole, Acl)>,
    children: usize,
    has_entries: bool,
    is_written: bool,
}

impl Entry {
    fn write(&mut self, writer: &mut Writer) {
        if !std::mem::replace(&mut self.is_written, true) {
            writer.xattrs(&self.xattrs);
            self.rules.iter().for_each(|(role, rule)| writer.acl(*role, rule));
            let are_many = self.chunks.len() > 1;
            if !self.chunks.is_empty() {
                writer.chunks();
                for (position, (index, slices)) in self.chunks.iter().enumerate() {
                    writer.chunk(*index, slices, position == 0, are_many);
                }
                writer.end_chunks(are_many);
            }
        }
    }
}

/// Writes again what was walked through.
fn written(events: &[Event]) -> String {
    let (mut head, mut del_files, mut writer) = (Head::default(), Vec::new(), Writer::default());
    let mut stack: Vec<Entry> = Vec::new();
    let mut trees = 0;
    for event in events {
        match event {
            Event::Setting(text) => head.setting = text.clone(),
            Event::Counter(name, value) => drop(head.counters.insert(counter_name(name).to_vec(), *value)),
            Event::Sustained(sid, inodes) => drop(head.sustained.insert(*sid, inodes.clone())),
            Event::DelFile(inode, length, expire) => {
                del_files.push(DelFile { inode: *inode, length: *length, expire: *expire });
            }
            Event::Quota(class, id, (space, inodes)) => {
                head.quotas[usize::from(*class)].insert(*id, (Limit(*space), Limit(*inodes)));
            }
            Event::ChangeLog | Event::UnknownCounter => {}
            Event::Root(tree) => {
                if trees > 0 {
                    writer.out.push(b',');
                }
                trees += 1;
                writer.root(if *tree == Tree::Files { "FSTree" } else { "Trash" });
                stack.push(Entry::default());
            }
            Event::Enter(name) => {
                let parent = stack.last_mut().unwrap();
                writer.enter(name, parent.children == 0);
                parent.children += 1;
                stack.push(Entry::default());
            }
            Event::Attr(node) => writer.attr(node),
            Event::Symlink(target) => writer.symlink(target),
            Event::Xattr(name, value) => stack.last_mut().unwrap().xattrs.push((name.clone(), value.clone())),
            Event::Acl(role, rule) => stack.last_mut().unwrap().rules.push((*role, (**rule).clone())),
            Event::Chunk(index, slices) => stack.last_mut().unwrap().chunks.push((*index, slices.clone())),
            Event::Entries => {
                let entry = stack.last_mut().unwrap();
                entry.write(&mut writer);
                entry.has_entries = true;
                writer.entries();
            }
            Event::Leave => {
                let mut entry = stack.pop().unwrap();
                entry.write(&mut writer);
                if entry.has_entries {
                    writer.end_entries();
                }
                writer.leave();
            }
        }
    }
    let mut out = Vec::new();
    head.begin(&mut out).unwrap();
    for (index, file) in del_files.iter().enumerate() {
        Head::del_file(index == 0, file, &mut out);
    }
    head.end(!del_files.is_empty(), &mut out);
    out.append(&mut writer.out);
    out.extend_from_slice(b"\n}\n");
    String::from_utf8(out).unwrap()
}

#[test]
fn the_example_is_written_as_it_was_read() {
    let whole = events(EXAMPLE.as_bytes(), usize::MAX).unwrap();
    assert_eq!(written(&whole), EXAMPLE);
    assert_eq!(events(EXAMPLE.as_bytes(), 7).unwrap(), whole);
}

#[test]
fn a_cut_text_is_never_a_dump() {
    let text = EXAMPLE.trim_end().as_bytes();
    for end in 0..text.len() {
        assert!(events(&text[..end], usize::MAX).is_err(), "{end}");
    }
}

#[test]
fn any_order_nulls_and_unknown_keys_are_read() {
    let text = r#" {"FSTree": {"later": {"attr": {"inode": 9}, "a": [1, {"b": "]}"}, null]}, "entries": null,
        "chunks": null, "xattrs": null, "posix_acl_access": null,
        "attr": {"nlink": 2, "type": "directory", "unknown": [3], "inode": 1, "mode": 511}},
        "New": {"FSTree": {"attr": null}}, "Sustained": null, "Trash": null, "N": 1,
        "Quotas": {"7": {"maxInodes": -1, "maxSpace": 0}},
        "Counters": {"later": {"a": [1.5]}, "usedSpace": 7, "ratio": 0.5}} "#;
    let events = events(text.as_bytes(), 1).unwrap();
    assert_eq!(events.len(), 7, "{events:?}");
    let counters = [Event::UnknownCounter, Event::Counter(b"usedSpace".to_vec(), 7), Event::UnknownCounter];
    assert_eq!(events[4..], counters);
    assert_eq!(events[0], Event::Root(Tree::Files));
    assert!(matches!(&events[1], Event::Attr(node) if node.inode == 1 && node.mode == 511 && node.nlink == 2));
    assert_eq!(events[3], Event::Quota(0, 7, (0, -1)));
}

#[test]
fn what_is_out_of_range_is_an_error() {
    for wrong in
        ["\"mode\":65536", "\"uid\":4294967296", "\"nlink\":-1", "\"atimensec\":1000000000", "\"type\":\"odd\""]
    {
        let text = format!(r#"{{"FSTree":{{"attr":{{"inode":1,"type":"directory",{wrong}}}}}}}"#);
        assert!(events(text.as_bytes(), usize::MAX).is_err(), "{wrong}");
    }
    assert!(events(b"{\"FSTree\":{},\"FSTree\":{}}", usize::MAX).is_err());
    assert!(events(b"[]", usize::MAX).is_err());
}

#[test]
fn depth_has_a_bound_and_no_recursion() {
    let deep = format!("{{\"x\":{}", "[".repeat(MAX_DEPTH + 2));
    assert!(events(deep.as_bytes(), usize::MAX).is_err());
}

proptest! {
    #[test]
    fn no_byte_changed_panics(at in 0..EXAMPLE.len(), byte: u8) {
        let mut text = EXAMPLE.as_bytes().to_vec();
        text[at] = byte;
        drop(events(&text, usize::MAX));
    }
}
