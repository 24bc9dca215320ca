//! Maintenance mode: while it is on, Kylin's servers write no metadata. It is nothing but rows in the table of epochs. Who turned
//! it on is remembered, and nobody else's is turned off by whoever only ends a restore.

mod epochs;

use std::time::{SystemTime, UNIX_EPOCH};

use metaferry_codecs::kylin::address::Dialect;
use metaferry_pipeline::{Error, ErrorKind, Result, Stop};

use super::StoreAddress;
use super::host;
use super::projects::projects;
use super::session::Session;
use super::tables::{Located, Role, folded, quoted, table};
use epochs::{COLUMNS, Epoch, GLOBAL, Turn};

/// How often it is tried where a server renews its epochs meanwhile.
const TRIES: usize = 3;
/// What our reasons begin with, and what stands before the process.
const OURS: &str = "metastore tool: metaferry on ";
const PROCESS: &str = ", process ";
/// What Kylin says where it is on, and where it is off.
const IS_ON: &str = "The system is under maintenance mode. Please try again later.";
const IS_OFF: &str = "System is not in maintenance mode.";

/// The maintenance mode of a store.
#[derive(Debug, Clone)]
pub struct Maintenance {
    address: StoreAddress,
    ip: Option<String>,
}

/// Whether the mode is on, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether it is.
    pub is_on: bool,
    /// The owner of the whole system's epoch: `<ip>:0000|9223372036854775807` while the mode is on, else a server, or nobody.
    pub owner: String,
    /// The number of the whole system's epoch; each change of owner counts.
    pub epoch: i64,
    /// Why it was turned on.
    pub reason: Option<String>,
    /// The process of this program that turned it on, where one did.
    pub by: Option<Process>,
}

/// A process of this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The name of its machine.
    pub host: String,
    /// Its number there.
    pub id: u32,
}

impl Process {
    /// This process.
    #[must_use]
    pub fn this() -> Self {
        Self { host: host::name(), id: std::process::id() }
    }

    /// The reason for which it turns the mode on.
    #[must_use]
    pub fn reason(&self) -> String {
        format!("{OURS}{}{PROCESS}{}", self.host, self.id)
    }

    fn read(reason: &str) -> Option<Self> {
        let (host, id) = reason.strip_prefix(OURS)?.rsplit_once(PROCESS)?;
        Some(Self { host: host.to_owned(), id: id.parse().ok()? })
    }
}

/// Which mode may be turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Off {
    /// One that is on.
    IfOn,
    /// Any: where it is off, rows are put in order all the same.
    Force,
}

/// The epoch of the whole system that maintenance mode was turned on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Its number.
    pub epoch: i64,
    /// Its owner.
    pub owner: String,
}

/// A maintenance mode that was turned on here. Dropped, it is turned off too, where it is still the same: but whether that went
/// well is only told by [`Held::release`].
#[derive(Debug)]
pub struct Held {
    maintenance: Maintenance,
    guard: Guard,
    is_released: bool,
}

/// What became of one try.
enum Tried {
    Done(Option<Epoch>),
    /// The mode is not what it would have to be.
    Unlike,
    /// Somebody else wrote in between.
    Raced,
}

/// Whether the mode may be turned, by the whole system's row; an error where it may not.
type Permit<'a> = &'a dyn Fn(Option<&Epoch>) -> Result<bool>;

impl Maintenance {
    /// That of the store at an address. Nothing is opened yet.
    #[must_use]
    pub fn new(address: StoreAddress) -> Self {
        Self { address, ip: None }
    }

    /// Goes by this address of this machine, as `kylin.env.ip-address` gives one, and by its first one otherwise.
    #[must_use]
    pub fn with_ip(self, ip: Option<&str>) -> Self {
        Self { ip: ip.map(str::to_owned), ..self }
    }

    /// Whether it is on.
    ///
    /// # Errors
    /// Those of the store.
    pub fn status(&self, stop: &Stop) -> Result<Status> {
        let mut session = Session::open(&self.address, stop)?;
        session.begin_reading()?;
        let located = session.locate(self.address.identifier())?;
        let found = match located.get(Role::Epoch) {
            Some(placed) => global(&mut session, &placed.name)?,
            None => None,
        };
        session.rollback()?;
        session.close();
        let found = found.unwrap_or_default();
        let reason = found.reason.as_ref().map(|reason| String::from_utf8_lossy(reason).into_owned());
        let is_on = found.is_maintenance();
        Ok(Status {
            is_on,
            owner: String::from_utf8_lossy(&found.owner).into_owned(),
            epoch: found.id,
            by: reason.as_deref().filter(|_| is_on).and_then(Process::read),
            reason,
        })
    }

