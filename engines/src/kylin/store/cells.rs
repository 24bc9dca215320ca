//! The cells of rows that are written: those of a typed resource filled from its content, and every row encoded as its database
//! takes it. What a column cannot hold is told before it is sent.

use std::borrow::Cow;

use metaferry_codecs::json::Reader;
use metaferry_codecs::kylin::address::Dialect;

use super::tables::{Column, Holds};
use crate::mysql::cells::{Form, escape, literal};

/// Bytes that TEXT of MySQL holds.
const MOST_MYSQL_TEXT: usize = 65535;

/// What a cell holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell<'c> {
    Null,
    /// A number of 64 bits.
    Long(i64),
    /// A number of 32 bits.
    Int(i32),
    Flag(bool),
    Text(Cow<'c, [u8]>),
    Bytes(Cow<'c, [u8]>),
}

/// Why a cell cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfit(pub(crate) String);

/// The cells of `columns` that properties of a resource's content fill, in their order (`RawResource.constructResource`). Content
/// that is no JSON object has no properties.
///
/// # Errors
/// A column that must have a value and gets none, and a value that it cannot hold.
pub(crate) fn filled(columns: &[&Column], content: &[u8], dialect: Dialect) -> Result<Vec<Cell<'static>>, Unfit> {
    let mut values: Vec<Option<&[u8]>> = vec![None; columns.len()];
    let values = if properties(columns, content, &mut values).is_some() { values } else { vec![None; columns.len()] };
    columns.iter().zip(values).map(|(column, value)| of_property(column, value, dialect)).collect()
}

/// Finds the text of the properties that fill columns; the last one, where one comes twice. Nothing where it is no object.
fn properties<'d>(columns: &[&Column], document: &'d [u8], values: &mut [Option<&'d [u8]>]) -> Option<()> {
    let mut reader = Reader::new(document);
    reader.expect(b'{').ok()?;
    if reader.token(b'}') {
        return Some(());
    }
    loop {
        let name = reader.text().ok()?;
        reader.expect(b':').ok()?;
        let text = reader.skip().ok()?;
        for (column, value) in columns.iter().zip(values.iter_mut()) {
            if column.property.is_some_and(|property| property.as_bytes() == &*name) {
                *value = Some(text);
            }
        }
        if reader.token(b'}') {
            return Some(());
        }
        reader.expect(b',').ok()?;
    }
}

fn of_property(column: &Column, text: Option<&[u8]>, dialect: Dialect) -> Result<Cell<'static>, Unfit> {
    let property = column.property.unwrap_or(column.name);
    let value = match text {
        None | Some(b"null") => match column.holds {
            Holds::Count => Cell::Int(0),
            _ => Cell::Null,
        },
        Some(text) => match column.holds {
            Holds::Long | Holds::Count => {
                let number = Reader::new(text).i64().ok();
                let cell = number.and_then(|number| match column.holds {
                    Holds::Count => i32::try_from(number).ok().map(Cell::Int),
                    _ => Some(Cell::Long(number)),
                });
                cell.ok_or_else(|| Unfit(format!("its {property:?} is no number for the column {}", column.name)))?
            }
            // A number is text as it is written.
            _ => match text.first() {
                Some(b'"') => Cell::Text(Cow::Owned(Reader::new(text).string().unwrap_or_default())),
                Some(b'{' | b'[') | None => Cell::Null,
                Some(_) => Cell::Text(Cow::Owned(text.to_vec())),
            },
        },
    };
    if column.is_required && value == Cell::Null {
        return Err(Unfit(format!("its content has no {property:?}, which the column {} is filled from", column.name)));
    }
    check(column, &value, dialect)?;
    Ok(value)
}

