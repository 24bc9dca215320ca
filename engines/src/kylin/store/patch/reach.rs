//! What a restore may touch: all that Kylin sees of a store, or one project of it. The instance's id is nobody's to restore in the
//! flat layout, and a list of files to be cleaned up comes from no backup.

use std::collections::BTreeSet;

use metaferry_codecs::kylin::key::{GLOBAL, TRASH};
use metaferry_codecs::kylin::types::{MetadataType, Scope};
use metaferry_codecs::kylin::{Batch, Kylin, Layout};
use metaferry_pipeline::{Findings, Sieve};

use super::parts::part_of;

/// What is in reach.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    pub(super) layout: Layout,
    /// The one project, where it is not all.
    pub(super) project: Option<Vec<u8>>,
    /// The projects that are there.
    projects: BTreeSet<Vec<u8>>,
}

impl Reach {
    pub(super) fn new(layout: Layout, project: Option<Vec<u8>>, projects: Vec<Vec<u8>>) -> Self {
        Self { layout, project, projects: projects.into_iter().collect() }
    }

    /// Whether a resource that is there may be touched. What lies under a project that is not there, Kylin does not see. In the
    /// typed layout the content says which project it is, and whoever reads it asks for no others.
    pub(super) fn contains(&self, key: &[u8]) -> bool {
        if self.layout == Layout::Typed {
            return key != b"SYSTEM/_image";
        }
        let Some(folder) = part_of(self.layout, key) else { return false };
        match &self.project {
            Some(project) if folder == GLOBAL => key == project_key(project),
            Some(project) => folder == project && self.projects.contains(folder),
            None => folder == GLOBAL || self.projects.contains(folder),
        }
    }

    /// Whether a resource may be brought in.
    pub(super) fn takes(&self, key: &[u8]) -> bool {
        match (self.layout, &self.project) {
            (Layout::Typed, None) => part_of(self.layout, key).is_some() && key != b"SYSTEM/_image",
            (Layout::Typed, Some(project)) => match part_of(self.layout, key) {
                Some(b"PROJECT") => key.get(b"PROJECT/".len()..) == Some(project),
                Some(part) => MetadataType::named(part).is_some_and(|found| matches!(found.scope, Scope::Project(_))),
                None => false,
            },
            (Layout::Flat, None) => part_of(self.layout, key).is_some(),
            (Layout::Flat, Some(project)) => match part_of(self.layout, key) {
                Some(GLOBAL) => key == project_key(project),
                folder => folder == Some(project),
            },
        }
    }

    /// Whether there is a project of this name.
    pub(super) fn has_project(&self, name: &[u8]) -> bool {
        self.projects.contains(name)
    }

    /// What every wanted row goes through.
    pub(super) fn sieve(layout: Layout, is_project: bool) -> Sieve<Kylin> {
        match (layout, is_project) {
            (Layout::Flat, _) => flat,
            (Layout::Typed, false) => typed,
            (Layout::Typed, true) => typed_project,
        }
    }
}

/// The resource that makes a project one, in the flat layout.
pub(super) fn project_key(project: &[u8]) -> Vec<u8> {
    [b"/_global/project/", project, b".json"].concat()
}

const IN_THE_ROOT: &str = "the instance's id and what else lies in the root";
const NO_RESTORE: &str = "a list of files to be cleaned up";

fn flat(batch: &mut Batch, findings: &mut Findings) {
    take_out(batch, findings, IN_THE_ROOT, |key| part_of(Layout::Flat, key).is_none());
    take_out(batch, findings, NO_RESTORE, |key| TRASH.contains(&key));
}

fn typed(batch: &mut Batch, findings: &mut Findings) {
    take_out(batch, findings, "the place in the change log", |key| key == b"SYSTEM/_image");
    take_out(batch, findings, NO_RESTORE, |key| TRASH.contains(&key));
}

fn typed_project(batch: &mut Batch, findings: &mut Findings) {
    take_out(batch, findings, "the instance's id and what else is of no project", |key| key.starts_with(b"SYSTEM/"));
}

