//! Pages: a batch of rows read at once on a lent connection, which is given back before the batch is passed on. So that
//! whoever waits for room in a queue keeps no reader from anybody.

use std::collections::BTreeMap;

use metaferry_codecs::Error;
use metaferry_codecs::juicefs::{
    Acl, Batch, Chunk, Counter, DelFile, DelSlices, Detached, DirStat, Edge, Kind, Node, Parent, Quota, Setting,
    SliceRef, Sustained, Symlink, Token, Xattr,
};
use metaferry_codecs::system::Batch as _;
use rusqlite::{Connection, Result};

use super::rows::Selected;
use super::select::Select;
use crate::sql::rows::{Row, Stored};

/// Rows in a batch, at most.
const BATCH_ROWS: usize = 4096;
/// Bytes in a batch, about at most.
const BATCH_BYTES: usize = 1 << 20;

/// What was read at once.
pub(super) struct Page {
    /// The rows that could be decoded.
    pub(super) batch: Batch,
    /// Those that could not: where they are and what is wrong.
    pub(super) damaged: Vec<(String, Error)>,
    /// Where to go on; `None` at the end.
    pub(super) next: Option<i64>,
}

/// Reads the rows of a kind between two keys, inclusive, as far as one batch goes.
pub(super) fn read(connection: &Connection, kind: Kind, select: &Select, keys: (i64, i64)) -> Result<Page> {
    match kind {
        Kind::Setting => rows::<Setting>(connection, select, keys),
        Kind::Counter => rows::<Counter>(connection, select, keys),
        Kind::Node => rows::<Node>(connection, select, keys),
        Kind::Edge => rows::<Edge>(connection, select, keys),
        Kind::Chunk => rows::<Chunk>(connection, select, keys),
        Kind::SliceRef => rows::<SliceRef>(connection, select, keys),
        Kind::Symlink => rows::<Symlink>(connection, select, keys),
        Kind::Xattr => rows::<Xattr>(connection, select, keys),
        Kind::Parent => parents(connection, select, keys),
        Kind::Acl => rows::<Acl>(connection, select, keys),
        Kind::DirStat => rows::<DirStat>(connection, select, keys),
        Kind::Quota => rows::<Quota>(connection, select, keys),
        Kind::Sustained => rows::<Sustained>(connection, select, keys),
        Kind::DelFile => rows::<DelFile>(connection, select, keys),
        Kind::DelSlices => rows::<DelSlices>(connection, select, keys),
        Kind::Detached => rows::<Detached>(connection, select, keys),
        Kind::Token => rows::<Token>(connection, select, keys),
        // No table holds them.
        Kind::Links | Kind::Foreign => Ok(Page { batch: Batch::empty(kind), damaged: Vec::new(), next: None }),
    }
}

fn rows<R: Stored>(connection: &Connection, select: &Select, keys: (i64, i64)) -> Result<Page>
where
    Batch: From<Vec<R>>,
{
    let mut statement = connection.prepare_cached(&select.sql)?;
    let mut rows = statement.query(keys)?;
    let (mut batch, mut damaged) = (Vec::new(), Vec::new());
    let (mut bytes, mut next) = (0, None);
    while let Some(row) = rows.next()? {
        let selected = Selected(row);
        let cells = Row::new(&selected, R::COLUMNS);
        match R::read(&cells) {
            Ok(read) => {
                bytes += size_of::<R>() + read.extra();
                batch.push(read);
            }
            Err(error) => damaged.push((cells.place(&select.table, R::KEYS), error)),
        }
        if bytes >= BATCH_BYTES || batch.len() + damaged.len() >= BATCH_ROWS {
            next = row.get::<_, i64>(0)?.checked_add(1);
            break;
        }
    }
    Ok(Page { batch: batch.into(), damaged, next })
}

/// Counts the names of each inode by the directory they are in.
fn parents(connection: &Connection, select: &Select, keys: (i64, i64)) -> Result<Page> {
    let mut statement = connection.prepare_cached(&select.sql)?;
    let mut rows = statement.query(keys)?;
    let (mut batch, mut damaged) = (Vec::new(), Vec::new());
    let mut counts = BTreeMap::new();
    let (mut current, mut next) = (i64::MIN, None);
    while let Some(row) = rows.next()? {
        let (inode, parent) = (row.get(0)?, row.get(1)?);
        if inode != current {
            settle(current, &mut counts, &mut batch, &mut damaged);
            if batch.len() >= BATCH_ROWS {
                next = Some(inode);
                break;
            }
            current = inode;
        }
        *counts.entry(parent).or_insert(0) += 1;
    }
    settle(current, &mut counts, &mut batch, &mut damaged);
    Ok(Page { batch: batch.into(), damaged, next })
}

fn settle(inode: i64, counts: &mut BTreeMap<i64, i64>, batch: &mut Vec<Parent>, damaged: &mut Vec<(String, Error)>) {
    for (parent, count) in std::mem::take(counts) {
        match (u64::try_from(inode), u64::try_from(parent)) {
            (Ok(inode), Ok(parent)) => batch.push(Parent { inode, parent, count }),
            // Its node or its edge is damaged, and is said to be where it is read.
            _ => {
                damaged.push((format!("parent {parent} of inode {inode}"), Error::malformed("inode", "it is negative")))
            }
        }
    }
}
