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
