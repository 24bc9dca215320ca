//! What was found on the way: damage, mends, things left behind. Every one is counted, the first of each sort are told.

use std::collections::BTreeMap;

use metaferry_codecs::system::Finding;

/// How many of each sort are told in full.
const TOLD: usize = 20;

/// Findings of one sort.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sort {
    /// How many there are.
    pub count: u64,
    /// Whether a load mends them.
    pub mendable: bool,
    /// The first of them.
    pub told: Vec<String>,
}

/// Everything found by one command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What a census found, by sort.
    pub census: BTreeMap<&'static str, Sort>,
    /// Rows that could not be decoded and were skipped.
    pub damaged: Sort,
    /// What was seen and not carried, by what it is.
    pub left_behind: BTreeMap<&'static str, u64>,
    /// Secrets that were taken out.
    pub stripped: u64,
}

impl Findings {
    /// Books what a census found.
    pub fn found(&mut self, finding: Finding) {
        let sort = self.census.entry(finding.sort).or_default();
        sort.mendable = finding.mendable;
        sort.add(finding.text);
    }

    /// Books a row that could not be decoded.
    pub fn damaged(&mut self, text: String) {
        self.damaged.add(text);
    }

    /// Books something that is not carried.
    pub fn left_behind(&mut self, what: &'static str, count: u64) {
        if count > 0 {
            *self.left_behind.entry(what).or_default() += count;
        }
    }

    /// Adds what another worker found.
    pub fn merge(&mut self, other: Self) {
        for (sort, found) in other.census {
            let sort = self.census.entry(sort).or_default();
            sort.mendable = found.mendable;
            sort.merge(found);
        }
        self.damaged.merge(other.damaged);
        for (what, count) in other.left_behind {
            self.left_behind(what, count);
        }
        self.stripped += other.stripped;
    }

    /// Whether anything is wrong that stays wrong: damage that was skipped, and what the census found and nobody mended.
    #[must_use]
    pub fn is_damaged(&self, mended: bool) -> bool {
        self.damaged.count > 0 || self.census.values().any(|sort| !(mended && sort.mendable))
    }
}

impl Sort {
    fn add(&mut self, text: String) {
        self.count += 1;
        if self.told.len() < TOLD {
            self.told.push(text);
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        let room = TOLD.saturating_sub(self.told.len());
        self.told.extend(other.told.into_iter().take(room));
    }
}