fn take_out(batch: &mut Batch, findings: &mut Findings, what: &'static str, is_out: impl Fn(&[u8]) -> bool) {
    let Batch::Resource(rows) = batch else { return };
    let before = rows.len();
    rows.retain(|row| !is_out(&row.key));
    findings.left_behind(what, (before - rows.len()) as u64);
}

#[cfg(test)]
mod tests {
    use metaferry_codecs::kylin::Resource;

    use super::*;

    fn reach(layout: Layout, project: Option<&str>) -> Reach {
        let projects = [b"p".to_vec(), b"q".to_vec()].to_vec();
        Reach::new(layout, project.map(|name| name.as_bytes().to_vec()), projects)
    }

    #[test]
    fn of_a_system_all_is_in_reach_that_kylin_sees() {
        let system = reach(Layout::Flat, None);
        for key in ["/_global/user/ADMIN", "/_global/trash_record", "/p/a", "/q/table/x.json"] {
            assert!(system.contains(key.as_bytes()) && system.takes(key.as_bytes()), "{key}");
        }
        for key in ["/UUID", "/_image", "/stray", "x"] {
            assert!(!system.contains(key.as_bytes()) && !system.takes(key.as_bytes()), "{key}");
        }
        // A project may come, but what lies under one that is not there is not seen.
        assert!(system.takes(b"/x/a") && !system.contains(b"/x/a") && !system.has_project(b"x"));
        let typed = reach(Layout::Typed, None);
        assert!(typed.contains(b"SYSTEM/UUID") && typed.takes(b"SYSTEM/UUID"));
        assert!(!typed.contains(b"SYSTEM/_image") && !typed.takes(b"SYSTEM/_image") && !typed.takes(b"MODEL"));
    }

    #[test]
    fn of_a_project_nothing_else_is_in_reach() {
        let project = reach(Layout::Flat, Some("p"));
        assert!(project.contains(b"/_global/project/p.json") && project.contains(b"/p/a"));
        for key in ["/_global/project/q.json", "/_global/user/ADMIN", "/_global/acl/p", "/q/a", "/pp/a", "/UUID"] {
            assert!(!project.contains(key.as_bytes()) && !project.takes(key.as_bytes()), "{key}");
        }
        let new = reach(Layout::Flat, Some("n"));
        assert!(new.takes(b"/n/a") && !new.contains(b"/n/a") && new.contains(b"/_global/project/n.json"));
        let typed = reach(Layout::Typed, Some("p"));
        assert!(typed.takes(b"PROJECT/p") && typed.takes(b"MODEL/x"));
        assert!(!typed.takes(b"PROJECT/q") && !typed.takes(b"SYSTEM/UUID") && !typed.takes(b"USER_INFO/a"));
    }

    #[test]
    fn what_no_restore_brings_is_taken_out_and_booked() {
        let left = |layout, is_project, keys: &[&str]| {
            let row = |key: &&str| Resource { key: key.as_bytes().to_vec(), ..Resource::default() };
            let (mut batch, mut findings) = (Batch::Resource(keys.iter().map(row).collect()), Findings::default());
            Reach::sieve(layout, is_project)(&mut batch, &mut findings);
            let Batch::Resource(rows) = batch else { panic!() };
            let keys: Vec<_> = rows.iter().map(|row| String::from_utf8_lossy(&row.key).into_owned()).collect();
            (keys.join(" "), findings.left_behind.values().sum::<u64>())
        };
        let flat = ["/UUID", "/VERSION", "/_global/trash_record", "/_global/user/a", "/p/x"];
        assert_eq!(left(Layout::Flat, false, &flat), ("/_global/user/a /p/x".to_owned(), 3));
        let typed = ["MODEL/m", "SYSTEM/UUID", "SYSTEM/_image", "SYSTEM/trash_record"];
        assert_eq!(left(Layout::Typed, false, &typed), ("MODEL/m SYSTEM/UUID".to_owned(), 2));
        assert_eq!(left(Layout::Typed, true, &typed), ("MODEL/m".to_owned(), 3));
    }
}
