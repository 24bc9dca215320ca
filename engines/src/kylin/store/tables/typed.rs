//! The tables of the typed layout, one a type: what each has besides the columns of all, and its unique keys.

use metaferry_codecs::kylin::types::{MetadataType, Scope};

use super::Holds::{Bytes, Count, ExactPadded, Long, LongText, Padded, Reference, Serial, Text, Unsigned};
use super::{Column, Holds, Index, Role, Table};

/// The table of a type.
pub(super) fn table(found: &'static MetadataType) -> Table {
    let (uuid, id) = match found.name {
        "LAYOUT_DETAILS" => (Padded(36), Serial),
        "STREAMING_JOB" => (ExactPadded(64), Unsigned),
        _ => (ExactPadded(36), Unsigned),
    };
    let mut columns = vec![
        Column::new("id", id).required(),
        Column::new("meta_key", Text(255)).required(),
        Column::new("uuid", uuid).required().from("uuid"),
    ];
    if let Scope::Project(property) = found.scope {
        columns.push(Column::new("project", Text(255)).required().from(property));
    }
    columns.extend(extra(found.name));
    let content = Column::new("content", Bytes);
    // Kylin lets only these two be without content.
    let is_relation = matches!(found.name, "TABLE_MODEL_RELATION" | "CC_MODEL_RELATION");
    columns.extend([
        Column::new("mvcc", Long).required(),
        Column::new("ts", Long).required(),
        if is_relation { content } else { content.required() },
        Column::new("reserved_filed_1", Text(50)),
        Column::new("reserved_filed_2", Bytes),
        Column::new("reserved_filed_3", Bytes),
    ]);
    let names = key_names(found.name);
    let uniques = [&["uuid"][..], &["meta_key"]].into_iter().chain(unique(found.name).iter().copied());
    let mut indexes: Vec<_> = uniques
        .zip(1..)
        .map(|(columns, number)| Index {
            suffix: format!("_{names}_uk{number}"),
            columns: columns.to_vec(),
            is_unique: true,
        })
        .collect();
    if found.name == "TABLE_MODEL_RELATION" {
        indexes.push(Index { suffix: format!("_{names}_idx"), columns: vec!["model_uuid"], is_unique: false });
    }
    let suffix = format!("_{}", found.name.to_ascii_lowercase());
    Table { role: Role::Typed(found), suffix, columns, primary: ("id", format!("_{names}_pk")), indexes }
}

/// What the names of a table's keys have in them.
fn key_names(name: &str) -> String {
    match name {
        "USER_INFO" => "user".to_owned(),
        "LAYOUT_DETAILS" => "layout_detail".to_owned(),
        name => name.to_ascii_lowercase(),
    }
}

/// A column that must have a value.
const fn must(name: &'static str, holds: Holds, property: &'static str) -> Column {
    Column::new(name, holds).required().from(property)
}

/// A column that may be NULL.
const fn may(name: &'static str, holds: Holds, property: &'static str) -> Column {
    Column::new(name, holds).from(property)
}

const NAME: Holds = Text(255);

/// The columns that only the table of this type has.
fn extra(name: &str) -> Vec<Column> {
    match name {
        "PROJECT" | "SYSTEM" => vec![must("name", NAME, "name")],
        "MODEL" => vec![must("alias", NAME, "alias")],
        "SEGMENT" => vec![must("model_uuid", Reference(36), "model_uuid")],
        "LAYOUT" => vec![must("dataflow_id", NAME, "dataflow")],
        "LAYOUT_DETAILS" => vec![must("dataflow_id", NAME, "dataflow"), must("layout_id", NAME, "layout")],
        "TABLE_INFO" | "INTERNAL_TABLE" => vec![may("name", NAME, "name"), may("db_name", NAME, "database")],
        "TABLE_EXD" => vec![may("table_name", NAME, "table_name")],
        "TABLE_MODEL_RELATION" => {
            vec![may("table_identity", NAME, "table_identity"), must("model_uuid", Reference(36), "model_uuid")]
        }
        "COMPUTE_COLUMN" => vec![
            may("column_name", NAME, "columnName"),
            may("table_identity", NAME, "tableIdentity"),
            may("table_alias", NAME, "tableAlias"),
            may("expression", LongText, "expression"),
            may("expression_md5", Padded(32), "expressionMD5"),
            may("inner_expression", LongText, "innerExpression"),
            may("datatype", NAME, "datatype"),
            may("reference_count", Count, "referenceCount"),
            may("cc_comment", LongText, "comment"),
        ],
        "CC_MODEL_RELATION" => {
            vec![must("cc_uuid", Reference(36), "cc_uuid"), must("model_uuid", Reference(36), "model_uuid")]
        }
        "JOB_STATS" => vec![must("time_of_day", Long, "date")],
        "JAR_INFO" => vec![may("jar_type", NAME, "jar_type"), must("jar_name", NAME, "jar_name")],
        "DATA_PARSER" => vec![must("jar_name", NAME, "jar_name"), must("class_name", NAME, "class_name")],
        "KAFKA_CONFIG" => vec![may("db", NAME, "database"), must("name", NAME, "name")],
        "STREAMING_JOB" => vec![must("model_uuid", Padded(36), "model_id")],
        "USER_INFO" | "USER_GLOBAL_ACL" => vec![must("username", NAME, "username")],
        "USER_GROUP" => vec![may("group_name", NAME, "group_name")],
        "HISTORY_SOURCE_USAGE" => vec![must("create_time", Long, "create_time")],
        _ => Vec::new(),
    }
}

/// The unique keys of the table of this type besides its uuid and its key.
fn unique(name: &str) -> &'static [&'static [&'static str]] {
    match name {
        "PROJECT" | "SYSTEM" => &[&["name"]],
        "MODEL" => &[&["project", "alias"]],
        "TABLE_MODEL_RELATION" => &[&["table_identity", "model_uuid"]],
        "COMPUTE_COLUMN" => {
            &[&["project", "table_identity", "column_name"], &["project", "table_identity", "expression_md5"]]
        }
        "JAR_INFO" => &[&["jar_name"]],
        "USER_INFO" | "USER_GLOBAL_ACL" => &[&["username"]],
        _ => &[],
    }
}
