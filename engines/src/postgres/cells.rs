//! The cells of PostgreSQL's rows, in its binary COPY format: decoded, and encoded. It knows no statement.

use metaferry_codecs::juicefs::tables::{Column, Type};

use crate::sql::bind::{Put, Unfit};
use crate::sql::rows::{Cells, Mismatch, shown};

/// What a COPY begins with: the signature, no flags, no extension.
pub(crate) const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
pub(crate) const TRAILER: [u8; 2] = [0xff, 0xff];
/// The largest number that a column of a type holds; bytes there have no bound that matters.
pub(crate) fn most(holds: Type) -> Option<u64> {
    matches!(holds, Type::Int | Type::IntSerial).then_some(i32::MAX.cast_unsigned().into())
}

/// Columns of the widest table.
const MOST: usize = 20;

/// A COPY that does not look like one.
#[derive(Debug)]
pub(crate) struct Malformed;

/// Cuts a COPY into rows, however it comes in parts.
#[derive(Default)]
pub(crate) struct Rows {
    has_begun: bool,
    /// The beginning of a row whose end has not come.
    rest: Vec<u8>,
}

impl Rows {
    /// Takes a part in, and hands out the rows that end in it.
    pub(crate) fn feed<E: From<Malformed>>(
        &mut self,
        part: &[u8],
        each: &mut dyn FnMut(&Tuple<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.rest.is_empty() {
            let taken = self.take(part, each)?;
            self.rest.extend_from_slice(part.get(taken..).unwrap_or_default());
            return Ok(());
        }
        let mut whole = std::mem::take(&mut self.rest);
        whole.extend_from_slice(part);
        let taken = self.take(&whole, each)?;
        whole.drain(..taken);
        self.rest = whole;
        Ok(())
    }

    /// Hands out the rows in `bytes`, and says how much of them that was.
    fn take<E: From<Malformed>>(
        &mut self,
        bytes: &[u8],
        each: &mut dyn FnMut(&Tuple<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut ahead = bytes;
        if !self.has_begun {
            let Some((header, rest)) = ahead.split_first_chunk::<19>() else { return Ok(0) };
            if header != HEADER {
                return Err(Malformed.into());
            }
            (self.has_begun, ahead) = (true, rest);
        }
        loop {
            let before = ahead;
            match Tuple::read(&mut ahead)? {
                Some(tuple) => each(&tuple)?,
                None => return Ok(bytes.len() - before.len()),
            }
        }
    }
}

/// The cells of one row.
pub(crate) struct Tuple<'c> {
    cells: [Option<&'c [u8]>; MOST],
}

impl<'c> Tuple<'c> {
    /// Reads the next row; `None` where its end has not come, or at the end of all.
    fn read(bytes: &mut &'c [u8]) -> Result<Option<Self>, Malformed> {
        let Some((count, mut ahead)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
        let Ok(count) = usize::try_from(i16::from_be_bytes(*count)) else { return Ok(None) };
        let mut tuple = Self { cells: [None; MOST] };
        for cell in tuple.cells.get_mut(..count).ok_or(Malformed)? {
            let Some((length, rest)) = ahead.split_first_chunk::<4>() else { return Ok(None) };
            ahead = rest;
            // −1 stands for NULL.
            if let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) {
                let Some((value, rest)) = ahead.split_at_checked(length) else { return Ok(None) };
                (*cell, ahead) = (Some(value), rest);
            }
        }
        *bytes = ahead;
        Ok(Some(tuple))
    }

    /// The cells as a statement has them, by their columns.
    pub(crate) fn values(&self, columns: &[Column], sql: &mut String) {
        for (index, column) in columns.iter().enumerate() {
            let hex =
                || self.cell(index).unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            sql.push_str(if index == 0 { "" } else { "," });
            *sql += &match column.holds {
                Type::Name | Type::Text => format!("convert_from(decode('{}','hex'),'UTF8')", hex()),
                Type::Bytes(_) | Type::Blob | Type::LongBlob => format!("decode('{}','hex')", hex()),
                Type::Int | Type::Long | Type::Serial | Type::IntSerial => {
                    self.integer(index).ok().flatten().map_or_else(|| "NULL".to_owned(), |number| number.to_string())
                }
            };
        }
    }

    /// A cell as it is.
    fn cell(&self, index: usize) -> Option<&'c [u8]> {
        self.cells.get(index).copied().flatten()
    }
}

impl Cells for Tuple<'_> {
    #[inline]
    fn integer(&self, index: usize) -> Result<Option<i64>, Mismatch> {
        let Some(cell) = self.cell(index) else { return Ok(None) };
        if let Ok(bytes) = cell.try_into() {
            return Ok(Some(i64::from_be_bytes(bytes)));
        }
        if let Ok(bytes) = cell.try_into() {
            return Ok(Some(i32::from_be_bytes(bytes).into()));
        }
        cell.try_into().map(|bytes| Some(i16::from_be_bytes(bytes).into())).map_err(|_| Mismatch)
    }

    #[inline]
    fn bytes(&self, index: usize) -> Result<Option<&[u8]>, Mismatch> {
        Ok(self.cell(index))
    }

    /// The format does not tell numbers from bytes: what is as long as a number, and begins like a small one, is shown as one.
    fn shown(&self, index: usize) -> String {
        match (self.cell(index), self.integer(index)) {
            (None, _) => "NULL".to_owned(),
            (Some([0 | 0xff, ..]), Ok(Some(number))) => number.to_string(),
            (Some(bytes), _) => shown(bytes),
        }
    }
}

/// Puts one row into a COPY.
pub(crate) struct Encoder<'e> {
    columns: std::slice::Iter<'e, Column>,
    out: &'e mut Vec<u8>,
}

impl<'e> Encoder<'e> {
    /// Begins a row with these columns.
    pub(crate) fn new(columns: &'e [Column], out: &'e mut Vec<u8>) -> Self {
        let count = i16::try_from(columns.len()).unwrap_or(i16::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        Self { columns: columns.iter(), out }
    }

    fn next(&mut self) -> Result<&'e Column, Unfit> {
        self.columns.next().ok_or(Unfit("row"))
    }

    fn put(&mut self, bytes: &[u8], column: &Column) -> Result<(), Unfit> {
        let length = i32::try_from(bytes.len()).map_err(|_| Unfit(column.name))?;
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

impl Put for Encoder<'_> {
    type Error = Unfit;

    #[inline]
    fn int(&mut self, value: i64) -> Result<(), Unfit> {
        let column = self.next()?;
        if column.holds == Type::Long || column.holds == Type::Serial {
            return self.put(&value.to_be_bytes(), column);
        }
        let value = i32::try_from(value).map_err(|_| Unfit(column.name))?;
        self.put(&value.to_be_bytes(), column)
    }

    fn blob(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        let column = self.next()?;
        self.put(bytes, column)
    }

    /// Text of PostgreSQL is UTF-8, and holds no zero.
    fn text(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        let column = self.next()?;
        if bytes.contains(&0) || std::str::from_utf8(bytes).is_err() {
            return Err(Unfit(column.name));
        }
        self.put(bytes, column)
    }
}
