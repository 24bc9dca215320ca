//! What the floors above may know of a system of metadata: its kinds, its batches, its census. It names no system.

use std::fmt::Debug;
use std::hash::Hash;

use crate::{Result, Tally};

/// What a kind of record is to the file system; decides how a difference in it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// What the file system is: a difference is a loss.
    Primary,
    /// What can be worked out from the primary kinds.
    Derived,
    /// What changes by itself; carried, never compared.
    Volatile,
}

/// The declaration of one field of a kind.
#[derive(Debug, Clone, Copy)]
pub struct FieldInfo {
    /// Its number in the canonical form, 1 to 31.
    pub number: u8,
    /// Its name in JSON.
    pub name: &'static str,
    /// `key`, `plain`, `derived`; or `secret` or `volatile`, which are never compared.
    pub role: &'static str,
    /// Whether a key has it as an unsigned integer of 8 bytes, big-endian.
    pub is_number: bool,
}

/// The declaration of one kind of record.
#[derive(Debug, Clone, Copy)]
pub struct KindInfo {
    /// Its number in the canonical form.
    pub number: u8,
    /// Its name in archives and reports.
    pub name: &'static str,
    /// Its class.
    pub class: Class,
    /// Its fields, by number.
    pub fields: &'static [FieldInfo],
}

/// One sort of record of a system, as a small number.
pub trait Kind: Copy + Eq + Ord + Hash + Debug + Send + Sync + 'static {
    /// Every kind, in the order of their declaration.
    fn all() -> &'static [Self];
    /// How it was declared.
    fn info(self) -> &'static KindInfo;
    /// The kind of this name.
    fn named(name: &[u8]) -> Option<Self> {
        Self::all().iter().copied().find(|kind| kind.info().name.as_bytes() == name)
    }
}

/// The largest value of one field, the longest where it is bytes, the most where it is a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Largest<K> {
    /// The kind.
    pub kind: K,
    /// The name of the field.
    pub field: String,
    /// The value.
    pub value: u64,
}

/// Some thousand rows of one kind: the unit of every queue.
pub trait Batch: Sized + Send + 'static {
    /// The system's kinds.
    type Kind: Kind;

    /// An empty batch.
    fn empty(kind: Self::Kind) -> Self;
    /// The kind of its rows.
    fn kind(&self) -> Self::Kind;
    /// The number of rows.
    fn len(&self) -> usize;
    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// About how much memory it holds, in bytes.
    fn weight(&self) -> usize;
    /// Drops what the canonical form holds to be absent, such as a reference count of one.
    fn canonicalize(&mut self);
    /// Adds every row to a tally.
    fn tally(&self, tally: &mut Tally<Self::Kind>);
    /// Adds every row that the canonical form does not hold to be absent.
    fn tally_canonical(&self, tally: &mut Tally<Self::Kind>);
    /// Appends one JSON line a row.
    fn write_lines(&self, out: &mut Vec<u8>);
    /// Reads one JSON line, without its line feed, as one more row.
    fn read_line(&mut self, line: &[u8]) -> Result<()>;
    /// Appends row `index` in the compact form of the spill files, and its key, which sorts bytewise in key order.
    fn pack(&self, index: usize, key: &mut Vec<u8>, row: &mut Vec<u8>);
    /// Appends the key of row `index`, in the form that sorts bytewise.
    fn put_key(&self, index: usize, key: &mut Vec<u8>);
    /// Takes over the rows of a batch of the same kind; those of another kind stay where they are.
    fn append(&mut self, other: &mut Self);
    /// Drops all rows, and keeps their memory.
    fn clear(&mut self);
    /// Reads one packed row as one more row.
    fn unpack(&mut self, row: &[u8]) -> Result<()>;
    /// Names each field once, with its largest value: the longest where it is bytes, the most where it is a list.
    fn largest(&self, _each: &mut dyn FnMut(&'static str, u64)) {}
    /// Keeps the rows for which `keep(bucket)` holds.
    fn retain_buckets(&mut self, keep: &mut dyn FnMut(u16) -> bool);
}

/// A system of metadata.
pub trait System: Sized + Send + Sync + 'static {
    /// Its name, as archives spell it.
    const NAME: &'static str;
    /// The largest segment of an archive and blob of a repository, in bytes, where one row may need more than others.
    const MAX_SEGMENT: usize = crate::archive::MAX_SEGMENT;
    /// The kind whose one row makes a target usable: it is withheld from every queue and written by the commit.
    const SEAL: Self::Kind;

    /// Its kinds.
    type Kind: Kind;
    /// Its batches.
    type Batch: Batch<Kind = Self::Kind>;
    /// Its census.
    type Census: Census<Batch = Self::Batch>;
    /// What of a volume a copy may carry.
    type Selection: Selection<Batch = Self::Batch>;

    /// Takes the secrets out of a batch that is about to leave for a file, and says how many it took.
    ///
    /// # Errors
    /// What cannot be read may hold secrets.
    fn strip_secrets(batch: &mut Self::Batch) -> Result<u64>;
}

