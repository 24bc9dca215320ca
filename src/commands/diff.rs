//! diff: which paths came, went or changed from one source to another, directory by directory. What rows differ, `verify` says.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use metaferry_codecs::juicefs::{Batch, Changed, Edge, JuiceFs, Kind, Paths, ROOT_INODE};
use metaferry_codecs::system::{Class, Kind as _};
use metaferry_pipeline::Result;
use metaferry_pipeline::spill::{Sorted, Sorter};
use metaferry_pipeline::verify::{Change, Open, Options, changes, read_rows};
use serde_json::{Value, json};

use crate::Outcome;
use crate::context::Context;
use crate::open::Place;
use crate::output::{Printer, escaped, value};
use crate::progress::Progress;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Added,
    Removed,
    /// The entry is another file.
    Replaced,
    Changed,
}

impl Fate {
    const ALL: [Self; 4] = [Self::Added, Self::Removed, Self::Replaced, Self::Changed];

    fn of(byte: Option<&u8>) -> Self {
        byte.and_then(|&byte| Self::ALL.get(usize::from(byte))).copied().unwrap_or(Self::Changed)
    }

    fn shown(self) -> (char, &'static str) {
        match self {
            Self::Added => ('+', "added"),
            Self::Removed => ('-', "removed"),
            Self::Replaced => ('~', "replaced"),
            Self::Changed => ('~', "changed"),
        }
    }
}

/// Tells what became of paths.
pub(crate) fn run(context: &Context, left: &str, right: &str, by_directory: bool) -> Result<Outcome> {
    let (left, right) = (Place::parse(left)?, Place::parse(right)?);
    let started = Instant::now();
    let options =
        Options { threads: context.threads(), memory_bytes: context.memory_bytes(), spill: context.spill(), limit: 0 };
    let (open_left, open_right) = (|| left.source(context), || right.source(context));
    let progress = Progress::start(context);
    let mut diff = Diff { context, options, changed: Changed::default(), others: BTreeMap::new() };
    let found = diff.find(&open_left, &open_right)?;
    drop(progress);
    let mut report = Report::new(context, by_directory);
    diff.tell(found, &mut report)?;
    report.end(&diff.others, started);
    Ok(if report.is_empty() && diff.others.is_empty() { Outcome::Holds } else { Outcome::Found })
}

struct Diff<'a> {
    context: &'a Context,
    options: Options,
    changed: Changed,
    /// Rows that differ and are not part of any entry, by kind.
    others: BTreeMap<&'static str, u64>,
}

/// Entries by directory and name, and where the directories were and are.
struct Found {
    entries: Sorted,
    left: Paths,
    right: Paths,
}

impl Diff<'_> {
    fn find(&mut self, left: Open<'_, JuiceFs>, right: Open<'_, JuiceFs>) -> Result<Found> {
        let mut sorter = Sorter::new(&self.options.spill, self.options.memory_bytes / 4);
        let (mut were, mut are) = (Paths::default(), Paths::default());
        let kinds: Vec<Kind> = Kind::all().iter().copied().filter(|kind| kind.info().class == Class::Primary).collect();
        let Self { changed, others, .. } = self;
        let mut note = |change: Change<JuiceFs>| match (change.left, change.right) {
            (None, Some(Batch::Edge(rows))) => put(&mut sorter, Fate::Added, &rows, &mut are),
            (Some(Batch::Edge(rows)), None) => put(&mut sorter, Fate::Removed, &rows, &mut were),
            (Some(Batch::Edge(_)), Some(Batch::Edge(rows))) => put(&mut sorter, Fate::Replaced, &rows, &mut are),
            (left, right) => {
                let is_of_an_entry = matches!(change.kind, Kind::Node | Kind::Chunk | Kind::Symlink | Kind::Xattr);
                if is_of_an_entry {
                    changed.note(left.as_ref(), right.as_ref());
                } else {
                    *others.entry(change.kind.info().name).or_default() += 1;
                }
                Ok(())
            }
        };
        changes((left, right), &kinds, &self.options, &self.context.stop, &mut note)?;
        if !self.changed.is_empty() {
            let shared = Mutex::new((&mut sorter, &mut are));
            self.edges(right, &|rows| {
                let named: Vec<Edge> = rows.into_iter().filter(|row| self.changed.contains(row.inode)).collect();
                let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let (sorter, are) = &mut *shared;
                put(sorter, Fate::Changed, &named, are)
            })?;
        }
        for (paths, open) in [(&mut were, left), (&mut are, right)] {
            while paths.is_looking() {
                let learning = &*paths;
                self.edges(open, &|rows| {
                    learning.learn(&rows);
                    Ok(())
                })?;
                paths.settle();
            }
        }
        Ok(Found { entries: sorter.finish()?, left: were, right: are })
    }

    /// Shows all entries of a source to many workers.
    fn edges(&self, open: Open<'_, JuiceFs>, take: &(dyn Fn(Vec<Edge>) -> Result<()> + Sync)) -> Result<()> {
        read_rows(open, Kind::Edge, &self.options, &self.context.stop, &|batch| match batch {
            Batch::Edge(rows) => take(rows),
            _ => Ok(()),
        })
    }

    /// Tells entries in the order of their paths.
    fn tell(&self, mut found: Found, report: &mut Report) -> Result<()> {
        let mut by_path = Sorter::new(&self.options.spill, self.options.memory_bytes / 4);
        let mut last = Vec::new();
        while let Some((key, row)) = found.entries.next()? {
            // An entry that came or was replaced comes first; that its inode has changed too says nothing more.
            if last == key {
                continue;
            }
            last = key.to_vec();
            let (parent, name) =
                key.split_first_chunk().map_or((0, key), |(parent, name)| (u64::from_be_bytes(*parent), name));
            let paths = if Fate::of(row.first()) == Fate::Removed { &found.left } else { &found.right };
            let path = paths.of(parent).unwrap_or_else(|| format!("inode {parent}, below no directory").into_bytes());
            by_path.push(&[&path, &[0][..], name].concat(), row)?;
        }
        if self.changed.contains(ROOT_INODE) {
            by_path.push(b"/\0.", &row(Fate::Changed, ROOT_INODE))?;
        }
        let mut by_path = by_path.finish()?;
        while let Some((key, row)) = by_path.next()? {
            self.context.stop.check()?;
            let end = key.iter().position(|byte| *byte == 0).unwrap_or(key.len());
            let (directory, name) = (key.get(..end).unwrap_or_default(), key.get(end + 1..).unwrap_or_default());
            let inode = row.get(1..).and_then(|inode| inode.try_into().ok()).map_or(0, u64::from_be_bytes);
            let fate = Fate::of(row.first());
            let what = if fate == Fate::Changed { self.changed.of(inode).collect() } else { Vec::new() };
            report.entry(directory, name, (fate, inode), &what);
        }
        Ok(())
    }
}

