//! What each file of a backup is: a resource, `_image`, or none of the two. It goes by paths, and sees no content.

use metaferry_codecs::kylin::image::{FLAT_IMAGE, FLAT_UUID, TYPED_IMAGE};
use metaferry_codecs::kylin::key::{self, GLOBAL};
use metaferry_codecs::kylin::{Batch, Layout};
use metaferry_codecs::{Error, Result};
use metaferry_pipeline::Findings;

/// What a desktop leaves in folders.
const DESKTOP: &str = "files of a desktop (.DS_Store)";
/// Files that Kylin reads of no folder's top, though its check may let them pass.
const IN_ROOT: &str = "files at the top of the backup";
/// The folder of the typed layout for what no table holds.
const TEMPORARY: &[u8] = b"TMP_REC/";

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// A resource of this key.
    Resource(Vec<u8>),
    /// How far the change log is in the backup.
    Image,
    /// Not read, and counted as this.
    Aside(&'static str),
    /// Of another project than the one asked for.
    Elsewhere,
}

/// Which files of a backup are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Roles {
    pub(super) layout: Layout,
    /// The only project; what is of another one in the typed layout is told by its content alone.
    pub(super) project: Option<Vec<u8>>,
    pub(super) without_table_exd: bool,
}

impl Roles {
    /// Everything in a layout.
    pub(super) fn of(layout: Layout) -> Self {
        Self { layout, ..Self::default() }
    }

    /// What the file at `path` is, from the top of a flat backup, or from `core_meta`.
    ///
    /// # Errors
    /// A path that is no valid key's.
    pub(super) fn role(&self, path: &[u8]) -> Result<Role> {
        if self.layout == Layout::Typed && path.starts_with(TEMPORARY) {
            return Ok(Role::Aside("temporary recommendations, which no store holds"));
        }
        if self.layout == Layout::Typed && path.starts_with(b"core_meta/") {
            // One inside another would hold the same keys again.
            return Err(Error::Unsupported { what: "metadata type", found: "core_meta".to_owned() });
        }
        let Some(key) = key::of_path(self.layout, path)? else {
            let is_desktop = path.ends_with(b".DS_Store");
            return Ok(Role::Aside(if is_desktop { DESKTOP } else { "kylin.properties, which is no resource" }));
        };
        Ok(match self.layout {
            Layout::Flat => self.flat(path, key),
            Layout::Typed if key == TYPED_IMAGE => Role::Image,
            Layout::Typed if self.without_table_exd && key.starts_with(b"TABLE_EXD/") => Role::Aside(TABLE_EXD),
            Layout::Typed => Role::Resource(key),
        })
    }

    fn flat(&self, path: &[u8], key: Vec<u8>) -> Role {
        let mut parts = path.splitn(3, |byte| *byte == b'/');
        let (top, second) = (parts.next().unwrap_or_default(), parts.next());
        match second {
            None if key == FLAT_IMAGE => Role::Image,
            None if key == FLAT_UUID => Role::Resource(key),
            None if key == b"/VERSION" => Role::Aside("VERSION of an exported package"),
            None => Role::Aside(IN_ROOT),
            Some(_) if !self.wants(top, path) => Role::Elsewhere,
            Some(b"table_exd") if self.without_table_exd && top != GLOBAL => Role::Aside(TABLE_EXD),
            Some(_) => Role::Resource(key),
        }
    }

    fn wants(&self, top: &[u8], path: &[u8]) -> bool {
        let Some(project) = &self.project else { return true };
        if top != GLOBAL {
            return top == project.as_slice();
        }
        let name = path.strip_prefix(b"_global/project/").and_then(|rest| rest.strip_suffix(b".json"));
        name == Some(project)
    }
}

const TABLE_EXD: &str = "samples and statistics of tables (table_exd)";

/// Takes out what no backup holds: the change log, the list of files to be cleaned up, and what a folder would not give back
/// as a resource.
pub(super) fn sift(batch: &mut Batch, findings: &mut Findings) {
    match batch {
        Batch::Audit(rows) => {
            findings.left_behind("entries of the change log", rows.len() as u64);
            rows.clear();
        }
        Batch::Resource(rows) => rows.retain(|row| match left_out(&row.key) {
            None => true,
            Some(what) => {
                findings.left_behind(what, 1);
                false
            }
        }),
        Batch::Setting(_) => {}
    }
}

