//! Settling: the sums of all workers come by in order of inode and slice; each is held against what the volume says.

use super::parents::{Lanes, node_of};
use super::{Census, LINK, Rule, section};
use crate::juicefs::kinds::{Batch, Counter, DirStat, Links, Node, Parent, SliceRef};
use crate::juicefs::{ROOT_INODE, TRASH_INODE, counter};
use crate::system::{Advance, Finding, Outcome, Sums};

/// Rows in a batch that a census emits.
const BATCH_ROWS: usize = 4096;

type Emit<'a, E> = &'a mut dyn FnMut(Outcome<Batch>) -> Result<(), E>;

/// All sums under one id, which may be an inode and a slice at once.
#[derive(Default)]
struct Group {
    file: [i64; 4],
    parents: i64,
    directory: [i64; 4],
    children: [i64; 4],
    stored: [i64; 4],
    slice: [i64; 4],
    refs: [i64; 4],
    /// A node whose parent is wrong.
    node: Lanes,
    /// Parent rows that are wrong.
    wrong_rows: u64,
}

struct Settling<'a, E> {
    census: Census,
    emit: Emit<'a, E>,
    references: Vec<SliceRef>,
    /// Of directories that had none.
    statistics: Vec<DirStat>,
}

pub(super) fn settle<E>(census: Census, sums: Sums<'_, E>, emit: Emit<'_, E>) -> Result<(), E> {
    let mut settling = Settling { census, emit, references: Vec::new(), statistics: Vec::new() };
    let mut current = None;
    let mut group = Group::default();
    while let Some(([id, section], sum)) = sums()? {
        if current.is_some_and(|current| current != id) {
            settling.group(current.unwrap_or(id), &std::mem::take(&mut group))?;
        }
        current = Some(id);
        match section {
            section::FILE => group.file = sum,
            section::PARENTS => group.parents = sum[0],
            section::DIRECTORY => group.directory = sum,
            section::CHILDREN => group.children = sum,
            section::STORED => group.stored = sum,
            section::SLICE => group.slice = sum,
            section::REFS => group.refs = sum,
            section if section & LINK != 0 => {
                group.wrong_rows += 1;
                settling.parent_row([id, section & !LINK], sum)?;
            }
            section => {
                let part = section::NODE.iter().zip(&mut group.node).find(|(number, _)| **number == section);
                part.into_iter().for_each(|(_, lanes)| *lanes = sum);
            }
        }
    }
    if let Some(id) = current {
        settling.group(id, &group)?;
    }
    settling.flush_references()?;
    settling.flush_statistics()?;
    settling.single()?;
    settling.inodes()?;
    settling.quotas()?;
    settling.counters()
}

