//! Finds the server that holds a volume: the address itself, the master the Sentinels name, or the owner of the
//! volume's slot in a cluster. Knows only the commands it needs for that.

use metaferry_pipeline::{Error, ErrorKind, Result};

use super::address::{Address, Endpoint, Target};
use super::connection::Connection;
use super::resp::Reply;

/// Connects to the server that holds the volume, authenticated, its database selected or its prefix set.
pub(super) fn find(address: &Address) -> Result<Connection> {
    match address.target() {
        Target::Server(endpoint) => settle(enter(endpoint, address)?, endpoint, address),
        Target::Unix(path) => {
            let mut connection = Connection::to_socket(path, address)?;
            connection.authenticate(&address.user, &address.password)?;
            let here = Endpoint { host: "localhost".to_owned(), port: 0 };
            settle(connection, &here, address)
        }
        Target::Sentinel { master, sentinels } => {
            first_of(sentinels, address, |sentinel| through_sentinel(sentinel, master, address))
        }
        Target::Cluster(nodes) => first_of(nodes, address, |node| to_owner(enter(node, address)?, node, address)),
    }
}

/// Tries each; returns the first that works, else the last error that says more than that a host cannot be reached.
fn first_of(
    endpoints: &[Endpoint],
    address: &Address,
    attempt: impl Fn(&Endpoint) -> Result<Connection>,
) -> Result<Connection> {
    let mut told = Error::config(format!("{address}: no host"));
    for (number, endpoint) in endpoints.iter().enumerate() {
        match attempt(endpoint) {
            Ok(connection) => return Ok(connection),
            Err(error) if number == 0 || error.kind() != ErrorKind::Engine => told = error,
            Err(_) => {}
        }
    }
    Err(told)
}

fn enter(endpoint: &Endpoint, address: &Address) -> Result<Connection> {
    let mut connection = Connection::to_host(endpoint, address)?;
    connection.authenticate(&address.user, &address.password)?;
    Ok(connection)
}

/// As JuiceFS: a lone server that answers `CLUSTER INFO`, or refuses SELECT for being in cluster mode, is a cluster.
fn settle(mut connection: Connection, here: &Endpoint, address: &Address) -> Result<Connection> {
    let info = connection.ask(&[b"CLUSTER", b"INFO"])?;
    let is_cluster = info.text().is_some_and(|info| info.contains("cluster_state:"));
    if is_cluster || !connection.select(address.database())? {
        return to_owner(connection, here, address);
    }
    Ok(connection)
}

fn through_sentinel(sentinel: &Endpoint, name: &str, address: &Address) -> Result<Connection> {
    let mut asked = Connection::to_host(sentinel, address)?;
    asked.authenticate("", &address.sentinel_password).map_err(|error| {
        error.at(format_args!("sentinel {sentinel}")).hint("give the Sentinels' own password in SENTINEL_PASSWORD")
    })?;
    let reply = asked.command(&[b"SENTINEL", b"get-master-addr-by-name", name.as_bytes()])?;
    let Some(master) = endpoint_in(reply.items().unwrap_or_default(), sentinel) else {
        let what = format!("{address}: sentinel {sentinel} knows no master {name}");
        return Err(Error::config(what).hint("see SENTINEL MASTERS for the names it knows"));
    };
    let mut connection = enter(&master, address)?;
    if let Reply::Array(role) = connection.ask(&[b"ROLE"])?
        && role.first().and_then(Reply::text) != Some("master")
    {
        return Err(Error::new(ErrorKind::Engine, format!("{address}: {master} is not the master any more"))
            .hint("a failover seems to be under way: try again"));
    }
    connection.select(address.database())?;
    Ok(connection)
}

/// Goes on to the owner of the volume's slot, which may be this very node.
fn to_owner(mut connection: Connection, here: &Endpoint, address: &Address) -> Result<Connection> {
    let prefix = format!("{{{}}}", address.database());
    let slot = slot_of(&mut connection, &prefix)?;
    let own_id = connection.ask(&[b"CLUSTER", b"MYID"])?;
    let slots = connection.command(&[b"CLUSTER", b"SLOTS"])?;
    let owner = slots.items().unwrap_or_default().iter().find_map(|range| match range.items()? {
        [first, last, owner, ..] => (first.integer()?..=last.integer()?).contains(&slot).then(|| owner.items())?,
        _ => None,
    });
    let Some(owner) = owner else {
        return Err(Error::new(ErrorKind::Engine, format!("{address}: no node of the cluster owns slot {slot}"))
            .hint("the cluster does not serve all slots: see CLUSTER INFO"));
    };
    let is_here = owner.get(2).is_some_and(|id| id.text().is_some() && id.text() == own_id.text());
    let mut connection = match endpoint_in(owner, here) {
        Some(there) if !is_here && there != *here => enter(&there, address)?,
        _ => connection,
    };
    connection.set_prefix(prefix);
    Ok(connection)
}

fn slot_of(connection: &mut Connection, prefix: &str) -> Result<i64> {
    let reply = connection.command(&[b"CLUSTER", b"KEYSLOT", prefix.as_bytes()])?;
    reply.integer().ok_or_else(|| Error::corrupt(format!("{}: CLUSTER KEYSLOT: not a number", connection.name())))
}

/// A host and a port, as Sentinels and cluster nodes tell them; an unknown host is the one that was asked.
fn endpoint_in(items: &[Reply], asked: &Endpoint) -> Option<Endpoint> {
    let (host, port) = (items.first()?, items.get(1)?);
    let port = match port {
        Reply::Integer(port) => u16::try_from(*port).ok()?,
        port => port.text()?.parse().ok()?,
    };
    let host = host.text().filter(|host| !matches!(*host, "" | "?")).unwrap_or(&asked.host);
    Some(Endpoint { host: host.to_owned(), port })
}

/// Whether this node owns the whole slot of its prefix: `CLUSTER NODES` lists it, and not as moving in or out.
pub(super) fn holds_whole_slot(connection: &mut Connection) -> Result<bool> {
    let prefix = connection.prefix().to_owned();
    let slot = slot_of(connection, &prefix)?;
    let reply = connection.command(&[b"CLUSTER", b"NODES"])?;
    let own_line = |line: &&str| line.split(' ').nth(2).is_some_and(|flags| flags.split(',').any(|f| f == "myself"));
    let Some(own) = reply.text().unwrap_or_default().lines().find(own_line) else { return Ok(false) };
    let mut owned = false;
    for range in own.split(' ').skip(8) {
        if let Some(moving) = range.strip_prefix('[') {
            if moving.split('-').next().and_then(|number| number.parse().ok()) == Some(slot) {
                return Ok(false);
            }
            continue;
        }
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        owned |= matches!((first.parse(), last.parse()), (Ok(first), Ok(last)) if (first..=last).contains(&slot));
    }
    Ok(owned)
}
