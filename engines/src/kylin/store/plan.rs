//! In which pieces a metastore is read: stretches of keys in the flat layout, ranges of numbers in the typed one and in the change
//! log. It reads keys and counts, and no content. Where the whole of a flat layout lies in the order of its keys, as in MySQL, it is
//! cut by looking at a few of them, and what is not read is told apart by whoever reads.

use std::ops::ControlFlow;

use metaferry_codecs::kylin::Layout;
use metaferry_codecs::kylin::address::Dialect;
use metaferry_codecs::kylin::image::FLAT_UUID;
use metaferry_codecs::kylin::key::{self, Owner};
use metaferry_codecs::kylin::types::{MetadataType, Scope};
use metaferry_pipeline::{Error, Result};

use super::cuts::{Index, cuts};
use super::select::{self, Keyed};
use super::session::Session;
use super::source::Reading;
use super::stretches::{Left, Stretch, Stretches, Wanted};
use super::tables::{Located, Placed, Role};
use crate::sql::rows::Cells;

/// Rows of a range of numbers, about.
const ROWS: u64 = 1024;
const PROJECTS: &[u8] = b"/_global/project/";

/// Resources that are read at a time.
pub(super) enum Piece {
    /// Of the flat layout, all of which are wanted.
    Flat(Stretch),
    /// Of the flat layout in the server's order, not all of which may be: behind a key up to another, or from the first on or to
    /// the last where there is none.
    Span { after: Option<Vec<u8>>, up_to: Option<Vec<u8>>, rows: u64 },
    /// Of one type, by the numbers of their rows, both ends among them.
    Typed { found: &'static MetadataType, ids: (i64, i64), rows: u64 },
}

impl Piece {
    /// About how many rows it has.
    pub(super) fn rows(&self) -> u64 {
        match self {
            Self::Flat(stretch) => stretch.rows,
            Self::Span { rows, .. } | Self::Typed { rows, .. } => *rows,
        }
    }