/// Whether a column can hold that.
///
/// # Errors
/// Text that is too long, that is no UTF-8, or that the encoding of the column has no room for.
pub(crate) fn check(column: &Column, cell: &Cell<'_>, dialect: Dialect) -> Result<(), Unfit> {
    let Cell::Text(bytes) = cell else { return Ok(()) };
    let unfit = |why: &str| Unfit(format!("the column {} cannot hold {why}", column.name));
    let text = std::str::from_utf8(bytes).map_err(|_| unfit("what is no UTF-8"))?;
    if dialect == Dialect::Postgres && text.contains('\0') {
        return Err(unfit("a NUL, which PostgreSQL has in no text"));
    }
    if let Some(wide) = text.chars().find(|found| dialect == Dialect::Mysql && *found > '\u{ffff}') {
        return Err(unfit(&format!("{wide:?}: Kylin's tables in MySQL have room for characters of three bytes")));
    }
    match column.holds {
        Holds::Text(most)
        | Holds::Exact(most)
        | Holds::Padded(most)
        | Holds::ExactPadded(most)
        | Holds::Reference(most) => {
            let length = text.chars().count();
            if length > usize::from(most) {
                return Err(unfit(&format!("{length} characters, only {most}")));
            }
        }
        Holds::LongText if dialect == Dialect::Mysql && bytes.len() > MOST_MYSQL_TEXT => {
            return Err(unfit(&format!("{} bytes, only {MOST_MYSQL_TEXT}", bytes.len())));
        }
        _ => {}
    }
    Ok(())
}

/// How rows are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As COPY of PostgreSQL takes them in binary form.
    Copy,
    /// As MySQL takes them.
    Mysql(Form),
}

