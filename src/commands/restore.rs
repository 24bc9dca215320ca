//! restore: a backup into an empty engine, whose next inode and next slice are moved past what may have been handed out
//! since: the bucket may hold objects of that name. Or into a file, as it is.

use jiff::Timestamp;
use metaferry_codecs::juicefs::setting::put_secret;
use metaferry_codecs::juicefs::storage::Storage;
use metaferry_codecs::system::Advance;
use metaferry_engines::bucket::{Bucket, Wanted};
use metaferry_pipeline::{Error, Result};
use serde_json::json;

use crate::Outcome;
use crate::args::RestoreArgs;
use crate::commands::copy::{IntoFile, Load, into_file, load_from};
use crate::commands::verify::settled;
use crate::context::Context;
use crate::juicefs::stored::{VolumeBucket, setting};
use crate::open::Place;
use crate::output::{print, tell};
use crate::secrets;
use crate::served::Served;

/// Numbers that clients may hold unused whenever a backup is made, and then some: a client takes 1024 inodes and 4096 slices at
/// a time.
const LEAST: u64 = 1 << 20;
/// Numbers that may have been handed out in a second since: more than all clients of a busy volume take in the long run.
const INODES_A_SECOND: u64 = 100;
const SLICES_A_SECOND: u64 = 1000;

/// What is restored: a backup, when it was begun, and its volume's bucket where that is known already.
pub(crate) struct Chosen {
    place: Place,
    begun: String,
    bucket: Option<std::sync::Arc<Bucket>>,
}

/// A backup into an empty engine, or into a file.
pub(crate) fn run<S: Served>(context: &Context, args: &RestoreArgs) -> Result<Outcome> {
    let RestoreArgs { source, format, copy, mend, widen, verify, secret_key_file, .. } = args;
    let target = Place::parse(&args.target)?;
    must_fit(args, &target)?;
    let chosen = if args.from_volume { of_volume(context, source)? } else { of_repository(context, source)? };
    if !target.is_engine() {
        return into_file::<S>(context, "restore", (&chosen.place, target), &IntoFile { format: *format, copy });
    }
    let advance = S::advance(context, &chosen, args)?;
    let load = Load {
        mend: mend.clone(),
        widen: *widen,
        verify: *verify,
        strict: false,
        secret_key_file: secret_key_file.clone(),
        advance,
    };
    load_from::<S>(context, "restore", (&chosen.place, target), copy, &load)
}

/// Only an engine hands out numbers, and has what is mended and proven; only a file has a format.
fn must_fit(args: &RestoreArgs, target: &Place) -> Result<()> {
    let of_engines = [
        ("--margin", args.margin.is_some()),
        ("--scan-bucket", args.scan_bucket),
        ("--keep-counters", args.mend.keep_counters),
        ("--mend", args.mend.mend),
        ("--widen", args.widen.widen),
        ("--verify", args.verify),
        ("--secret-key-file", args.secret_key_file.is_some()),
    ];
    let of_files = [("--format", args.format.is_some())];
    let (wrong, where_to): (&[_], _) =
        if target.is_engine() { (&of_files, "a file") } else { (&of_engines, "an engine") };
    if let Some((name, _)) = wrong.iter().find(|(_, is_given)| *is_given) {
        return Err(Error::config(format!("{name} is for a restore into {where_to}: {target} is none")));
    }
    match target {
        Place::File(path) if args.format.is_none() && path.extension().is_some_and(|end| end == "db") => {
            Err(Error::config(format!("{target} sounds like a database"))
                .hint(format!("sqlite3://{target} is one; --format archive makes an archive of that name")))
        }
        _ => Ok(()),
    }
}

fn of_volume(context: &Context, source: &str) -> Result<Chosen> {
    let (address, wanted) = Wanted::split(source);
    let volume = VolumeBucket::open(context, address)?;
    let stored = volume.backup(context, &wanted)?;
    let begun = stored.backup.made.clone();
    Ok(Chosen { place: Place::VolumeBackup(stored), begun, bucket: Some(volume.bucket) })
}

fn of_repository(context: &Context, source: &str) -> Result<Chosen> {
    match settled(context, Place::parse(source)?)? {
        (place, Some((_, backup))) => Ok(Chosen { place, begun: backup.begun, bucket: None }),
        (place, None) => Err(Error::config(format!("{place} is no repository"))
            .hint("load copies a file into an engine; --from-volume takes a backup of JuiceFS's own")),
    }
}

/// How far the next numbers are to be moved on, and why: it is told.
pub(crate) fn advance(context: &Context, chosen: &Chosen, args: &RestoreArgs) -> Result<Advance> {
    let RestoreArgs { margin, scan_bucket, .. } = args;
    let quiet = context.common.quiet;
    if args.mend.keep_counters {
        if !quiet {
            tell(
                "note: the next inode and slice are those of the backup: newer objects in the bucket may be written over",
            );
        }
        return Ok(Advance::default());
    }
    let largest_object = if *scan_bucket { largest_slice(context, chosen, args)? } else { 0 };
    let age = age(&chosen.begun);
    let of_age = |rate: u64| margin.unwrap_or_else(|| LEAST.saturating_add(age.saturating_mul(rate)));
    let nodes = of_age(INODES_A_SECOND);
    let objects = if *scan_bucket { margin.unwrap_or(LEAST) } else { of_age(SLICES_A_SECOND) };
    if context.common.json {
        print(json!({ "version": 1, "event": "margin", "inodes": nodes, "slices": objects, "age_seconds": age,
            "largest_slice": scan_bucket.then_some(largest_object) }));
    } else if !quiet && (nodes, objects, largest_object) != (0, 0, 0) {
        let past =
            if *scan_bucket { format!(", past {largest_object}, the largest in the bucket") } else { String::new() };
        let why = if margin.is_some() {
            String::new()
        } else {
            format!(": the backup is {age} s old; --margin says otherwise")
        };
        tell(format_args!("note: the next inode is moved on by {nodes}, the next slice by {objects}{past}{why}"));
    }
    Ok(Advance { nodes, objects, largest_object })
}

/// How old a backup is, in seconds.
fn age(begun: &str) -> u64 {
    let begun = begun.parse().unwrap_or(Timestamp::MIN);
    u64::try_from(Timestamp::now().as_second().saturating_sub(begun.as_second())).unwrap_or_default()
}

/// The largest slice in the bucket of the volume that is restored.
fn largest_slice(context: &Context, chosen: &Chosen, args: &RestoreArgs) -> Result<u64> {
    if let Some(bucket) = &chosen.bucket {
        return bucket.largest_slice();
    }
    let mut document = setting(context, &chosen.place)?;
    if let Some(path) = &args.secret_key_file {
        put_secret(&mut document, "SecretKey", &secrets::read(path)?)?;
    }
    let storage = Storage::read(&document).map_err(|error| Error::from(error).at(&chosen.place))?;
    let bucket = Bucket::of_volume(&storage, &context.stop)?;
    bucket.must_be_of(&storage.uuid)?;
    bucket.largest_slice()
}
