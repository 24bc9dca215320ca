//! The cells of MySQL's rows: those of the driver decoded, and rows encoded, as lines of a file for LOAD DATA or as values
//! of an INSERT. What a column cannot hold is told before it is sent. It runs no statement.

use metaferry_codecs::juicefs::tables::{Column, Type};
use mysql_async::{Row, Value};

use crate::sql::bind::{Put, Unfit};
use crate::sql::rows::{Cells, Mismatch, shown};

/// What TEXT holds, in bytes.
const TEXT: usize = 65535;
/// What a short text holds, in characters.
const NAME: usize = 255;

/// The largest number, or the most bytes, that a column of a type holds.
pub(crate) fn most(holds: Type) -> Option<u64> {
    match holds {
        Type::Int | Type::IntSerial => Some(i32::MAX.cast_unsigned().into()),
        Type::Bytes(most) => Some(most.into()),
        Type::Blob | Type::Text => Some(TEXT as u64),
        Type::LongBlob => Some((1 << 24) - 1),
        Type::Long | Type::Serial | Type::Name => None,
    }
}

impl Cells for Row {
    #[inline]
    fn integer(&self, index: usize) -> Result<Option<i64>, Mismatch> {
        match self.as_ref(index) {
            Some(Value::Int(value)) => Ok(Some(*value)),
            Some(Value::UInt(value)) => i64::try_from(*value).map(Some).map_err(|_| Mismatch),
            Some(Value::NULL) => Ok(None),
            _ => Err(Mismatch),
        }
    }

    #[inline]
    fn bytes(&self, index: usize) -> Result<Option<&[u8]>, Mismatch> {
        match self.as_ref(index) {
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Value::NULL) => Ok(None),
            _ => Err(Mismatch),
        }
    }

    fn shown(&self, index: usize) -> String {
        match self.as_ref(index) {
            Some(Value::Bytes(bytes)) => shown(bytes),
            Some(value) => value.as_sql(false),
            None => "nothing".to_owned(),
        }
    }
}

/// Whether a column holds text, which has an encoding.
pub(crate) fn is_text(column: &Column) -> bool {
    matches!(column.holds, Type::Name | Type::Text)
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Lines with tabs between the cells.
    File,
    /// What follows VALUES.
    Values,
}

/// Puts one row behind others.
pub(crate) struct Encoder<'e> {
    form: Form,
    columns: std::slice::Iter<'e, Column>,
    out: &'e mut Vec<u8>,
    is_first: bool,
}

impl<'e> Encoder<'e> {
    /// Begins a row with these columns.
    pub(crate) fn new(form: Form, columns: &'e [Column], out: &'e mut Vec<u8>) -> Self {
        if form == Form::Values {
            out.extend_from_slice(if out.is_empty() { b"(" } else { b",(" });
        }
        Self { form, columns: columns.iter(), out, is_first: true }
    }

    /// Ends it.
    pub(crate) fn end(self) {
        self.out.push(if self.form == Form::File { b'\n' } else { b')' });
    }

    fn next(&mut self) -> Result<&'e Column, Unfit> {
        let column = self.columns.next().ok_or(Unfit("row"))?;
        if !std::mem::take(&mut self.is_first) {
            self.out.push(if self.form == Form::File { b'\t' } else { b',' });
        }
        Ok(column)
    }

    fn put(&mut self, bytes: &[u8], is_text: bool) {
        match (self.form, is_text) {
            (Form::File, _) => escape(bytes, self.out),
            (Form::Values, false) => literal(bytes, self.out),
            (Form::Values, true) => {
                self.out.extend_from_slice(b"CONVERT(");
                literal(bytes, self.out);
                self.out.extend_from_slice(b" USING utf8mb4)");
            }
        }
    }
}