/// Puts one row behind others.
pub(crate) fn put(encoding: Encoding, cells: &[Cell<'_>], out: &mut Vec<u8>) -> Result<(), Unfit> {
    match encoding {
        Encoding::Copy => put_copy(cells, out),
        Encoding::Mysql(form) => {
            put_mysql(form, cells, out);
            Ok(())
        }
    }
}

fn put_copy(cells: &[Cell<'_>], out: &mut Vec<u8>) -> Result<(), Unfit> {
    out.extend_from_slice(&i16::try_from(cells.len()).unwrap_or(i16::MAX).to_be_bytes());
    let put = |bytes: &[u8], out: &mut Vec<u8>| {
        let length = i32::try_from(bytes.len()).map_err(|_| Unfit("a row cannot hold 2 GiB".to_owned()))?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(bytes);
        Ok(())
    };
    for cell in cells {
        match cell {
            Cell::Null => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            Cell::Long(value) => put(&value.to_be_bytes(), out)?,
            Cell::Int(value) => put(&value.to_be_bytes(), out)?,
            Cell::Flag(value) => put(&[u8::from(*value)], out)?,
            Cell::Text(bytes) | Cell::Bytes(bytes) => put(bytes, out)?,
        }
    }
    Ok(())
}

fn put_mysql(form: Form, cells: &[Cell<'_>], out: &mut Vec<u8>) {
    let is_file = form == Form::File;
    if !is_file {
        out.extend_from_slice(if out.is_empty() { b"(" } else { b",(" });
    }
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            out.push(if is_file { b'\t' } else { b',' });
        }
        match cell {
            Cell::Null => out.extend_from_slice(if is_file { b"\\N" } else { b"NULL" }),
            Cell::Long(value) => out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
            Cell::Int(value) => out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
            Cell::Flag(value) => out.push(b'0' + u8::from(*value)),
            Cell::Text(bytes) | Cell::Bytes(bytes) if is_file => escape(bytes, out),
            Cell::Bytes(bytes) => literal(bytes, out),
            Cell::Text(bytes) => {
                out.extend_from_slice(b"CONVERT(");
                literal(bytes, out);
                out.extend_from_slice(b" USING utf8mb4)");
            }
        }
    }
    out.push(if is_file { b'\n' } else { b')' });
}

#[cfg(test)]
mod tests {
    use metaferry_codecs::kylin::Layout;
    use metaferry_codecs::kylin::types::MetadataType;

    use super::super::tables::{Role, table};
    use super::*;

    fn made(name: &str, content: &str) -> Result<Vec<Cell<'static>>, String> {
        let found = MetadataType::named(name.as_bytes()).unwrap();
        let columns: Vec<_> = table(Layout::Typed, Role::Typed(found)).unwrap().filled().collect();
        filled(&columns, content.as_bytes(), Dialect::Mysql).map_err(|Unfit(why)| why)
    }

    fn text(bytes: &str) -> Cell<'static> {
        Cell::Text(Cow::Owned(bytes.as_bytes().to_vec()))
    }

    #[test]
    fn columns_are_filled_from_content() {
        let model = r#"{ "alias" : "m\u0031", "uuid":"u", "project" : "p", "x":{"alias":"other"}, "alias":"m2" }"#;
        assert_eq!(made("MODEL", model), Ok(vec![text("u"), text("p"), text("m2")]));
        assert_eq!(
            made("LAYOUT_DETAILS", r#"{"uuid":"u","project":"p","dataflow":"d","layout":20001}"#),
            Ok(vec![text("u"), text("p"), text("d"), text("20001")])
        );
        assert_eq!(
            made("JOB_STATS", r#"{"uuid":"u","project":"p","date":-1}"#),
            Ok(vec![text("u"), text("p"), Cell::Long(-1)])
        );
        let column = made("COMPUTE_COLUMN", r#"{"uuid":"u","project":"p","columnName":"c","datatype":null}"#).unwrap();
        assert_eq!(column[2..4], [text("c"), Cell::Null]);
        assert_eq!(column[9], Cell::Int(0), "what is not said is counted as none");
        assert_eq!(made("USER_GROUP", r#"{"uuid":"u"}"#), Ok(vec![text("u"), Cell::Null]));
    }

    #[test]
    fn a_value_that_is_needed_or_does_not_fit_is_named() {
        for (name, content, why) in [
            ("MODEL", "not json", "no \"uuid\""),
            ("MODEL", "", "no \"uuid\""),
            ("MODEL", r#"{"uuid":"u","alias":"a","project":"p""#, "no \"uuid\""),
            ("MODEL", r#"{"uuid":"u","alias":{"a":1},"project":"p"}"#, "no \"alias\""),
            ("MODEL", r#"{"uuid":"u","alias":"a"}"#, "no \"project\""),
            ("JOB_STATS", r#"{"uuid":"u","project":"p","date":"x"}"#, "no number"),
            ("COMPUTE_COLUMN", r#"{"uuid":"u","project":"p","referenceCount":5000000000}"#, "no number"),
            ("USER_INFO", r#"{"uuid":"u","username":"😀"}"#, "three bytes"),
            ("USER_INFO", r#"{"uuid":"0123456789012345678901234567890123456","username":"a"}"#, "37 characters"),
        ] {
            let told = made(name, content).unwrap_err();
            assert!(told.contains(why), "{name} {content}: {told}");
        }
        let columns: Vec<_> = table(Layout::Flat, Role::Resources).unwrap().columns.iter().collect();
        let nul = Cell::Text(Cow::Borrowed(&b"/a\0"[..]));
        assert!(check(columns[0], &nul, Dialect::Postgres).is_err() && check(columns[0], &nul, Dialect::Mysql).is_ok());
    }

    fn row() -> [Cell<'static>; 6] {
        let bytes = Cell::Bytes(Cow::Borrowed(&b"\t\\\0'"[..]));
        [text("k'"), bytes, Cell::Null, Cell::Long(-2), Cell::Int(3), Cell::Flag(true)]
    }

    #[test]
    fn rows_are_encoded_as_their_database_takes_them() {
        let encoded = |encoding| {
            let mut out = Vec::new();
            put(encoding, &row(), &mut out).unwrap();
            out
        };
        assert_eq!(encoded(Encoding::Mysql(Form::File)), b"k'\t\\t\\\\\\0'\t\\N\t-2\t3\t1\n");
        assert_eq!(encoded(Encoding::Mysql(Form::Values)), b"(CONVERT(X'6b27' USING utf8mb4),X'095c0027',NULL,-2,3,1)");
        let expected = [
            &b"\0\x06\0\0\0\x02k'\0\0\0\x04\t\\\0'\xff\xff\xff\xff"[..],
            b"\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xfe\0\0\0\x04\0\0\0\x03\0\0\0\x01\x01",
        ];
        assert_eq!(encoded(Encoding::Copy), expected.concat());
    }
}
