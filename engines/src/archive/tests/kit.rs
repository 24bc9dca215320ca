//! What the tests share: a small volume with every kind of row, and a copy in few lines.

use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use metaferry_codecs::Tally;
use metaferry_codecs::juicefs::*;
use metaferry_codecs::system::Batch as _;
use metaferry_pipeline::{About, Commit, Emit, Guarantee, KindSet, Result, Scope, Sink, Snapshot, Source, Stop};

use crate::archive::{ArchiveSink, ArchiveSource};

pub(super) const SETTING: &[u8] = b"{\n\"Name\": \"vol\",\n\"UUID\": \"12345678\"\n}";

pub(super) fn seal() -> Batch {
    vec![Setting { document: Document(SETTING.to_vec()) }].into()
}

/// Rows of every kind but the seal, canonical; names and contents are of every sort of bytes.
pub(super) fn volume() -> Vec<Batch> {
    let slice = Slice { pos: 4096, id: u64::MAX, size: 9, off: 1, len: 8 };
    let node = |inode| Node { inode, kind: FileType::DIRECTORY, mode: 0o755, atime: -1, nlink: 2, ..Node::default() };
    vec![
        vec![Counter { name: b"nextInode".to_vec(), value: 101 }, Counter { name: b"usedSpace".to_vec(), value: -1 }]
            .into(),
        vec![node(1), Node { uid: u32::MAX, length: (1 << 53) + 1, ..node(2) }, node(TRASH_INODE)].into(),
        vec![
            Edge { parent: 1, name: "héllo\n\"\\".as_bytes().to_vec(), inode: 2, kind: FileType::REGULAR },
            Edge { parent: 1, name: vec![0, 0xff, 0xfe], inode: 3, kind: FileType::SYMLINK },
        ]
        .into(),
        vec![Chunk { inode: 2, index: 7, slices: Slices(vec![slice, slice]) }].into(),
        vec![SliceRef { id: 5, size: 4096, refs: 2 }].into(),
        vec![Symlink { inode: 3, target: b"../a".to_vec() }].into(),
        vec![Xattr { inode: 2, name: b"user.a".to_vec(), value: vec![0xff; 70] }].into(),
        vec![Parent { inode: 2, parent: 1, count: 2 }].into(),
        vec![Acl { id: 1, owner: 7, users: AclEntries(vec![(1000, 6)]), ..Acl::default() }].into(),
        vec![DirStat { inode: 1, length: 5, space: 4096, inodes: 1 }].into(),
        vec![Quota { class: 0, id: 1, max_space: Limit(-1), max_inodes: Limit(10), used_space: 4096, used_inodes: 1 }]
            .into(),
        vec![Sustained { sid: 4, inode: 2 }].into(),
        vec![DelFile { inode: 9, length: 10, expire: 1_700_000_000 }].into(),
        vec![DelSlices { id: 8, deleted: 1_700_000_000, slices: DelayedSlices(vec![(7, 6)]) }].into(),
        vec![Detached { inode: 10, added: 1_700_000_000 }].into(),
        vec![Token { id: 1, token: b"secret".to_vec() }].into(),
        vec![
            Foreign { number: u32::MAX, name: b"new".to_vec(), items: 9, length: 3, ..Foreign::default() },
            Foreign { piece: 1, bytes: vec![0, 0xff, b'"'], ..Foreign::default() },
        ]
        .into(),
    ]
}

/// Many nodes and edges, ascending by key.
pub(super) fn wide(rows: u64) -> Vec<Batch> {
    let mut batches = Vec::new();
    for start in (2..rows + 2).step_by(4096) {
        let inodes = start..(start + 4096).min(rows + 2);
        let times = |inode: u64| (1_700_000_000 + (inode.wrapping_mul(2_654_435_761) % 50_000_000)).cast_signed();
        let node = |inode: u64| Node {
            inode,
            kind: FileType::REGULAR,
            mode: 0o644,
            uid: 1000 + (inode % 7) as u32,
            gid: 1000,
            atime: times(inode),
            mtime: times(inode + 1),
            ctime: times(inode + 2),
            atimensec: (inode.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 35) as u32,
            mtimensec: (inode.wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 35) as u32,
            nlink: 1,
            length: inode.wrapping_mul(0x94D0_49BB_1331_11EB) >> 40,
            parent: inode / 100 + 1,
            ..Node::default()
        };
        let name =
            |inode: u64| format!("file-{inode:08}-{:x}.dat", inode.wrapping_mul(0x9E37_79B9) & 0xffff).into_bytes();
        let edge = |inode| Edge { parent: inode / 100 + 1, name: name(inode), inode, kind: FileType::REGULAR };
        let slice = |id| Slice { pos: 0, id, size: 4 << 20, off: 0, len: 4 << 20 };
        batches.push(inodes.clone().map(node).collect::<Vec<_>>().into());
        batches.push(inodes.clone().map(edge).collect::<Vec<_>>().into());
        let chunk = |inode| Chunk { inode, index: 0, slices: Slices(vec![slice(inode + 500_000)]) };
        batches.push(inodes.map(chunk).collect::<Vec<_>>().into());
    }
    batches
}

