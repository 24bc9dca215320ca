//! What is known of a backup from the names and lengths of its files: how much it holds, of which projects, and whether Kylin
//! would restore it. No content is read for that.

use std::collections::BTreeMap;

use metaferry_codecs::kylin::content::BOUND;
use metaferry_codecs::kylin::image::{FLAT_UUID, TYPED_UUID};
use metaferry_codecs::kylin::key::{self, Owner};
use metaferry_codecs::kylin::layout::{Keys, Verification};
use metaferry_codecs::kylin::types::MetadataType;
use metaferry_codecs::kylin::{Kind, Layout, Setting};
use metaferry_codecs::system::Largest;
use metaferry_pipeline::{Error, Result};

use super::roles::{Role, Roles};
use super::tree::shown;

/// The longest `_image`, in bytes.
pub(super) const MOST_IMAGE: u64 = 64 << 10;
/// How many folders of no known type are named.
const MOST_NAMED: usize = 16;

/// Resources and the length of their content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) resources: u64,
    pub(super) bytes: u64,
}

impl Total {
    fn add(&mut self, bytes: u64) {
        self.resources += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What a backup holds. Its memory grows with the number of projects.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) roles: Roles,
    pub(super) verification: Verification,
    /// Whatever was asked for.
    pub(super) whole: Total,
    /// Of that, what is read.
    pub(super) wanted: Total,
    /// What is neither, by what it is.
    pub(super) aside: BTreeMap<&'static str, u64>,
    /// What `_image` says.
    pub(super) offset: Option<u64>,
    largest_key: u64,
    largest_content: u64,
    /// Whether anything but the id of the instance belongs to no project.
    has_globals: bool,
    has_uuid: bool,
    /// Folders of the typed layout that are no type's.
    unknown: BTreeMap<Vec<u8>, u64>,
}

impl Contents {
    pub(super) fn new(roles: Roles) -> Self {
        Self { roles, ..Self::default() }
    }

    /// Takes in a file by its path and length, and says what it is.
    ///
    /// # Errors
    /// A path that is no valid key's, and a resource that is too long.
    pub(super) fn see(&mut self, path: &[u8], length: u64) -> Result<Role> {
        let role = match self.roles.role(path) {
            Err(_) if self.is_of_no_type(path) => {
                self.unknown_type(path);
                Role::Aside("files of no known type")
            }
            role => role.map_err(|why| Error::from(why).hint("such a file is no resource; remove it"))?,
        };
        self.verify(path, &role);
        match &role {
            Role::Resource(key) => {
                if length > BOUND as u64 {
                    let what = format!("{} has {length} bytes, and a resource has {BOUND} at most", shown(path));
                    return Err(Error::refused(what));
                }
                self.whole.add(length);
                self.wanted.add(length);
                self.largest_content = self.largest_content.max(length);
                self.largest_key = self.largest_key.max(key.len() as u64);
            }
            Role::Aside(what) => *self.aside.entry(what).or_default() += 1,
            Role::Elsewhere => self.whole.add(length),
            Role::Image if length > MOST_IMAGE => {
                let what = format!("{} has {length} bytes, and has {MOST_IMAGE} at most", shown(path));
                return Err(Error::refused(what));
            }
            Role::Image => {}
        }
        Ok(role)
    }

    fn is_of_no_type(&self, path: &[u8]) -> bool {
        let top = path.split(|byte| *byte == b'/').next().unwrap_or(path);
        self.roles.layout == Layout::Typed && MetadataType::named(top).is_none()
    }

    fn unknown_type(&mut self, path: &[u8]) {
        let top = path.split(|byte| *byte == b'/').next().unwrap_or(path);
        if self.unknown.len() < MOST_NAMED || self.unknown.contains_key(top) {
            *self.unknown.entry(top.to_vec()).or_default() += 1;
        }
    }

