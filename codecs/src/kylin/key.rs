//! Keys of resources in both layouts: what is a valid one, which project a resource belongs to, and where its file lies in a
//! backup (`ResourceStore`, `RawResource.generateFilePath`). A key is bytes; none is filtered by what it means.

use std::borrow::Cow;

use super::layout::Layout;
use super::types::{MetadataType, Scope};
use crate::json::Reader;
use crate::{Error, Result};

/// The longest key that a row holds, in characters.
pub const MAX_KEY: usize = 255;

/// The folder of the flat layout for what belongs to no project.
pub const GLOBAL: &[u8] = b"_global";
/// The folder of the typed layout's files in a backup.
pub const CORE_META: &[u8] = b"core_meta";

/// The keys of the list of files to be cleaned up, in either layout.
pub const TRASH: [&[u8]; 2] = [b"/_global/trash_record", b"SYSTEM/trash_record"];

const WHAT: &str = "resource key";
const PROJECTS: &[u8] = b"/_global/project/";
const SUFFIX: &[u8] = b".json";
/// Files of the typed layout's backup that are no resources, and what desktops leave (`MetadataChecker`).
const NO_RESOURCES: [&[u8]; 2] = [b"kylin.properties", b".DS_Store"];

/// To which project a resource belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner<'a> {
    /// To none: users, groups, access, the instance's id.
    Global,
    /// It is the project.
    Project(Cow<'a, [u8]>),
    /// To a project of this name.
    Member(Cow<'a, [u8]>),
    /// It cannot be told: a file in the root of the flat layout, or content of the typed one that names no project.
    Unknown,
}

impl Owner<'_> {
    /// The name of the project that it is or belongs to.
    #[must_use]
    pub fn project(&self) -> Option<&[u8]> {
        match self {
            Self::Project(name) | Self::Member(name) => Some(name),
            Self::Global | Self::Unknown => None,
        }
    }
}

/// Whether a key is that of the id of an instance.
#[must_use]
pub fn is_id(key: &[u8]) -> bool {
    key == super::image::FLAT_UUID || key == super::image::TYPED_UUID
}

/// Whether a key may be a resource's, and may be a file's path too: it can leave no folder.
///
/// # Errors
/// What is wrong with it.
pub fn check(layout: Layout, key: &[u8]) -> Result<()> {
    let path = match layout {
        Layout::Flat => key.strip_prefix(b"/").ok_or_else(|| wrong(key, "it does not begin with a slash"))?,
        Layout::Typed => key,
    };
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" => return Err(wrong(key, "a part between slashes is empty")),
            b"." | b".." => return Err(wrong(key, "a part of it leads to another folder")),
            part if part.contains(&0) => return Err(wrong(key, "it has a NUL in it")),
            _ => {}
        }
    }
    let length = std::str::from_utf8(key).map_or(key.len(), |text| text.chars().count());
    if length > MAX_KEY {
        return Err(wrong(key, &format!("it has {length} characters, and a row has room for {MAX_KEY}")));
    }
    if layout == Layout::Typed {
        metadata_type(key)?;
    }
    Ok(())
}

/// The type that a key of the typed layout begins with.
///
/// # Errors
/// A type that is not known, and a key that is a type alone.
pub fn metadata_type(key: &[u8]) -> Result<&'static MetadataType> {
    let end = key.iter().position(|byte| *byte == b'/').ok_or_else(|| wrong(key, "it has no type in front"))?;
    let name = key.get(..end).unwrap_or_default();
    MetadataType::named(name)
        .ok_or_else(|| Error::Unsupported { what: "metadata type", found: String::from_utf8_lossy(name).into_owned() })
}

/// Which project a resource belongs to. In the flat layout its key says so; in the typed one its content does, by the
/// property that fills the column `project` of its table.
#[must_use]
pub fn owner<'a>(key: &'a [u8], content: &[u8]) -> Owner<'a> {
    if Layout::of_key(key) == Layout::Typed {
        return typed_owner(key, content);
    }
    if let Some(name) = key.strip_prefix(PROJECTS) {
        let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
        return Owner::Project(Cow::Borrowed(last.strip_suffix(SUFFIX).unwrap_or(last)));
    }
    let mut segments = key.splitn(3, |byte| *byte == b'/').skip(1);
    match (segments.next(), segments.next()) {
        (Some(GLOBAL), Some(_)) | (Some(b"UUID" | b"VERSION" | b"_image"), None) => Owner::Global,
        (Some(project), Some(_)) => Owner::Member(Cow::Borrowed(project)),
        _ => Owner::Unknown,
    }
}

