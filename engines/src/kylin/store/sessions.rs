//! Sessions that see a metastore at one point in time, by whatever way its server has for that.

use metaferry_pipeline::{Error, Result, Stop};

use super::address::{Server, StoreAddress};
use super::session::Session;
use super::tables::{Located, Role, in_mysql, in_postgres};
use crate::mysql::align::{self, align};
use crate::postgres::together::{self, together};
use crate::{mysql, postgres};

/// Readers that see one point in time.
pub(super) struct Readers {
    pub(super) sessions: Vec<Session>,
    /// How that came to be, and what it costs the server, for the user.
    pub(super) how: String,
}

/// Opens as many readers as can be had, and finds the tables of a metastore that servers may write to.
pub(super) fn open(address: &StoreAddress, readers: usize, stop: &Stop) -> Result<(Readers, Located)> {
    let identifier = address.identifier();
    match address.server() {
        Server::Postgres(server) => {
            let mut first = postgres::session::Session::open(server, stop)?;
            first.begin(None, &[])?;
            let names = names(&in_postgres(&mut first, identifier)?)?;
            // What is altered between a snapshot and a lock would be read as if it were empty: locked first, then seen.
            first.run("ROLLBACK")?;
            first.begin(None, &names)?;
            let located = in_postgres(&mut first, identifier)?;
            Ok((of_postgres(together(first, server, readers, &names, stop)?), located))
        }
        Server::Mysql(server) => {
            let mut first = mysql::session::Session::open(server, stop)?;
            let located = in_mysql(&mut first, identifier)?;
            let names = names(&located)?;
            Ok((of_mysql(align(first, server, readers, &names, stop)?), located))
        }
    }
}

/// Opens readers of tables that nobody else writes to.
pub(super) fn undisturbed(address: &StoreAddress, located: &Located, readers: usize, stop: &Stop) -> Result<Readers> {
    match address.server() {
        Server::Postgres(server) => {
            let mut first = postgres::session::Session::open(server, stop)?;
            let names = names(located)?;
            first.begin(None, &names)?;
            Ok(of_postgres(together(first, server, readers, &names, stop)?))
        }
        Server::Mysql(server) => {
            let first = mysql::session::Session::open(server, stop)?;
            Ok(of_mysql(align::undisturbed(first, server, readers, stop)?))
        }
    }
}

/// The tables that are read.
fn names(located: &Located) -> Result<Vec<String>> {
    let read = located.all().iter().filter(|placed| placed.table.role != Role::Epoch);
    read.map(|placed| match placed.has_transactions {
        true => Ok(placed.name.clone()),
        false => {
            let what = format!("the table {} is not of InnoDB, and knows no point in time", placed.name);
            Err(Error::refused(what).hint("make it one of InnoDB with ALTER TABLE, as Kylin has it"))
        }
    })
    .collect()
}

fn of_postgres(readers: together::Readers) -> Readers {
    let together::Readers { sessions, alone } = readers;
    let how = alone.unwrap_or_else(|| match sessions.len() {
        1 => "one reader".to_owned(),
        count => format!("{count} readers see one point in time"),
    });
    let cost = "servers of Kylin are not held up; VACUUM keeps what it could remove until it is read";
    Readers { sessions: sessions.into_iter().map(Session::Postgres).collect(), how: format!("{how}; {cost}") }
}

fn of_mysql(readers: align::Readers) -> Readers {
    let align::Readers { sessions, how } = readers;
    let how = format!("{how}; the server keeps what changes until it is read");
    Readers { sessions: sessions.into_iter().map(Session::Mysql).collect(), how }
}