    /// Kylin's own check. It knows flat keys; those of the typed layout are shown to it as what they are in the flat one.
    fn verify(&mut self, path: &[u8], role: &Role) {
        let (layout, flat) = (self.roles.layout, [b"/", path].concat());
        let Role::Resource(key) = role else {
            return match (layout, role) {
                (Layout::Typed, Role::Image) => self.verification.see(b"/_image"),
                (Layout::Typed, Role::Aside(_)) if !self.is_of_no_type(path) => {}
                (Layout::Typed, Role::Aside(_)) if matches!(path, b"kylin.properties" | b".DS_Store") => {}
                (Layout::Typed, Role::Aside(_)) if path.starts_with(b"TMP_REC/") => {}
                _ => self.verification.see(&flat),
            };
        };
        let is_uuid = key == FLAT_UUID || key == TYPED_UUID;
        self.has_uuid |= is_uuid;
        self.has_globals |= !is_uuid && key::owner(key, b"") == Owner::Global;
        if layout == Layout::Flat {
            return self.verification.see(&flat);
        }
        let rest = |name: &str| key.strip_prefix(name.as_bytes()).map(<[u8]>::to_vec);
        let alike = if is_uuid {
            FLAT_UUID.to_vec()
        } else if let Some(project) = rest("PROJECT/") {
            [b"/_global/project/", project.as_slice(), b".json"].concat()
        } else {
            let folders = [("USER_INFO/", "user/"), ("USER_GROUP/", "user_group/"), ("OBJECT_ACL/", "acl/")];
            let known = folders.iter().find(|(name, _)| key.starts_with(name.as_bytes()));
            [b"/_global/", known.map_or("", |(_, folder)| folder).as_bytes(), b"x"].concat()
        };
        self.verification.see(&alike);
    }

    /// The row that a copy ends with.
    pub(super) fn setting(&self) -> Setting {
        let layout = self.roles.layout;
        let of_one = match layout {
            Layout::Flat => !self.verification.image,
            Layout::Typed => !self.has_globals,
        };
        let mut projects = self.verification.projects();
        let project = match (projects.next(), projects.next()) {
            (Some(project), None) if of_one => project.to_vec(),
            _ => Vec::new(),
        };
        Setting { layout, offset: self.offset, project }
    }

    /// What is known of the largest values.
    pub(super) fn largest(&self) -> Vec<Largest<Kind>> {
        let largest = |field: &str, value| Largest { kind: Kind::Resource, field: field.to_owned(), value };
        vec![largest("key", self.largest_key), largest("content", self.largest_content)]
    }

    /// What should be known of it.
    pub(super) fn notes(&self) -> Vec<String> {
        let setting = self.setting();
        let of = match self.verification.projects().count() {
            _ if !setting.project.is_empty() => format!("of the project {}", shown(&setting.project)),
            1 => "of 1 project".to_owned(),
            count => format!("of {count} projects"),
        };
        let upto =
            setting.offset.map_or_else(String::new, |offset| format!(", up to entry {offset} of the change log"));
        let mut notes = vec![format!("a backup in the {} layout, {of}{upto}", setting.layout.name())];
        if setting.layout == Layout::Flat && !self.verification.image && setting.project.is_empty() {
            notes.push("it has no _image, so it is project-level, and yet it is not of one project".to_owned());
        }
        if !self.has_uuid {
            notes.push("it has no UUID".to_owned());
        }
        notes
    }

    /// Whether Kylin would restore it, and whether it holds anything.
    ///
    /// # Errors
    /// What Kylin would say, and a backup of nothing.
    pub(super) fn check(&self) -> Result<()> {
        if !self.verification.is_qualified() || !self.unknown.is_empty() {
            return Err(self.unqualified());
        }
        let resources = self.whole.resources - u64::from(self.has_uuid);
        if resources == 0 {
            let what = "it holds no resource, but for the id of an instance: so looks what Kylin makes of a project that \
                        is not there";
            return Err(Error::refused(what).hint("look whether it is the backup that was meant"));
        }
        let is_project_level = self.roles.layout == Layout::Flat && !self.verification.image;
        if is_project_level && self.verification.projects().next().is_none() {
            let what = "it has no _image, so it is project-level, and it holds no project";
            return Err(Error::refused(what).hint("look whether it is whole"));
        }
        Ok(())
    }

    fn unqualified(&self) -> Error {
        let mut what = "the metadata dir is not qualified".to_owned();
        let mut projects: Vec<_> = self.unknown.iter().map(|(name, count)| (shown(name), *count)).collect();
        if self.unknown.is_empty() {
            projects = self.verification.illegal_projects().map(|(name, keys)| (shown(name), keys.count)).collect();
        }
        if !projects.is_empty() {
            let more = projects.len().saturating_sub(MOST_NAMED);
            let named = projects.iter().take(MOST_NAMED).map(|(name, count)| format!("{name} ({})", files(*count)));
            what += &format!("; illegal projects : {}{}", named.collect::<Vec<_>>().join(", "), and_more(more as u64));
        }
        let Keys { count, first } = self.verification.illegal_files();
        if *count > 0 && self.unknown.is_empty() {
            let named: Vec<_> = first.iter().map(|key| shown(key)).collect();
            what += &format!("; illegal files : {}{}", named.join(", "), and_more(count - first.len() as u64));
        }
        let hint = match self.roles.layout {
            Layout::Flat => {
                "Kylin would not restore it either: files at the top do not belong there, and a folder there is a project \
                 whose /_global/project/<project>.json has to be in the backup"
            }
            Layout::Typed => "Kylin would not restore it either: each folder at the top has to be a type's",
        };
        Error::refused(what).hint(hint)
    }
}

