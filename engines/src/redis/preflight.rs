//! What can be said of a server before its database is read or written: version, memory, what it does to it. It changes
//! nothing.

use metaferry_codecs::juicefs::Kind;
use metaferry_pipeline::preflight::{Outlook, Remark};
use metaferry_pipeline::{ErrorKind, Result, Stop};

use super::Info;
use super::address::Address;
use super::claim::Claim;
use super::connection::Connection;
use super::source::{live_sessions, must_be_volume};
use super::volume::Volume;

/// What a row takes in memory, about, in bytes.
const ROW_BYTES: u64 = 130;

/// What a volume is like that is to be read.
pub(super) fn source(address: &Address, is_forking: bool, stop: &Stop) -> Result<Outlook<Kind>> {
    let mut connection = Connection::open(address, stop)?;
    let volume = Volume::at(address.database(), connection.prefix());
    must_be_volume(&mut connection, &volume)?;
    let live_sessions = live_sessions(&mut connection, &volume)?;
    let mut remarks = Vec::new();
    // Some accounts may not ask; then there is nothing to tell.
    if let Ok(info) = connection.info("") {
        remarks.push(version(&info));
        remarks.extend(fork(&info).filter(|_| is_forking));
        remarks.extend(eviction(&info));
    }
    if !is_forking {
        let what = "read key by key: exact only if nothing writes meanwhile";
        remarks.push(Remark::warning("snapshot", what, "leave out --scan, or stop the writers"));
    }
    // A row a key, but for entries, extended attributes and references, which share one.
    let keys = connection.command(&[b"DBSIZE"])?.integer().and_then(|keys| u64::try_from(keys).ok());
    Ok(Outlook { remarks, rows: keys.map(|keys| keys.saturating_mul(3) / 2), live_sessions, largest: Vec::new() })
}

/// What the user should know of a server that is read.
pub(super) fn notes(connection: &mut Connection) -> Vec<String> {
    let Ok(info) = connection.info("") else { return Vec::new() };
    fork(&info).into_iter().chain(eviction(&info)).map(|remark| remark.text).collect()
}

/// What stands in the way of a load.
pub(super) fn target(address: &Address, outlook: &Outlook<Kind>, stop: &Stop) -> Result<Vec<Remark>> {
    let mut connection = Connection::open(address, stop)?;
    let volume = Volume::at(address.database(), connection.prefix());
    let mut remarks = Vec::new();
    let info = connection.info("").ok();
    remarks.extend(info.as_ref().map(version));
    remarks.push(match Claim::inspect(&mut connection, volume) {
        Ok(false) => Remark::ok("target", "the database is empty"),
        Ok(true) => Remark::ok("target", "what a load has left that was cut off is cleared first"),
        Err(error) if error.kind() == ErrorKind::Refused => Remark::of("target", &error),
        Err(error) => return Err(error),
    });
    let Some(info) = info else {
        let what = "the account may not ask the server how it is";
        remarks.push(Remark::warning("rights", what, "see yourself that there is memory for it, and no eviction"));
        return Ok(remarks);
    };
    if info.get("role").is_some_and(|role| role != "master") {
        remarks.push(Remark::refusal("rights", "the server is a replica", "name its master"));
    }
    remarks.push(memory(&info, outlook.rows));
    remarks.extend(eviction(&info));
    remarks.extend(persistence(&info));
    if let Some(replicas @ 1..) = info.number("connected_slaves") {
        let advice = "see that client-output-buffer-limit lets them keep up";
        remarks.push(Remark::warning("replication", format!("{replicas} replicas get every row"), advice));
    }
    Ok(remarks)
}

fn version(info: &Info) -> Remark {
    let version = info.get("valkey_version").map(|version| format!("Valkey {version}"));
    let version = version.or_else(|| info.get("redis_version").map(|version| format!("Redis {version}")));
    Remark::ok("version", version.unwrap_or_else(|| "a server that does not tell its version".to_owned()))
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// What a fork may need.
fn fork(info: &Info) -> Option<Remark> {
    let (used, total) = (info.number("used_memory_rss")?, info.number("total_system_memory")?);
    let failed = info.get("rdb_last_bgsave_status").is_some_and(|status| status != "ok");
    let what = format!("the server holds {} of the {} of its machine, and forks to be read", mib(used), mib(total));
    Some(if failed {
        let what = format!("{what}; its last attempt to save to its disk failed");
        Remark::warning("snapshot", what, "look at its log: it may fail again; --redis-diskless needs no disk")
    } else if used > total / 2 {
        let what = format!("{what}; a copy of all of it does not fit");
        Remark::warning("snapshot", what, "read it when little is written, or with --scan and no writers")
    } else {
        Remark::ok("snapshot", what)
    })
}

/// Whether the server drops what it has no room for.
fn eviction(info: &Info) -> Option<Remark> {
    let policy = info.get("maxmemory_policy").filter(|policy| *policy != "noeviction")?;
    let what = format!("maxmemory-policy is {policy}: the server may drop metadata");
    Some(Remark::warning("eviction", what, "CONFIG SET maxmemory-policy noeviction, as JuiceFS needs it"))
}

/// Whether there is memory for as many rows.
fn memory(info: &Info, rows: Option<u64>) -> Remark {
    let used = info.number("used_memory").unwrap_or_default();
    let most = info.number("maxmemory").filter(|most| *most > 0).or_else(|| info.number("total_system_memory"));
    let left = most.map(|most| most.saturating_sub(used));
    let needed = rows.map(|rows| rows.saturating_mul(ROW_BYTES));
    match (needed, left) {
        (Some(needed), Some(left)) if needed > left => {
            let what = format!("about {} are needed, and {} are left", mib(needed), mib(left));
            Remark::refusal("room", what, "raise maxmemory, or take a larger machine")
        }
        (Some(needed), Some(left)) => {
            Remark::ok("room", format!("about {} are needed, and {} are left", mib(needed), mib(left)))
        }
        (None, Some(left)) => {
            Remark::ok("room", format!("{} are left; how much is needed is not known yet", mib(left)))
        }
        (_, None) => Remark::ok("room", "the server does not tell how much memory is left"),
    }
}

/// Whether what is loaded outlives the server, and whether it is taken at all.
fn persistence(info: &Info) -> Option<Remark> {
    if info.get("rdb_last_bgsave_status").is_some_and(|status| status != "ok") {
        let what = "the server's last attempt to save to its disk failed; then it may take no writes";
        return Some(Remark::warning("durability", what, "look at its log, and see that BGSAVE works"));
    }
    let is_logged = info.get("aof_enabled").is_some_and(|enabled| enabled == "1");
    let advice = "turn appendonly on when the load is done, as JuiceFS recommends, or save by BGSAVE";
    let what = "no log of writes is kept (appendonly no): what was not saved is gone with the server";
    (!is_logged).then(|| Remark::warning("durability", what, advice))
}
