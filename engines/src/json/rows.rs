//! Rows out of the events of a walk: it keeps the directories that are open, which inodes came by already, and gives ACL
//! rules their ids.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher};

use metaferry_codecs::juicefs::dump::{AclRole, Event, Rule, Tree, counter_name};
use metaferry_codecs::juicefs::{
    Chunk, Counter, DelFile, DirStat, Document, Edge, FileType, MAX_NAME, Node, ROOT_INODE, Setting, Slices, Symlink,
    TRASH_INODE, Xattr, acl, setting, used_space,
};
use metaferry_codecs::system::Finding;
use metaferry_pipeline::spill::SpillDir;
use metaferry_pipeline::{Error, Result};
use roaring::RoaringTreemap;

use super::batches::Batches;
use super::totals::{Totals, Use};

/// The length JuiceFS gives a directory, in bytes (`dump.go: decodeEntry`).
const DIRECTORY_LENGTH: u64 = 4096;
/// The names of one directory that are compared, so that none comes twice.
const MOST_NAMES: usize = 2 << 20;
/// What may stand before the attributes of an entry.
const MOST_EARLY: usize = 4096;
/// The mode of the trash (`base.go: Init`).
const TRASH_MODE: u16 = 0o555;

/// An entry that is open.
#[derive(Default)]
struct Open {
    name: Vec<u8>,
    node: Option<Node>,
    /// Whether its inode came by for the first time: only then it becomes rows, and not only a name.
    is_new: bool,
    /// Whether it is inside a directory that is passed over.
    is_passed: bool,
    /// What came before its attributes.
    early: Vec<Event>,
    /// Its children that are directories.
    directories: u32,
    /// Its direct children, and what they hold, in bytes.
    children: Use,
    length: i64,
    /// All that is below it.
    below: Use,
    /// The names of its children, hashed.
    names: HashSet<u64>,
}

/// What was read of a dump.
pub(super) struct Rows {
    stack: Vec<Open>,
    seen: RoaringTreemap,
    /// Ids of rules, by their bytes.
    rules: HashMap<Vec<u8>, u32>,
    pub(super) totals: Totals,
    trash_days: i64,
    /// The inodes that the counters promise.
    promised: Option<i64>,
    /// Those that came by, and those that sessions keep open.
    counted: i64,
    /// The inode of the root, as it stands there.
    root: u64,
    has_trash: bool,
    /// The tree that is walked through.
    tree: Tree,
    has_setting: bool,
}

fn wrong(what: impl Into<String>) -> Error {
    Error::corrupt(what)
}

impl Rows {
    pub(super) fn new(spill: &SpillDir) -> Self {
        Self {
            stack: Vec::new(),
            seen: RoaringTreemap::new(),
            rules: HashMap::new(),
            totals: Totals::new(spill),
            trash_days: 0,
            promised: None,
            counted: 0,
            root: 0,
            has_trash: false,
            tree: Tree::Files,
            has_setting: false,
        }
    }

    pub(super) fn has_setting(&self) -> bool {
        self.has_setting
    }

    /// A whole dump that has over 1 % fewer inodes than its counters promise was cut, by whoever wrote it or after. One of a
    /// part of a volume has the counters of the whole.
    fn has_shortage(&self) -> bool {
        let is_whole = self.has_trash && self.root == ROOT_INODE;
        is_whole && self.promised.is_some_and(|promised| promised.saturating_sub(self.counted) > promised / 100)
    }

    pub(super) fn has_counters(&self) -> bool {
        self.promised.is_some()
    }

    pub(super) fn shortage(&self) -> Option<Finding> {
        let promised = self.promised.filter(|_| self.has_shortage())?;
        let text = format!("the counters promise {promised} inodes, and there are {}", self.counted);
        Some(Finding { sort: "inodes missing", text, mendable: false })
    }

    /// Where in the tree the walk stands.
    pub(super) fn path(&self) -> String {
        let names = self.stack.iter().skip(1).map(|open| String::from_utf8_lossy(&open.name).into_owned());
        format!("/{}", names.collect::<Vec<_>>().join("/"))
    }

    /// Takes one event.
    pub(super) fn take(&mut self, event: Event, out: &mut Batches) -> Result<()> {
        match event {
            Event::Root(tree) => {
                self.stack.clear();
                self.stack.push(Open::default());
                self.tree = tree;
                self.has_trash |= tree == Tree::Trash;
            }
            Event::Enter(name) => self.enter(name)?,
            Event::Leave => self.leave(out)?,
            Event::Entries => {
                if self.stack.last().is_none_or(|open| open.node.is_none()) {
                    return Err(Error::unsupported("a directory whose entries stand before its attributes"));
                }
            }
            Event::Attr(node) => self.attr(*node, out)?,
            Event::Symlink(_) | Event::Xattr(..) | Event::Acl(..) | Event::Chunk(..) => self.field(event, out)?,
            other => self.aside(other, out)?,
        }
        Ok(())
    }

