//! What users and groups use of a volume of which rows were left out, counted as JuiceFS does when it loads a dump
//! (`quota.go: scanGlobalUserGroupUsage`): files by their length, directories as 4 KiB, nothing else. An entry a user.

use std::collections::BTreeMap;

use crate::juicefs::kinds::{Node, Quota};
use crate::juicefs::{FileType, quota_class};

/// Space and inodes by class and id, and the quotas that say what they are.
#[derive(Debug, Default)]
pub(super) struct Usage {
    sums: BTreeMap<(u8, u64), (i64, i64)>,
    quotas: Vec<Quota>,
}

impl Usage {
    pub(super) fn node(&mut self, row: &Node, space: i64) {
        if row.kind != FileType::REGULAR && row.kind != FileType::DIRECTORY {
            return;
        }
        for owner in [(quota_class::USER, u64::from(row.uid)), (quota_class::GROUP, u64::from(row.gid))] {
            self.add(owner, (space, 1));
        }
    }

    pub(super) fn quotas(&mut self, rows: &[Quota]) {
        self.quotas.extend_from_slice(rows);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.quotas.extend(other.quotas);
        other.sums.into_iter().for_each(|(owner, sum)| self.add(owner, sum));
    }

    /// The quotas by key, with what is used of those of users and groups.
    pub(super) fn settle(mut self) -> Vec<Quota> {
        for row in self.quotas.iter_mut().filter(|row| row.class != quota_class::DIRECTORY) {
            (row.used_space, row.used_inodes) = self.sums.get(&(row.class, row.id)).copied().unwrap_or_default();
        }
        self.quotas.sort_by_key(|row| (row.class, row.id));
        self.quotas
    }

    fn add(&mut self, owner: (u8, u64), (space, inodes): (i64, i64)) {
        let sum = self.sums.entry(owner).or_default();
        *sum = (sum.0.wrapping_add(space), sum.1.wrapping_add(inodes));
    }
}
