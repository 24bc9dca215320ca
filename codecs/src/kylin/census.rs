//! The census of Kylin's metadata: resources of projects that are not there. Kylin reads none of those, and a restore that
//! brings them back fails on the row that is in its way (`JdbcMetadataStore.reloadAll`). It remembers projects, not resources.

use std::collections::BTreeMap;

use super::key::{self, Owner};
use super::kinds::{Batch, Resource};
use super::layout::Layout;
use crate::system::{self, CensusOptions, Finding, Ledger, Outcome, Sums};

/// How much of a key a finding shows, in bytes.
const SHOWN: usize = 255;

/// Resources under one name.
#[derive(Debug, Default)]
struct Members {
    count: u64,
    /// The least of their keys, so that a finding is the same each time.
    first: Option<Vec<u8>>,
}

impl Members {
    fn add(&mut self, key: &[u8]) {
        self.count += 1;
        let key = key.get(..SHOWN).unwrap_or(key);
        if self.first.as_deref().is_none_or(|first| key < first) {
            self.first = Some(key.to_vec());
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        let least = [self.first.take(), other.first].into_iter().flatten().min();
        self.first = least;
    }

    fn finding(&self, sort: &'static str, of: &str, why: &str) -> Finding {
        let first = String::from_utf8_lossy(self.first.as_deref().unwrap_or_default());
        let (count, plural) = (self.count, if self.count == 1 { "" } else { "s" });
        Finding { sort, text: format!("{count} resource{plural}{of}, such as {first:?}: {why}"), mendable: false }
    }
}

/// One worker's part of the census of a store.
#[derive(Debug, Default)]
pub struct Census {
    /// By name; in the typed layout without regard to case, as Kylin compares them. Whether there is a resource that is the
    /// project, and those that belong to it.
    projects: BTreeMap<Vec<u8>, (bool, Members)>,
    /// Resources that may belong to any project.
    unplaced: Members,
}

impl Census {
    fn resource(&mut self, row: &Resource) {
        let owner = key::owner(&row.key, &row.content);
        let Some(name) = owner.project() else {
            if owner == Owner::Unknown {
                self.unplaced.add(&row.key);
            }
            return;
        };
        let folded;
        let name = match Layout::of_key(&row.key) {
            Layout::Flat => name,
            Layout::Typed => {
                folded = folded_case(name);
                folded.as_slice()
            }
        };
        if !self.projects.contains_key(name) {
            self.projects.insert(name.to_vec(), <(bool, Members)>::default());
        }
        let Some((is_there, members)) = self.projects.get_mut(name) else { return };
        match owner {
            Owner::Project(_) => *is_there = true,
            _ => members.add(&row.key),
        }
    }
}

fn folded_case(name: &[u8]) -> Vec<u8> {
    std::str::from_utf8(name).map_or_else(|_| name.to_ascii_lowercase(), |name| name.to_lowercase().into_bytes())
}

impl system::Census for Census {
    type Batch = Batch;

    /// Whatever the options: nothing is worked out, and nothing can be mended without inventing a project.
    fn new(_options: CensusOptions) -> Self {
        Self::default()
    }

    fn share(&self) -> Self {
        Self::default()
    }

    fn observe<L: Ledger>(&mut self, batch: &Batch, _ledger: &mut L) -> Result<bool, L::Error> {
        if let Batch::Resource(rows) = batch {
            rows.iter().for_each(|row| self.resource(row));
        }
        Ok(false)
    }

    fn merge(&mut self, other: Self) {
        for (name, (is_there, members)) in other.projects {
            let ours = self.projects.entry(name).or_default();
            ours.0 |= is_there;
            ours.1.merge(members);
        }
        self.unplaced.merge(other.unplaced);
    }

    fn bridge<L: Ledger>(&mut self, _sums: Sums<'_, L::Error>, _ledger: &mut L) -> Result<(), L::Error> {
        Ok(())
    }

    fn settle<E>(self, _sums: Sums<'_, E>, emit: &mut dyn FnMut(Outcome<Batch>) -> Result<(), E>) -> Result<(), E> {
        for (name, (_, members)) in self.projects.iter().filter(|(_, (is_there, _))| !is_there) {
            let of = format!(" of the project {:?}", String::from_utf8_lossy(name));
            let finding =
                members.finding("orphan resource", &of, "there is no such project, and Kylin does not read them");
            emit(Outcome::Found(finding))?;
        }
        if self.unplaced.count > 0 {
            let why = "neither key nor content says of which project, and Kylin may not read them";
            emit(Outcome::Found(self.unplaced.finding("resource without a project", "", why)))?;
        }
        Ok(())
    }
}
