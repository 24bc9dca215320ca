//! The sink: a dump that comes to be. Rows are put away as they come; the commit knows the setting, begins with it, and
//! prints the tree, so that what was cut never looks like a volume. It refuses to replace anything.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use metaferry_codecs::juicefs::dump::Head;
use metaferry_codecs::juicefs::{Batch, JuiceFs, Kind, ROOT_INODE, TRASH_INODE, setting};
use metaferry_codecs::system::Finding;
use metaferry_pipeline::preflight::{Outlook, Remark};
use metaferry_pipeline::spill::{SpillDir, Spot};
use metaferry_pipeline::stage::Crew;
use metaferry_pipeline::{About, Commit, Error, Findings, KindSet, Loader, Needs, Result, Sieve, Sink, Snapshot, Stop};

use super::held::{Held, Loaded, bug};
use super::print::{Counts, Printer, Text};
use super::shelves::{Rules, SHELVED, Shelves};
use super::sieve::sift;
use super::tree::{Page, Walk};
use crate::output::{Destination, Output};

/// What becomes of the secrets of a volume in its dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// They stay.
    Kept,
    /// They are taken out.
    TakenOut,
    /// Those that open the object storage are taken out, and the key for its data stays, as in a dump of JuiceFS's own.
    KeyKept,
}

/// How a dump is written.
#[derive(Debug, Clone)]
pub struct JsonOptions {
    /// What becomes of secrets.
    pub secrets: Secrets,
    /// Write names, targets and values in ASCII alone, though JuiceFS does not: it damages some of the others where it loads
    /// what is compressed.
    pub ascii: bool,
    /// Leave out the tree of the trash.
    pub skip_trash: bool,
    /// Workers that print.
    pub threads: usize,
    /// What may be held in memory, in bytes.
    pub memory_bytes: usize,
    /// Where what does not fit goes.
    pub spill: SpillDir,
}

/// Writes a JSON dump.
pub struct JsonSink {
    place: Option<Destination>,
    options: JsonOptions,
    output: Option<Output>,
    held: Held,
    stop: Stop,
}

impl JsonSink {
    /// A dump that shall be at `place`.
    #[must_use]
    pub fn new(place: Destination, options: JsonOptions) -> Self {
        Self { place: Some(place), options, output: None, held: Held::default(), stop: Stop::new() }
    }
}

impl Sink<JuiceFs> for JsonSink {
    fn needs(&self) -> Needs {
        Needs {
            loaders: 1,
            ordered: KindSet::of(SHELVED),
            affine: false,
            works_out: KindSet::NONE,
            mends: false,
            defaults: false,
            strips_secrets: self.options.secrets == Secrets::TakenOut,
        }
    }

    fn sieve(&self) -> Option<Sieve<JuiceFs>> {
        Some(sift)
    }

    fn preflight(&self, _outlook: &Outlook<Kind>, _stop: &Stop) -> Result<Vec<Remark>> {
        self.place.as_ref().map_or_else(|| Ok(Vec::new()), Destination::look)
    }

    fn prepare(&mut self, _about: &About, stop: &Stop) -> Result<()> {
        let place = self.place.take().ok_or_else(|| bug("a JSON dump is prepared twice"))?;
        self.output = Some(place.open(stop)?);
        self.stop = stop.clone();
        self.held.prepare(&self.options.spill, self.options.memory_bytes);
        Ok(())
    }

    fn loader(&mut self) -> Result<Box<dyn Loader<JuiceFs>>> {
        Ok(self.held.loader())
    }

    fn uncommitted(&mut self) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        Err(Error::unsupported("a JSON dump cannot be read back before it is whole").hint("verify compares it after"))
    }

    fn commit(self: Box<Self>, commit: Commit<JuiceFs>) -> Result<Findings> {
        let Loaded { shelves, mut head, rules } = self.held.take()?;
        let output = self.output.ok_or_else(|| bug("a JSON dump is committed before it is prepared"))?;
        let Batch::Setting(rows) = &commit.seal else { return Err(bug("the seal is no setting")) };
        head.setting = rows.first().map(|row| row.document.0.clone()).unwrap_or_default();
        let mut stripped = 0;
        if self.options.secrets == Secrets::KeyKept {
            stripped = setting::strip_store_secrets(&mut head.setting)?;
        }
        let JsonOptions { threads, ascii, .. } = self.options;
        let mut writing = Writing { output, shelves, rules, threads, ascii, stop: self.stop };
        writing.head(&head)?;
        let trash = [("Trash", TRASH_INODE)].into_iter().filter(|_| !self.options.skip_trash);
        let findings = writing.trees([("FSTree", ROOT_INODE)].into_iter().chain(trash))?;
        Ok(Findings { stripped, ..findings })
    }
}

