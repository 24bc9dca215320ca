//! A load's claim on a database: it must be empty, is locked while a load lives and marked until it is committed. What a
//! dead load left behind is told from anything else by that mark, and cleared by the names of its keys.

use std::time::{Duration, Instant};

use metaferry_codecs::juicefs::redis_keys::{self as keys, Key};
use metaferry_codecs::juicefs::setting;
use metaferry_pipeline::{Error, ErrorKind, Result};

use super::connection::Connection;
use super::owner;
use super::reply::Reply;
use super::volume::Volume;

/// How long a lock lives unless it is renewed.
const LOCK_MS: &str = "120000";
/// How long it lives while the target is read back, when nobody renews it.
const PROOF_MS: &str = "900000";
/// How often it is renewed.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How often keys are looked for that were missed, since they moved under a SCAN.
const MOST_PASSES: usize = 8;
/// How long a server may take to read what a dead load has sent.
const BURIAL: Duration = Duration::from_secs(10);

/// A claim that was granted.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    volume: Volume,
    /// Who claims it, and of which source: the content of lock and mark.
    owner: String,
}

/// Takes a page of keys, and may run commands between two of them.
type TakePage<'a> = &'a mut dyn FnMut(&mut Connection, &[Vec<u8>]) -> Result<()>;

/// What is in a database.
struct Found {
    keys: u64,
    setting: Option<Vec<u8>>,
    lock: Option<String>,
    mark: Option<String>,
}