    /// The table it is in.
    pub(super) fn role(&self) -> Role {
        match self {
            Self::Flat(_) | Self::Span { .. } => Role::Resources,
            Self::Typed { found, .. } => Role::Typed(found),
        }
    }
}

/// A range of ids without its end, and about how many rows are in it.
pub(super) type Range = ((u64, u64), u64);

/// What is read, in the order of the plan.
#[derive(Default)]
pub(super) struct Pieces {
    pub(super) resources: Vec<Piece>,
    /// Whether resources come ascending by the bytes of their keys.
    pub(super) is_ordered: bool,
    /// Of the change log, where it is read.
    pub(super) log: Option<Vec<Range>>,
    /// What is wanted of a span.
    pub(super) wanted: Wanted,
    /// What is seen and not read, but for what is in spans and the change log.
    pub(super) left: Left,
}

impl Pieces {
    /// About how many rows are read.
    pub(super) fn rows(&self) -> u64 {
        let log = self.log.iter().flatten().map(|(_, rows)| *rows);
        self.resources.iter().map(Piece::rows).chain(log).sum()
    }
}

/// Cuts what is to be read into pieces.
pub(super) fn pieces(session: &mut Session, located: &Located, reading: &Reading) -> Result<Pieces> {
    let mut pieces = match located.layout {
        Layout::Flat => flat(session, located, reading)?,
        Layout::Typed => typed(session, located, reading)?,
    };
    if let Some(log) = located.get(Role::Log).filter(|_| reading.audit && reading.project.is_none()) {
        let (ids, rows) = extent(session, log, "")?;
        let range =
            |((from, to), rows): ((i64, i64), u64)| ((from.cast_unsigned(), to.cast_unsigned().wrapping_add(1)), rows);
        pieces.log = Some(ranges(ids, rows).into_iter().map(range).collect());
    }
    Ok(pieces)
}

fn flat(session: &mut Session, located: &Located, reading: &Reading) -> Result<Pieces> {
    let Some(placed) = located.get(Role::Resources) else { return Ok(Pieces::default()) };
    let keyed = Keyed::new(session.dialect(), placed);
    let mut wanted = Wanted { without_table_exd: reading.without_table_exd, ..Wanted::default() };
    // Each with a key that is in it: they are read in the order of those.
    let mut conditions: Vec<(Vec<u8>, Vec<String>)> = match (&reading.project, &reading.under) {
        (_, Some(under)) => {
            wanted.orphans = true;
            let mut is_there = false;
            keys(session, &keyed.keys(&[keyed.is(under)]), &mut |_| is_there = true)?;
            let folder = [under.as_slice(), b"/"].concat();
            vec![(Vec::new(), vec![if is_there { keyed.is(under) } else { keyed.within(&folder) }])]
        }
        (Some(name), None) => {
            wanted.projects.insert(name.clone());
            let (folder, key) = ([b"/", name.as_slice(), b"/"].concat(), project_key(name));
            let folder = (folder.clone(), vec![keyed.within(&folder)]);
            vec![(FLAT_UUID.to_vec(), vec![keyed.is(FLAT_UUID)]), (key.clone(), vec![keyed.is(&key)]), folder]
        }
        (None, None) => {
            wanted.orphans = reading.orphans;
            keys(session, &keyed.keys(&[keyed.within(PROJECTS)]), &mut |key| {
                if let Owner::Project(name) = key::owner(key, b"") {
                    wanted.projects.insert(name.into_owned());
                }
            })?;
            if session.dialect() == Dialect::Mysql && placed.is_by_code_point() {
                return Ok(Pieces {
                    resources: spans(session, &keyed)?,
                    is_ordered: true,
                    wanted,
                    ..Pieces::default()
                });
            }
            vec![(Vec::new(), Vec::new())]
        }
    };
    conditions.sort();
    let mut stretches = Stretches::default();
    for (_, condition) in conditions {
        keys(session, &keyed.keys(&condition), &mut |key| stretches.see(key, &wanted))?;
        stretches.end();
    }
    Ok(Pieces {
        is_ordered: !stretches.is_unordered,
        left: stretches.left,
        resources: stretches.all.into_iter().map(Piece::Flat).collect(),
        ..Pieces::default()
    })
}

/// The whole of a table that lies in the order of its keys. Each span ends where the next begins, and the outermost are open: no row
/// is missed, wherever the cuts are.
fn spans(session: &mut Session, keyed: &Keyed<'_>) -> Result<Vec<Piece>> {
    let mut end = |is_last| {
        let mut end = None;
        keys(session, &keyed.end(is_last), &mut |key| end = Some(key.to_vec()))?;
        Ok::<_, Error>(end)
    };
    let (Some(first), Some(last)) = (end(false)?, end(true)?) else { return Ok(Vec::new()) };
    let (cuts, rest) = cuts(&mut Looked { session, keyed }, first, last)?;
    let (mut spans, mut after) = (Vec::new(), None);
    for (key, rows) in cuts {
        spans.push(Piece::Span { after: after.replace(key.clone()), up_to: Some(key), rows });
    }
    spans.push(Piece::Span { after, up_to: None, rows: rest });
    Ok(spans)
}

/// The index of a table's keys, as its server lets it be looked into.
struct Looked<'a, 'p> {
    session: &'a mut Session,
    keyed: &'a Keyed<'p>,
}

impl Index for Looked<'_, '_> {
    fn around(&mut self, text: &[u8]) -> Result<[Option<Vec<u8>>; 2]> {
        let mut found = [None, None];
        self.session.rows(&self.keyed.around(text), &mut |row| {
            found = [0, 1].map(|index| row.bytes(index).ok().flatten().map(<[u8]>::to_vec));
            Ok(())
        })?;
        Ok(found)
    }

