//! The shape of the tree: which entries each directory has, which directory an entry is in, and what inodes they have; all
//! in closed form.
//!
//! *Directories* are numbered: 0 is the root, 1 to `chain` hang under one another, the rest branch from the root; then
//! come the trash root and its hours. *Slots* are the names of what is no directory, numbered directory by directory.

use std::ops::Range;

use metaferry_codecs::juicefs::{Acl, ROOT_INODE, TRASH_INODE};

use super::dice::{Dice, Purpose, skewed};
use super::nodes::rules;
use super::staircase::{PERIOD, Staircase};

/// How deep the tree is, where it has enough directories.
const DEPTH: u64 = 30;
/// The most names the widest directory has.
const WIDEST: u64 = 100_000;
/// The trash hours are those of one month.
const MONTH: u64 = 31 * 24;
/// The names in a trash hour, unless a month were not enough.
const HOUR_SLOTS: u64 = 4096;

/// The shape of one volume.
#[derive(Debug)]
pub(super) struct Shape {
    /// Its chances.
    pub(super) dice: Dice,
    /// Directories besides the root and those of the trash.
    pub(super) directories: u64,
    /// How many of them hang under one another.
    pub(super) chain: u64,
    /// Names of what is no directory.
    pub(super) slots: u64,
    /// How many of them are not in the trash.
    live: u64,
    /// How many of the live ones the last directory has.
    widest: u64,
    /// Trash hours.
    pub(super) hours: u64,
    /// The names in each, but the last.
    hour_slots: u64,
    branches: Staircase,
    weights: Staircase,
    /// The number of slices of each slot.
    pub(super) slices: Staircase,
    /// The rules of access control.
    pub(super) rules: Vec<Acl>,
}

impl Shape {
    /// Of a volume of `files` names, of which `directories` are directories.
    pub(super) fn new(files: u64, directories: u64, seed: u64) -> Self {
        let dice = Dice::new(seed);
        let slots = files - directories;
        let trash = slots / 100;
        let live = slots - trash;
        let hour_slots = HOUR_SLOTS.max(trash.div_ceil(MONTH)).min(trash.div_ceil(3));
        Self {
            dice,
            directories,
            chain: DEPTH.min(directories / 3),
            slots,
            live,
            widest: if directories == 0 { 0 } else { WIDEST.min(files / 10).min(live) },
            hours: trash.div_ceil(hour_slots.max(1)),
            hour_slots,
            branches: branches(dice),
            weights: weights(dice),
            slices: slices(dice),
            rules: rules(),
        }
    }

    /// All directories: the root and those of the trash too.
    pub(super) fn all_directories(&self) -> u64 {
        self.trash_root() + 1 + self.hours
    }

    /// The number of the trash root.
    pub(super) fn trash_root(&self) -> u64 {
        self.directories + 1
    }

    /// The inode of a directory.
    #[inline]
    pub(super) fn directory_inode(&self, directory: u64) -> u64 {
        match directory.checked_sub(self.trash_root()) {
            Some(hour) => TRASH_INODE + hour,
            None => ROOT_INODE + directory,
        }
    }

    /// The inode of what a slot names, unless the slot is a second name.
    #[inline]
    pub(super) fn slot_inode(&self, slot: u64) -> u64 {
        ROOT_INODE + self.trash_root() + slot
    }

    /// The directory that holds this one.
    pub(super) fn parent_of(&self, directory: u64) -> u64 {
        if directory > self.trash_root() {
            return self.trash_root();
        }
        if directory <= self.chain || directory == self.trash_root() {
            return if directory <= self.chain { directory.saturating_sub(1) } else { 0 };
        }
        match self.branches.find(directory - self.chain - 1) {
            0 => 0,
            branch => branch + self.chain,
        }
    }

    /// How many directories hang, outside of the chain, under directories before this one.
    fn branches_before(&self, directory: u64) -> u64 {
        let branch = match directory {
            0 => 0,
            below if below <= self.chain => 1,
            above => above - self.chain,
        };
        self.branches.before(branch).min(self.directories - self.chain)
    }

    /// How many directories hang under directories before this one.
    #[inline]
    fn directories_before(&self, directory: u64) -> u64 {
        if directory > self.trash_root() {
            return self.directories + self.hours;
        }
        self.branches_before(directory) + directory.min(self.chain)
    }

    /// How many directories hang under this one.
    #[inline]
    pub(super) fn subdirectories(&self, directory: u64) -> u64 {
        self.directories_before(directory + 1) - self.directories_before(directory)
    }

