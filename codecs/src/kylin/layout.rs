//! The two layouts of Kylin 5: what tells them apart, and the check that Kylin makes of a flat backup before it restores it
//! (`MetadataChecker.verify`). It sees names and keys, and no bytes.

use std::collections::{BTreeMap, BTreeSet};

use super::key::{self, CORE_META, GLOBAL, Owner};
use super::types::MetadataType;
use crate::field::{Field, put_bytes, take_bytes};
use crate::json::{Reader, write_bytes};
use crate::{Error, Result};

/// How a Kylin lays out its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Layout {
    /// 5.0.0-alpha, 5.0.0-beta: one table, keys are paths.
    #[default]
    Flat,
    /// 5.0.0 and later: a table for each type, keys begin with the type.
    Typed,
}

/// Top folders of a backup of Kylin 2 to 4 that no backup of Kylin 5 has without a `_global` beside them.
const OLD: [&[u8]; 7] =
    [b"cube", b"cube_desc", b"model_desc", b"project", b"execute_output", b"dict", b"cube_statistics"];

impl Layout {
    /// Its name, as settings and messages spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Typed => "typed",
        }
    }

    /// The layout of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &[u8]) -> Result<Self> {
        let known = [Self::Flat, Self::Typed].into_iter().find(|layout| layout.name().as_bytes() == name);
        known.ok_or_else(|| Error::Unsupported { what: "layout", found: String::from_utf8_lossy(name).into_owned() })
    }

    /// The layout that a key is of, and the name of an entry of `metadata.zip`: flat ones begin with a slash.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Self {
        if key.starts_with(b"/") { Self::Flat } else { Self::Typed }
    }

    /// The layout of a backup, by the names at its top; of a typed one, `core_meta` will do for the top.
    ///
    /// # Errors
    /// A backup of Kylin 2 to 4, a folder with nothing but `metadata.zip`, and what is no backup.
    pub fn of_backup<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Result<Self> {
        let (mut flat, mut typed, mut old, mut zipped) = (false, false, false, false);
        for name in names {
            match name {
                // Only the flat layout has it, whatever its projects are called.
                GLOBAL => return Ok(Self::Flat),
                CORE_META => typed = true,
                b"UUID" | b"_image" => flat = true,
                b"metadata.zip" => zipped = true,
                name => {
                    typed |= MetadataType::named(name).is_some();
                    old |= OLD.contains(&name);
                }
            }
        }
        let unsupported = |found: &str| Err(Error::Unsupported { what: "backup", found: found.to_owned() });
        match (typed, old, flat, zipped) {
            (true, ..) => Ok(Self::Typed),
            (_, true, ..) => unsupported("it is one of Kylin 2 to 4, whose metadata Kylin 5 does not read either"),
            (_, _, true, _) => Ok(Self::Flat),
            (.., true) => unsupported("its layout is not told by its folder, only by the names in metadata.zip"),
            _ => unsupported("the folder holds no metadata of Kylin: neither _global, UUID, _image nor core_meta"),
        }
    }
}

/// Its name, as text: whatever a later Kylin brings has a name too.
impl Field for Layout {
    /// The flat one is a value as well.
    fn is_zero(&self) -> bool {
        false
    }
    fn put(&self, number: u8, out: &mut Vec<u8>) {
        put_bytes(number, self.name().as_bytes(), out);
    }
    fn take(_short: u8, input: &mut &[u8]) -> Result<Self> {
        Self::named(take_bytes(input)?)
    }
    fn write_json(&self, out: &mut Vec<u8>) {
        write_bytes(self.name().as_bytes(), out);
    }
    fn read_json(reader: &mut Reader<'_>) -> Result<Self> {
        Self::named(&reader.string()?)
    }
    fn put_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name().as_bytes());
    }
}

/// How many names of a sort are kept, at most; the others are counted.
const MOST_NAMED: usize = 16;

/// Keys of one sort: how many, and the first few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// How many there are.
    pub count: u64,
    /// The first of them, as they came.
    pub first: Vec<Vec<u8>>,
}

impl Keys {
    fn add(&mut self, key: &[u8]) {
        self.count += 1;
        if self.first.len() < MOST_NAMED {
            self.first.push(key.to_vec());
        }
    }
}

/// What Kylin's check says of a flat backup, from its keys in any order. Its memory grows with the number of top folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Whether `/UUID` is there.
    pub uuid: bool,
    /// Whether `/_image` is there: not in a backup of a project.
    pub image: bool,
    /// Whether there are user groups.
    pub user_group: bool,
    /// Whether there are users.
    pub user: bool,
    /// Whether there are rights on projects.
    pub acl: bool,
    root: Keys,
    defined: BTreeSet<Vec<u8>>,
    folders: BTreeMap<Vec<u8>, Keys>,
}

