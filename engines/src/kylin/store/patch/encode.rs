//! Staged rows, encoded as their server takes them. What the store cannot hold is told here. It sends nothing.

use std::borrow::Cow;
use std::sync::Arc;

use metaferry_codecs::kylin::address::Dialect;
use metaferry_codecs::kylin::content::Storer;
use metaferry_pipeline::{Error, ErrorKind, Result};

use super::super::cells::{Cell, Encoding, Unfit, check, filled, put};
use super::parts::Op;
use super::targets::{Target, Targets};
use crate::mysql::cells::Form;

/// What becomes of one resource.
#[derive(Debug)]
pub(super) struct Row {
    /// Which of the tables it is in.
    pub(super) target: usize,
    pub(super) op: Op,
    pub(super) key: Vec<u8>,
    /// The version that it is to have before.
    pub(super) mvcc: Option<i64>,
    /// How many there are of its part, with which the same is done, before it.
    pub(super) number: u64,
    /// Plain, where it shall have any.
    pub(super) content: Option<Vec<u8>>,
}

/// How rows are encoded, for all workers.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) encoding: Encoding,
    pub(super) targets: Targets,
    /// The one project, where it is not all.
    pub(super) project: Option<Vec<u8>>,
    pub(super) is_compressed: bool,
    /// The largest row that the server takes in one piece.
    pub(super) most: Option<u64>,
}

/// Rows that the server does not take in one piece.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct TooLarge {
    pub(super) count: u64,
    pub(super) largest: u64,
    pub(super) key: Vec<u8>,
}

/// The name of a model, which no other of its project may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Model {
    pub(super) project: Vec<u8>,
    pub(super) alias: Vec<u8>,
    /// The key in its table.
    pub(super) key: Vec<u8>,
}

/// Rows as they are sent.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) rows: u64,
    pub(super) too_large: TooLarge,
    pub(super) models: Vec<Model>,
}

/// What a packet needs besides a key and content, in bytes.
const ROOM: usize = 4096;

/// The columns that every staged row has; behind them are those that the content fills.
pub(super) const FIXED: [&str; 6] = ["part", "k", "op", "mvcc", "n", "content"];

/// The name of the column for what fills a table's column.
pub(super) fn filled_name(index: usize) -> String {
    format!("f{index}")
}

impl TooLarge {
    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        if other.largest > self.largest {
            (self.largest, self.key) = (other.largest, other.key);
        }
    }
}

impl Rules {
    /// Encodes rows one behind the other.
    pub(super) fn encode(&self, rows: Vec<Row>) -> Result<Encoded> {
        let (mut encoded, mut storer) = (Encoded::default(), Storer::default());
        rows.into_iter().try_for_each(|row| self.one(row, &mut storer, &mut encoded))?;
        Ok(encoded)
    }

    fn one(&self, row: Row, storer: &mut Storer, to: &mut Encoded) -> Result<()> {
        let Row { target, op, key: whole, mvcc, number, content } = row;
        let target = self.targets.all.get(target).ok_or_else(|| lost(&whole))?;
        let refused = |unfit| refused(&whole, unfit);
        let key = Cell::Text(Cow::Borrowed(target.key(&whole)));
        self.check(target, &key).map_err(refused)?;
        let filled = content.as_ref().map(|plain| self.filled(target, plain)).transpose().map_err(refused)?;
        if let Some(filled) = &filled {
            self.look(target, &whole, filled, to)?;
        }
        let stored = content.as_ref().map(|plain| storer.store(plain, self.is_compressed));
        if self.is_too_large(&whole, stored, to) {
            return Ok(());
        }
        let long = |number: Option<i64>| number.map_or(Cell::Null, Cell::Long);
        let mut cells = vec![
            Cell::Long(target.number),
            key,
            Cell::Long(op.number().into()),
            long(mvcc),
            long(i64::try_from(number).ok()),
            stored.map_or(Cell::Null, |stored| Cell::Bytes(Cow::Borrowed(stored))),
        ];
        cells.extend(filled.into_iter().flatten().map(as_text));
        cells.resize(FIXED.len() + self.targets.most_filled(), Cell::Null);
        put(self.encoding, &cells, &mut to.bytes).map_err(refused)?;
        to.rows += 1;
        Ok(())
    }