    fn enter(&mut self, name: Vec<u8>) -> Result<()> {
        let Some(parent) = self.stack.last_mut() else { return Err(wrong("an entry outside a tree")) };
        if name.is_empty() {
            return Err(wrong("an entry without a name"));
        }
        if name.len() > MAX_NAME {
            return Err(wrong(format!("a name of {} bytes: {MAX_NAME} is the most", name.len())));
        }
        if parent.node.as_ref().is_some_and(|node| node.kind != FileType::DIRECTORY) {
            return Err(wrong("entries of something that is no directory"));
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(&name);
        if parent.names.len() < MOST_NAMES && !parent.names.insert(hasher.finish()) {
            return Err(wrong(format!("{:?} is there twice", String::from_utf8_lossy(&name))));
        }
        let is_passed = parent.is_passed || !parent.is_new;
        self.stack.push(Open { name, is_passed, ..Open::default() });
        Ok(())
    }

    fn attr(&mut self, mut node: Node, out: &mut Batches) -> Result<()> {
        let is_root = self.stack.len() == 1;
        if is_root && self.tree == Tree::Files {
            self.root = std::mem::replace(&mut node.inode, ROOT_INODE);
        }
        let is_known = self.seen.contains(node.inode);
        let is_above = |open: &Open| open.node.as_ref().is_some_and(|above| above.inode == node.inode);
        if is_known && node.kind == FileType::DIRECTORY && self.stack.iter().any(is_above) {
            return Err(wrong(format!("directory {} is inside itself", node.inode)));
        }
        let parent =
            self.stack.iter().rev().nth(1).and_then(|open| open.node.as_ref()).map_or(ROOT_INODE, |node| node.inode);
        let Some(open) = self.stack.last_mut() else { return Err(wrong("attributes outside a tree")) };
        if open.node.is_some() {
            return Err(wrong("attributes twice"));
        }
        if is_root && node.kind != FileType::DIRECTORY {
            return Err(wrong("the root of a tree is no directory"));
        }
        node.parent = parent;
        node.length = match node.kind {
            FileType::REGULAR => node.length,
            FileType::DIRECTORY => DIRECTORY_LENGTH,
            _ => 0,
        };
        open.is_new = !open.is_passed && self.seen.insert(node.inode);
        open.node = Some(node);
        let early = std::mem::take(&mut open.early);
        early.into_iter().try_for_each(|event| self.field(event, out))
    }

    /// Something that belongs to the entry at hand.
    fn field(&mut self, event: Event, out: &mut Batches) -> Result<()> {
        let Some(open) = self.stack.last_mut() else { return Err(wrong("a field outside a tree")) };
        let Some(node) = &mut open.node else {
            if open.early.len() >= MOST_EARLY {
                return Err(Error::unsupported("an entry whose attributes stand behind much else that it has"));
            }
            open.early.push(event);
            return Ok(());
        };
        if !open.is_new {
            return Ok(());
        }
        match event {
            Event::Symlink(target) if node.kind == FileType::SYMLINK => {
                node.length = target.len() as u64;
                out.hold(target.len());
                out.symlinks.push(Symlink { inode: node.inode, target });
            }
            Event::Xattr(name, value) => {
                out.hold(name.len() + value.len());
                out.xattrs.push(Xattr { inode: node.inode, name, value });
            }
            Event::Chunk(index, slices) if node.kind == FileType::REGULAR && !slices.is_empty() => {
                out.hold(size_of_val(slices.as_slice()));
                out.chunks.push(Chunk { inode: node.inode, index, slices: Slices(slices) });
            }
            Event::Acl(role, rule) => {
                let next = u32::try_from(self.rules.len() + 1).unwrap_or(u32::MAX);
                let mut content = Vec::new();
                acl::encode(&rule, &mut content);
                let id = *self.rules.entry(content).or_insert_with(|| {
                    out.hold(size_of::<Rule>() + rule.users.0.len() + rule.groups.0.len());
                    out.acls.push(Rule { id: next, ..*rule });
                    next
                });
                match role {
                    AclRole::Access => node.access_acl = id,
                    AclRole::Default => node.default_acl = id,
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn leave(&mut self, out: &mut Batches) -> Result<()> {
        let Some(open) = self.stack.last() else { return Err(wrong("an end outside a tree")) };
        if open.node.is_none() {
            return Err(wrong("an entry without attributes"));
        }
        let Some(mut open) = self.stack.pop() else { return Ok(()) };
        let Some(mut node) = open.node.take() else { return Ok(()) };
        let is_directory = node.kind == FileType::DIRECTORY;
        if self.stack.is_empty() {
            return self.root(node, &open, out);
        }
        if open.is_passed || (is_directory && !open.is_new) {
            if !open.is_passed {
                let place = format!("{}/{}", self.path(), String::from_utf8_lossy(&open.name));
                let what = "is here too; neither this entry nor what is below it is carried";
                out.find("directory twice", format!("{place}: directory {} {what}", node.inode));
            }
            out.leave("entries of directories that were seen elsewhere before", 1);
            return Ok(());
        }
        self.name(&node, &mut open, out)?;
        if !open.is_new {
            return Ok(());
        }
        self.counted += 1;
        self.totals.owner(&node)?;
        if is_directory {
            self.directory(&mut node, &open, out)?;
        }
        if !is_directory && node.nlink > 1 {
            return self.totals.linked(node);
        }
        out.hold(size_of::<Node>());
        out.nodes.push(node);
        Ok(())
    }

    /// The name of an entry, and what it counts for its parent.
    fn name(&mut self, node: &Node, open: &mut Open, out: &mut Batches) -> Result<()> {
        let Some(above) = self.stack.last_mut() else { return Ok(()) };
        let parent = above.node.as_ref().map_or(ROOT_INODE, |node| node.inode);
        let space = used_space(node.kind, node.length);
        if node.kind == FileType::REGULAR {
            above.length = above.length.wrapping_add(node.length.cast_signed());
        }
        above.directories += u32::from(node.kind == FileType::DIRECTORY);
        above.children.add(Use { space, inodes: 1 });
        above.below.add(Use { space: space.wrapping_add(open.below.space), inodes: open.below.inodes.wrapping_add(1) });
        if node.kind != FileType::DIRECTORY && node.nlink > 1 {
            self.totals.name(node.inode, parent)?;
        }
        out.hold(size_of::<Edge>() + open.name.len());
        out.edges.push(Edge { parent, name: std::mem::take(&mut open.name), inode: node.inode, kind: node.kind });
        Ok(())
    }

    /// What a directory holds becomes known with its end.
    fn directory(&mut self, node: &mut Node, open: &Open, out: &mut Batches) -> Result<()> {
        let in_trash = self.tree == Tree::Trash;
        node.nlink = if node.inode >= TRASH_INODE { 2 } else { open.directories.saturating_add(2) };
        if node.inode != TRASH_INODE {
            let Use { space, inodes } = open.children;
            out.stats.push(DirStat { inode: node.inode, length: open.length, space, inodes });
        }
        if in_trash { Ok(()) } else { self.totals.directory(node.inode, open.below) }
    }

    fn root(&mut self, mut node: Node, open: &Open, out: &mut Batches) -> Result<()> {
        self.directory(&mut node, open, out)?;
        // What JuiceFS prints where a volume has no trash.
        let is_made_up = node.inode == TRASH_INODE && node.mode == 0 && node.ctime == 0 && open.children.inodes == 0;
        if is_made_up {
            self.seen.remove(TRASH_INODE);
        } else {
            out.nodes.push(node);
        }
        Ok(())
    }

    /// Something outside the trees.
    fn aside(&mut self, event: Event, out: &mut Batches) -> Result<()> {
        match event {
            Event::Setting(text) => {
                let document = setting::stored_form(&text)?;
                self.trash_days = setting::read(&document)?.trash_days;
                self.has_setting = true;
                out.settings.push(Setting { document: Document(document) });
            }
            Event::Counter(name, value) => {
                if name == b"usedInodes" {
                    self.promised = Some(value);
                }
                out.counters.push(Counter { name: counter_name(&name).to_vec(), value });
            }
            Event::UnknownCounter => out.leave("unknown counters", 1),
            Event::Sustained(_, inodes) => {
                self.counted += inodes.len() as i64;
                out.leave("inodes that sessions kept open", inodes.len() as u64);
            }
            Event::DelFile(inode, length, expire) => {
                out.hold(size_of::<DelFile>());
                out.del_files.push(DelFile { inode, length, expire });
            }
            Event::Quota(class, id, limits) => self.totals.quota(class, id, limits),
            Event::ChangeLog => out.leave("lines of the change log", 1),
            _ => {}
        }
        Ok(())
    }

    /// What is added where all was read: a volume that keeps what is removed has a trash.
    pub(super) fn end(&mut self, out: &mut Batches) {
        if self.trash_days > 0 && !self.seen.contains(TRASH_INODE) {
            out.nodes.push(Node {
                inode: TRASH_INODE,
                kind: FileType::DIRECTORY,
                mode: TRASH_MODE,
                nlink: 2,
                length: DIRECTORY_LENGTH,
                parent: ROOT_INODE,
                ..Node::default()
            });
        }
    }
}