impl Verification {
    /// Takes in the key of a file.
    pub fn see(&mut self, key: &[u8]) {
        if key.ends_with(b".DS_Store") {
            return;
        }
        self.uuid |= key == b"/UUID";
        self.image |= key == b"/_image";
        self.user_group |= key.starts_with(b"/_global/user_group");
        self.user |= key.starts_with(b"/_global/user/");
        self.acl |= key.starts_with(b"/_global/acl/");
        match key::owner(key, b"") {
            // Kylin asks for this very file, and so does not count one in a folder below.
            Owner::Project(name) if key.len() == b"/_global/project/.json".len() + name.len() => {
                self.defined.insert(name.into_owned());
            }
            Owner::Member(name) if Layout::of_key(key) == Layout::Flat => {
                self.folders.entry(name.into_owned()).or_default().add(key);
            }
            Owner::Global | Owner::Project(_) => {}
            _ if key == b"/metadata.zip" => {}
            _ => self.root.add(key),
        }
    }

    /// Folders that look like a project's, but whose project is not in the backup; and their files.
    pub fn illegal_projects(&self) -> impl Iterator<Item = (&[u8], &Keys)> {
        let illegal = self.folders.iter().filter(|(name, _)| !self.defined.contains(*name));
        illegal.map(|(name, keys)| (name.as_slice(), keys))
    }

    /// Files in the root that do not belong there.
    #[must_use]
    pub fn illegal_files(&self) -> &Keys {
        &self.root
    }

    /// The projects that the backup holds.
    pub fn projects(&self) -> impl Iterator<Item = &[u8]> {
        self.defined.iter().map(Vec::as_slice)
    }

    /// Whether Kylin would restore it.
    #[must_use]
    pub fn is_qualified(&self) -> bool {
        self.root.count == 0 && self.illegal_projects().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_backup(names: &[&str]) -> Result<Layout> {
        Layout::of_backup(names.iter().map(|name| name.as_bytes()))
    }

    #[test]
    fn backups_are_told_apart_by_their_tops() {
        for names in [&["UUID", "_image", "_global", "demo"][..], &["_global"], &["UUID"], &["PROJECT", "_global"]] {
            assert_eq!(of_backup(names), Ok(Layout::Flat), "{names:?}");
        }
        assert_eq!(of_backup(&["project", "cube", "_global"]), Ok(Layout::Flat));
        for names in [&["core_meta"][..], &["PROJECT", "SYSTEM", "kylin.properties"], &["_backup_status", "core_meta"]]
        {
            assert_eq!(of_backup(names), Ok(Layout::Typed), "{names:?}");
        }
        for (names, why) in [
            (&["UUID", "project", "cube", "cube_desc", "table"][..], "Kylin 2 to 4"),
            (&["model_desc"], "Kylin 2 to 4"),
            (&["metadata.zip"], "metadata.zip"),
            (&[], "no metadata"),
            (&["lost+found"], "no metadata"),
        ] {
            let told = of_backup(names).unwrap_err().to_string();
            assert!(told.contains(why), "{names:?}: {told}");
        }
        assert_eq!(Layout::named(b"typed"), Ok(Layout::Typed));
        assert!(Layout::named(b"Flat").is_err());
    }

    fn verify(keys: &[&str]) -> Verification {
        let mut verification = Verification::default();
        keys.iter().for_each(|key| verification.see(key.as_bytes()));
        verification
    }

    #[test]
    fn a_backup_of_kylin_is_qualified() {
        let whole = verify(&[
            "/p1/table/DEFAULT.T1.json",
            "/_global/acl/1111",
            "/_global/project/p1.json",
            "/_global/upgrade/acl_version",
            "/_global/user/ADMIN",
            "/_global/user_group/ALL_USERS",
            "/UUID",
            "/VERSION",
            "/_image",
            "/metadata.zip",
            "/.DS_Store",
            "/odd/.DS_Store",
        ]);
        assert!(whole.is_qualified(), "{whole:?}");
        assert!(whole.uuid && whole.image && whole.user_group && whole.user && whole.acl);
        assert_eq!(whole.projects().collect::<Vec<_>>(), [b"p1"]);
        let project = verify(&["/_global/project/p.json", "/p/a.json", "/UUID"]);
        assert!(project.is_qualified() && !project.image && !project.user);
    }

    #[test]
    fn what_does_not_belong_is_named() {
        let damaged = verify(&["/p/a", "/p/b", "/q/c", "/_global/project/q.json", "/kylin.properties", "/.hidden"]);
        assert!(!damaged.is_qualified());
        let illegal: Vec<_> = damaged.illegal_projects().map(|(name, keys)| (name, keys.count)).collect();
        assert_eq!(illegal, [(&b"p"[..], 2)]);
        assert_eq!(damaged.illegal_files().first, [b"/kylin.properties".to_vec(), b"/.hidden".to_vec()]);
        assert!(!verify(&["/p/a", "/_global/project/x/p.json"]).is_qualified());
        let many: Vec<_> = (0..100).map(|number| format!("/{number}")).collect();
        let many = verify(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((many.illegal_files().count, many.illegal_files().first.len()), (100, MOST_NAMED));
    }
}
