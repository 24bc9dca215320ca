//! The types of the typed layout (Kylin's `MetadataType`): each is a table, a folder of a backup, and the first part of a key.

/// To whom resources of a type belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To no project.
    Global,
    /// Each is a project, and its key the project's name.
    Defines,
    /// To the project that this property of the content names.
    Project(&'static str),
}

/// A type of metadata.
#[derive(Debug, PartialEq, Eq)]
pub struct MetadataType {
    /// Its name, in upper case; in lower case, behind the identifier and `_`, its table's.
    pub name: &'static str,
    /// To whom its resources belong.
    pub scope: Scope,
}

impl MetadataType {
    /// The type of this name, in upper case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<&'static Self> {
        TYPES.iter().find(|known| known.name.as_bytes() == name)
    }

    /// Every type.
    #[must_use]
    pub fn all() -> &'static [Self] {
        &TYPES
    }

    /// The name of its table in a store of this identifier.
    #[must_use]
    pub fn table(&self, identifier: &str) -> String {
        format!("{identifier}_{}", self.name.to_ascii_lowercase())
    }
}

const fn of(name: &'static str, scope: Scope) -> MetadataType {
    MetadataType { name, scope }
}

const IN_PROJECT: Scope = Scope::Project("project");

/// `TMP_REC` is none of them: Kylin has it in files alone.
static TYPES: [MetadataType; 30] = [
    of("PROJECT", Scope::Defines),
    of("MODEL", IN_PROJECT),
    of("DATAFLOW", IN_PROJECT),
    of("INDEX_PLAN", IN_PROJECT),
    of("ACL", IN_PROJECT),
    of("SQL_BLACKLIST", IN_PROJECT),
    of("FUSION_MODEL", IN_PROJECT),
    of("QUERY_RECORD", IN_PROJECT),
    of("LOGICAL_VIEW", Scope::Project("created_project")),
    of("SEGMENT", IN_PROJECT),
    of("LAYOUT", IN_PROJECT),
    of("LAYOUT_DETAILS", IN_PROJECT),
    of("TABLE_INFO", IN_PROJECT),
    of("INTERNAL_TABLE", IN_PROJECT),
    of("TABLE_EXD", IN_PROJECT),
    of("TABLE_MODEL_RELATION", IN_PROJECT),
    of("COMPUTE_COLUMN", IN_PROJECT),
    of("CC_MODEL_RELATION", IN_PROJECT),
    of("JOB_STATS", IN_PROJECT),
    of("JAR_INFO", IN_PROJECT),
    of("DATA_PARSER", IN_PROJECT),
    of("KAFKA_CONFIG", IN_PROJECT),
    of("STREAMING_JOB", IN_PROJECT),
    of("USER_INFO", Scope::Global),
    of("USER_GLOBAL_ACL", Scope::Global),
    of("USER_GROUP", Scope::Global),
    of("OBJECT_ACL", Scope::Global),
    of("RESOURCE_GROUP", Scope::Global),
    of("HISTORY_SOURCE_USAGE", Scope::Global),
    of("SYSTEM", Scope::Global),
];
