//! Making all changes at once: one transaction that keeps others out, sees that every row is still as it was seen, changes the rows,
//! and writes the log as Kylin does. Whatever fails, nothing was changed.

use std::collections::{BTreeMap, BTreeSet};

use metaferry_codecs::kylin::Layout;
use metaferry_codecs::kylin::address::Dialect;
use metaferry_pipeline::patch::Conflict;
use metaferry_pipeline::{Error, ErrorKind, Result};

use super::super::maintenance::Guard;
use super::super::session::Session;
use super::super::tables::Located;
use super::BeforeCommit;
use super::current::within;
use super::encode::Model;
use super::log::Log;
use super::parts::{Op, Parts};
use super::reach::Reach;
use super::staging::Staging;
use super::statements::Sql;
use super::targets::{Target, Targets};
use crate::sql::rows::Cells as _;

/// How many of what stands in the way are named.
const NAMED: usize = 20;

/// Everything that is known of a patch once it is staged.
pub(super) struct Whole<'w> {
    pub(super) located: &'w Located,
    pub(super) reach: &'w Reach,
    pub(super) parts: &'w Parts,
    pub(super) guard: Option<&'w Guard>,
    /// `<ip>:0000`.
    pub(super) instance: &'w str,
    pub(super) now: i64,
}

/// Keys that stand in the way: how many, and the first few.
#[derive(Default)]
struct Told {
    count: u64,
    first: Vec<String>,
}

impl Told {
    fn add(&mut self, text: String) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(text);
        }
    }

    fn conflicts(self) -> Vec<Conflict> {
        let more = self.count - self.first.len() as u64;
        let more = (more > 0).then(|| format!("and {more} more"));
        self.first.into_iter().chain(more).map(|text| Conflict { text }).collect()
    }
}

/// Makes the statements for a table, of whose rows those are in reach for which a condition holds; and says of each whether it
/// changes every row that is to be changed.
type Statements<'s> = &'s dyn Fn(&Sql<'_>, &Target, &str) -> Vec<(String, bool)>;

/// A transaction under way.
struct Applying<'a> {
    session: &'a mut Session,
    targets: Targets,
    sql: Sql<'a>,
    whole: &'a Whole<'a>,
}

/// Applies what was staged. What it returns stood in the way, and nothing was changed.
pub(super) fn apply(mut staging: Staging, whole: &Whole<'_>, before_commit: BeforeCommit) -> Result<Vec<Conflict>> {
    staging.finish()?;
    staging.refuse_too_large()?;
    let (staged, models) = (staging.name(), std::mem::take(&mut staging.models));
    let (targets, is_compressed) = (staging.rules.targets.clone(), staging.rules.is_compressed);
    let session = &mut staging.session;
    let sql = Sql { dialect: session.dialect(), staged, now: whole.now };
    match sql.dialect {
        // It has begun with the staging table.
        Dialect::Postgres if is_compressed => drop(session.ask(Sql::GIVES_UP_SOON)?),
        Dialect::Postgres => {}
        Dialect::Mysql => session.begin()?,
    }
    let mut applying = Applying { session, targets, sql, whole };
    let told = match applying.run(&models, false)? {
        Some(told) => told,
        None => {
            applying.session.rollback()?;
            applying.session.begin()?;
            let lost = || Error::new(ErrorKind::Bug, "rows that were locked have moved");
            applying.run(&models, true)?.ok_or_else(lost)?
        }
    };
    if told.count > 0 {
        session.rollback()?;
    } else {
        before_commit()?;
        session.commit()?;
    }
    staging.session.close();
    Ok(told.conflicts())
}