    fn dialect(&self) -> Dialect {
        if self.encoding == Encoding::Copy { Dialect::Postgres } else { Dialect::Mysql }
    }

    /// Whether the table's column can hold a key.
    fn check(&self, target: &Target, key: &Cell<'_>) -> Result<(), Unfit> {
        let [name, ..] = target.placed.resource_columns();
        let column = target.placed.table.columns.iter().find(|column| column.name == name);
        column.map_or(Ok(()), |column| check(column, key, self.dialect()))
    }

    /// The columns that the content fills.
    fn filled(&self, target: &Target, plain: &[u8]) -> Result<Vec<Cell<'static>>, Unfit> {
        let columns: Vec<_> = target.placed.table.filled().collect();
        if columns.is_empty() { Ok(Vec::new()) } else { filled(&columns, plain, self.dialect()) }
    }

    /// What has to be known of a row besides.
    fn look(&self, target: &Target, key: &[u8], filled: &[Cell<'_>], to: &mut Encoded) -> Result<()> {
        let value = |column| match target.filled(column).and_then(|index| filled.get(index)) {
            Some(Cell::Text(text)) => Some(text.to_vec()),
            _ => None,
        };
        let project = value("project");
        if self.project.is_some() && target.filled("project").is_some() && project != self.project {
            return Err(Error::refused(format!("{}: its content is of another project", String::from_utf8_lossy(key))));
        }
        if let (Some("MODEL"), Some(project), Some(alias)) = (target.part, project, value("alias")) {
            to.models.push(Model { project, alias, key: target.key(key).to_vec() });
        }
        Ok(())
    }

    fn is_too_large(&self, key: &[u8], stored: Option<&[u8]>, to: &mut Encoded) -> bool {
        // As values every byte of content takes two.
        let factor = if self.encoding == Encoding::Mysql(Form::Values) { 2 } else { 1 };
        let bytes = (stored.map_or(0, <[u8]>::len) * factor + key.len() + ROOM) as u64;
        let is_too_large = self.most.is_some_and(|most| bytes > most);
        if is_too_large {
            to.too_large.merge(TooLarge { count: 1, largest: bytes, key: key.to_vec() });
        }
        is_too_large
    }
}

/// What is staged is text, whatever the column of a table is.
fn as_text<'c>(cell: Cell<'static>) -> Cell<'c> {
    let number = |number: i64| Cell::Text(Cow::Owned(number.to_string().into_bytes()));
    match cell {
        Cell::Long(value) => number(value),
        Cell::Int(value) => number(value.into()),
        Cell::Flag(value) => number(value.into()),
        cell => cell,
    }
}

fn refused(key: &[u8], Unfit(why): Unfit) -> Error {
    Error::refused(format!("{}: {why}", String::from_utf8_lossy(key)))
}

fn lost(key: &[u8]) -> Error {
    Error::new(ErrorKind::Bug, format!("{}: no table for it", String::from_utf8_lossy(key)))
}

/// What turns rows into what is sent, for a crew.
pub(super) fn worker(rules: &Arc<Rules>) -> impl FnMut(Vec<Row>) -> Result<Encoded> + Send + 'static {
    let rules = Arc::clone(rules);
    move |rows| rules.encode(rows)
}

#[cfg(test)]
mod tests {
    use metaferry_codecs::kylin::Layout;
    use metaferry_pipeline::ErrorKind;

    use super::super::super::tables::{Located, Table};
    use super::*;

    fn rules(layout: Layout, encoding: Encoding, most: Option<u64>) -> Rules {
        let located = Located::made(layout, None, &|table: &Table| table.name("k"));
        let targets = Targets::new(&located, true);
        Rules { encoding, targets, project: None, is_compressed: false, most }
    }

    fn row(rules: &Rules, key: &str, op: Op, content: Option<&str>) -> Row {
        let part = super::super::parts::part_of(rules.targets.layout, key.as_bytes()).unwrap();
        let (target, _) = rules.targets.of(part).unwrap();
        let content = content.map(|text| text.as_bytes().to_vec());
        Row { target, op, key: key.as_bytes().to_vec(), mvcc: (op != Op::Insert).then_some(7), number: 3, content }
    }

