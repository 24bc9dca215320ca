//! Nodes that name no parent: they alone can have parent rows. They are noted while the nodes are read, so that no server has
//! to go through all of them once more. It knows no dialect.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use metaferry_codecs::juicefs::{Batch, FileType, JuiceFs};
use metaferry_codecs::system::Finding;
use metaferry_pipeline::{Emit, Result};

use super::plan::ordinal;

/// Nodes that are noted at most: where there are more, a server joins its tables sooner than it looks each of them up.
const MOST: usize = 1 << 18;
/// How many are looked up by one statement. MariaDB makes a table of its own of a list of a thousand.
const LOOKED_UP: usize = 500;

/// What was noted in one snapshot, by all its readers.
#[derive(Default)]
pub(crate) struct Parentless(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    inodes: Vec<u64>,
    /// Ranges of nodes that were read whole: the end of each, by its beginning.
    read: BTreeMap<u64, u64>,
}

impl Parentless {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a range of nodes, and notes it.
    pub(crate) fn note(
        &self,
        (from, to): (u64, u64),
        out: &mut dyn Emit<JuiceFs>,
        read: impl FnOnce(&mut dyn Emit<JuiceFs>) -> Result<()>,
    ) -> Result<()> {
        let mut noting = Noting { out, inodes: Vec::new(), is_whole: true };
        read(&mut noting)?;
        let Noting { mut inodes, is_whole, .. } = noting;
        let mut noted = self.noted();
        if noted.read.get(&from) == Some(&to) {
            return Ok(());
        }
        if is_whole && noted.inodes.len() + inodes.len() <= MOST {
            noted.inodes.append(&mut inodes);
            noted.read.insert(from, to);
        }
        Ok(())
    }

    /// The lists of inodes to look up for a range, ascending; `None` where not all of its nodes were noted.
    pub(crate) fn lists(&self, (from, to): (u64, u64)) -> Option<Vec<String>> {
        let noted = self.noted();
        let mut reached = from;
        while reached < to {
            reached = *noted.read.get(&reached)?;
        }
        let is_in = |inode: &&u64| {
            let at = ordinal(inode.cast_signed());
            from <= at && (at < to || to == u64::MAX)
        };
        let mut inodes: Vec<u64> = noted.inodes.iter().filter(is_in).copied().collect();
        drop(noted);
        inodes.sort_unstable();
        let list = |inodes: &[u64]| inodes.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        Some(inodes.chunks(LOOKED_UP).map(list).collect())
    }
}

/// Passes on what is read, and notes the nodes in it.
struct Noting<'n> {
    out: &'n mut dyn Emit<JuiceFs>,
    inodes: Vec<u64>,
    is_whole: bool,
}

impl Emit<JuiceFs> for Noting<'_> {
    fn emit(&mut self, batch: Batch) -> Result<()> {
        if let Batch::Node(rows) = &batch {
            let parentless = rows.iter().filter(|row| row.parent == 0 && row.kind != FileType::DIRECTORY);
            self.inodes.extend(parentless.map(|row| row.inode));
        }
        self.out.emit(batch)
    }

    fn damaged(&mut self, place: String, why: metaferry_codecs::Error) -> Result<()> {
        self.is_whole = false;
        self.out.damaged(place, why)
    }

    fn left_behind(&mut self, what: &'static str, count: u64) {
        self.out.left_behind(what, count);
    }

    fn found(&mut self, finding: Finding) {
        self.out.found(finding);
    }
}

#[cfg(test)]
mod tests {
    use metaferry_codecs::juicefs::Node;

    use super::*;

    struct Sunk;

    impl Emit<JuiceFs> for Sunk {
        fn emit(&mut self, _: Batch) -> Result<()> {
            Ok(())
        }

        fn damaged(&mut self, _: String, _: metaferry_codecs::Error) -> Result<()> {
            Ok(())
        }

        fn left_behind(&mut self, _: &'static str, _: u64) {}
    }

    fn node(inode: u64, parent: u64, kind: FileType) -> Node {
        Node { inode, parent, kind, ..Node::default() }
    }

    #[test]
    fn nodes_without_parents_are_known_once_their_range_was_read() {
        let parentless = Parentless::default();
        let (first, middle, last) = (ordinal(1), ordinal(10), u64::MAX);
        let rows = vec![node(5, 0, FileType::REGULAR), node(4, 1, FileType::REGULAR), node(3, 0, FileType::DIRECTORY)];
        let read = |rows: Vec<Node>| |out: &mut dyn Emit<JuiceFs>| out.emit(Batch::Node(rows));
        parentless.note((first, middle), &mut Sunk, read(rows.clone())).unwrap();
        parentless.note((first, middle), &mut Sunk, read(rows)).unwrap();
        assert_eq!(parentless.lists((first, middle)), Some(vec!["5".to_owned()]));
        assert_eq!(parentless.lists((first, last)), None);
        let rows = vec![node(i64::MAX as u64, 0, FileType::REGULAR), node(12, 0, FileType::REGULAR)];
        parentless.note((middle, last), &mut Sunk, read(rows)).unwrap();
        assert_eq!(parentless.lists((first, last)), Some(vec!["5,12,9223372036854775807".to_owned()]));
        assert_eq!(parentless.lists((middle, last)), Some(vec!["12,9223372036854775807".to_owned()]));
    }

    #[test]
    fn what_was_not_read_whole_is_not_known() {
        let parentless = Parentless::default();
        let damage = || metaferry_codecs::Error::malformed("mode", "no");
        let read = |out: &mut dyn Emit<JuiceFs>| out.damaged("inode 1".to_owned(), damage());
        parentless.note((0, u64::MAX), &mut Sunk, read).unwrap();
        assert_eq!(parentless.lists((0, u64::MAX)), None);
        let many = |out: &mut dyn Emit<JuiceFs>| out.emit(Batch::Node(vec![node(5, 0, FileType::REGULAR); MOST + 1]));
        parentless.note((0, u64::MAX), &mut Sunk, many).unwrap();
        assert_eq!(parentless.lists((0, u64::MAX)), None);
    }
}