impl Applying<'_> {
    /// Makes the changes, unless something stands in the way. Where rows need only be as they were seen to be replaced, that is
    /// seen as they are, and whether two of them exchange what is unique; `None` where one was not, or two did: once more then,
    /// `careful`, to tell which.
    fn run(&mut self, models: &[Model], careful: bool) -> Result<Option<Told>> {
        let hasty = !careful && self.sql.dialect == Dialect::Mysql && !self.tells_all();
        let suspects = if hasty { BTreeSet::new() } else { self.keep_out_others()? };
        if let Some(guard) = self.whole.guard {
            guard.check(self.session, self.whole.located)?;
        }
        let told = self.changed(&suspects)?;
        if told.count > 0 {
            return Ok(Some(told));
        }
        self.delete()?;
        let told = self.in_the_way()?;
        if told.count > 0 {
            return Ok(Some(told));
        }
        self.refuse_same_names(models)?;
        let replaced = self.each(Op::Replace, &|sql, target, within| {
            let aside = target.part.filter(|_| !hasty).map(|_| (sql.step_aside(target, within), false));
            aside.into_iter().chain([(sql.replace(target, within), true)]).collect()
        });
        match replaced {
            Ok(Some(_)) if hasty => return Ok(None),
            // Of two rows with the same key, which no two are once all have changed.
            Err(error) if hasty && error.kind() == ErrorKind::Corrupt => return Ok(None),
            replaced => sure(replaced?)?,
        }
        sure(self.each(Op::Insert, &|sql, target, _| vec![(sql.insert(target), true)])?)?;
        let Self { session, targets, sql, whole } = self;
        Log { sql, targets, instance: whole.instance }.write(session, whole.parts, whole.reach)?;
        Ok(Some(Told::default()))
    }

    /// The tables in reach, with the rows in reach of each.
    fn within(&self) -> Vec<(&Target, String)> {
        let literal = |text: &[u8]| self.session.literal(text);
        let one = |target| Some((target, within(target, self.whole.reach, &literal, self.sql.dialect)?));
        self.targets.all.iter().filter_map(one).collect()
    }

    /// Keeps other writers out; and says which tables may have rows that are not as they were seen, by their numbers.
    fn keep_out_others(&mut self) -> Result<BTreeSet<i64>> {
        let within = self.within();
        if self.sql.dialect == Dialect::Postgres {
            let suspects = within.iter().map(|(target, _)| target.number).collect();
            let lock = Sql::lock_tables(&within);
            // Keys and versions of all rows are to be joined without a detour over its disk.
            self.session.run(&format!("{lock}; SET LOCAL work_mem = '64MB'"))?;
            return Ok(suspects);
        }
        let locking = |(target, within): &(&Target, String)| {
            (target.number, self.seen(target), self.sql.lock_rows(target, within))
        };
        let statements: Vec<_> = within.iter().map(locking).collect();
        let (mut suspects, tells_all) = (BTreeSet::new(), self.tells_all());
        for (number, seen, sql) in statements {
            self.session.rows(&sql, &mut |cells| {
                let [same, unseen] =
                    [0, 1].map(|at| cells.integer(at).ok().flatten().unwrap_or_default().cast_unsigned());
                if same != seen || tells_all && unseen > 0 {
                    suspects.insert(number);
                }
                Ok(())
            })?;
        }
        Ok(suspects)
    }

    /// Whether what was not seen has to be told: it would have to go, or what is equal is told apart from it.
    fn tells_all(&self) -> bool {
        self.whole.parts.total(Op::Delete) + self.whole.parts.total(Op::Keep) > 0
    }

    /// How many rows of a table were seen that have to be so still.
    fn seen(&self, target: &Target) -> u64 {
        [Op::Replace, Op::Delete, Op::Keep].iter().map(|op| self.count(target, *op)).sum()
    }

    /// Rows that are no longer as they were seen; with those that have appeared, where all are to be told apart from the wanted.
    fn changed(&mut self, suspects: &BTreeSet<i64>) -> Result<Told> {
        let (mut told, mut within, tells_all) = (Told::default(), self.within(), self.tells_all());
        within.retain(|(target, _)| suspects.contains(&target.number));
        let statements: Vec<_> = within
            .iter()
            .map(|(target, within)| {
                let changed = (self.seen(target) > 0).then(|| self.sql.changed(target));
                (target.head(), changed, tells_all.then(|| self.sql.appeared(target, within)))
            })
            .collect();
        for (head, changed, appeared) in statements {
            if let Some(sql) = changed {
                self.session.rows(&sql, &mut |cells| {
                    let [was, is] = [1, 2].map(|at| cells.integer(at).ok().flatten());
                    let (key, was) = (cells.bytes(0).ok().flatten().unwrap_or_default(), was.unwrap_or_default());
                    told.add(match is {
                        Some(is) => format!("{}: it was changed, from version {was} to {is}", shown(&head, key)),
                        None => format!("{}: it is gone", shown(&head, key)),
                    });
                    Ok(())
                })?;
            }
            if let Some(sql) = appeared {
                let reach = self.whole.reach;
                self.session.rows(&sql, &mut |cells| {
                    let key = [head.as_bytes(), cells.bytes(0).ok().flatten().unwrap_or_default()].concat();
                    if reach.contains(&key) {
                        told.add(format!("{}: it has appeared", String::from_utf8_lossy(&key)));
                    }
                    Ok(())
                })?;
            }
        }
        Ok(told)
    }

    fn count(&self, target: &Target, op: Op) -> u64 {
        match target.part {
            Some(part) => self.whole.parts.count(part.as_bytes(), op),
            None => self.whole.parts.total(op),
        }
    }

    fn delete(&mut self) -> Result<()> {
        sure(self.each(Op::Delete, &|sql, target, within| {
            let remember = target.filled("project").map(|project| (sql.remember_projects(target, project), true));
            remember.into_iter().chain([(sql.delete(target, within), true)]).collect()
        })?)
    }

    /// Runs statements for every table in which something is to become of rows; of those that say so, it sees that they changed
    /// as many, and returns what there is to say where one did not.
    fn each(&mut self, op: Op, statements: Statements<'_>) -> Result<Option<Error>> {
        let of = |(target, within): &(&Target, String)| {
            let rows = self.count(target, op);
            (rows > 0).then(|| (target.placed.name.clone(), rows, statements(&self.sql, target, within)))
        };
        let all: Vec<_> = self.within().iter().filter_map(of).collect();
        for (name, rows, statements) in all {
            for (sql, is_counted) in statements {
                let changed = self.session.change(&sql)?;
                if is_counted && changed != rows {
                    return Ok(Some(miscounted(&name, changed, rows)));
                }
            }
        }
        Ok(None)
    }

    /// Rows that are where others shall come: somebody wrote them since, or Kylin does not see them.
    fn in_the_way(&mut self) -> Result<Told> {
        let (mut told, mut orphans) = (Told::default(), Told::default());
        let reach = self.whole.reach;
        for target in &self.targets.all {
            if self.count(target, Op::Insert) == 0 {
                continue;
            }
            let head = target.head();
            self.session.rows(&self.sql.in_the_way(target), &mut |cells| {
                let [key, wanted] = [0, 1].map(|at| cells.bytes(at).ok().flatten().unwrap_or_default());
                let (whole, shown) = ([head.as_bytes(), key].concat(), shown(&head, key));
                if key != wanted {
                    let what = format!(
                        "{}: the server takes its key for that of {shown}, which is there",
                        self::shown(&head, wanted)
                    );
                    return Err(Error::refused(what).hint("its table does not tell upper from lower case"));
                }
                if reach.contains(&whole) {
                    told.add(format!("{shown}: it has appeared"))
                } else {
                    orphans.add(shown)
                }
                Ok(())
            })?;
        }
        if orphans.count == 0 {
            return Ok(told);
        }
        let what = format!(
            "{}: {} resources of projects that are not there stand in the way: {}",
            self.session.shown(),
            orphans.count,
            orphans.first.join(", ")
        );
        Err(Error::refused(what).hint("Kylin does not see them, and fails on them too: remove these rows first"))
    }

    /// No two models of a project may have one name afterwards (`MetadataToolHelper.checkDuplicateUuidModel`).
    fn refuse_same_names(&mut self, staged: &[Model]) -> Result<()> {
        let target = self.targets.all.iter().find(|target| target.part == Some("MODEL"));
        let Some(target) = target.filter(|_| !staged.is_empty()) else { return Ok(()) };
        let ours: BTreeSet<_> = staged.iter().map(|model| &model.key).collect();
        let mut names: BTreeMap<_, BTreeSet<Vec<u8>>> = BTreeMap::new();
        let mut add = |model: &Model| {
            names.entry((model.project.clone(), model.alias.clone())).or_default().insert(model.key.clone());
        };
        staged.iter().for_each(&mut add);
        self.session.rows(&format!("SELECT project, alias, meta_key FROM {}", target.placed.name), &mut |cells| {
            let [project, alias, key] = [0, 1, 2].map(|at| cells.bytes(at).ok().flatten().unwrap_or_default().to_vec());
            let model = Model { project, alias, key };
            if !ours.contains(&model.key) {
                add(&model);
            }
            Ok(())
        })?;
        let mut doubled: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((project, alias), _) in names.into_iter().filter(|(_, keys)| keys.len() > 1) {
            doubled.entry(project).or_default().push(String::from_utf8_lossy(&alias).into_owned());
        }
        if doubled.is_empty() {
            return Ok(());
        }
        let told = doubled
            .iter()
            .map(|(project, names)| format!("[{}]:{}", String::from_utf8_lossy(project), names.join(",")));
        let told = told.collect::<Vec<_>>().join(";");
        Err(Error::refused(format!(
            "KE-050041203: Please modify the model name and then restore:[project]:models: {told}"
        )))
    }
}