impl Claim {
    /// Claims an empty database for a copy of `origin`; clears it first where only a dead load's leftovers are in it.
    pub(super) fn take(
        connection: &mut Connection,
        volume: Volume,
        origin: &str,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<Self> {
        let claim = Self { volume, owner: owner::words(origin) };
        let mut found = claim.look(connection)?;
        let dead = found.lock.as_deref().and_then(owner::dead);
        if let Some(name) = dead {
            let words = found.lock.take().unwrap_or_default();
            found.keys = found.keys.saturating_sub(1);
            claim.judge(connection, &found)?;
            claim.bury(connection, (&words, &name), go_on)?;
        } else {
            claim.judge(connection, &found)?;
        }
        let (lock, value) = (claim.volume.key(keys::LOCK), claim.owner.as_bytes());
        if connection.command(&[b"SET", &lock, value, b"NX", b"PX", LOCK_MS.as_bytes()])? == Reply::Null {
            return Err(claim.busy(connection, "just begun"));
        }
        let found = claim.look(connection)?;
        let judged = claim.judge(connection, &Found { lock: None, keys: found.keys.saturating_sub(1), ..found });
        let ready = judged.and_then(|()| claim.clear(connection, go_on));
        if let Err(error) = ready {
            drop(connection.command(&[b"DEL", &lock]));
            return Err(error);
        }
        connection.command(&[b"SET", &claim.volume.key(keys::MARK), value])?;
        Ok(claim)
    }

    /// Looks whether a database could be claimed, and says whether a dead load has left anything in it.
    ///
    /// # Errors
    /// Why it could not.
    pub(super) fn inspect(connection: &mut Connection, volume: Volume) -> Result<bool> {
        let claim = Self { volume, owner: String::new() };
        let mut found = claim.look(connection)?;
        if found.lock.as_deref().and_then(owner::dead).is_some() {
            found = Found { lock: None, keys: found.keys.saturating_sub(1), ..found };
        }
        claim.judge(connection, &found)?;
        Ok(found.keys > 0)
    }

    /// Takes the lock off a load that is dead, once the server has read whatever that load has sent.
    fn bury(
        &self,
        connection: &mut Connection,
        (owner, name): (&str, &str),
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let (lock, deadline) = (self.volume.key(keys::LOCK), Instant::now() + BURIAL);
        let name = format!(" name={name} ");
        // An account that may not ask goes on at once.
        while let Ok(clients) = connection.command(&[b"CLIENT", b"LIST"])
            && String::from_utf8_lossy(clients.bytes().unwrap_or_default()).contains(&name)
        {
            go_on()?;
            if Instant::now() > deadline {
                return Err(self.busy(connection, owner));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        connection.command(&[b"WATCH", &lock])?;
        if connection.command(&[b"GET", &lock])?.bytes() != Some(owner.as_bytes()) {
            return connection.command(&[b"UNWATCH"]).map(drop);
        }
        connection.command(&[b"MULTI"])?;
        connection.command(&[b"DEL", &lock])?;
        connection.command(&[b"EXEC"]).map(drop)
    }

    fn look(&self, connection: &mut Connection) -> Result<Found> {
        let mut get = |name: &[u8]| {
            let reply = connection.ask(&[b"GET", &self.volume.key(name)])?;
            match reply {
                Reply::Null => Ok(None),
                // A value that is no string is there all the same.
                Reply::Error(error) if error.code != "WRONGTYPE" => Err(Error::from(error).at(connection.name())),
                reply => Ok(Some(reply.bytes().unwrap_or_default().to_vec())),
            }
        };
        let text = |value: Option<Vec<u8>>| value.map(|value| String::from_utf8_lossy(&value).into_owned());
        let (setting, lock, mark) = (get(keys::SETTING)?, text(get(keys::LOCK)?), text(get(keys::MARK)?));
        let keys = if connection.prefix().is_empty() {
            connection.command(&[b"DBSIZE"])?.integer().and_then(|count| u64::try_from(count).ok()).unwrap_or(0)
        } else {
            let mut count = 0;
            self.each_page(connection, &mut |_, names| {
                count += names.len() as u64;
                Ok(())
            })?;
            count
        };
        Ok(Found { keys, setting, lock, mark })
    }

    /// Refuses anything but an empty database and the leftovers of a dead load.
    fn judge(&self, connection: &mut Connection, found: &Found) -> Result<()> {
        let (at, keys) = (connection.name().to_owned(), found.keys);
        if let Some(document) = &found.setting {
            let volume = match setting::read(document) {
                Ok(summary) => format!("holds the volume {} ({keys} keys)", summary.name),
                Err(_) => format!("holds {keys} keys, a setting among them"),
            };
            return Err(
                Error::refused(format!("{at}: {volume}")).hint("load into an empty database: name another number")
            );
        }
        if let Some(owner) = &found.lock {
            return Err(self.busy(connection, owner));
        }
        if keys == 0 {
            return Ok(());
        }
        if found.mark.is_none() {
            let what = format!("{at}: not empty: {keys} keys, none of them a setting, and no mark of a load");
            return Err(Error::refused(what).hint("load into an empty database: name another number"));
        }
        let mut foreign = 0_u64;
        self.each_page(connection, &mut |_, names| {
            foreign += names.iter().filter(|name| Key::of(self.volume.name(name)).is_none()).count() as u64;
            Ok(())
        })?;
        if foreign == 0 {
            return Ok(());
        }
        let what = format!("{at}: {keys} keys that a load left behind, and {foreign} of something else among them");
        Err(Error::refused(what).hint("remove the other keys, or load into an empty database"))
    }

    /// Removes every key that a load writes, but for the lock and the mark. `go_on` fails where it takes too long.
    pub(super) fn clear(&self, connection: &mut Connection, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
        let mut renewed = Instant::now();
        for _ in 0..MOST_PASSES {
            let mut removed = 0;
            self.each_page(connection, &mut |connection, names| {
                go_on()?;
                let own = names.iter().filter(|name| {
                    let name = self.volume.name(name);
                    name != keys::LOCK && name != keys::MARK && Key::of(name).is_some()
                });
                let mut command: Vec<&[u8]> = vec![b"UNLINK"];
                command.extend(own.map(Vec::as_slice));
                if command.len() > 1 {
                    removed += command.len() - 1;
                    connection.command(&command)?;
                }
                if renewed.elapsed() > RENEW_EVERY {
                    let lock = self.volume.key(keys::LOCK);
                    connection.command(&[b"PEXPIRE", &lock, LOCK_MS.as_bytes()])?;
                    renewed = Instant::now();
                }
                Ok(())
            })?;
            if removed == 0 {
                return Ok(());
            }
        }
        Err(Error::refused(format!("{}: keys come as fast as they are removed", connection.name())))
    }

    /// Hands out the names of all keys of the volume, page by page, some perhaps twice.
    fn each_page(&self, connection: &mut Connection, take: TakePage<'_>) -> Result<()> {
        let pattern = format!("{}*", connection.prefix());
        let mut cursor = b"0".to_vec();
        loop {
            let reply = connection.command(&[b"SCAN", &cursor, b"MATCH", pattern.as_bytes(), b"COUNT", b"10000"])?;
            let Reply::Array(parts) = reply else { return Err(odd(connection)) };
            let [Reply::Bulk(next), Reply::Array(names)] = parts.as_slice() else { return Err(odd(connection)) };
            let names: Vec<Vec<u8>> = names.iter().filter_map(Reply::bytes).map(<[u8]>::to_vec).collect();
            cursor.clone_from(next);
            take(connection, &names)?;
            if cursor == b"0" {
                return Ok(());
            }
        }
    }

    /// Fails where the database is not claimed by this load any more.
    fn must_hold(&self, connection: &mut Connection) -> Result<()> {
        let mark = connection.command(&[b"GET", &self.volume.key(keys::MARK)])?;
        if mark.bytes() == Some(self.owner.as_bytes()) {
            return Ok(());
        }
        let what = format!("{}: this load's mark is gone: someone else has taken the database", connection.name());
        Err(Error::new(ErrorKind::Engine, what).hint("see that one load runs at a time, and run it again"))
    }

    /// Lets the lock live on.
    pub(super) fn renew(&self, connection: &mut Connection) -> Result<()> {
        self.renew_for(connection, LOCK_MS)
    }

    /// Lets the lock live while the target is read back.
    pub(super) fn renew_for_proof(&self, connection: &mut Connection) -> Result<()> {
        self.renew_for(connection, PROOF_MS)
    }

    fn renew_for(&self, connection: &mut Connection, life_ms: &str) -> Result<()> {
        self.must_hold(connection)?;
        let lock = self.volume.key(keys::LOCK);
        connection.command(&[b"SET", &lock, self.owner.as_bytes(), b"PX", life_ms.as_bytes()]).map(drop)
    }

    fn busy(&self, connection: &mut Connection, owner: &str) -> Error {
        let life = connection.ask(&[b"PTTL", &self.volume.key(keys::LOCK)]).ok().and_then(|life| life.integer());
        let seconds = life.map_or(0, |life| life.max(0) / 1000 + 1);
        Error::refused(format!("{}: another load is under way ({owner})", connection.name()))
            .hint(format!("wait for it; if it died, its lock ends in {seconds} s"))
    }

    /// Writes the setting and gives up the claim, at once or not at all.
    pub(super) fn commit(&self, connection: &mut Connection, document: &[u8]) -> Result<()> {
        let [setting, mark, lock] = [keys::SETTING, keys::MARK, keys::LOCK].map(|name| self.volume.key(name));
        connection.command(&[b"WATCH", &setting, &mark])?;
        self.must_hold(connection)?;
        let changed = format!("{}: the database was changed by someone else", connection.name());
        if connection.command(&[b"EXISTS", &setting])?.integer() != Some(0) {
            return Err(Error::new(ErrorKind::Engine, changed).hint("a volume was made there while this load ran"));
        }
        connection.command(&[b"MULTI"])?;
        connection.command(&[b"SET", &setting, document])?;
        connection.command(&[b"DEL", &mark, &lock])?;
        match connection.command(&[b"EXEC"])? {
            Reply::Array(_) => Ok(()),
            _ => Err(Error::new(ErrorKind::Engine, changed).hint("see that one load runs at a time, and run it again")),
        }
    }

    /// Gives up without a commit: clears what was loaded, as far as that goes until `deadline`. The mark stays unless
    /// everything is gone.
    pub(super) fn abandon(&self, connection: &mut Connection, deadline: Instant) -> Result<()> {
        self.must_hold(connection)?;
        let in_time = || match Instant::now() < deadline {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Engine, "clearing took too long")),
        };
        let cleared = self.clear(connection, &in_time);
        let [mark, lock] = [keys::MARK, keys::LOCK].map(|name| self.volume.key(name));
        if cleared.is_ok() {
            connection.command(&[b"DEL", &mark, &lock])?;
        } else {
            connection.command(&[b"DEL", &lock])?;
        }
        cleared
    }
}

fn odd(connection: &Connection) -> Error {
    Error::corrupt(format!("{}: not an answer to SCAN", connection.name()))
}
