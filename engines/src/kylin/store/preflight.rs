//! What can be said of a metastore's database before it is read or written. It changes nothing.

use metaferry_codecs::kylin::Kind;
use metaferry_pipeline::preflight::{Outlook, Remark};
use metaferry_pipeline::{ErrorKind, Result, Stop};

use super::address::{Server, StoreAddress};
use super::session::Session;
use super::sessions::open;
use super::tables::Role;
use super::target::{Standing, look};
use crate::sql::size;
use crate::{mysql, postgres};

/// What a resource takes with its share of indexes, about, in bytes, compressed.
const ROW_BYTES: u64 = 2500;
/// What Kylin tells to raise a packet to, in MiB (`KE-010000010`).
const KYLINS_PACKET: usize = 256;

/// What a metastore is like that is to be read.
pub(super) fn source(address: &StoreAddress, stop: &Stop) -> Result<Outlook<Kind>> {
    let (mut readers, located) = open(address, 1, stop)?;
    let mut remarks = vec![Remark::ok("layout", format!("{} is of the {} layout", address, located.layout.name()))];
    if located.get(Role::Log).is_none() {
        let what = "there is no change log: servers of Kylin that go on from a backup cannot catch up";
        remarks.push(Remark::ok("change log", what));
    }
    let mut rows = 0;
    if let Some(session) = readers.sessions.first_mut() {
        for placed in located.resources() {
            rows += session.number(&format!("SELECT COUNT(*) FROM {}", placed.name))?.cast_unsigned();
        }
    }
    readers.sessions.into_iter().for_each(Session::close);
    Ok(Outlook { remarks, rows: Some(rows), ..Outlook::default() })
}

/// What stands in the way of a load.
pub(super) fn target(address: &StoreAddress, outlook: &Outlook<Kind>, stop: &Stop) -> Result<Vec<Remark>> {
    if let Server::Postgres(server) = address.server() {
        match postgres::pooled::expect_own(server, stop) {
            Err(error) if error.kind() == ErrorKind::Refused => return Ok(vec![Remark::of("target", &error)]),
            other => other?,
        }
    }
    let mut session = Session::own(address, postgres::session::CONNECT, stop)?;
    let mut remarks = vec![match look(&mut session, address.identifier())? {
        Standing::Nothing => Remark::ok("target", format!("{} has no table yet", address.identifier())),
        Standing::Leftovers(_) => Remark::ok("target", "what a load has left that was cut off is cleared first"),
        Standing::Occupied(error) => Remark::of("target", &error),
    }];
    remarks.extend(match &mut session {
        Session::Postgres(session) => {
            let schema = postgres::lock::schema(session)?;
            let mut remarks = postgres::preflight::rights(session, &schema)?;
            remarks.extend(postgres::preflight::sessions(session)?);
            remarks.extend(postgres::preflight::replication(session)?);
            remarks
        }
        Session::Mysql(session) => {
            let database: String = session.value("SELECT DATABASE()")?.unwrap_or_default();
            let packet = session.packet()? >> 20;
            let most = format!("a resource may have {packet} MiB as it is stored, which max_allowed_packet says");
            let advice = "raise it to 256M, as Kylin tells to, before anything larger comes";
            let packets = if packet < KYLINS_PACKET {
                Remark::warning("packets", most, advice)
            } else {
                Remark::ok("packets", most)
            };
            vec![mysql::preflight::rights(session, &database)?, packets]
        }
    });
    remarks.push(size(outlook.rows, ROW_BYTES, "and for a while as much again of the server's log"));
    session.close();
    Ok(remarks)
}