fn typed_owner<'a>(key: &'a [u8], content: &[u8]) -> Owner<'a> {
    let Ok(found) = metadata_type(key) else { return Owner::Unknown };
    match found.scope {
        Scope::Global => Owner::Global,
        Scope::Defines => Owner::Project(Cow::Borrowed(key.get(found.name.len() + 1..).unwrap_or_default())),
        Scope::Project(name) => property(content, name)
            // A column has no room for more; nor has who remembers the names of projects.
            .filter(|name| name.len() <= 4 * MAX_KEY)
            .map_or(Owner::Unknown, |name| Owner::Member(Cow::Owned(name))),
    }
}

/// A text among the properties of a JSON document; the last one, where it comes twice.
pub(super) fn property(document: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut reader = Reader::new(document);
    let mut found = None;
    reader.expect(b'{').ok()?;
    if reader.token(b'}') {
        return None;
    }
    loop {
        let is_it = reader.string().ok()? == name.as_bytes();
        reader.expect(b':').ok()?;
        let value = reader.skip().ok()?;
        if is_it {
            found = Reader::new(value).string().ok();
        }
        if reader.token(b'}') {
            return found;
        }
        reader.expect(b',').ok()?;
    }
}

/// Where the file of a resource lies, from the top of a backup, without a slash in front.
///
/// # Errors
/// As [`check`].
pub fn path(layout: Layout, key: &[u8]) -> Result<Vec<u8>> {
    check(layout, key)?;
    Ok(match layout {
        Layout::Flat => key.strip_prefix(b"/").unwrap_or(key).to_vec(),
        Layout::Typed => [CORE_META, b"/", key, SUFFIX].concat(),
    })
}

/// The key of the resource whose file lies at `path`, from the top of a backup or, in the typed layout, from `core_meta`.
/// `None` where the file is no resource: Kylin's own restore of the flat layout takes a desktop's `.DS_Store` for one.
///
/// # Errors
/// As [`check`], and a file of the typed layout that does not end in `.json`.
pub fn of_path(layout: Layout, path: &[u8]) -> Result<Option<Vec<u8>>> {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let key = match layout {
        _ if name == b".DS_Store" => return Ok(None),
        Layout::Flat => [b"/", path].concat(),
        Layout::Typed => {
            let inner = path.strip_prefix(CORE_META).and_then(|rest| rest.strip_prefix(b"/")).unwrap_or(path);
            if NO_RESOURCES.contains(&inner) {
                return Ok(None);
            }
            inner.strip_suffix(SUFFIX).ok_or_else(|| wrong(path, "its file does not end in .json"))?.to_vec()
        }
    };
    check(layout, &key)?;
    Ok(Some(key))
}