impl Staging {
    fn refuse_too_large(&self) -> Result<()> {
        let found = &self.too_large;
        if found.count == 0 {
            return Ok(());
        }
        let (most, key) = (self.rules.most.unwrap_or_default(), String::from_utf8_lossy(&found.key));
        let what = format!(
            "{}: {} resources are larger than its max_allowed_packet of {most} bytes; {key} needs {}",
            self.session.shown(),
            found.count,
            found.largest
        );
        let megabytes = found.largest.div_ceil(1 << 20);
        Err(Error::refused(what).hint(format!(
            "set max_allowed_packet to {megabytes}M or more on the server, as for Kylin, which says 256M"
        )))
    }
}

fn shown(head: &str, key: &[u8]) -> String {
    format!("{head}{}", String::from_utf8_lossy(key))
}

fn sure(miscounted: Option<Error>) -> Result<()> {
    miscounted.map_or(Ok(()), Err)
}

/// A statement changed more rows than it had to, or fewer.
pub(super) fn miscounted(table: &str, changed: u64, wanted: u64) -> Error {
    let what = format!("{table}: {wanted} rows were to be changed, and {changed} would have been; none was");
    Error::new(ErrorKind::Engine, what)
}

/// Resources must not come into a project that is not there afterwards.
pub(super) fn refuse_homeless(layout: Layout, parts: &Parts, has: &dyn Fn(&[u8]) -> bool) -> Result<()> {
    if layout == Layout::Typed {
        return Ok(());
    }
    let homeless = parts.with(Op::Insert).filter(|part| !has(part));
    let homeless: Vec<_> = homeless.map(|part| String::from_utf8_lossy(part).into_owned()).take(NAMED).collect();
    if homeless.is_empty() {
        return Ok(());
    }
    let what = format!("resources of projects that are not there, and would not be: {}", homeless.join(", "));
    Err(Error::refused(what).hint("Kylin would not see them: the backup lacks /_global/project/<project>.json"))
}