impl Put for Encoder<'_> {
    type Error = Unfit;

    #[inline]
    fn int(&mut self, value: i64) -> Result<(), Unfit> {
        let column = self.next()?;
        if !matches!(column.holds, Type::Long | Type::Serial) && i32::try_from(value).is_err() {
            return Err(Unfit(column.name));
        }
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        Ok(())
    }

    fn blob(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        let column = self.next()?;
        if most(column.holds).is_some_and(|most| bytes.len() as u64 > most) {
            return Err(Unfit(column.name));
        }
        self.put(bytes, false);
        Ok(())
    }

    fn text(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        let column = self.next()?;
        let text = std::str::from_utf8(bytes).map_err(|_| Unfit(column.name))?;
        if bytes.len() > TEXT || column.holds == Type::Name && text.chars().nth(NAME).is_some() {
            return Err(Unfit(column.name));
        }
        self.put(bytes, true);
        Ok(())
    }
}

/// Bytes as LOAD DATA reads them, of which four mean something else there.
pub(crate) fn escape(mut bytes: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = bytes.iter().position(|byte| matches!(byte, 0 | b'\t' | b'\n' | b'\\')) {
        let (plain, rest) = bytes.split_at(at);
        out.extend_from_slice(plain);
        let Some((special, rest)) = rest.split_first() else { return };
        out.extend_from_slice(match special {
            0 => b"\\0",
            b'\t' => b"\\t",
            b'\n' => b"\\n",
            _ => b"\\\\",
        });
        bytes = rest;
    }
    out.extend_from_slice(bytes);
}

/// Bytes as a literal of SQL.
pub(crate) fn literal(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"X'");
    for byte in bytes {
        let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
        out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use metaferry_codecs::juicefs::tables::Widths;
    use metaferry_codecs::juicefs::{Edge, FileType, Xattr};

    use super::*;
    use crate::sql::bind::{Binder, Bound, columns};

    fn encoded<R: Bound>(form: Form, rows: &[R]) -> Result<String, &'static str> {
        let (columns, mut out) = (columns::<R>(Widths::Stock), Vec::new());
        for (row, id) in rows.iter().zip(1..) {
            let mut encoder = Encoder::new(form, &columns, &mut out);
            encoder.int(id).map_err(|Unfit(column)| column)?;
            row.bind(&mut Binder::new(&mut encoder, &mut Vec::new())).map_err(|Unfit(column)| column)?;
            encoder.end();
        }
        Ok(String::from_utf8(out).unwrap())
    }

    fn edge(name: &[u8]) -> Edge {
        Edge { parent: 1, name: name.to_vec(), inode: 2, kind: FileType::REGULAR }
    }

    #[test]
    fn bytes_that_mean_something_are_escaped() {
        let rows = [edge(b"a\tb\nc\\N\0"), edge(b"")];
        assert_eq!(encoded(Form::File, &rows), Ok("1\t1\ta\\tb\\nc\\\\N\\0\t2\t1\n2\t1\t\t2\t1\n".to_owned()));
        assert_eq!(encoded(Form::Values, &rows), Ok("(1,1,X'610962 0a635c4e00',2,1),(2,1,X'',2,1)".replace(' ', "")));
        let xattr = Xattr { inode: 1, name: b"n".to_vec(), value: vec![0xff] };
        assert_eq!(encoded(Form::Values, &[xattr]), Ok("(1,1,CONVERT(X'6e' USING utf8mb4),X'ff')".to_owned()));
    }

    #[test]
    fn what_a_column_cannot_hold_is_named() {
        let xattr = |name: &[u8], value: usize| Xattr { inode: 1, name: name.to_vec(), value: vec![0; value] };
        assert_eq!(encoded(Form::File, &[edge(&[b'n'; 256])]), Err("name"));
        assert_eq!(encoded(Form::File, &[xattr(b"\xff", 0)]), Err("name"));
        assert_eq!(encoded(Form::File, &[xattr("é".repeat(256).as_bytes(), 0)]), Err("name"));
        assert_eq!(encoded(Form::File, &[xattr(b"n", 65536)]), Err("value"));
        assert!(encoded(Form::File, &[xattr("é".repeat(255).as_bytes(), 65535)]).is_ok());
        assert_eq!(encoded(Form::File, &[Edge { inode: 1 << 63, ..edge(b"n") }]), Err("inode"));
    }
}