    /// The `place`th directory under this one.
    pub(super) fn subdirectory(&self, directory: u64, place: u64) -> u64 {
        if directory >= self.trash_root() {
            return self.trash_root() + 1 + place;
        }
        match (directory < self.chain, place) {
            (true, 0) => directory + 1,
            (linked, place) => self.chain + 1 + self.branches_before(directory) + place - u64::from(linked),
        }
    }

    /// How many slots are in directories before this one.
    #[inline]
    pub(super) fn slots_before(&self, directory: u64) -> u64 {
        if directory > self.trash_root() {
            return (self.live + (directory - self.trash_root() - 1) * self.hour_slots).min(self.slots);
        }
        if directory > self.directories || self.directories == 0 {
            return if directory == 0 { 0 } else { self.live };
        }
        let weight = u128::from(self.weights.before(directory));
        let whole = u128::from(self.weights.before(self.directories)).max(1);
        (u128::from(self.live - self.widest) * weight / whole) as u64
    }

    /// The slots of a directory.
    #[inline]
    pub(super) fn slots_of(&self, directory: u64) -> Range<u64> {
        self.slots_before(directory)..self.slots_before(directory + 1)
    }

    /// The directory that a slot is in: [`Shape::slots_before`] the other way round.
    pub(super) fn directory_of(&self, slot: u64) -> u64 {
        if let Some(removed) = slot.checked_sub(self.live) {
            return self.trash_root() + 1 + removed / self.hour_slots.max(1);
        }
        let spread = self.live - self.widest;
        if slot >= spread || self.directories == 0 {
            return self.directories;
        }
        let whole = u128::from(self.weights.before(self.directories)).max(1);
        let weight = ((u128::from(slot) + 1) * whole - 1) / u128::from(spread.max(1));
        self.weights.find(weight as u64)
    }

    /// Slots cut where one directory ends and the next begins, each piece with its directory.
    pub(super) fn runs(&self, slots: Range<u64>) -> impl Iterator<Item = (u64, Range<u64>)> {
        let mut directory = if slots.is_empty() { 0 } else { self.directory_of(slots.start) };
        let mut start = slots.start;
        std::iter::from_fn(move || {
            while start < slots.end {
                let end = self.slots_before(directory + 1).min(slots.end);
                directory += 1;
                if end > start {
                    let run = start..end;
                    start = end;
                    return Some((directory - 1, run));
                }
            }
            None
        })
    }

    /// How many entries are in directories before this one.
    pub(super) fn entries_before(&self, directory: u64) -> u64 {
        self.directories_before(directory) + self.slots_before(directory)
    }

    /// The directory that has entry `entry`, all entries counted directory by directory.
    pub(super) fn directory_with(&self, entry: u64) -> u64 {
        let (mut low, mut high) = (0, self.all_directories());
        while low + 1 < high {
            let middle = low.midpoint(high);
            if self.entries_before(middle) <= entry { low = middle } else { high = middle }
        }
        low
    }
}

/// How many directories each has: most none, the root twenty, and never so few that the next had no parent.
fn branches(dice: Dice) -> Staircase {
    Staircase::new(|index, sum| {
        let roll = dice.roll(Purpose::Subdirectories, index);
        let wanted = match index {
            0 => 20,
            _ if roll >> 8 & 7 < 5 => 0,
            _ => skewed(roll, 4),
        };
        wanted.max((index + 1).saturating_sub(sum))
    })
}

/// How the slots are shared out: a sixteenth of the directories have none, but not the root.
fn weights(dice: Dice) -> Staircase {
    Staircase::new(|index, _| {
        let roll = dice.roll(Purpose::Weight, index);
        if index > 0 && roll >> 28 & 15 == 0 { 0 } else { skewed(roll, 24) }
    })
}

/// How many slices each file has, 1.2 in the mean: one for 85 %, none for 5 %, two to five for the rest; shuffled.
fn slices(dice: Dice) -> Staircase {
    let mut counts: Vec<u64> = (0..PERIOD)
        .map(|index| match index * 1000 / PERIOD {
            0..50 => 0,
            50..900 => 1,
            rest => 2 + (rest - 900) / 25,
        })
        .collect();
    for last in (1..counts.len()).rev() {
        let other = dice.roll(Purpose::Slices, last as u64) % (last as u64 + 1);
        counts.swap(last, other as usize);
    }
    Staircase::new(|index, _| counts.get(index as usize).copied().unwrap_or(0))
}
