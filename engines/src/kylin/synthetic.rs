//! A realistic metastore made as a stream, in either layout: projects, models, many small details of dataflows, few documents of
//! some MiB. Every resource is a pure function of the seed and its place, so nothing is held and any partition is made alone.

use std::fmt;
use std::ops::Range;

use metaferry_codecs::kylin::image::write_uuid;
use metaferry_codecs::kylin::{Batch, Kind, Kylin, Layout, Resource, Setting};
use metaferry_pipeline::{About, Emit, Error, Guarantee, KindSet, Partition, Result, Scope, Snapshot, Source, Stop};

const SCHEME: &str = "synthetic-kylin:";
const EXAMPLE: &str = "synthetic-kylin://?resources=200000&bytes=10000&layout=flat&seed=7";
/// The most resources.
const MOST: u64 = 100_000_000;
/// What belongs to no project: the id, a right and the project itself for each, users, groups.
const USERS: u64 = 8;
const GROUPS: u64 = 2;
/// Of the resources, one in so many is large.
const LARGE_ONE_IN: u64 = 1000;
/// Places in a partition, and the weight of a batch in bytes.
const STEP: u64 = 1 << 10;
const BATCH_BYTES: usize = 1 << 20;
/// When all of it was written, in milliseconds since 1970.
const WRITTEN: i64 = 1_700_000_000_000;

/// Entries of the document that all contents are cut from.
const ENTRIES: usize = 8192;

/// What of each thousand resources of a project is of which folder, and how many share one owner. Ascending, as keys are.
const FLAT: [(&str, u64); 7] = [
    ("dataflow", 40),
    ("dataflow_details", 600),
    ("execute", 200),
    ("index_plan", 40),
    ("model_desc", 40),
    ("table", 60),
    ("table_exd", 20),
];
const TYPED: [(&str, u64); 7] = [
    ("DATAFLOW", 40),
    ("INDEX_PLAN", 40),
    ("LAYOUT", 600),
    ("MODEL", 40),
    ("SEGMENT", 200),
    ("TABLE_EXD", 20),
    ("TABLE_INFO", 60),
];

/// Which metastore to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntheticMetastore {
    /// How many resources, at least those that belong to no project.
    pub resources: u64,
    /// How long their contents are, on average, in bytes.
    pub bytes: u64,
    /// How they are laid out.
    pub layout: Layout,
    /// What makes one differ from another of its size.
    pub seed: u64,
}

impl SyntheticMetastore {
    /// Whether an address is one of these.
    #[must_use]
    pub fn is_at(address: &str) -> bool {
        address.starts_with(SCHEME)
    }

    /// Reads an address such as `synthetic-kylin://?resources=200000&bytes=10000&layout=flat&seed=7`; each parameter may be
    /// left out.
    ///
    /// # Errors
    /// Another scheme, an unknown parameter, a number out of range.
    pub fn parse(address: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::config(format!("address {address}: {why}"))
                .hint(format!("write {EXAMPLE}; each parameter may be left out"))
        };
        let rest = address.strip_prefix(SCHEME).ok_or_else(|| wrong("it is not synthetic"))?;
        let query = rest.trim_start_matches('/').trim_start_matches('?');
        let mut made = Self { resources: 10_000, bytes: 10_000, layout: Layout::Flat, seed: 7 };
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let number = value.parse::<u64>().map_err(|_| wrong(&format!("{name} is no number")));
            match name {
                "resources" => made.resources = number?,
                "bytes" => made.bytes = number?,
                "seed" => made.seed = number?,
                "layout" => {
                    made.layout = Layout::named(value.as_bytes()).map_err(|_| wrong("layout is flat or typed"))?
                }
                _ => return Err(wrong(&format!("unknown parameter {name}"))),
            }
        }
        if !(100..=MOST).contains(&made.resources) || !(200..=100_000).contains(&made.bytes) {
            return Err(wrong("100 to 100000000 resources, of 200 to 100000 bytes"));
        }
        Ok(made)
    }
}

