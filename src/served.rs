//! What commands ask of a system of metadata: how its stores and files are opened, and what its users are told. A command is
//! written once, for any of them; which one it is about, its places tell.

use std::path::Path;

use metaferry_codecs::juicefs::JuiceFs;
use metaferry_codecs::system::{Advance, System};
use metaferry_engines::archive::read_header;
use metaferry_engines::repository::{Repository, RepositoryAddress};
use metaferry_engines::stamp::Stamp;
use metaferry_engines::wrapping::Unwrapped;
use metaferry_pipeline::verify::Verdict;
use metaferry_pipeline::{Error, Result, Sink, Source};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::args::{CopyArgs, Format, MendArgs, RestoreArgs, WidenArgs};
use crate::commands::Chosen;
use crate::context::Context;
use crate::files::{Content, Writing};
use crate::open::Place;

/// A system of metadata that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    JuiceFs,
    Kylin,
}

/// Runs the same for the system that is meant.
macro_rules! of_system {
    ($which:expr, $system:ident => $run:expr) => {
        match $which {
            $crate::served::Which::JuiceFs => {
                type $system = metaferry_codecs::juicefs::JuiceFs;
                $run
            }
            $crate::served::Which::Kylin => {
                type $system = metaferry_codecs::kylin::Kylin;
                $run
            }
        }
    };
}
pub(crate) use of_system;

impl Which {
    const ALL: [Self; 2] = [Self::JuiceFs, Self::Kylin];

    fn name(self) -> &'static str {
        of_system!(self, S => S::NAME)
    }

    /// The system that places are about: the one that the first of them tells. Whatever tells none is JuiceFS's.
    pub(crate) fn of(context: &Context, places: &[&str]) -> Result<Self> {
        // Those that tell by their name first: files may be pipes, and stores of backups far away.
        let parsed = places.iter().map(|text| Place::parse(text)).collect::<Result<Vec<_>>>()?;
        if let Some(which) = parsed.iter().find_map(Place::system) {
            return Ok(which);
        }
        for place in &parsed {
            if let Some(name) = told_inside(context, place)? {
                let known = Self::ALL.into_iter().find(|which| which.name() == name);
                return known.ok_or_else(|| Error::unsupported(format!("{place} holds metadata of {name}")));
            }
        }
        Ok(Self::JuiceFs)
    }

    /// The same of a repository.
    pub(crate) fn of_repository(context: &Context, address: &str) -> Result<Self> {
        let place = Place::Repository(RepositoryAddress::parse(address)?);
        let name = told_inside(context, &place)?.unwrap_or_else(|| JuiceFs::NAME.to_owned());
        let known = Self::ALL.into_iter().find(|which| which.name() == name);
        known.ok_or_else(|| Error::unsupported(format!("{place} holds backups of {name}")))
    }
}

/// The name of the system whose metadata a place holds, where that is to be found only inside.
fn told_inside(context: &Context, place: &Place) -> Result<Option<String>> {
    match place {
        Place::File(path) if Content::of(path) == Some(Content::Archive) => {
            Ok(read_header(path).ok().map(|header| header.system))
        }
        Place::Repository(address) => {
            let repository = Repository::find(address, &context.keys()?, &context.stop)?;
            repository.map_or(Ok(None), |repository| repository.system())
        }
        _ => Ok(None),
    }
}

/// A dump that is no archive, to be read.
pub(crate) struct Foreign {
    pub(crate) content: Content,
    pub(crate) name: String,
    pub(crate) inside: Unwrapped,
    /// Its length in bytes; 0 where that is not known.
    pub(crate) length: u64,
}

/// What to tell of a target, once something was loaded into it.
pub(crate) type Advice = Box<dyn FnOnce(&str) -> Vec<String>>;

/// What a store is, in JSON and in words.
pub(crate) type Introduced = (&'static str, Value, String);

/// A system that commands serve.
pub(crate) trait Served: System {
    /// The kind whose rows say how large a store is, and what people call them.
    const COUNTED: (Self::Kind, &'static str);
    /// Whether clients agree in the store on who makes the next backup.
    const HAS_STAMPS: bool = false;
    /// Why two copies must not be in use at once.
    const TWO_IN_USE: &'static str;

    /// A store of its own, to be read.
    fn source(place: &Place, context: &Context) -> Result<Box<dyn Source<Self>>>;
    /// A store of its own, to be written.
    fn sink(place: &Place, context: &Context, writing: &Writing<'_>) -> Result<Box<dyn Sink<Self>>>;
    /// A dump of its own, to be read; `None` where the file is none.
    fn dump_source(dump: Foreign, context: &Context) -> Result<Box<dyn Source<Self>>>;
    /// A dump of its own in a file or, where there is no path, on the standard output.
    fn dump_sink(path: Option<&Path>, format: Format, writing: &Writing<'_>) -> Result<Box<dyn Sink<Self>>>;
    /// Somewhere in an empty folder where a backup can be restored for a test.
    fn scratch(folder: &Path) -> Result<Box<dyn Sink<Self>>>;
    /// What a store is, from its seal.
    fn introduce(seal: &Self::Batch) -> Result<Introduced>;

    /// What of a source is asked for, where that is not all.
    fn selection(args: &CopyArgs) -> Result<Option<Self::Selection>>;

    /// The same place, with what only another store of the system takes.
    fn migrating(place: Place) -> Place {
        place
    }

    /// What its clients and agents agree by on who makes the next backup, where it has that.
    fn stamp(_place: &Place) -> Option<Box<dyn Stamp>> {
        None
    }

    /// Refuses options that mean nothing for its stores.
    fn must_fit(_mend: &MendArgs, _widen: WidenArgs) -> Result<()> {
        Ok(())
    }

    /// Puts a secret back into what is loaded; what to tell afterwards.
    fn watched(
        source: Box<dyn Source<Self>>,
        secret: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<(Box<dyn Source<Self>>, Advice)> {
        match secret {
            Some(_) => Err(Error::config(format!("{} has no key of an object storage", Self::NAME))),
            None => Ok((source, Box::new(|_| Vec::new()))),
        }
    }

    /// How far a restore moves on the numbers that are handed out next.
    fn advance(_context: &Context, _chosen: &Chosen, args: &RestoreArgs) -> Result<Advance> {
        if args.margin.is_some() || args.scan_bucket {
            return Err(Error::config(format!("{} hands out no numbers: --margin is for JuiceFS", Self::NAME)));
        }
        Ok(Advance::default())
    }

    /// By how much what is handed out next is ahead in the second of two sources, where nothing else differs.
    fn moved_on(_verdict: &Verdict<Self>) -> Vec<(String, u64)> {
        Vec::new()
    }
}
