//! A realistic JuiceFS volume made as a stream. Every row is a pure function of the seed and its place, so nothing is held
//! and any partition can be made alone: the same rows for the same seed, whatever the number of workers.

mod chunks;
mod dice;
mod edges;
mod leaf;
mod names;
mod nodes;
mod rows;
mod setting;
mod shape;
mod staircase;
#[cfg(test)]
mod tests;

use metaferry_codecs::juicefs::{JuiceFs, Kind};
use metaferry_codecs::system::Kind as _;
use metaferry_pipeline::{About, Emit, Error, Guarantee, KindSet, Partition, Result, Scope, Snapshot, Source, Stop};

use rows::Rows;
use setting::Usage;
use shape::Shape;

const SCHEME: &str = "synthetic:";
/// The most names a volume can have.
const MOST_FILES: u64 = 1_000_000_000;
/// Places in a partition, where that makes no more than [`PARTITIONS`] of a kind.
const PARTITION_PLACES: u64 = 1 << 16;
const PARTITIONS: u64 = 256;

/// Which volume to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntheticSource {
    /// Names: of files of all types, of directories, second names and names in the trash, but not trash hours.
    pub files: u64,
    /// How many of them are directories.
    pub directories: u64,
    /// What makes one volume differ from another of its size.
    pub seed: u64,
}

impl Default for SyntheticSource {
    fn default() -> Self {
        Self { files: 1_000_000, directories: 100_000, seed: 7 }
    }
}

impl SyntheticSource {
    /// Reads an address such as `synthetic://?files=1000000&dirs=100000&seed=7`; each parameter may be left out.
    ///
    /// # Errors
    /// Another scheme, a host or path, an unknown parameter, a number out of range, more directories than names.
    pub fn parse(address: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::config(format!("address {address}: {why}"))
                .hint("write synthetic://?files=1000000&dirs=100000&seed=7; each parameter may be left out")
        };
        let rest = address.strip_prefix(SCHEME).ok_or_else(|| wrong("it is not synthetic".to_owned()))?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let query = rest.strip_prefix('?').unwrap_or(rest);
        if query.len() == rest.len() && !rest.is_empty() {
            return Err(wrong("it has a host or a path".to_owned()));
        }
        let mut volume = Self::default();
        let mut directories = None;
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let number = value.parse().map_err(|_| wrong(format!("{name} is no number")));
            match name {
                "files" => volume.files = number?,
                "dirs" => directories = Some(number?),
                "seed" => volume.seed = number?,
                _ => return Err(wrong(format!("unknown parameter {name}"))),
            }
        }
        volume.directories = directories.unwrap_or(volume.files / 10);
        match volume {
            Self { files, .. } if files > MOST_FILES => Err(wrong(format!("more than {MOST_FILES} files"))),
            Self { files, directories, .. } if directories > files => Err(wrong("more dirs than files".to_owned())),
            _ => Ok(volume),
        }
    }
}

impl Source<JuiceFs> for SyntheticSource {
    fn snapshot(self: Box<Self>, _readers: usize, stop: &Stop) -> Result<Box<dyn Snapshot<JuiceFs>>> {
        Ok(Box::new(Volume::new(*self, stop)?))
    }
}

/// One volume, ready to be read.
#[derive(Debug)]
struct Volume {
    made_from: SyntheticSource,
    shape: Shape,
    usage: Usage,
    /// Places in a partition, at least.
    step: u64,
}

impl Volume {
    fn new(made_from: SyntheticSource, stop: &Stop) -> Result<Self> {
        let shape = Shape::new(made_from.files, made_from.directories, made_from.seed);
        let usage = shape.usage(stop)?;
        Ok(Self { made_from, shape, usage, step: PARTITION_PLACES })
    }

    /// How many places the rows of a kind come from, and how many rows there are in a thousand of them, about.
    fn extent(&self, kind: Kind) -> (u64, u64) {
        let shape = &self.shape;
        match kind {
            Kind::Setting => (1, 1000),
            Kind::Counter => (1, 7000),
            Kind::Node => (shape.inodes(), 980),
            Kind::Edge => (shape.entries(), 1000),
            Kind::Chunk => (shape.slots + shape.removed_files(), 920),
            Kind::SliceRef => (shape.blocks(), 45),
            Kind::Symlink => (shape.slots, 20),
            Kind::Xattr => (shape.trash_root() + shape.slots, 100),
            Kind::Parent => (shape.blocks(), 3600),
            Kind::Acl => (1, 8000),
            Kind::DirStat => (shape.all_directories(), 1000),
            Kind::Quota => (1, 64_000),
            Kind::DelFile => (shape.removed_files(), 1000),
            Kind::DelSlices => (shape.delayed(), 1000),
            Kind::Sustained | Kind::Detached | Kind::Token | Kind::Links | Kind::Foreign => (0, 0),
        }
    }
}

impl Snapshot<JuiceFs> for Volume {
    fn about(&self) -> About {
        let SyntheticSource { files, directories, seed } = self.made_from;
        About {
            origin: format!("synthetic://?files={files}&dirs={directories}&seed={seed}"),
            guarantee: Guarantee::Exact,
            ordered: KindSet::ALL,
            notes: Vec::new(),
            live_sessions: 0,
            is_repeatable: true,
            is_partial: false,
        }
    }

    fn plan(&self, scope: &Scope<JuiceFs>) -> Result<Vec<Partition<JuiceFs>>> {
        let mut partitions = Vec::new();
        for &kind in Kind::all().iter().filter(|kind| scope.wants(**kind)) {
            let (places, density) = self.extent(kind);
            let step = self.step.max(places.div_ceil(PARTITIONS));
            for from in (0..places).step_by(step as usize) {
                let to = places.min(from + step);
                let weight = ((to - from) * density).div_ceil(1000);
                partitions.push(Partition { kind: Some(kind), from, to, weight });
            }
        }
        Ok(partitions)
    }

    fn scan(&self, partition: &Partition<JuiceFs>, out: &mut dyn Emit<JuiceFs>) -> Result<()> {
        let (shape, range) = (&self.shape, partition.from..partition.to);
        let Some(kind) = partition.kind else {
            return Err(Error::new(metaferry_pipeline::ErrorKind::Bug, "a partition of no kind"));
        };
        match kind {
            Kind::Setting => out.emit(vec![shape.setting()].into()),
            Kind::Counter => out.emit(shape.counters(self.usage).to_vec().into()),
            Kind::Node => Rows::emit(out, |rows| shape.nodes(&range, rows)),
            Kind::Edge => Rows::emit(out, |rows| shape.edges(&range, rows)),
            Kind::Chunk => Rows::emit(out, |rows| shape.chunks(range, rows)),
            Kind::SliceRef => Rows::emit(out, |rows| shape.slice_refs(range, rows)),
            Kind::Symlink => Rows::emit(out, |rows| shape.symlinks(range, rows)),
            Kind::Xattr => Rows::emit(out, |rows| shape.xattrs(range, rows)),
            Kind::Parent => Rows::emit(out, |rows| shape.parents(range, rows)),
            Kind::Acl => out.emit(shape.rules.clone().into()),
            Kind::DirStat => Rows::emit(out, |rows| shape.statistics_of(range, rows)),
            Kind::Quota => Rows::emit(out, |rows| shape.quotas(rows)),
            Kind::DelFile => Rows::emit(out, |rows| shape.del_files(range, rows)),
            Kind::DelSlices => Rows::emit(out, |rows| shape.del_slices(range, rows)),
            Kind::Sustained | Kind::Detached | Kind::Token | Kind::Links | Kind::Foreign => Ok(()),
        }
    }
}
