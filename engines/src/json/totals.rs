//! What a dump does not say and its tree tells: how much each directory, user and group uses, and the names of hard links.

use std::collections::BTreeMap;

use metaferry_codecs::juicefs::{Batch, FileType, JuiceFs, Kind, Limit, Node, Parent, Quota, quota_class, used_space};
use metaferry_codecs::system::Batch as _;
use metaferry_pipeline::spill::{Aggregator, Sorted, Sorter, SpillDir, Sums};
use metaferry_pipeline::{Emit, Result};

use super::batches::Batches;

/// What each of the two sums may hold in memory, in bytes.
const BUDGET_BYTES: usize = 4 << 20;

/// How many owners are counted in memory.
const MOST_RECENT: usize = 16 << 10;

/// Space in bytes, and inodes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Use {
    pub(super) space: i64,
    pub(super) inodes: i64,
}

impl Use {
    pub(super) fn add(&mut self, other: Self) {
        self.space = self.space.wrapping_add(other.space);
        self.inodes = self.inodes.wrapping_add(other.inodes);
    }
}

/// The sums of a whole dump.
pub(super) struct Totals {
    /// Below each directory, itself not counted (`dump.go: loadEntries`).
    directories: Aggregator<2>,
    /// Names of hard links, by inode and parent.
    names: Aggregator<1>,
    /// Their nodes: the parent of one is known when all its names are.
    linked: Sorter,
    /// By class and id of an owner: of a few in memory, as most volumes have it.
    recent: BTreeMap<(u8, u32), Use>,
    owners: Aggregator<2>,
    quotas: BTreeMap<(u8, u64), (i64, i64)>,
}

impl Totals {
    pub(super) fn new(spill: &SpillDir) -> Self {
        Self {
            directories: Aggregator::new(spill, BUDGET_BYTES),
            names: Aggregator::new(spill, BUDGET_BYTES),
            linked: Sorter::new(spill, BUDGET_BYTES),
            recent: BTreeMap::new(),
            owners: Aggregator::new(spill, BUDGET_BYTES),
            quotas: BTreeMap::new(),
        }
    }

    pub(super) fn quota(&mut self, class: u8, id: u64, limits: (i64, i64)) {
        self.quotas.insert((class, id), limits);
    }

    pub(super) fn directory(&mut self, inode: u64, below: Use) -> Result<()> {
        self.directories.add([inode, 0], [below.space, below.inodes])
    }

    pub(super) fn name(&mut self, inode: u64, parent: u64) -> Result<()> {
        self.names.add([inode, parent], [1])
    }

    pub(super) fn linked(&mut self, node: Node) -> Result<()> {
        let (mut key, mut row) = (Vec::new(), Vec::new());
        Batch::from(vec![node]).pack(0, &mut key, &mut row);
        self.linked.push(&key, &row)
    }

    /// Counts an inode for its owner. Of links and special files JuiceFS counts nothing (`quota.go: ScanUserGroupUsage`).
    pub(super) fn owner(&mut self, node: &Node) -> Result<()> {
        if node.kind != FileType::REGULAR && node.kind != FileType::DIRECTORY {
            return Ok(());
        }
        let one = Use { space: used_space(node.kind, node.length), inodes: 1 };
        self.recent.entry((quota_class::USER, node.uid)).or_default().add(one);
        self.recent.entry((quota_class::GROUP, node.gid)).or_default().add(one);
        if self.recent.len() > MOST_RECENT { self.put_owners_away() } else { Ok(()) }
    }

    fn put_owners_away(&mut self) -> Result<()> {
        let recent = std::mem::take(&mut self.recent).into_iter();
        recent
            .map(|((class, id), used)| ([class.into(), id.into()], [used.space, used.inodes]))
            .try_for_each(|(owner, used)| self.owners.add(owner, used))
    }

    /// Hands on parent rows and quotas.
    pub(super) fn finish(mut self, batches: &mut Batches, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        self.put_owners_away()?;
        let Self { directories, names, linked, owners, mut quotas, .. } = self;
        links(linked.finish()?, &mut names.finish()?, batches, out)?;
        let mut directories = directories.finish()?;
        while let Some(([inode, _], [space, inodes])) = directories.next()? {
            if let Some(limits) = quotas.remove(&(quota_class::DIRECTORY, inode)) {
                batches.quotas.push(quota((quota_class::DIRECTORY, inode), limits, Use { space, inodes }));
            }
        }
        let by_owner = quotas.keys().any(|(class, _)| *class != quota_class::DIRECTORY);
        let mut owners = owners.finish()?;
        while let Some(([class, id], [space, inodes])) = owners.next()?.filter(|_| by_owner) {
            let Ok(class) = u8::try_from(class) else { continue };
            let key = (class, id);
            let limits = quotas.remove(&key).unwrap_or((-1, -1));
            batches.quotas.push(quota(key, limits, Use { space, inodes }));
            batches.hold(size_of::<Quota>());
            if batches.is_full() {
                batches.flush(out)?;
            }
        }
        batches.quotas.extend(quotas.into_iter().map(|(key, limits)| quota(key, limits, Use::default())));
        batches.flush(out)
    }
}

/// Hands on the nodes of hard links: one that has a single name left has a parent, any other has parent rows.
fn links(nodes: Sorted, names: &mut Sums<1>, batches: &mut Batches, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
    let mut nodes = Sorted::merge(vec![nodes])?;
    let mut name = names.next()?;
    while let Some((_, row)) = nodes.next()? {
        let mut batch = Batch::empty(Kind::Node);
        batch.unpack(row)?;
        let Batch::Node(rows) = batch else { continue };
        for mut node in rows {
            let begin = batches.parents.len();
            while let Some(([inode, parent], [count])) = name.filter(|([inode, _], _)| *inode <= node.inode) {
                batches.parents.push(Parent { inode, parent, count });
                name = names.next()?;
            }
            let own = batches.parents.get(begin..).unwrap_or_default().iter().filter(|row| row.inode == node.inode);
            let names = own.clone().map(|row| row.count).sum::<i64>();
            // What a dump says of it is not looked at (`dump.go: loadEntry`).
            node.nlink = u32::try_from(names).unwrap_or(u32::MAX);
            node.parent = 0;
            if names == 1 {
                node.parent = own.map(|row| row.parent).next().unwrap_or_default();
                batches.parents.retain(|row| row.inode != node.inode);
            }
            batches.hold(size_of::<Node>() + size_of_val(batches.parents.get(begin..).unwrap_or_default()));
            batches.nodes.push(node);
        }
        if batches.is_full() {
            batches.flush(out)?;
        }
    }
    // Of nodes that had one name where they came by first: a census finds them.
    while let Some(([inode, parent], [count])) = name {
        batches.parents.push(Parent { inode, parent, count });
        batches.hold(size_of::<Parent>());
        if batches.is_full() {
            batches.flush(out)?;
        }
        name = names.next()?;
    }
    Ok(())
}

fn quota((class, id): (u8, u64), (space, inodes): (i64, i64), used: Use) -> Quota {
    let (max_space, max_inodes) = (Limit(space), Limit(inodes));
    Quota { class, id, max_space, max_inodes, used_space: used.space, used_inodes: used.inodes }
}