/// What of a volume a copy carries, where that is not all of it. It is learned from some kinds in one pass or more, and
/// then known of every row by itself. All workers share one.
pub trait Selection: Send + Sync + 'static {
    /// The system's batches.
    type Batch: Batch;

    /// The kinds it learns from.
    fn kinds(&self) -> &'static [<Self::Batch as Batch>::Kind];
    /// Takes in a batch; what is of no kind it learns from is ignored.
    fn learn(&self, batch: &Self::Batch);
    /// Ends a pass over all rows of those kinds; true where it needs another one.
    ///
    /// # Errors
    /// Where what it is to select is not there.
    fn settle(&mut self) -> Result<bool>;
    /// Leaves rows out of a batch, and sets right in the others what follows from that. Says how many of what it left out,
    /// where that is worth telling.
    fn keep(&self, batch: &mut Self::Batch) -> Option<(&'static str, u64)>;
    /// What the user should know of such a copy.
    fn note(&self) -> &'static str;
}

/// The sums that are left at the end, each key once, ascending.
pub type Sums<'a, E> = &'a mut dyn FnMut() -> Result<Option<Sum>, E>;

/// A key and what was added up under it.
pub type Sum = ([u64; 2], [i64; 4]);

/// Where a census books what it cannot keep in memory: sums by key, however many keys, in two rounds. The sums of the
/// first round are handed back first, and what they lead to is booked in the second.
pub trait Ledger {
    /// What can go wrong.
    type Error;

    /// Adds `delta` to the sums under `key` of the second round, wrapping.
    ///
    /// # Errors
    /// Where a spill file cannot be written.
    fn add(&mut self, key: [u64; 2], delta: [i64; 4]) -> Result<(), Self::Error>;

    /// The same for the first round.
    ///
    /// # Errors
    /// As [`Ledger::add`].
    fn add_first(&mut self, key: [u64; 2], delta: [i64; 4]) -> Result<(), Self::Error>;
}

/// One thing a census found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which sort, as a word for counting, such as `link count`.
    pub sort: &'static str,
    /// The object and what is wrong, before and after.
    pub text: String,
    /// Whether a load mends it; what is not mended is damage that is carried.
    pub mendable: bool,
}

/// What comes out when a census is settled.
#[derive(Debug)]
pub enum Outcome<B> {
    /// Rows to load like any others: what the census had withheld or worked out.
    Derived(B),
    /// Rows that replace others by key, in the fields that only the census could know.
    Amend {
        /// What was loaded.
        before: B,
        /// What it shall be.
        after: B,
    },
    /// Something found.
    Found(Finding),
}

/// How far the numbers that come next are moved past what rows say, where an older state is brought back: the storage may
/// hold what was written later, under numbers that would be given out again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Advance {
    /// The next number of a node, by so many.
    pub nodes: u64,
    /// The next number of an object in the storage, by so many.
    pub objects: u64,
    /// The largest number of an object that is there; the next one is past it before it is moved.
    pub largest_object: u64,
}

/// What is asked of a census.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CensusOptions {
    /// Work out and emit what a target needs, counters among it; else only compare and report.
    pub mend: bool,
    /// Amend rows too, such as link counts; else they are carried as they are, and reported.
    pub amend: bool,
    /// Emit rows at their default too, such as reference counts of one.
    pub defaults: bool,
    /// Leave the counters as the source had them.
    pub keep_counters: bool,
    /// How far the next numbers are moved on, where it emits counters and does not leave them.
    pub advance: Advance,
    /// Rows were left out on purpose, or sums are not stored: work out sums anew and emit them, whatever was stored; what was stored is no finding.
    pub partial: bool,
}

/// What the rows say a volume must say of itself. Each worker has its own; all share one set of inodes.
pub trait Census: Sized + Send + 'static {
    /// The system's batches.
    type Batch: Batch;

    /// The census of one volume, for its first worker.
    fn new(options: CensusOptions) -> Self;
    /// The census of the same volume for another worker.
    fn share(&self) -> Self;
    /// Looks at a batch before it becomes canonical; true where the census keeps it back, to emit it when it settles.
    ///
    /// # Errors
    /// Those of the ledger.
    fn observe<L: Ledger>(&mut self, batch: &Self::Batch, ledger: &mut L) -> Result<bool, L::Error>;
    /// Takes in what another worker saw.
    fn merge(&mut self, other: Self);
    /// Books in the second round what follows from the sums of the first. Called once, after every merge.
    ///
    /// # Errors
    /// Those of `sums` and of the ledger.
    fn bridge<L: Ledger>(&mut self, sums: Sums<'_, L::Error>, ledger: &mut L) -> Result<(), L::Error>;
    /// Compares what was seen with what the volume says of itself. `sums` are those of the second round.
    ///
    /// # Errors
    /// Those of `sums` and of `emit`.
    fn settle<E>(self, sums: Sums<'_, E>, emit: &mut dyn FnMut(Outcome<Self::Batch>) -> Result<(), E>)
    -> Result<(), E>;
}