impl fmt::Display for SyntheticMetastore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resources, bytes, layout, seed } = self;
        let layout = layout.name();
        write!(f, "synthetic-kylin://?resources={resources}&bytes={bytes}&layout={layout}&seed={seed}")
    }
}

impl Source<Kylin> for SyntheticMetastore {
    fn snapshot(self: Box<Self>, _readers: usize, _stop: &Stop) -> Result<Box<dyn Snapshot<Kylin>>> {
        Ok(Box::new(Metastore::new(*self)))
    }
}

/// A metastore, ready to be read.
struct Metastore {
    made_from: SyntheticMetastore,
    /// Runs of keys, in their order: the place behind the last of each, and what they are.
    runs: Vec<(u64, Run)>,
    /// The text that contents are cut from: entries of the same length.
    text: Vec<u8>,
    entry: usize,
}

/// Keys that follow each other and are made alike.
#[derive(Debug, Clone, Copy)]
enum Run {
    Id,
    Rights,
    Project,
    Group,
    User,
    /// Of a project and a folder; in the typed layout of a folder alone, whatever the project.
    Member {
        project: u64,
        folder: &'static str,
    },
}

/// The digits of a UUID in which `number` stands in front.
fn uuid(salt: u64, number: u64) -> String {
    format!("{number:08x}-{:04x}-4000-8000-{:012x}", salt & 0xffff, mix(salt ^ number) & 0xffff_ffff_ffff)
}