/// A dump that is being printed.
struct Writing {
    output: Output,
    shelves: Shelves,
    rules: Arc<Rules>,
    threads: usize,
    ascii: bool,
    stop: Stop,
}

impl Writing {
    /// Everything before the trees.
    fn head(&mut self, head: &Head) -> Result<()> {
        let mut text = Vec::new();
        head.begin(&mut text)?;
        let (mut files, mut spot, mut count) = (self.shelves.read(Kind::DelFile)?, Spot::default(), 0_u64);
        while let Some((_, Batch::DelFile(rows))) = files.next(&mut spot)? {
            for row in rows {
                Head::del_file(count == 0, row, &mut text);
                count += 1;
            }
            self.output.append(&text)?;
            text.clear();
        }
        head.end(count > 0, &mut text);
        self.output.append(&text)?;
        Ok(())
    }

    fn trees(mut self, trees: impl Iterator<Item = (&'static str, u64)>) -> Result<Findings> {
        let counts = Arc::new(Counts::default());
        let (shelves, rules) = (self.shelves.clone(), Arc::clone(&self.rules));
        let (printing, ascii) = (Arc::clone(&counts), self.ascii);
        let worker = move || {
            let (shelves, rules, counts) = (shelves.clone(), Arc::clone(&rules), Arc::clone(&printing));
            let mut printer = None;
            move |page: Page| {
                let printer = match &mut printer {
                    Some(printer) => printer,
                    none => none.insert(Printer::new(&shelves, &rules, &counts)?.ascii(ascii)),
                };
                printer.print(&page)
            }
        };
        let mut crew = Crew::start("print", self.threads, &self.stop, worker)?;
        let mut walk = Walk::new(&self.shelves)?;
        for (number, (name, inode)) in trees.enumerate() {
            if number > 0 {
                self.output.append(b",")?;
            }
            let begun = walk.begin(name, inode)?;
            let mut page = walk.page(begun)?;
            while let Some(full) = page {
                crew.put(full)?.map_or(Ok(()), |text| self.text(text))?;
                page = walk.next()?;
            }
            while let Some(text) = crew.take()? {
                self.text(text)?;
            }
        }
        drop(crew);
        self.output.append(b"\n}\n")?;
        let findings = self.left_behind(&walk, &counts)?;
        self.output.publish()?;
        Ok(findings)
    }

    fn text(&mut self, text: Text) -> Result<()> {
        text.each(&mut |piece| self.output.append(piece).map(drop))
    }

    /// What no tree leads to.
    fn left_behind(&self, walk: &Walk, counts: &Counts) -> Result<Findings> {
        let mut findings = Findings::default();
        findings.left_behind("second names of directories", walk.doubled);
        findings.left_behind("chunks behind the end of their file", counts.beyond.load(Ordering::Relaxed));
        let rules = counts.rules.load(Ordering::Relaxed);
        if rules > 0 {
            let text =
                format!("{rules} times a node names a rule of access control that is not there: it is printed without");
            findings.found(Finding { sort: "rule missing", text, mendable: false });
        }
        for (kind, what) in [
            (Kind::Node, "nodes that no entry leads to"),
            (Kind::Edge, "entries of directories that no entry leads to"),
            (Kind::Chunk, "chunks of files that no entry leads to"),
            (Kind::Symlink, "targets of links that no entry leads to"),
            (Kind::Xattr, "xattrs of nodes that no entry leads to"),
        ] {
            let (mut rows, mut spot, mut count) = (self.shelves.read(kind)?, Spot::default(), 0);
            while let Some((inode, _)) = rows.next(&mut spot)? {
                count += u64::from(inode != TRASH_INODE && !walk.has_seen(inode));
            }
            findings.left_behind(what, count);
        }
        Ok(findings)
    }
}