pub(super) fn about(ordered: KindSet) -> About {
    let origin = "redis://host:6379/1".to_owned();
    About {
        origin,
        guarantee: Guarantee::Exact,
        ordered,
        notes: Vec::new(),
        live_sessions: 0,
        is_repeatable: true,
        is_partial: false,
    }
}

pub(super) fn tally(batches: &[Batch]) -> Tally<Kind> {
    let mut tally = Tally::default();
    batches.iter().for_each(|batch| batch.tally(&mut tally));
    tally
}

/// Writes batches with one loader, and commits.
pub(super) fn write(mut sink: ArchiveSink<JuiceFs>, batches: &[Batch]) -> Result<()> {
    let about = about(KindSet::ALL);
    sink.prepare(&about, &Stop::new())?;
    let mut loader = sink.loader()?;
    batches.iter().try_for_each(|batch| loader.load(batch.clone()))?;
    loader.finish()?;
    let mut all = tally(batches);
    seal().tally(&mut all);
    Box::new(sink).commit(Commit { seal: seal(), tally: all, about }).map(drop)
}

pub(super) fn write_file(path: &Path, batches: &[Batch]) -> Result<()> {
    write(ArchiveSink::create(path, true)?, batches)
}

/// A pipe whose bytes can be looked at afterwards.
#[derive(Clone, Default)]
pub(super) struct Shelf(pub(super) Arc<Mutex<Vec<u8>>>);

impl Write for Shelf {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(buffer)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) fn write_pipe(batches: &[Batch]) -> Vec<u8> {
    let shelf = Shelf::default();
    write(ArchiveSink::pipe("-", Box::new(shelf.clone()), true), batches).unwrap();
    std::mem::take(&mut *shelf.0.lock().unwrap())
}

#[derive(Default)]
pub(super) struct Collect(pub(super) Vec<Batch>);

impl Emit<JuiceFs> for Collect {
    fn emit(&mut self, batch: Batch) -> Result<()> {
        assert!(batch.len() <= 4096);
        self.0.push(batch);
        Ok(())
    }
    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        Err(metaferry_pipeline::Error::from(why).at(place))
    }
    fn left_behind(&mut self, _what: &'static str, _count: u64) {}
}

/// Reads everything, with the readers on threads of their own, and lets the end be checked.
pub(super) fn read(source: ArchiveSource, readers: usize) -> Result<Vec<Batch>> {
    let snapshot = Source::<JuiceFs>::snapshot(Box::new(source), readers, &Stop::new())?;
    let batches = scan(&*snapshot, readers)?;
    snapshot.finish()?;
    Ok(batches)
}

pub(super) fn scan(snapshot: &dyn Snapshot<JuiceFs>, readers: usize) -> Result<Vec<Batch>> {
    let plan = Mutex::new(snapshot.plan(&Scope::default())?.into_iter());
    let work = || {
        let mut out = Collect::default();
        loop {
            let next = plan.lock().unwrap().next();
            let Some(partition) = next else { return Ok(out.0) };
            snapshot.scan(&partition, &mut out)?;
        }
    };
    if readers == 1 {
        return work();
    }
    let parts: Vec<Result<Vec<Batch>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..readers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    Ok(parts.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

pub(super) fn read_file(path: &Path) -> Result<Vec<Batch>> {
    read(ArchiveSource::open(path)?, 1)
}

pub(super) fn read_pipe(bytes: &[u8]) -> Result<Vec<Batch>> {
    read(ArchiveSource::pipe("-", Box::new(Cursor::new(bytes.to_vec()))), 1)
}

/// The lines of all batches, sorted, to be compared.
pub(super) fn lines(batches: &[Batch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        let mut text = Vec::new();
        batch.write_lines(&mut text);
        lines.extend(String::from_utf8(text).unwrap().lines().map(|line| format!("{:?} {line}", batch.kind())));
    }
    lines.sort();
    lines
}