/// A number that looks like chance (SplitMix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Metastore {
    fn new(made_from: SyntheticMetastore) -> Self {
        let projects = (made_from.resources / 2000).clamp(1, 64);
        let members = made_from.resources.saturating_sub(1 + 2 * projects + USERS + GROUPS);
        let mut text = Vec::new();
        for number in 0..ENTRIES as u64 {
            let chance = mix(made_from.seed ^ number << 20);
            text.extend_from_slice(
                format!(
                    "{{\n    \"layout_id\" : {:<9},\n    \"rows\" : {:<12},\n    \"byte_size\" : {:<12},\n    \"file_count\" : {:<3},\n    \"partition\" : \"{:016x}\"\n  }}, ",
                    20_000_000 + number * 10_000 % 90_000_000,
                    chance % 1_000_000_000,
                    chance >> 16 & 0xffff_ffff,
                    chance % 200,
                    mix(chance)
                )
                .as_bytes(),
            );
        }
        let entry = text.len() / ENTRIES;
        let mut metastore = Self { made_from, runs: Vec::new(), text, entry };
        match made_from.layout {
            Layout::Flat => metastore.lay_flat(projects, members),
            Layout::Typed => metastore.lay_typed(projects, members),
        }
        metastore
    }

    fn add(&mut self, count: u64, run: Run) {
        let end = self.places() + count;
        if count > 0 {
            self.runs.push((end, run));
        }
    }

    fn places(&self) -> u64 {
        self.runs.last().map_or(0, |(end, _)| *end)
    }

    fn lay_flat(&mut self, projects: u64, members: u64) {
        for (count, run) in
            [(1, Run::Id), (projects, Run::Rights), (projects, Run::Project), (USERS, Run::User), (GROUPS, Run::Group)]
        {
            self.add(count, run);
        }
        for project in 0..projects {
            let mine = members / projects + u64::from(project < members % projects);
            let mut left = mine;
            for (folder, share) in FLAT {
                let count = if folder == "table_exd" { left } else { mine * share / 1000 };
                left -= count;
                self.add(count, Run::Member { project, folder });
            }
        }
    }

    fn lay_typed(&mut self, projects: u64, members: u64) {
        let mut runs: Vec<(&str, u64, Run)> = vec![
            ("OBJECT_ACL", projects, Run::Rights),
            ("PROJECT", projects, Run::Project),
            ("SYSTEM", 1, Run::Id),
            ("USER_GROUP", GROUPS, Run::Group),
            ("USER_INFO", USERS, Run::User),
        ];
        let mut left = members;
        for (folder, share) in TYPED {
            let count = if folder == "TABLE_INFO" { left } else { members * share / 1000 };
            left -= count;
            runs.push((folder, count, Run::Member { project: projects, folder }));
        }
        runs.sort_by_key(|(name, ..)| *name);
        runs.into_iter().for_each(|(_, count, run)| self.add(count, run));
    }

    /// The resource at a place.
    fn resource(&self, place: u64) -> Option<Resource> {
        let at = self.runs.partition_point(|(end, _)| *end <= place);
        let (_, run) = self.runs.get(at)?;
        let begin = at.checked_sub(1).and_then(|before| self.runs.get(before)).map_or(0, |(end, _)| *end);
        let (number, is_flat) = (place - begin, self.made_from.layout == Layout::Flat);
        let id = uuid(self.made_from.seed, place);
        let (key, fields) = match *run {
            Run::Id => return Some(self.id(is_flat)),
            Run::Rights if is_flat => (format!("/_global/acl/{id}"), String::new()),
            Run::Rights => (format!("OBJECT_ACL/{id}"), String::new()),
            Run::Project => {
                let name = project(number);
                let key = if is_flat { format!("/_global/project/{name}.json") } else { format!("PROJECT/{name}") };
                (key, format!("  \"name\" : \"{name}\",\n"))
            }
            Run::Group => {
                let key =
                    if is_flat { format!("/_global/user_group/G{number}") } else { format!("USER_GROUP/G{number}") };
                (key, format!("  \"group_name\" : \"G{number}\",\n"))
            }
            Run::User => {
                let key = if is_flat { format!("/_global/user/U{number}") } else { format!("USER_INFO/U{number}") };
                (key, format!("  \"username\" : \"U{number}\",\n"))
            }
            Run::Member { project: owner, folder } if is_flat => (flat_key(owner, folder, number, &id), String::new()),
            Run::Member { project: projects, folder } => typed(projects, folder, number, &id),
        };
        let content = self.content(place, &id, &fields);
        Some(Resource {
            key: key.into_bytes(),
            content,
            ts: WRITTEN + (place % 86_400) as i64 * 1000,
            mvcc: (mix(place) % 9) as i64,
        })
    }

    fn id(&self, is_flat: bool) -> Resource {
        let id = uuid(self.made_from.seed, 0);
        let (key, content) = if is_flat {
            ("/UUID", write_uuid(&id).unwrap_or_default())
        } else {
            ("SYSTEM/UUID", format!("{{\"uuid\":\"{id}\",\"name\":\"UUID\",\"str\":\"{id}\"}}").into_bytes())
        };
        Resource { key: key.into(), content, ts: WRITTEN, mvcc: 0 }
    }

    /// A document of its own length.
    fn content(&self, place: u64, id: &str, fields: &str) -> Vec<u8> {
        let chance = mix(self.made_from.seed.rotate_left(17) ^ place);
        let bytes = self.made_from.bytes;
        // One in a thousand has two hundred times the average, the others what is left of it, by chance.
        let wanted = if chance.is_multiple_of(LARGE_ONE_IN) {
            bytes * 200
        } else {
            bytes * 2 / 5 + (chance >> 10) % (bytes * 4 / 5).max(1)
        };
        let count = usize::try_from(wanted / self.entry.max(1) as u64).unwrap_or(0).max(1);
        let mut content = Vec::with_capacity(count * self.entry + 256 + fields.len());
        content.extend_from_slice(
            format!("{{\n  \"uuid\" : \"{id}\",\n  \"last_modified\" : {WRITTEN},\n  \"create_time\" : {WRITTEN},\n  \"version\" : \"4.0.0.0\",\n{fields}  \"details\" : [ ")
                .as_bytes(),
        );
        let mut left = count;
        let mut from = (chance >> 32) as usize % ENTRIES;
        while left > 0 {
            let some = left.min(ENTRIES - from);
            content.extend_from_slice(self.text.get(from * self.entry..(from + some) * self.entry).unwrap_or_default());
            (left, from) = (left - some, 0);
        }
        content.truncate(content.len() - 2);
        content.extend_from_slice(b" ]\n}");
        content
    }
}