    fn rows(&mut self, first: &[u8], last: &[u8]) -> Result<Option<u64>> {
        self.session.estimate(&self.keyed.keys_between(first, last))
    }
}

fn typed(session: &mut Session, located: &Located, reading: &Reading) -> Result<Pieces> {
    let mut pieces = Pieces::default();
    for placed in located.resources() {
        let Role::Typed(found) = placed.table.role else { continue };
        if reading.project.is_some() && found.scope == Scope::Global && found.name != "SYSTEM" {
            continue;
        }
        if reading.under.as_ref().is_some_and(|under| type_of(under) != found.name.as_bytes()) {
            continue;
        }
        let condition = condition(session.dialect(), placed, reading);
        let (ids, rows) = extent(session, placed, &condition)?;
        if reading.without_table_exd && found.name == "TABLE_EXD" {
            pieces.left.table_exds = rows;
            continue;
        }
        pieces.resources.extend(ranges(ids, rows).into_iter().map(|(ids, rows)| Piece::Typed { found, ids, rows }));
    }
    Ok(pieces)
}

/// The type that a key of the typed layout begins with.
fn type_of(key: &[u8]) -> &[u8] {
    key.split(|byte| *byte == b'/').next().unwrap_or_default()
}

/// What is behind a condition for the rows of a typed table that are asked for.
pub(super) fn condition(dialect: Dialect, placed: &Placed, reading: &Reading) -> String {
    let of_project = select::of_project(dialect, placed, reading.project.as_deref());
    let key = reading.under.as_deref().and_then(|under| under.get(type_of(under).len() + 1..));
    let is_key = key.map(|key| format!(" AND meta_key = {}", select::literal(dialect, key))).unwrap_or_default();
    of_project + &is_key
}

/// The name of a project as the store spells it, which the typed layout compares in whatever case.
///
/// # Errors
/// `Config` where there is none: a backup of it would be empty, and Kylin's own says that it went well.
pub(super) fn project(session: &mut Session, located: &Located, name: &[u8]) -> Result<Vec<u8>> {
    let dialect = session.dialect();
    let mut found = Vec::new();
    match located.layout {
        Layout::Flat => {
            let key = project_key(name);
            if let Some(placed) = located.get(Role::Resources) {
                let keyed = Keyed::new(dialect, placed);
                keys(session, &keyed.keys(&[keyed.is(&key)]), &mut |read| {
                    if read == key {
                        found.push(name.to_vec());
                    }
                })?;
            }
        }
        Layout::Typed => {
            let placed = MetadataType::named(b"PROJECT").and_then(|found| located.get(Role::Typed(found)));
            if let Some(placed) = placed {
                let condition = select::of_project(dialect, placed, Some(name));
                let sql = format!("SELECT meta_key FROM {} WHERE 1 = 1{condition}", placed.name);
                keys(session, &sql, &mut |read| found.push(read.to_vec()))?;
            }
        }
    }
    let exact = found.iter().position(|read| read == name).unwrap_or_default();
    let none = || {
        Error::config(format!("{}: there is no project {:?}", session.shown(), String::from_utf8_lossy(name)))
            .hint("look at how its name is written")
    };
    if found.is_empty() { Err(none()) } else { Ok(found.swap_remove(exact)) }
}

fn project_key(name: &[u8]) -> Vec<u8> {
    [PROJECTS, name, b".json"].concat()
}

/// Hands out the one column of a query.
fn keys(session: &mut Session, sql: &str, each: &mut dyn FnMut(&[u8])) -> Result<()> {
    let shown = session.shown().to_owned();
    session.rows(sql, &mut |row| match row.bytes(0) {
        Ok(Some(key)) => {
            each(key);
            Ok(())
        }
        _ => Err(Error::corrupt(format!("{shown}: a row without a key"))),
    })
}

/// The first and the last number of the rows for which a condition holds, and how many there are.
fn extent(session: &mut Session, placed: &Placed, condition: &str) -> Result<((i64, i64), u64)> {
    let mut read = None;
    session.rows(&select::extent(session.dialect(), placed, condition), &mut |row| {
        let number = |index| row.integer(index).ok().flatten();
        read = number(0).zip(number(1)).zip(number(2));
        Ok(())
    })?;
    let unread = || Error::corrupt(format!("{}: {} does not say how many rows it has", session.shown(), placed.name));
    read.map(|(ids, rows)| (ids, rows.cast_unsigned())).ok_or_else(unread)
}

/// Cuts the numbers from the first to the last into ranges of about as many rows each, both ends among them.
fn ranges((first, last): (i64, i64), rows: u64) -> Vec<((i64, i64), u64)> {
    let count = rows.div_ceil(ROWS);
    // From the first number of a range to its last: one less than are in it, which may be all there are.
    let Some(step) = last.abs_diff(first).checked_div(count) else { return Vec::new() };
    let mut ranges = Vec::new();
    let mut from = first;
    let cut = (0..count).try_for_each(|_| {
        let to = from.saturating_add_unsigned(step).min(last);
        ranges.push(((from, to), rows.div_ceil(count)));
        match to.checked_add(1) {
            Some(next) if next <= last => {
                from = next;
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break(()),
        }
    });
    debug_assert!(cut.is_break(), "the last number is in a range");
    ranges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_cut_evenly() {
        assert_eq!(ranges((0, 0), 0), []);
        assert_eq!(ranges((5, 5), 1), [((5, 5), 1)]);
        assert_eq!(ranges((1, 2048), 2048), [((1, 1024), 1024), ((1025, 2048), 1024)]);
        assert_eq!(ranges((i64::MIN, i64::MAX), 3), [((i64::MIN, i64::MAX), 3)]);
    }

    proptest! {
        #[test]
        fn every_number_is_in_one_range(first: i64, span in 0..1_000_000_i64, rows in 1..100_000_u64) {
            let last = first.saturating_add(span);
            let cut = ranges((first, last), rows);
            let mut next = Some(first);
            for ((from, to), _) in cut {
                prop_assert_eq!(Some(from), next);
                prop_assert!(from <= to);
                next = to.checked_add(1);
            }
            prop_assert_eq!(next, last.checked_add(1));
        }
    }
}