fn wrong(key: &[u8], why: &str) -> Error {
    let shown = key.get(..MAX_KEY).unwrap_or(key);
    Error::malformed(WHAT, format!("{:?}: {why}", String::from_utf8_lossy(shown)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(layout: Layout, key: &[u8]) -> String {
        check(layout, key).unwrap_err().to_string()
    }

    #[test]
    fn keys_that_a_row_and_a_folder_hold_are_told_from_others() {
        let long = format!("/{}", "ü".repeat(254));
        for key in ["/UUID", "/_image", "/_global/user/ADMIN", "/p/table/DB.T.json", "/p/execute/a..b", &long] {
            assert_eq!(check(Layout::Flat, key.as_bytes()), Ok(()), "{key}");
        }
        assert_eq!(check(Layout::Flat, b"/p/\xff"), Ok(()));
        for (key, why) in [
            ("", "slash"),
            ("UUID", "slash"),
            ("/", "empty"),
            ("/p/", "empty"),
            ("//p/a", "empty"),
            ("/p//a", "empty"),
            ("/p/../a", "another folder"),
            ("/..", "another folder"),
            ("/p/./a", "another folder"),
            ("/p/a\0b", "NUL"),
            (&format!("{long}x"), "256 characters"),
        ] {
            assert!(refused(Layout::Flat, key.as_bytes()).contains(why), "{key:?}");
        }
    }

    #[test]
    fn typed_keys_begin_with_a_known_type() {
        for key in ["PROJECT/p", "TABLE_INFO/p.DB.T", "SYSTEM/UUID", "SYSTEM/_image", "ACL/p.u.a/b"] {
            assert_eq!(check(Layout::Typed, key.as_bytes()), Ok(()), "{key}");
        }
        for key in ["PROJECT", "/PROJECT/p", "PROJECT/", "project/p", "CUBE/p", "MODEL/../x", ""] {
            assert!(check(Layout::Typed, key.as_bytes()).is_err(), "{key}");
        }
        assert!(refused(Layout::Typed, b"CUBE/p").contains("CUBE"));
    }

    #[test]
    fn the_owner_is_in_the_key_or_in_the_content() {
        let owned = |key, content: &str| owner(key, content.as_bytes());
        let member = |name: &'static [u8]| Owner::Member(Cow::Borrowed(name));
        let project = |name: &'static [u8]| Owner::Project(Cow::Borrowed(name));
        assert_eq!(owned(b"/_global/project/p.json", ""), project(b"p"));
        assert_eq!(owned(b"/_global/user/ADMIN", ""), Owner::Global);
        assert_eq!(owned(b"/_global/projects/x", ""), Owner::Global);
        assert_eq!(owned(b"/UUID", ""), Owner::Global);
        assert_eq!(owned(b"/p/dataflow_details/a/b.json", ""), member(b"p"));
        assert_eq!(owned(b"/stray", ""), Owner::Unknown);
        assert_eq!(owned(b"PROJECT/p", ""), project(b"p"));
        assert_eq!(owned(b"USER_INFO/ADMIN", "{\"project\":\"p\"}"), Owner::Global);
        assert_eq!(owned(b"MODEL/6f0d", "{ \"a\" : {\"project\":\"x\"},\n \"project\" : \"p\" }"), member(b"p"));
        assert_eq!(owned(b"LOGICAL_VIEW/v", "{\"project\":\"x\",\"created_project\":\"p\"}"), member(b"p"));
        for content in ["", "{}", "{\"project\":1}", "not json", "{\"project\":\"p\"", "{\"project\":\"p\",}"] {
            assert_eq!(owned(b"MODEL/6f0d", content), Owner::Unknown, "{content}");
        }
        assert_eq!(owned(b"CUBE/x", "{}"), Owner::Unknown);
    }

    #[test]
    fn files_lie_where_kylin_puts_them() {
        assert_eq!(path(Layout::Flat, b"/_global/project/p.json").unwrap(), b"_global/project/p.json");
        assert_eq!(path(Layout::Typed, b"PROJECT/p").unwrap(), b"core_meta/PROJECT/p.json");
        assert!(path(Layout::Flat, b"/../etc/passwd").is_err());
        assert_eq!(of_path(Layout::Typed, b"PROJECT/p.json").unwrap().unwrap(), b"PROJECT/p");
        for none in [&b"core_meta/kylin.properties"[..], b"core_meta/.DS_Store", b"MODEL/.DS_Store"] {
            assert_eq!(of_path(Layout::Typed, none), Ok(None));
        }
        assert_eq!(of_path(Layout::Flat, b"p/.DS_Store"), Ok(None));
        assert!(of_path(Layout::Typed, b"core_meta/PROJECT/p").is_err());
        assert!(of_path(Layout::Flat, b"p/../../x").is_err());
    }

    proptest! {
        #[test]
        fn every_good_key_comes_back_from_its_path(tail in "[a-z.A-Z/]{1,20}") {
            for (layout, head) in [(Layout::Flat, "/"), (Layout::Typed, "MODEL/")] {
                let key = format!("{head}{tail}").into_bytes();
                if check(layout, &key).is_ok() && !key.ends_with(b"/.DS_Store") {
                    let path = path(layout, &key).unwrap();
                    prop_assert!(path.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b"..")));
                    prop_assert_eq!(of_path(layout, &path), Ok(Some(key)));
                }
            }
        }

        #[test]
        fn no_input_panics(key in any::<Vec<u8>>(), content in any::<Vec<u8>>(), text in "[{}\":,projectA/_.]*") {
            for layout in [Layout::Flat, Layout::Typed] {
                drop(path(layout, &key));
                drop(of_path(layout, &key));
                drop(of_path(layout, text.as_bytes()));
            }
            drop(owner(&key, &content));
            drop(owner(text.as_bytes(), &content));
            drop(owner(b"MODEL/x", text.as_bytes()));
        }
    }
}
