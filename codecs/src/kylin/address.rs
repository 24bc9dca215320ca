//! The address of a database as JDBC writes it, `jdbc:postgresql://host:port/database?name=value`, for PostgreSQL, MySQL and
//! MariaDB. It shows no query parameter's value, and refuses a user or a password in front of a host.

use std::fmt;

use zeroize::Zeroizing;

use crate::{Error, Result};

const WHAT: &str = "JDBC address";

/// Which SQL a database speaks. It follows from the prefix of the address: Kylin goes by `driverClassName`, and so gives
/// MySQL's newer driver the wrong statements (`JdbcUtil`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `jdbc:postgresql:`
    Postgres,
    /// `jdbc:mysql:` and `jdbc:mariadb:`
    Mysql,
}

impl Dialect {
    /// The port of a host that names none.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::Mysql => 3306,
        }
    }
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name or address; an IPv6 address without its brackets.
    pub name: String,
    /// Its port.
    pub port: u16,
}

/// Where a database is.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// What it speaks.
    pub dialect: Dialect,
    /// Its servers, at least one; the first is the primary.
    pub hosts: Vec<Host>,
    /// The database; empty where the address names none.
    pub database: String,
    parameters: Vec<(String, Zeroizing<String>)>,
}

impl Address {
    /// Reads an address. A word such as `replication:` or `loadbalance:` before the hosts is passed over.
    ///
    /// # Errors
    /// Another database's address, credentials in front of a host, MySQL's `(host=…)` forms, a bad port, a bad escape. The
    /// text does not repeat the address.
    pub fn parse(text: &str) -> Result<Self> {
        let rest = text.strip_prefix("jdbc:").ok_or_else(|| wrong("it does not begin with jdbc:"))?;
        let (driver, rest) = rest.split_once(':').ok_or_else(|| wrong("it names no driver"))?;
        let dialect = match driver {
            "postgresql" => Dialect::Postgres,
            "mysql" | "mariadb" => Dialect::Mysql,
            _ => return Err(wrong("its database is none of postgresql, mysql and mariadb")),
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, database) = match place.split_once("//") {
            Some((mode, place)) if is_mode(mode) => place.split_once('/').unwrap_or((place, "")),
            Some(_) => return Err(wrong("what is before its hosts is not understood")),
            // PostgreSQL's short form, `jdbc:postgresql:database`.
            None => ("", place.trim_start_matches('/')),
        };
        let hosts = hosts.split(',').map(|host| read_host(host.trim(), dialect)).collect::<Result<_>>()?;
        Ok(Self { dialect, hosts, database: unescaped(database)?, parameters: read_query(query)? })
    }

    /// The value of a query parameter. It may be a secret.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The primary.
    #[must_use]
    pub fn primary(&self) -> Option<&Host> {
        self.hosts.first()
    }
}

/// Whether this is how a driver is to use several hosts, and not a host.
fn is_mode(mode: &str) -> bool {
    let word = mode.strip_suffix(':').unwrap_or(mode);
    mode.is_empty() || (word.len() < mode.len() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
}

fn read_host(text: &str, dialect: Dialect) -> Result<Host> {
    if text.contains('@') {
        return Err(wrong("a user stands before its host; the metadata URL has username and password for that"));
    }
    if text.contains(['(', ')', '=']) {
        return Err(wrong("its hosts are written as key and value; write them as host:port"));
    }
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']').ok_or_else(|| wrong("a bracket is not closed"))?;
            (name, rest.strip_prefix(':').or(rest.is_empty().then_some("")))
        }
        None => text.split_once(':').map_or((text, Some("")), |(name, port)| (name, Some(port))),
    };
    let bad = || wrong("a port is no number from 1 to 65535");
    let port = match port.ok_or_else(bad)? {
        "" => dialect.default_port(),
        digits => digits.parse().ok().filter(|port| *port > 0).ok_or_else(bad)?,
    };
    let name = if name.is_empty() { "localhost" } else { name };
    Ok(Host { name: name.to_owned(), port })
}

