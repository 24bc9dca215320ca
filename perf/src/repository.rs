//! The table of runs that make backups in a repository, in a folder, and restore, prove and prune them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::cases::{Goal, Group, Store, ours};
use crate::lab::{Lab, size, url};
use crate::process::Ran;

/// What a backup of what did not change may add, of the first one.
const MOST_AGAIN: f64 = 0.01;
/// What an idle agent may have in memory.
const MOST_IDLE_KIB: u64 = 40 << 10;
/// How often it is looked whether an agent is done.
const LOOK: Duration = Duration::from_millis(50);
/// How many backups are pruned.
const BACKUPS: i64 = 10_000;

/// Every group, in the order of the report.
pub(crate) static REPOSITORY: &[Group] = &[
    Group {
        name: "sqlite-to-repository",
        stores: &[],
        cases: &[ours(Goal::Seconds(6.0), |lab, folder| backup(lab, &url(&lab.sqlite()), &folder.join("repository")))],
    },
    Group { name: "sqlite-to-repository-again", stores: &[], cases: &[ours(Goal::Seconds(5.0), again)] },
    Group {
        name: "redis-to-repository",
        stores: &[Store::Redis],
        cases: &[ours(Goal::None, |lab, folder| backup(lab, &lab.redis()?.url().into(), &folder.join("repository")))],
    },
    Group {
        name: "repository-to-sqlite",
        stores: &[],
        cases: &[ours(Goal::Seconds(10.0), |lab, folder| {
            let line = lab.metaferry().arg("restore").arg("--margin").arg("0").arg(at(&made(lab)?));
            let (ran, summary) = lab.summary(line.arg(url(&folder.join("new.db"))), folder)?;
            lab.check(&summary, "tally")?;
            Ok(ran)
        })],
    },
    Group { name: "prove-repository", stores: &[], cases: &[ours(Goal::None, prove)] },
    Group { name: "idle-agent", stores: &[], cases: &[ours(Goal::None, idle)] },
    Group { name: "prune-10000-backups", stores: &[], cases: &[ours(Goal::None, prune)] },
];

/// The address of a repository in a folder.
fn at(folder: &Path) -> OsString {
    let mut address = OsString::from("repo+file://");
    address.push(folder);
    address
}

fn backup(lab: &Lab, source: &OsString, repository: &Path) -> Result<Ran> {
    let before = weight(repository)?;
    let ran = lab.copy(["backup".into(), source.clone(), at(repository)], &lab.folder)?;
    Ok(Ran { bytes: weight(repository)? - before, ..ran })
}

/// What is in a folder, in bytes.
fn weight(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { weight(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// A repository with one backup, made when it is first asked for.
fn made(lab: &Lab) -> Result<PathBuf> {
    let repository = lab.folder.join("repository");
    if !repository.exists() {
        backup(lab, &url(&lab.sqlite()), &repository)?;
    }
    Ok(repository)
}

fn again(lab: &Lab, _folder: &Path) -> Result<Ran> {
    let repository = made(lab)?;
    let first = weight(&repository)?;
    let ran = backup(lab, &url(&lab.sqlite()), &repository)?;
    let share = ran.bytes as f64 / first as f64;
    ensure!(share < MOST_AGAIN, "a backup of what did not change added {share} of the first one");
    Ok(ran)
}

fn prove(lab: &Lab, _folder: &Path) -> Result<Ran> {
    let (ran, said) = lab.metaferry().arg("verify").arg(at(&made(lab)?)).run(&lab.folder)?;
    let proof: Value = serde_json::from_str(said.lines().last().context("nothing was said")?)?;
    let rows = proof.get("rows").and_then(Value::as_u64);
    ensure!(rows == Some(lab.moved.rows), "{rows:?} rows were proven, of {}", lab.moved.rows);
    Ok(ran)
}

/// An agent that has made a backup and proven it, between that and the next one: its memory then. It leaves the volume as it is.
fn idle(lab: &Lab, folder: &Path) -> Result<Ran> {
    let log = folder.join("log");
    let mut command = Command::new(&lab.tools.metaferry);
    command
        .args(["agent", "--log", "json", "--every", "1h", "--no-shared-timestamp"])
        .arg(url(&lab.sqlite()))
        .arg(at(&folder.join("repository")));
    let begun = Instant::now();
    let mut agent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?;
    while !fs::read_to_string(&log)?.contains("\"event\":\"verified\"") {
        if let Some(status) = agent.try_wait()? {
            bail!("the agent ended: {status}");
        }
        std::thread::sleep(LOOK);
    }
    let seconds = begun.elapsed().as_secs_f64();
    // What made the backup ends.
    std::thread::sleep(Duration::from_secs(1));
    let status = fs::read_to_string(format!("/proc/{}/status", agent.id()));
    agent.kill()?;
    agent.wait()?;
    let resident =
        status?.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    let resident: u64 = resident.context("its memory is not known")?;
    ensure!(resident < MOST_IDLE_KIB, "an idle agent has {resident} KiB");
    Ok(Ran { peak_kib: Some(resident), ..Ran::lasting(seconds) })
}

/// One backup under many names, one an hour, pruned by the default rules.
fn prune(lab: &Lab, folder: &Path) -> Result<Ran> {
    let (from, repository) = (made(lab)?, folder.join("repository"));
    copy_folder(&from, &repository)?;
    let manifests = repository.join("manifests");
    let entry = fs::read_dir(&manifests)?.next().context("no backup")??;
    let name = entry.file_name().into_string().ok().context("a name that is no text")?;
    let (_, checksum) = name.split_once('-').context("a name without a checksum")?;
    let object = fs::read(entry.path())?;
    ensure!(size(&entry.path())? > 0, "an empty manifest");
    let hour = jiff::Span::new().hours(1);
    let mut moment = jiff::Timestamp::now();
    for _ in 0..BACKUPS {
        moment = moment.checked_sub(hour)?;
        fs::write(manifests.join(format!("{}-{checksum}", moment.strftime("%Y%m%dT%H%M%SZ"))), &object)?;
    }
    let (ran, said) = lab.metaferry().arg("prune").arg(at(&repository)).run(folder)?;
    let pruned: Value = serde_json::from_str(said.lines().last().context("nothing was said")?)?;
    let removed = pruned.get("backups").and_then(Value::as_i64).unwrap_or_default();
    ensure!(removed > BACKUPS * 9 / 10, "{removed} backups were removed");
    Ok(ran)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