    /// Turns it on, for this reason; `mode` is `kylin.server.mode`. The table of epochs is made where there is none.
    ///
    /// # Errors
    /// `Refused` where it is on already, in Kylin's words; those of the store, and nothing was changed then.
    pub fn on(&self, reason: &str, mode: &str, stop: &Stop) -> Result<Held> {
        let owner = epochs::owner(&self.ip.clone().unwrap_or_else(host::address));
        let permit = |found: Option<&Epoch>| match found.filter(|epoch| epoch.is_maintenance()) {
            Some(found) => Err(is_on(found)),
            None => Ok(true),
        };
        let turn = Turn::On { owner: &owner, reason, mode };
        let Tried::Done(Some(epoch)) = self.turn(turn, &permit, stop)? else {
            return Err(Error::new(ErrorKind::Bug, "maintenance mode was turned on in no row"));
        };
        let guard = Guard { epoch: epoch.id, owner };
        // Whatever fails from here on, it is turned off again.
        let held = Held { maintenance: self.clone(), guard, is_released: false };
        let status = self.status(stop)?;
        if status.epoch == held.guard.epoch && status.owner == held.guard.owner {
            return Ok(held);
        }
        Err(Error::refused(format!("{}: maintenance mode was turned on, and {:?} took it", self.address, status.owner)))
    }

    /// Turns it off, whoever turned it on.
    ///
    /// # Errors
    /// `Refused` where it is not on, in Kylin's words, and that is not to be forced; those of the store.
    pub fn off(&self, how: Off, stop: &Stop) -> Result<()> {
        let permit = |found: Option<&Epoch>| match found {
            Some(found) if found.is_maintenance() => Ok(true),
            _ if how == Off::Force => Ok(true),
            _ => Err(Error::refused(IS_OFF)),
        };
        self.turn(Turn::Off { now: now() }, &permit, stop).map(drop)
    }

    fn turn(&self, turn: Turn<'_>, permit: Permit<'_>, stop: &Stop) -> Result<Tried> {
        for _ in 0..TRIES {
            let mut session = Session::open(&self.address, stop)?;
            let tried = self.try_once(&mut session, turn, permit)?;
            session.close();
            if !matches!(tried, Tried::Raced) {
                return Ok(tried);
            }
        }
        let what = format!("{}: its epochs were changed by others {TRIES} times meanwhile", self.address);
        Err(Error::new(ErrorKind::Engine, what).hint("try again"))
    }

    fn try_once(&self, session: &mut Session, turn: Turn<'_>, permit: Permit<'_>) -> Result<Tried> {
        let (located, name) = self.begin(session)?;
        let rows = session.ask(&format!("SELECT {COLUMNS} FROM {name} ORDER BY epoch_target FOR UPDATE"))?;
        let there: Vec<_> = rows.into_iter().map(Epoch::read).collect();
        if !permit(there.iter().find(|epoch| epoch.target == GLOBAL))? {
            return Ok(Tried::Unlike);
        }
        let missing = epochs::missing(&there, projects(session, &located)?);
        let literal = |text: &[u8]| session.literal(text);
        for (sql, rows) in epochs::statements(turn, (&there, &missing), &name, &literal) {
            if session.change(&sql)? != rows {
                return Ok(Tried::Raced);
            }
        }
        let turned = global(session, &name)?;
        session.commit()?;
        Ok(Tried::Done(turned))
    }

    /// Begins to write, and finds the table of epochs, or makes it.
    fn begin(&self, session: &mut Session) -> Result<(Located, String)> {
        let (identifier, dialect) = (self.address.identifier(), session.dialect());
        session.begin()?;
        let located = session.locate(identifier)?;
        if let Some(placed) = located.get(Role::Epoch) {
            let name = placed.name.clone();
            return Ok((located, name));
        }
        let epochs =
            table(located.layout, Role::Epoch).ok_or_else(|| Error::new(ErrorKind::Bug, "no table of epochs"))?;
        let name = quoted(dialect, &folded(dialect, &epochs.name(identifier)));
        session.change(&epochs.create(dialect, &name))?;
        for sql in epochs.finish(dialect, &name, identifier) {
            session.change(&sql)?;
        }
        if dialect == Dialect::Mysql {
            // It ends a transaction where it makes a table.
            session.begin()?;
        }
        Ok((located, name))
    }
}