fn read_query(query: &str) -> Result<Vec<(String, Zeroizing<String>)>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((unescaped(name)?, Zeroizing::new(unescaped(value)?)))
        })
        .collect()
}

/// A part of a URL with its `%XX` undone.
fn unescaped(text: &str) -> Result<String> {
    let bad = || wrong("a percent sign begins no escape of UTF-8");
    let mut pieces = text.split('%');
    let mut bytes = Zeroizing::new(pieces.next().unwrap_or_default().as_bytes().to_vec());
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).ok_or_else(bad)?;
        bytes.extend(crate::json::read_hex(digits.as_bytes()).ok_or_else(bad)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| bad())
}

fn wrong(why: &str) -> Error {
    Error::malformed(WHAT, why)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.dialect {
            Dialect::Postgres => "jdbc:postgresql://",
            Dialect::Mysql => "jdbc:mysql://",
        })?;
        for (index, Host { name, port }) in self.hosts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if name.contains(':') {
                write!(f, "{comma}[{name}]:{port}")?;
            } else {
                write!(f, "{comma}{name}:{port}")?;
            }
        }
        write!(f, "/{}", self.database)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.parameters.iter().map(|(name, _)| name).collect();
        f.debug_struct("Address").field("address", &self.to_string()).field("parameters", &names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Address::parse(text).unwrap().to_string()
    }

    #[test]
    fn addresses_of_every_form_are_read() {
        for (text, as_shown) in [
            ("jdbc:postgresql://h/k", "jdbc:postgresql://h:5432/k"),
            ("jdbc:postgresql:k", "jdbc:postgresql://localhost:5432/k"),
            ("jdbc:postgresql:/", "jdbc:postgresql://localhost:5432/"),
            ("jdbc:postgresql:///k", "jdbc:postgresql://localhost:5432/k"),
            ("jdbc:postgresql://a:1,b/k?ssl=true", "jdbc:postgresql://a:1,b:5432/k"),
            ("jdbc:postgresql://[::1]:5433/k", "jdbc:postgresql://[::1]:5433/k"),
            ("jdbc:mysql://h:3307/k%20l", "jdbc:mysql://h:3307/k l"),
            ("jdbc:mysql:replication://h1:3306,h2:3307/k", "jdbc:mysql://h1:3306,h2:3307/k"),
            ("jdbc:mysql:loadbalance://h1,h2/k", "jdbc:mysql://h1:3306,h2:3306/k"),
            ("jdbc:mariadb://h", "jdbc:mysql://h:3306/"),
        ] {
            assert_eq!(shown(text), as_shown, "{text}");
        }
        let address = Address::parse("jdbc:mysql:replication://h1,h2/k?a=1&b=%26&a=2&c").unwrap();
        assert_eq!(address.primary().unwrap().name, "h1");
        assert_eq!([address.parameter("a"), address.parameter("b")], [Some("2"), Some("&")]);
        assert_eq!([address.parameter("c"), address.parameter("d")], [Some(""), None]);
    }

    #[test]
    fn what_is_no_such_address_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "begin with jdbc:"),
            ("postgresql://h/k", "begin with jdbc:"),
            ("jdbc:h2", "names no driver"),
            ("jdbc:h2:mem:k", "none of"),
            ("jdbc:mysql://u:p@h/k", "username"),
            ("jdbc:mysql://(host=h,port=1)/k", "host:port"),
            ("jdbc:mysql://h:0/k", "port"),
            ("jdbc:mysql://h:65536/k", "port"),
            ("jdbc:mysql://[::1/k", "bracket"),
            ("jdbc:mysql://[::1]x/k", "port"),
            ("jdbc:mysql:Odd x://h/k", "before its hosts"),
            ("jdbc:mysql://h/%2", "percent"),
            ("jdbc:mysql://h/k?a=%ff", "percent"),
        ] {
            let told = Address::parse(text).unwrap_err().to_string();
            assert!(told.contains(why), "{text}: {told}");
        }
    }
}