impl<E> Settling<'_, E> {
    fn found(&mut self, sort: &'static str, mendable: bool, text: String) -> Result<(), E> {
        (self.emit)(Outcome::Found(Finding { sort, text, mendable }))
    }

    fn group(&mut self, id: u64, group: &Group) -> Result<(), E> {
        self.slice(id, group)?;
        // What is open or being cloned is on its way, and in no state to be judged.
        if self.census.seen.held.contains(id) {
            return Ok(());
        }
        self.parents(id, group)?;
        self.file(id, group)?;
        self.directory(id, group)?;
        self.statistics(id, group)
    }

    fn slice(&mut self, id: u64, group: &Group) -> Result<(), E> {
        let ([summed, size, ..], [refs, stored_size, rows, _]) = (group.slice, group.refs);
        if summed == 0 && rows == 0 {
            return Ok(());
        }
        let used = summed + i64::from(self.census.seen.slices.contains(id));
        let stored = if rows == 0 { 1 } else { refs };
        if used > 0 && stored != used && !self.census.options.partial {
            self.found(
                "slice reference",
                true,
                format!("slice {id}: {stored} references are stored, {used} are there"),
            )?;
        }
        if used == 0 && stored > 0 {
            self.unused(id, stored)?;
            if self.census.options.partial {
                return Ok(());
            }
        }
        let size = if summed > 0 { size / summed } else { stored_size / rows.max(1) };
        let refs = if used > 0 { used } else { stored };
        if self.census.works_out() && (refs != 1 || self.census.options.defaults) {
            self.references.push(SliceRef { id, size: u32::try_from(size).unwrap_or(u32::MAX), refs });
            if self.references.len() >= BATCH_ROWS {
                self.flush_references()?;
            }
        }
        Ok(())
    }

    /// Where rows were left out, those that used the slice may be among them: it is left out with them.
    fn unused(&mut self, id: u64, stored: i64) -> Result<(), E> {
        if self.census.options.partial {
            return Ok(());
        }
        self.found("unused slice", false, format!("slice {id}: {stored} references are stored, none is there"))
    }

    /// Slices that are stored with one reference and used by nobody.
    fn single(&mut self) -> Result<(), E> {
        let seen = std::sync::Arc::clone(&self.census.seen);
        seen.single.without(&[&seen.slices]).try_for_each(|id| self.unused(id, 1))
    }

    fn flush_references(&mut self) -> Result<(), E> {
        if self.references.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.references);
        (self.emit)(Outcome::Derived(rows.into()))
    }

    fn file(&mut self, inode: u64, group: &Group) -> Result<(), E> {
        let [extra, nlink, nodes, orphan] = group.file;
        if group.directory[2] > 0 {
            if extra > 0 {
                self.found("directory edges", false, format!("directory {inode}: {} edges lead to it", extra + 1))?;
            }
            return Ok(());
        }
        if nodes == 0 && extra == 0 {
            return Ok(());
        }
        let seen = &self.census.seen;
        if !seen.nodes.contains(inode) {
            return Ok(());
        }
        let edges = extra + i64::from(seen.edges.contains(inode));
        let nlink = if nodes == 0 { 1 } else { nlink };
        if edges != nlink && edges > 0 {
            self.found(
                "link count",
                self.census.options.amend,
                format!("inode {inode}: link count {nlink}, {edges} edges lead to it"),
            )?;
            self.relink(inode, nlink, edges)?;
        }
        if orphan > 0 && group.parents != edges && !self.census.options.amend {
            let text = format!("inode {inode}: parent rows count {}, {edges} edges lead to it", group.parents);
            self.found("parents", false, text)?;
        }
        Ok(())
    }

    fn parent_row(&mut self, [inode, parent]: [u64; 2], [stored, right, ..]: [i64; 4]) -> Result<(), E> {
        // One that counts nothing is none.
        let row = |count| vec![Parent { inode, parent, count }].into();
        (self.emit)(Outcome::Amend { before: row(stored), after: row(right) })
    }

    /// Where entries are in other directories than the node and its parent rows say. Whole nodes come before their links.
    fn parents(&mut self, inode: u64, group: &Group) -> Result<(), E> {
        let node = node_of(inode, &group.node);
        let mut wrong = Vec::new();
        if let Some((node, right)) = &node {
            wrong.push(format!("parent {} is stored, {right} is right", node.parent));
        }
        if group.wrong_rows > 0 {
            wrong.push(format!("{} parent rows do not count its edges", group.wrong_rows));
        }
        if !wrong.is_empty() {
            self.found("parents", true, format!("inode {inode}: {}", wrong.join("; ")))?;
        }
        let Some((before, parent)) = node else { return Ok(()) };
        let after = Node { parent, ..before.clone() };
        (self.emit)(Outcome::Amend { before: vec![before].into(), after: vec![after].into() })
    }

    fn directory(&mut self, inode: u64, group: &Group) -> Result<(), E> {
        let [subdirectories, nlink, nodes, _] = group.directory;
        // JuiceFS does not keep the link counts of the trash root and its hours.
        if nodes == 0 || inode >= TRASH_INODE || nlink == subdirectories + 2 {
            return Ok(());
        }
        let right = subdirectories + 2;
        self.found(
            "link count",
            self.census.options.amend,
            format!("directory {inode}: link count {nlink}, {right} is right"),
        )?;
        self.relink(inode, nlink, right)
    }

    fn relink(&mut self, inode: u64, before: i64, after: i64) -> Result<(), E> {
        if !self.census.options.amend {
            return Ok(());
        }
        let links = |nlink| vec![Links { inode, nlink: u32::try_from(nlink).unwrap_or(u32::MAX) }].into();
        (self.emit)(Outcome::Amend { before: links(before), after: links(after) })
    }

    fn statistics(&mut self, inode: u64, group: &Group) -> Result<(), E> {
        let ([length, space, inodes, _], [old_length, old_space, old_inodes, rows]) = (group.children, group.stored);
        if rows == 0 {
            return self.missing_statistics(inode, group);
        }
        if !self.census.dir_stats || (length, space, inodes) == (old_length, old_space, old_inodes) {
            return Ok(());
        }
        let text = format!(
            "directory {inode}: length {old_length}, space {old_space}, inodes {old_inodes} are stored; \
             {length}, {space}, {inodes} are there"
        );
        self.found("directory statistics", self.census.options.amend, text)?;
        if !self.census.options.amend {
            return Ok(());
        }
        let stat = |length, space, inodes| vec![DirStat { inode, length, space, inodes }].into();
        let before = stat(old_length, old_space, old_inodes);
        (self.emit)(Outcome::Amend { before, after: stat(length, space, inodes) })
    }

    /// A directory need not have any, JuiceFS adds them up then; but its fsck fails on one that has none.
    fn missing_statistics(&mut self, inode: u64, group: &Group) -> Result<(), E> {
        let ([.., nodes, _], [length, space, inodes, _]) = (group.directory, group.children);
        if !self.census.dir_stats || !self.census.options.amend || nodes == 0 || inode == TRASH_INODE {
            return Ok(());
        }
        let text =
            format!("directory {inode}: none are stored; length {length}, space {space}, inodes {inodes} are there");
        self.found("directory statistics", true, text)?;
        self.statistics.push(DirStat { inode, length, space, inodes });
        if self.statistics.len() >= BATCH_ROWS { self.flush_statistics() } else { Ok(()) }
    }

    fn flush_statistics(&mut self) -> Result<(), E> {
        let statistics = std::mem::take(&mut self.statistics);
        if statistics.is_empty() { Ok(()) } else { (self.emit)(Outcome::Derived(statistics.into())) }
    }

    fn inodes(&mut self) -> Result<(), E> {
        let seen = std::sync::Arc::clone(&self.census.seen);
        for inode in seen.edges.without(&[&seen.nodes]) {
            self.found("edge without node", false, format!("inode {inode}: an edge leads to it, but it has no node"))?;
        }
        for inode in seen.nodes.without(&[&seen.edges, &seen.held]) {
            if inode != ROOT_INODE && inode != TRASH_INODE {
                self.found("node without edge", false, format!("inode {inode}: no edge leads to it"))?;
            }
        }
        if !seen.nodes.contains(ROOT_INODE) {
            self.found("root", false, "the root has no node".to_owned())?;
        }
        for id in std::mem::take(&mut self.census.stripped_tokens) {
            let text = format!("delegation token {id}: its bytes were taken out of the dump; it is not carried");
            self.found("token without bytes", false, text)?;
        }
        if self.census.doubled > 0 {
            let text = format!("{} nodes were seen twice", self.census.doubled);
            self.found("doubled node", false, text)?;
        }
        Ok(())
    }

    fn quotas(&mut self) -> Result<(), E> {
        let quotas = std::mem::take(&mut self.census.usage).settle();
        if quotas.is_empty() { Ok(()) } else { (self.emit)(Outcome::Derived(quotas.into())) }
    }

    fn counters(&mut self) -> Result<(), E> {
        let mut counters = std::mem::take(&mut self.census.counters);
        counters.iter_mut().for_each(|row| row.value = counter::at_least_first(&row.name, row.value));
        for (name, right, rule) in self.census.expected() {
            let stored = counters.iter_mut().find(|row| row.name == name);
            let before = counter::at_least_first(name, stored.as_ref().map_or(0, |row| row.value));
            let wrong = match rule {
                Rule::AtLeast => before < right,
                Rule::Exactly => before != right,
            };
            if !wrong {
                continue;
            }
            let text = String::from_utf8_lossy(name).into_owned();
            let is_told = !self.census.options.partial || (rule == Rule::AtLeast && stored.is_some());
            match stored {
                Some(row) if !self.census.options.keep_counters => row.value = right,
                None if !self.census.options.keep_counters => {
                    counters.push(Counter { name: name.to_vec(), value: right })
                }
                _ => {}
            }
            if is_told {
                self.found("counter", true, format!("counter {text}: {before} is stored, {right} is right"))?;
            }
        }
        if self.census.options.mend && !self.census.options.keep_counters {
            self.advance(&mut counters)?;
        }
        counters.sort_by(|one, other| one.name.cmp(&other.name));
        if self.census.works_out() && !counters.is_empty() {
            (self.emit)(Outcome::Derived(counters.into()))?;
        }
        Ok(())
    }

    /// Moves the next inode and the next slice on, past what may have been handed out after these rows were read.
    fn advance(&mut self, counters: &mut Vec<Counter>) -> Result<(), E> {
        let Advance { nodes, objects, largest_object } = self.census.options.advance;
        let after_largest = if largest_object > 0 { largest_object.saturating_add(1) } else { 0 };
        for (name, least, by, most) in [
            (counter::NEXT_INODE, 0, nodes, TRASH_INODE - 1),
            (counter::NEXT_CHUNK, after_largest, objects, i64::MAX.unsigned_abs()),
        ] {
            let stored = counters.iter_mut().find(|row| row.name == name);
            let before = counter::at_least_first(name, stored.as_ref().map_or(0, |row| row.value));
            let after = before.unsigned_abs().max(least).saturating_add(by).min(most).cast_signed().max(before);
            if after == before {
                continue;
            }
            match stored {
                Some(row) => row.value = after,
                None => counters.push(Counter { name: name.to_vec(), value: after }),
            }
            let text = format!("counter {}: moved on from {before} to {after}", String::from_utf8_lossy(name));
            self.found("next number", true, text)?;
        }
        Ok(())
    }
}