fn project(number: u64) -> String {
    format!("p{number:02}")
}

fn flat_key(owner: u64, folder: &str, number: u64, id: &str) -> String {
    let owner = project(owner);
    match folder {
        "dataflow_details" => {
            let dataflow = number / 20;
            format!("/{owner}/{folder}/{}/{id}.json", uuid(owner.len() as u64, dataflow))
        }
        "execute" => format!("/{owner}/{folder}/{id}"),
        "table" | "table_exd" => format!("/{owner}/{folder}/DEFAULT.T{number:07}.json"),
        _ => format!("/{owner}/{folder}/{id}.json"),
    }
}

/// The key of a typed resource and its fields, which fill the columns of its table. Projects take turns; where a project is
/// in front of a key, its resources follow each other.
fn typed(projects: u64, folder: &str, number: u64, id: &str) -> (String, String) {
    let owner = project(number % projects);
    let of = format!("  \"project\" : \"{owner}\",\n");
    match folder {
        "TABLE_INFO" | "TABLE_EXD" => {
            let key = format!("{folder}/{}.DEFAULT.T{number:07}", project(0));
            let name = format!(
                "  \"project\" : \"{}\",\n  \"name\" : \"T{number:07}\",\n  \"database\" : \"DEFAULT\",\n",
                project(0)
            );
            (key, name)
        }
        "MODEL" => (format!("{folder}/{id}"), format!("{of}  \"alias\" : \"m{number}\",\n")),
        "SEGMENT" => (format!("{folder}/{id}"), format!("{of}  \"model_uuid\" : \"{}\",\n", uuid(1, number / 5))),
        "LAYOUT" => (format!("{folder}/{id}"), format!("{of}  \"dataflow\" : \"{}\",\n", uuid(1, number / 20))),
        _ => (format!("{folder}/{id}"), of),
    }
}

impl Snapshot<Kylin> for Metastore {
    fn about(&self) -> About {
        About {
            origin: self.made_from.to_string(),
            guarantee: Guarantee::Exact,
            ordered: KindSet::ALL,
            notes: Vec::new(),
            live_sessions: 0,
            is_repeatable: true,
            is_partial: false,
        }
    }

    fn plan(&self, scope: &Scope<Kylin>) -> Result<Vec<Partition<Kylin>>> {
        let mut partitions = Vec::new();
        if scope.wants(Kind::Setting) {
            partitions.push(Partition { kind: Some(Kind::Setting), from: 0, to: 1, weight: 1 });
        }
        if scope.wants(Kind::Resource) {
            let places = self.places();
            for from in (0..places).step_by(STEP as usize) {
                let to = places.min(from + STEP);
                partitions.push(Partition { kind: Some(Kind::Resource), from, to, weight: to - from });
            }
        }
        Ok(partitions)
    }

    fn scan(&self, partition: &Partition<Kylin>, out: &mut dyn Emit<Kylin>) -> Result<()> {
        if partition.kind == Some(Kind::Setting) {
            let setting = Setting { layout: self.made_from.layout, offset: Some(0), project: Vec::new() };
            return out.emit(vec![setting].into());
        }
        let range: Range<u64> = partition.from..partition.to;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for row in range.filter_map(|place| self.resource(place)) {
            bytes += row.content.len() + row.key.len();
            rows.push(row);
            if bytes >= BATCH_BYTES {
                bytes = 0;
                out.emit(Batch::Resource(std::mem::take(&mut rows)))?;
            }
        }
        if rows.is_empty() { Ok(()) } else { out.emit(rows.into()) }
    }
}

#[cfg(test)]
mod tests;