fn row(fate: Fate, inode: u64) -> [u8; 9] {
    let mut row = [0; 9];
    let place = Fate::ALL.iter().position(|other| *other == fate).unwrap_or_default();
    row.iter_mut().zip([place as u8].into_iter().chain(inode.to_be_bytes())).for_each(|(to, from)| *to = from);
    row
}

fn put(sorter: &mut Sorter, fate: Fate, rows: &[Edge], paths: &mut Paths) -> Result<()> {
    for edge in rows {
        paths.want(edge.parent);
        sorter.push(&[&edge.parent.to_be_bytes()[..], &edge.name].concat(), &row(fate, edge.inode))?;
    }
    Ok(())
}

/// Prints entries as they come, under their directories; or only how many there are in each.
struct Report {
    printer: Printer,
    by_directory: bool,
    directory: Option<Vec<u8>>,
    here: Counts,
    all: Counts,
    directories: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    added: u64,
    removed: u64,
    changed: u64,
}

impl Counts {
    fn add(&mut self, fate: Fate) {
        match fate {
            Fate::Added => self.added += 1,
            Fate::Removed => self.removed += 1,
            Fate::Replaced | Fate::Changed => self.changed += 1,
        }
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} added, {} removed, {} changed", self.added, self.removed, self.changed)
    }
}

impl Report {
    fn new(context: &Context, by_directory: bool) -> Self {
        let printer = Printer { json: context.common.json, quiet: context.common.quiet, to_stderr: false };
        let (here, all) = Default::default();
        Self { printer, by_directory, directory: None, here, all, directories: 0 }
    }

    fn is_empty(&self) -> bool {
        self.directories == 0
    }

    fn entry(&mut self, directory: &[u8], name: &[u8], (fate, inode): (Fate, u64), what: &[&str]) {
        if self.directory.as_deref() != Some(directory) {
            self.end_directory();
            self.directory = Some(directory.to_vec());
            self.directories += 1;
            if !self.by_directory && !self.printer.json {
                self.printer.line(format!("{}:", escaped(directory)));
            }
        }
        self.here.add(fate);
        self.all.add(fate);
        let (sign, word) = fate.shown();
        if self.by_directory {
            return;
        }
        if self.printer.json {
            self.printer.line(json!({ "version": 1, "event": "entry", "change": word, "directory": value(directory),
                "name": value(name), "inode": inode, "what": what }));
        } else {
            let what = if fate == Fate::Replaced { "another file".to_owned() } else { what.join(", ") };
            let what = if what.is_empty() { what } else { format!(": {what}") };
            self.printer.line(format!("  {sign} {}{what}", escaped(name)));
        }
    }

    fn end_directory(&mut self) {
        let here = std::mem::take(&mut self.here);
        let Some(directory) = self.directory.take().filter(|_| self.by_directory) else { return };
        if self.printer.json {
            self.printer.line(json!({ "version": 1, "event": "directory", "directory": value(&directory),
                "added": here.added, "removed": here.removed, "changed": here.changed }));
        } else {
            self.printer.line(format!("{}: {here}", escaped(&directory)));
        }
    }

    fn end(&mut self, others: &BTreeMap<&'static str, u64>, started: Instant) {
        self.end_directory();
        let (all, seconds) = (self.all, started.elapsed().as_secs_f64());
        if self.printer.json {
            let others: Value = others.iter().map(|(kind, rows)| ((*kind).to_owned(), Value::from(*rows))).collect();
            return self
                .printer
                .line(json!({ "version": 1, "event": "diff", "added": all.added, "removed": all.removed,
                "changed": all.changed, "directories": self.directories, "other_rows": others, "seconds": seconds }));
        }
        if !self.printer.quiet {
            let others: String = others.iter().map(|(kind, rows)| format!("; {rows} rows of kind {kind}")).collect();
            self.printer.line(format!("{all}, in {} directories, in {seconds:.2} s{others}", self.directories));
        }
    }
}
