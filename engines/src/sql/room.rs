//! What the columns of a layout have room for, and the statements that find what a database holds at most: for a preflight.
//! It knows no dialect, and asks nothing itself.

use metaferry_codecs::juicefs::tables::{self, Table, Type, Widths};
use metaferry_codecs::juicefs::{Kind, SLICE_BYTES};
use metaferry_codecs::system::Largest;
use metaferry_pipeline::preflight::Room;

use super::schema::Schema;

/// How a value in a column is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Number,
    Bytes,
    Slices,
}

/// A field that some column may be too small for: its kind, its name, its table, its column.
struct Field(Kind, &'static str, Table, &'static str, Measure);

/// Those that JuiceFS lets grow beyond what it makes columns for.
const FIELDS: [Field; 8] = [
    Field(Kind::Node, "uid", tables::NODE, "uid", Measure::Number),
    Field(Kind::Node, "gid", tables::NODE, "gid", Measure::Number),
    Field(Kind::Node, "nlink", tables::NODE, "nlink", Measure::Number),
    Field(Kind::Node, "rdev", tables::NODE, "rdev", Measure::Number),
    Field(Kind::Edge, "name", tables::EDGE, "name", Measure::Bytes),
    Field(Kind::Chunk, "slices", tables::CHUNK, "slices", Measure::Slices),
    Field(Kind::Symlink, "target", tables::SYMLINK, "target", Measure::Bytes),
    Field(Kind::Xattr, "value", tables::XATTR, "value", Measure::Bytes),
];

const WIDEN: &str = "--widen makes the column wider, as JuiceFS's documentation has operators do";
const NOTHING: &str = "JuiceFS itself makes the column so; choose another engine";

/// What tables of a volume have room for; `most` says it of a type.
pub(crate) fn rooms(prefix: &str, widths: Widths, most: fn(Type) -> Option<u64>) -> Vec<Room<Kind>> {
    let room = |Field(kind, field, table, name, measure): &Field| {
        let column = table.columns.iter().find(|column| column.name == *name)?;
        let holds = |widths: Widths| most(widths.of(table, column));
        let unit = if *measure == Measure::Slices { SLICE_BYTES as u64 } else { 1 };
        Some(Room {
            kind: *kind,
            field,
            most: holds(widths)? / unit,
            place: format!("{prefix}{}.{name}", table.name),
            advice: if holds(widths) == holds(Widths::Wide) { NOTHING } else { WIDEN },
        })
    };
    FIELDS.iter().filter_map(room).collect()
}

/// A statement that asks for the largest values of one table, and what its columns are.
pub(crate) struct Question {
    pub(crate) sql: String,
    asked: Vec<(Kind, &'static str, Measure)>,
}

impl Question {
    /// Those that `rooms` are about; `length` is what the dialect calls the number of bytes of a column.
    pub(crate) fn all(rooms: &[Room<Kind>], schema: &Schema, length: fn(&str) -> String) -> Vec<Self> {
        let fields =
            || FIELDS.iter().filter(|field| rooms.iter().any(|room| (room.kind, room.field) == (field.0, field.1)));
        let mut tables: Vec<&Table> = fields().map(|Field(_, _, table, ..)| table).collect();
        tables.dedup_by_key(|table| table.name);
        let tables = tables.into_iter().filter(|table| schema.has(table));
        let question = |table: &Table| {
            let of_table = || fields().filter(|field| field.2.name == table.name);
            let measured = |Field(_, _, _, column, measure): &Field| match measure {
                Measure::Number => format!("max({})", schema.list(table, &[column])),
                _ => format!("max({})", length(&schema.list(table, &[column]))),
            };
            let values = of_table().map(measured).collect::<Vec<_>>().join(", ");
            let sql = format!("SELECT {values} FROM {}", schema.name(table));
            Self { sql, asked: of_table().map(|Field(kind, field, _, _, measure)| (*kind, *field, *measure)).collect() }
        };
        tables.map(question).collect()
    }

    /// How many columns its answer has.
    pub(crate) fn columns(&self) -> usize {
        self.asked.len()
    }

    /// What the answer means: `None` is that of a table without rows.
    pub(crate) fn read(&self, answer: impl Iterator<Item = Option<i64>>) -> Vec<Largest<Kind>> {
        let largest = |((kind, field, measure), value): (&(Kind, &'static str, Measure), Option<i64>)| {
            let value = value.unwrap_or_default().max(0).cast_unsigned();
            let unit = if *measure == Measure::Slices { SLICE_BYTES as u64 } else { 1 };
            Largest { kind: *kind, field: (*field).to_owned(), value: value.div_ceil(unit) }
        };
        self.asked.iter().zip(answer).map(largest).collect()
    }
}
