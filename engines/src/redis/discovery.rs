//! Finds the server that holds a volume: the address itself, the master the Sentinels name, or the owner of the
//! volume's slot in a cluster. Knows only the commands it needs for that.

use metaferry_pipeline::{Error, ErrorKind, Result, Stop};

use super::address::{Address, Endpoint, Target};
use super::connection::Connection;
use super::reply::Reply;

/// Connects to the server that holds the volume, authenticated, its database selected or its prefix set.
pub(super) fn find(address: &Address, stop: &Stop) -> Result<Connection> {
    match address.target() {
        Target::Server(endpoint) => settle(enter(endpoint, address, stop)?, endpoint, address, stop),
        Target::Unix(path) => {
            let mut connection = Connection::to_socket(path, address, stop)?;
            connection.authenticate(&address.user, &address.password)?;
            let here = Endpoint { host: "localhost".to_owned(), port: 0 };
            settle(connection, &here, address, stop)
        }
        Target::Sentinel { master, sentinels } => {
            first_of(sentinels, address, |sentinel| through_sentinel(sentinel, master, address, stop))
        }
        Target::Cluster(nodes) => {
            first_of(nodes, address, |node| to_owner(enter(node, address, stop)?, node, address, stop))
        }
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

fn enter(endpoint: &Endpoint, address: &Address, stop: &Stop) -> Result<Connection> {
    let mut connection = Connection::to_host(endpoint, address, stop)?;
    connection.authenticate(&address.user, &address.password)?;
    Ok(connection)
}

/// As JuiceFS: a lone server that answers `CLUSTER INFO`, or refuses SELECT for being in cluster mode, is a cluster.
fn settle(mut connection: Connection, here: &Endpoint, address: &Address, stop: &Stop) -> Result<Connection> {
    let info = connection.ask(&[b"CLUSTER", b"INFO"])?;
    let is_cluster = info.text().is_some_and(|info| info.contains("cluster_state:"));
    if is_cluster || !connection.select(address.database())? {
        return to_owner(connection, here, address, stop);
    }
    Ok(connection)
}

fn through_sentinel(sentinel: &Endpoint, name: &str, address: &Address, stop: &Stop) -> Result<Connection> {
    let mut asked = Connection::to_host(sentinel, address, stop)?;
    let reply = asked
        .authenticate("", &address.sentinel_password)
        .and_then(|()| asked.command(&[b"SENTINEL", b"get-master-addr-by-name", name.as_bytes()]))
        .map_err(|error| {
            let told = error.at(format_args!("sentinel {sentinel}"));
            if told.kind() == ErrorKind::Config {
                told.hint("the Sentinels' own password is SENTINEL_PASSWORD")
            } else {
                told
            }
        })?;
    let Some(master) = endpoint_in(reply.items().unwrap_or_default(), sentinel) else {
        let what = format!("{address}: sentinel {sentinel} knows no master {name}");
        return Err(Error::config(what).hint("see SENTINEL MASTERS for the names it knows"));
    };
    let mut connection = enter(&master, address, stop)?;
    if let Reply::Array(role) = connection.ask(&[b"ROLE"])?
        && role.first().and_then(Reply::text) != Some("master")
    {
        return Err(Error::new(ErrorKind::Engine, format!("{address}: {master} is not the master any more"))
            .hint("a failover seems to be under way: try again"));
    }
    if !connection.select(address.database())? {
        let what = format!("{address}: {master} is a node of a cluster, and has no database {}", address.database());
        return Err(Error::config(what).hint("give the cluster's nodes instead of the Sentinels"));
    }
    Ok(connection)
}

/// Goes on to the owner of the volume's slot, which may be this very node.
fn to_owner(mut connection: Connection, here: &Endpoint, address: &Address, stop: &Stop) -> Result<Connection> {
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
        Some(there) if !is_here && there != *here => enter(&there, address, stop)?,
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

#[cfg(test)]
mod tests {
    use super::super::server::{Server, open};
    use super::*;

    fn cluster() -> Server {
        let server = Server::start(&["--cluster-enabled", "yes"]);
        let mut raw = raw(&server);
        raw.command(&[b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"16383"]).unwrap();
        while !raw.ask(&[b"CLUSTER", b"INFO"]).unwrap().text().unwrap().contains("cluster_state:ok") {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        server
    }

    fn raw(server: &Server) -> Connection {
        let address = Address::parse(&server.url(), &|_| None).unwrap();
        let Target::Server(endpoint) = address.target() else { panic!("one server") };
        Connection::to_host(endpoint, &address, &Stop::new()).unwrap()
    }

    #[test]
    fn a_node_of_a_cluster_gives_a_prefix() {
        let server = cluster();
        let port = server.port;
        for url in [
            format!("redis://127.0.0.1:{port}/1"),
            format!("redis://127.0.0.1:{port},127.0.0.1:1/1"),
            format!("redis://127.0.0.1:1,127.0.0.1:{port}/1"),
            format!("unix://{}?db=1", server.socket().display()),
        ] {
            let mut connection = open(&url).unwrap();
            assert_eq!(connection.prefix(), "{1}");
            connection.command(&[b"SET", b"{1}i1", b"v"]).unwrap();
            assert!(connection.holds_whole_slot().unwrap());
        }
        let mut connection = open(&server.url()).unwrap();
        assert_eq!(connection.prefix(), "{0}");
        let slot = slot_of(&mut connection, "{0}").unwrap().to_string();
        let elsewhere = [b'a'; 40];
        let moved = connection.ask(&[b"CLUSTER", b"SETSLOT", slot.as_bytes(), b"MIGRATING", &elsewhere]).unwrap();
        assert!(matches!(moved, Reply::Error(_)), "an unknown node takes no slot");
    }

    #[test]
    fn the_owner_among_two_nodes_is_found_and_a_moving_slot_is_seen() {
        let (one, two) = (Server::start(&["--cluster-enabled", "yes"]), Server::start(&["--cluster-enabled", "yes"]));
        let (mut first, mut second) = (raw(&one), raw(&two));
        // {0} is in slot 13907, {1} in 9842
        first.command(&[b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"9999"]).unwrap();
        second.command(&[b"CLUSTER", b"ADDSLOTSRANGE", b"10000", b"16383"]).unwrap();
        first.command(&[b"CLUSTER", b"SET-CONFIG-EPOCH", b"1"]).unwrap();
        second.command(&[b"CLUSTER", b"SET-CONFIG-EPOCH", b"2"]).unwrap();
        let port = two.port.to_string();
        first.command(&[b"CLUSTER", b"MEET", b"127.0.0.1", port.as_bytes()]).unwrap();
        for connection in [&mut first, &mut second] {
            while !connection.ask(&[b"CLUSTER", b"INFO"]).unwrap().text().unwrap().contains("cluster_state:ok") {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
        for (database, owner) in [(0, &two), (1, &one)] {
            for asked in [&one, &two] {
                let mut connection = open(&format!("{}/{database}", asked.url())).unwrap();
                assert!(connection.holds_whole_slot().unwrap());
                let info = connection.info("server").unwrap();
                assert_eq!(info.number("tcp_port"), Some(u64::from(owner.port)));
                let key = format!("{{{database}}}setting");
                connection.command(&[b"SET", key.as_bytes(), b"x"]).unwrap();
            }
        }
        let mut connection = open(&two.url()).unwrap();
        let slot = slot_of(&mut connection, "{0}").unwrap().to_string();
        let other = first.command(&[b"CLUSTER", b"MYID"]).unwrap();
        let other = other.bytes().unwrap();
        connection.command(&[b"CLUSTER", b"SETSLOT", slot.as_bytes(), b"MIGRATING", other]).unwrap();
        assert!(!connection.holds_whole_slot().unwrap());
    }

    #[test]
    fn sentinels_name_the_master() {
        let master = Server::start(&["--requirepass", "pw"]);
        let sentinel = Server::start_sentinel(master.port, "sentinelpw");
        let open = |name: &str, sentinel_password: &'static str| {
            let url = format!("redis://:pw@{name},127.0.0.1:1,127.0.0.1:{}/2", sentinel.port);
            let env = |variable: &str| (variable == "SENTINEL_PASSWORD").then(|| sentinel_password.to_owned());
            Connection::open(&Address::parse(&url, &env).unwrap(), &Stop::new())
        };
        let mut connection = open("mymaster", "sentinelpw").unwrap();
        connection.command(&[b"SET", b"k", b"v"]).unwrap();
        let keyspace = connection.info("keyspace").unwrap();
        assert!(keyspace.get("db2").is_some());
        assert_eq!(connection.info("server").unwrap().number("tcp_port"), Some(u64::from(master.port)));

        let wrong = open("mymaster", "wrong").unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Config);
        assert!(wrong.what_to_do().unwrap().contains("SENTINEL_PASSWORD"));
        let missing = open("mymaster", "").unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::Config);
        assert!(missing.what_to_do().unwrap().contains("SENTINEL_PASSWORD"));
        let unknown = open("other", "sentinelpw").unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::Config);
        assert!(unknown.to_string().contains("no master other"), "{unknown}");
    }
}