/// As what a resource of this key is left out of a backup.
fn left_out(key: &[u8]) -> Option<&'static str> {
    if key::TRASH.contains(&key) {
        return Some("the list of files to be cleaned up (trash_record)");
    }
    if key == FLAT_IMAGE || key == TYPED_IMAGE {
        return Some("an _image in a store");
    }
    let path = key.strip_prefix(b"/")?;
    match Roles::of(Layout::Flat).role(path) {
        Ok(Role::Aside(what)) => Some(what),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use metaferry_codecs::kylin::{Audit, Resource};

    use super::*;

    fn flat(path: &str) -> Role {
        Roles::of(Layout::Flat).role(path.as_bytes()).unwrap()
    }

    fn resource(key: &str) -> Role {
        Role::Resource(key.as_bytes().to_vec())
    }

    #[test]
    fn files_of_a_flat_backup_are_told_apart() {
        for path in ["UUID", "_global/user/ADMIN", "p/table_exd/T.json", "_global/table_exd/x", "p/foo.DS_Store"] {
            assert_eq!(flat(path), resource(&format!("/{path}")));
        }
        assert_eq!(flat("_image"), Role::Image);
        for path in ["VERSION", "stray", "metadata.zip", ".DS_Store", "p/.DS_Store", "p/q/.DS_Store"] {
            assert!(matches!(flat(path), Role::Aside(_)), "{path}");
        }
        assert!(Roles::of(Layout::Flat).role(b"p/a//b").is_err());
    }

    #[test]
    fn files_of_a_typed_backup_are_told_apart() {
        let typed = |path: &str| Roles::of(Layout::Typed).role(path.as_bytes());
        assert_eq!(typed("TABLE_EXD/p.DB.T.json").unwrap(), resource("TABLE_EXD/p.DB.T"));
        assert_eq!(typed("SYSTEM/_image.json").unwrap(), Role::Image);
        assert_eq!(typed("MODEL/_image.json").unwrap(), resource("MODEL/_image"));
        for path in ["kylin.properties", ".DS_Store", "MODEL/.DS_Store", "TMP_REC/x.json"] {
            assert!(matches!(typed(path).unwrap(), Role::Aside(_)), "{path}");
        }
        for path in ["CUBE/x.json", "core_meta/MODEL/x.json", "MODEL/x", "stray", "MODEL/x.json~"] {
            assert!(typed(path).is_err(), "{path}");
        }
    }

    #[test]
    fn one_project_and_no_statistics_can_be_asked_for() {
        let roles = Roles { layout: Layout::Flat, project: Some(b"p".to_vec()), without_table_exd: true };
        let role = |path: &str| roles.role(path.as_bytes()).unwrap();
        for path in ["UUID", "_global/project/p.json", "p/table/T.json", "p/table_exdx/T.json"] {
            assert_eq!(role(path), resource(&format!("/{path}")));
        }
        for path in
            ["_global/project/q.json", "_global/project/q/p.json", "_global/user/ADMIN", "pp/x", "q/table_exd/x"]
        {
            assert_eq!(role(path), Role::Elsewhere, "{path}");
        }
        assert_eq!(role("p/table_exd/T.json"), Role::Aside(TABLE_EXD));
        assert_eq!(role("_image"), Role::Image);
        let typed = Roles { layout: Layout::Typed, ..roles };
        assert_eq!(typed.role(b"TABLE_EXD/p.DB.T.json").unwrap(), Role::Aside(TABLE_EXD));
        assert_eq!(typed.role(b"TABLE_INFO/q.DB.T.json").unwrap(), resource("TABLE_INFO/q.DB.T"));
    }

    #[test]
    fn what_no_backup_holds_is_taken_out_and_counted() {
        let mut findings = Findings::default();
        let mut batch: Batch = vec![Audit::default(), Audit::default()].into();
        sift(&mut batch, &mut findings);
        assert_eq!(batch, Vec::<Audit>::new().into());
        let keys = ["/UUID", "/_image", "/stray", "/_global/trash_record", "/p/.DS_Store", "/p/a", "SYSTEM/_image"];
        let keys = keys.iter().chain(&["SYSTEM/trash_record", "MODEL/.DS_Store", "SYSTEM/UUID"]);
        let mut batch: Batch =
            keys.map(|key| Resource { key: key.as_bytes().to_vec(), ..Resource::default() }).collect::<Vec<_>>().into();
        sift(&mut batch, &mut findings);
        let Batch::Resource(rows) = batch else { panic!() };
        let left: Vec<_> = rows.iter().map(|row| String::from_utf8_lossy(&row.key)).collect();
        assert_eq!(left, ["/UUID", "/p/a", "MODEL/.DS_Store", "SYSTEM/UUID"]);
        assert_eq!(findings.left_behind.values().sum::<u64>(), 8);
    }
}