impl Held {
    /// What a restore makes sure of in its own transaction.
    #[must_use]
    pub fn guard(&self) -> Guard {
        self.guard.clone()
    }

    /// Leaves the mode on.
    pub fn keep(mut self) {
        self.is_released = true;
    }

    /// Turns the mode off, if it is still the one that was turned on here; says whether it was.
    ///
    /// # Errors
    /// Those of the store: the mode is on then.
    pub fn release(mut self) -> Result<bool> {
        self.is_released = true;
        self.turn_off().map_err(|error| {
            let what = format!("maintenance mode is still on: {error}");
            Error::new(error.kind(), what).because(error).hint("turn it off: metaferry kylin maintenance off")
        })
    }

    /// On a connection of its own, which no stop ends.
    fn turn_off(&self) -> Result<bool> {
        let permit = |found: Option<&Epoch>| Ok(found.is_some_and(|found| self.guard.holds(found)));
        let tried = self.maintenance.turn(Turn::Off { now: now() }, &permit, &Stop::new())?;
        Ok(matches!(tried, Tried::Done(_)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_released {
            // Whoever drops it reports something else already; the mode names this process as long as it is on.
            drop(self.turn_off());
        }
    }
}

impl Guard {
    fn holds(&self, found: &Epoch) -> bool {
        found.id == self.epoch && found.owner == self.owner.as_bytes()
    }

    /// Sees in a transaction that the epoch is still the one, and that it stays so until that ends.
    pub(super) fn check(&self, session: &mut Session, located: &Located) -> Result<()> {
        let found = match located.get(Role::Epoch) {
            Some(placed) => locked_global(session, &placed.name)?,
            None => None,
        };
        if found.is_some_and(|found| self.holds(&found)) {
            return Ok(());
        }
        let what = format!("{}: maintenance mode is no longer the one that was turned on for this", session.shown());
        Err(Error::refused(what).hint("somebody else turned it off: see who, then try again"))
    }
}

fn is_on(found: &Epoch) -> Error {
    let [owner, reason] = [&found.owner, found.reason.as_ref().unwrap_or(&Vec::new())]
        .map(|text| String::from_utf8_lossy(text).into_owned());
    Error::refused(IS_ON).hint(format!(
        "it was turned on by {owner} because of {reason:?}; if nobody works on it, metaferry kylin maintenance off ends it"
    ))
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

fn global(session: &mut Session, name: &str) -> Result<Option<Epoch>> {
    let sql = format!("SELECT {COLUMNS} FROM {name} WHERE epoch_target = {}", session.literal(GLOBAL));
    Ok(session.ask(&sql)?.into_iter().next().map(Epoch::read))
}

fn locked_global(session: &mut Session, name: &str) -> Result<Option<Epoch>> {
    let sql = format!("SELECT {COLUMNS} FROM {name} WHERE epoch_target = {} FOR UPDATE", session.literal(GLOBAL));
    Ok(session.ask(&sql)?.into_iter().next().map(Epoch::read))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_of_ours_names_its_process_and_others_do_not() {
        let process = Process { host: "a, process 1".to_owned(), id: 77 };
        assert_eq!(process.reason(), "metastore tool: metaferry on a, process 1, process 77");
        assert_eq!(Process::read(&process.reason()), Some(process));
        for other in
            ["", "metastore tool", "metastore tool: metaferry on a", "metastore tool: metaferry on a, process x"]
        {
            assert_eq!(Process::read(other), None, "{other}");
        }
    }

    #[test]
    fn a_guard_holds_one_epoch_of_one_owner() {
        let row = |id: &str, owner: &str| {
            Epoch::read(vec![Some(GLOBAL.to_vec()), Some(id.into()), Some(owner.into()), None, None])
        };
        let guard = Guard { epoch: 5, owner: "o:0000".to_owned() };
        assert!(guard.holds(&row("5", "o:0000")));
        assert!(!guard.holds(&row("6", "o:0000")) && !guard.holds(&row("5", "")));
    }
}