fn files(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

fn and_more(count: u64) -> String {
    if count == 0 { String::new() } else { format!(", and {count} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(layout: Layout, paths: &[&str]) -> Contents {
        let mut contents = Contents::new(Roles::of(layout));
        for path in paths {
            contents.see(path.as_bytes(), 2).unwrap();
        }
        contents
    }

    const TYPED: [&str; 4] = ["PROJECT/p.json", "MODEL/1.json", "SYSTEM/UUID.json", "SYSTEM/_image.json"];

    #[test]
    fn a_backup_of_one_project_is_told_from_a_whole_one() {
        let project = |layout, paths: &[&str]| String::from_utf8(contents(layout, paths).setting().project).unwrap();
        assert_eq!(project(Layout::Flat, &["UUID", "_global/project/p.json", "p/a"]), "p");
        assert_eq!(project(Layout::Flat, &["UUID", "_image", "_global/project/p.json", "p/a"]), "");
        let two = ["_global/project/p.json", "_global/project/q.json", "p/a"];
        assert_eq!(project(Layout::Flat, &two), "");
        assert!(contents(Layout::Flat, &two).notes()[1].contains("project-level"));
        assert_eq!(project(Layout::Typed, &TYPED), "p");
        assert_eq!(project(Layout::Typed, &[&TYPED[..], &["USER_INFO/ADMIN.json"]].concat()), "");
        assert_eq!(project(Layout::Typed, &[&TYPED[..], &["PROJECT/q.json"]].concat()), "");
    }

    #[test]
    fn kylin_s_check_is_made_of_both_layouts() {
        let whole = contents(Layout::Flat, &["UUID", "_image", "_global/user/A", "_global/project/p.json", "p/a"]);
        whole.check().unwrap();
        let typed = contents(Layout::Typed, &[&TYPED[..], &["USER_INFO/A.json", "kylin.properties"]].concat());
        typed.check().unwrap();
        let seen = &typed.verification;
        assert!(seen.uuid && seen.image && seen.user && !seen.user_group && !seen.acl, "{seen:?}");
        assert_eq!(seen.projects().collect::<Vec<_>>(), [b"p"]);

        let refused = |layout, paths: &[&str]| contents(layout, paths).check().unwrap_err().to_string();
        let told = refused(Layout::Flat, &["_global/project/p.json", "p/a", "q/b", "q/c", "kylin.properties"]);
        assert_eq!(
            told,
            "the metadata dir is not qualified; illegal projects : \"q\" (2 files); illegal files : \"/kylin.properties\""
        );
        // Also where a project has the name of the folder.
        for stray in ["CUBE/x.json", "p/x.json", "stray.json", "core/x"] {
            let told = refused(Layout::Typed, &[&TYPED[..], &[stray]].concat());
            assert!(told.contains("not qualified; illegal projects : "), "{told}");
        }
        let many: Vec<_> = (0..40).map(|number| format!("{number}/x")).collect();
        let told = refused(Layout::Flat, &many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(told.ends_with("and 24 more"), "{told}");
    }

    #[test]
    fn a_backup_of_nothing_is_refused() {
        for paths in [&["UUID"][..], &["UUID", "_image"], &[]] {
            let told = contents(Layout::Flat, paths).check().unwrap_err();
            assert!(told.to_string().contains("no resource"), "{told}");
        }
        let told = contents(Layout::Flat, &["UUID", "_global/user/ADMIN"]).check().unwrap_err();
        assert!(told.to_string().contains("project-level, and it holds no project"), "{told}");
        contents(Layout::Flat, &["_image", "_global/user/ADMIN"]).check().unwrap();
        assert!(contents(Layout::Typed, &["SYSTEM/UUID.json", "SYSTEM/_image.json"]).check().is_err());
    }

    #[test]
    fn what_is_too_long_and_what_is_no_key_is_refused() {
        let mut contents = Contents::new(Roles::of(Layout::Flat));
        assert!(contents.see(b"p/a", BOUND as u64).is_ok());
        assert!(contents.see(b"p/b", BOUND as u64 + 1).is_err());
        assert!(contents.see(b"p/../b", 1).is_err());
        assert_eq!(contents.largest()[1].value, BOUND as u64);
        assert_eq!(contents.wanted, Total { resources: 1, bytes: BOUND as u64 });
    }
}
