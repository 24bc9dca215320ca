//! The tables that a patch writes to. It runs no statement.

use metaferry_codecs::kylin::Layout;

use super::super::tables::{Located, Placed, Role};

/// A table of resources.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Its number in staged rows; ascending with the keys of its resources.
    pub(super) number: i64,
    /// Its type's name, in the typed layout.
    pub(super) part: Option<&'static str>,
    pub(super) placed: Placed,
}

/// Every table of a store that a patch has to do with.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    pub(super) layout: Layout,
    /// Ascending by the keys of their resources.
    pub(super) all: Vec<Target>,
    /// The change log; none where there is none, or where it is not to be written.
    pub(super) log: Option<Placed>,
}

impl Target {
    /// What its rows have for a key, of the key of a resource.
    pub(super) fn key<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        key.get(self.head().len()..).unwrap_or_default()
    }

    /// What comes before that in the key of a resource.
    pub(super) fn head(&self) -> String {
        self.part.map(|part| format!("{part}/")).unwrap_or_default()
    }

    /// Where a column stands among those that the content fills.
    pub(super) fn filled(&self, column: &str) -> Option<usize> {
        self.placed.table.filled().position(|found| found.name == column)
    }

    /// The column with the id of the model that a row belongs to, as the log has it (`RawResource.getModelUuid` of each type).
    pub(super) fn model(&self) -> Option<usize> {
        self.filled(match self.part? {
            "MODEL" | "DATAFLOW" | "INDEX_PLAN" | "FUSION_MODEL" => "uuid",
            "SEGMENT" | "TABLE_MODEL_RELATION" | "CC_MODEL_RELATION" | "STREAMING_JOB" => "model_uuid",
            "LAYOUT" | "LAYOUT_DETAILS" => "dataflow_id",
            _ => return None,
        })
    }

    /// Columns of which each, made unlike all others, makes room for what comes: one of each unique key. The key of a resource
    /// is none of them: it never changes.
    pub(super) fn unique(&self) -> Vec<&'static str> {
        let keys = self.placed.table.indexes.iter().filter(|index| index.is_unique);
        let first = keys.filter_map(|index| index.columns.iter().find(|column| **column != "project").copied());
        let mut columns: Vec<_> = first.filter(|column| *column != "meta_key").collect();
        columns.dedup();
        columns
    }
}

impl Targets {
    pub(super) fn new(located: &Located, is_logged: bool) -> Self {
        let mut found: Vec<_> = located.resources().cloned().collect();
        let part = |placed: &Placed| match placed.table.role {
            Role::Typed(found) => Some(found.name),
            _ => None,
        };
        found.sort_by_key(part);
        let all = (0..).zip(found).map(|(number, placed)| Target { number, part: part(&placed), placed });
        let log = located.get(Role::Log).filter(|_| is_logged).cloned();
        Self { layout: located.layout, all: all.collect(), log }
    }

    /// The table of a part: in the flat layout there is but one.
    pub(super) fn of(&self, part: &[u8]) -> Option<(usize, &Target)> {
        let is_it = |target: &Target| target.part.is_none_or(|name| name.as_bytes() == part);
        self.all.iter().enumerate().find(|(_, target)| is_it(target))
    }

    /// How many columns the content fills, at most.
    pub(super) fn most_filled(&self) -> usize {
        self.all.iter().map(|target| target.placed.table.filled().count()).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tables::Table;
    use super::*;

    #[test]
    fn every_type_that_belongs_to_a_model_has_it_in_the_log() {
        let located = Located::made(Layout::Typed, None, &|table: &Table| table.name("k"));
        let targets = Targets::new(&located, true);
        let of_models = targets.all.iter().filter(|target| target.model().is_some()).filter_map(|target| target.part);
        assert_eq!(
            of_models.collect::<Vec<_>>(),
            [
                "CC_MODEL_RELATION",
                "DATAFLOW",
                "FUSION_MODEL",
                "INDEX_PLAN",
                "LAYOUT",
                "LAYOUT_DETAILS",
                "MODEL",
                "SEGMENT",
                "STREAMING_JOB",
                "TABLE_MODEL_RELATION",
            ]
        );
    }
}