    #[test]
    fn rows_are_staged_with_what_becomes_of_them() {
        let flat = rules(Layout::Flat, Encoding::Mysql(Form::File), None);
        let rows = [("/p/a", Op::Insert, Some("{\t}")), ("/p/b", Op::Replace, Some("")), ("/p/c", Op::Delete, None)];
        let rows = rows.map(|(key, op, content)| row(&flat, key, op, content));
        let encoded = flat.encode(rows.into()).unwrap();
        let text = "0\t/p/a\t0\t\\N\t3\t{\\t}\n0\t/p/b\t1\t7\t3\t\n0\t/p/c\t2\t7\t3\t\\N\n";
        assert_eq!((String::from_utf8(encoded.bytes).unwrap().as_str(), encoded.rows), (text, 3));
        let typed = rules(Layout::Typed, Encoding::Mysql(Form::Values), None);
        let content = r#"{"uuid":"m","project":"p","alias":"a"}"#;
        let encoded = typed.encode(vec![row(&typed, "MODEL/m", Op::Insert, Some(content))]).unwrap();
        assert_eq!(encoded.models, [Model { project: b"p".to_vec(), alias: b"a".to_vec(), key: b"m".to_vec() }]);
        let text = String::from_utf8(encoded.bytes).unwrap();
        let number = typed.targets.of(b"MODEL").unwrap().1.number;
        assert!(text.starts_with(&format!("({number},CONVERT(X'6d' USING utf8mb4),0,NULL,3,X'7b")), "{text}");
        assert_eq!(text.matches("NULL").count(), 1 + typed.targets.most_filled() - 3, "{text}");
        let content = r#"{"uuid":"j","project":"p","date":17}"#;
        let encoded = typed.encode(vec![row(&typed, "JOB_STATS/j", Op::Replace, Some(content))]).unwrap();
        assert!(String::from_utf8(encoded.bytes).unwrap().contains("X'3137'"), "a number is staged as text");
    }

    #[test]
    fn what_a_store_cannot_hold_is_refused_by_name() {
        let typed = rules(Layout::Typed, Encoding::Copy, None);
        let long = format!("/p/{}", "x".repeat(253));
        let flat = rules(Layout::Flat, Encoding::Copy, None);
        let of_q = Rules { project: Some(b"q".to_vec()), ..rules(Layout::Typed, Encoding::Copy, None) };
        for (rules, key, content, why) in [
            (&typed, "MODEL/m", "not json", "MODEL/m: its content has no"),
            (&flat, &*long, "", "256 characters"),
            (&flat, "/p/\0", "", "NUL"),
            (
                &of_q,
                "MODEL/m",
                r#"{"uuid":"m","project":"p","alias":"a"}"#,
                "MODEL/m: its content is of another project",
            ),
        ] {
            let told = rules.encode(vec![row(rules, key, Op::Insert, Some(content))]).unwrap_err();
            assert!(told.kind() == ErrorKind::Refused && told.to_string().contains(why), "{told:?}");
        }
    }

    #[test]
    fn rows_that_are_too_large_are_counted_and_the_largest_named() {
        let large = "x".repeat(3000);
        for (form, most, count) in [(Form::File, 8000, 0), (Form::File, 7000, 2), (Form::Values, 8000, 2)] {
            let flat = rules(Layout::Flat, Encoding::Mysql(form), Some(most));
            let rows = [("/p/a", large[1..].to_owned()), ("/p/b", large.clone()), ("/p/c", "{}".to_owned())];
            let rows = rows.map(|(key, content)| row(&flat, key, Op::Insert, Some(&content)));
            let encoded = flat.encode(rows.into()).unwrap();
            assert_eq!((encoded.too_large.count, encoded.rows), (count, 3 - count), "{form:?}");
            assert_eq!(encoded.too_large.key, if count > 0 { b"/p/b".to_vec() } else { Vec::new() });
        }
    }
}
