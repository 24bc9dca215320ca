//! Addresses of MySQL and MariaDB: reads them as JuiceFS hands them to its driver (`user:password@(host:port)/database`, a
//! unix socket, `tls`, `table_prefix`), and shows them without their password. It opens nothing.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use metaferry_codecs::juicefs::tables;
use metaferry_pipeline::{Error, Result};
use mysql_async::{OptsBuilder, SslOpts};

use crate::address::{self, Parts, Query, Trust, password_from, redact, unescape};
use crate::sql::prefix_of;

/// How often a connection that says nothing is tried, so that nobody on the way forgets it.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A database of MySQL or MariaDB, and the prefix of the tables in it. Shown without the password, by `Debug` too.
#[derive(Clone)]
pub struct MysqlAddress {
    options: OptsBuilder,
    encryption: Encryption,
    table_prefix: String,
    shown: String,
}

/// Whether what is said to the server is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Encryption {
    No,
    /// Where the server can; nobody's certificate is looked at.
    Preferred,
    Yes(Box<SslOpts>),
}

impl MysqlAddress {
    /// Reads `mysql://user:password@(host:3306)/database?tls=…&table_prefix=…`. `env` looks up an environment variable.
    /// Parameters that are not known belong to JuiceFS's driver and are ignored.
    ///
    /// # Errors
    /// `Config` where the address cannot be read, without ever citing its password; also where the password file cannot.
    pub fn parse(url: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let shown = redact(url);
        let wrong = |problem: String| {
            Error::config(format!("{shown}: {problem}"))
                .hint("write it as mysql://user@(host:3306)/database, and give the password in META_PASSWORD")
        };
        let (_, rest) = url.split_once("://").unwrap_or_default();
        let (authority, rest) = cut(rest).ok_or_else(|| wrong("it names no database".to_owned()))?;
        let (database, query) = rest.split_once('?').unwrap_or((rest, ""));
        if database.is_empty() {
            return Err(wrong("it names no database".to_owned()));
        }
        let (userinfo, server) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let query = Query::parse(query);
        let mut options = server_of(first_options(), server).map_err(wrong)?;
        let password = match password {
            "" => password_from("META_PASSWORD", env)?,
            // What is no escape is meant as it is.
            password => unescape(password, false).unwrap_or_else(|_| password.to_owned()),
        };
        options = options.db_name(Some(unescape(database, false).map_err(wrong)?));
        options = options.user(Some(user)).pass(Some(password).filter(|password| !password.is_empty()));
        let encryption = match encryption_of(&query).map_err(wrong)? {
            // On a socket there is nobody to hide from.
            _ if server.starts_with("unix(") => Encryption::No,
            encryption => encryption,
        };
        let table_prefix = prefix_of(query.get("table_prefix").unwrap_or_default()).map_err(wrong)?;
        Ok(Self { options, encryption, table_prefix, shown })
    }

    /// The database that these parts name.
    pub(crate) fn of(parts: &Parts<'_>) -> Self {
        let options = first_options().ip_or_hostname(parts.host).tcp_port(parts.port).db_name(Some(parts.database));
        let options = options.user(Some(parts.user)).pass(Some(parts.password).filter(|password| !password.is_empty()));
        let encryption = match &parts.encryption {
            address::Encryption::No => Encryption::No,
            address::Encryption::Preferred => Encryption::Preferred,
            address::Encryption::Unverified => Encryption::Yes(Box::new(unverified())),
            address::Encryption::Authority(trust) => {
                Encryption::Yes(Box::new(trusting(trust).with_danger_skip_domain_validation(true)))
            }
            address::Encryption::Full(trust) => Encryption::Yes(Box::new(trusting(trust))),
        };
        Self { options, encryption, table_prefix: String::new(), shown: parts.shown("mysql") }
    }

    /// The ways to connect, the one to be tried first at the front.
    pub(crate) fn options(&self) -> Vec<OptsBuilder> {
        let plain = self.options.clone();
        match &self.encryption {
            Encryption::No => vec![plain],
            Encryption::Yes(tls) => vec![plain.ssl_opts(Some(tls.as_ref().clone()))],
            Encryption::Preferred => vec![plain.clone().ssl_opts(Some(unverified())), plain],
        }
    }

    /// What comes before the names of its tables.
    pub(crate) fn prefix(&self) -> String {
        tables::prefix(&self.table_prefix)
    }
}

/// What is asked of every connection.
fn first_options() -> OptsBuilder {
    OptsBuilder::default().prefer_socket(false).tcp_nodelay(true).tcp_keepalive(Some(KEEPALIVE))
}

/// Cuts an address where its database begins. What is in parentheses may hold slashes, and a password too.
fn cut(rest: &str) -> Option<(&str, &str)> {
    if let Some(end) = rest.rfind(")/") {
        return Some((rest.get(..=end)?, rest.get(end + 2..)?));
    }
    let (before, _) = rest.split_once('?').unwrap_or((rest, ""));
    let host = before.rfind('@').map_or(0, |at| at + 1);
    let slash = host + before.get(host..)?.find('/')?;
    Some((rest.get(..slash)?, rest.get(slash + 1..)?))
}

/// The host and port, or the unix socket: `(host:port)`, `tcp(host:port)`, `unix(/path.sock)`, `host:port`.
fn server_of(options: OptsBuilder, server: &str) -> Result<OptsBuilder, String> {
    let (protocol, address) = match server.split_once('(') {
        Some((protocol, rest)) => (protocol, rest.strip_suffix(')').ok_or("a parenthesis is not closed")?),
        None => ("tcp", server),
    };
    match protocol {
        "unix" => return Ok(options.socket(Some(address))),
        "" | "tcp" => {}
        _ => return Err(format!("{protocol} is no way to a server: tcp and unix are")),
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        _ => (address, ""),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = if port.is_empty() { Ok(3306) } else { port.parse() };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    Ok(options.ip_or_hostname(host).tcp_port(port.map_err(|_| "the port is invalid")?))
}

fn unverified() -> SslOpts {
    SslOpts::default().with_danger_accept_invalid_certs(true)
}

fn authority(path: PathBuf) -> SslOpts {
    SslOpts::default().with_root_certs(vec![path.into()]).with_disable_built_in_roots(true)
}

fn trusting(trust: &Trust) -> SslOpts {
    trust.authority.as_ref().map_or_else(SslOpts::default, |path| authority(path.into()))
}

/// `tls` as JuiceFS's driver has it; `tls-ca` is our own, and names a file with the certificates to be trusted.
fn encryption_of(query: &Query) -> Result<Encryption, String> {
    let trusted = query.get("tls-ca").map(PathBuf::from);
    match (query.get("tls"), trusted) {
        (None | Some("false"), None) => Ok(Encryption::No),
        (Some("preferred"), None) => Ok(Encryption::Preferred),
        (Some("skip-verify"), None) => Ok(Encryption::Yes(Box::new(unverified()))),
        (Some("true"), None) => Ok(Encryption::Yes(Box::default())),
        (None | Some("true"), Some(path)) => Ok(Encryption::Yes(Box::new(authority(path)))),
        (Some(other), Some(_)) => Err(format!("tls-ca has no meaning with tls={other}")),
        (Some(other), None) => Err(format!("tls={other} is none of true, skip-verify, preferred and false")),
    }
}

impl fmt::Display for MysqlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for MysqlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use mysql_async::Opts;

    use super::*;

    fn parse(url: &str) -> Result<MysqlAddress> {
        MysqlAddress::parse(url, &|name| (name == "META_PASSWORD").then(|| "from the environment".to_owned()))
    }

    #[track_caller]
    fn options(url: &str) -> Opts {
        parse(url).unwrap().options().remove(0).into()
    }

    #[test]
    fn addresses_are_read_as_juicefs_has_them() {
        for url in [
            "mysql://me:p%40s/s@(db:6000)/meta",
            "mysql://me:p@s/s@tcp(db:6000)/meta",
            "mysql://me:p@s%2fs@db:6000/meta",
        ] {
            let options = options(url);
            assert_eq!((options.ip_or_hostname(), options.tcp_port(), options.socket()), ("db", 6000, None), "{url}");
            assert_eq!((options.user(), options.pass(), options.db_name()), (Some("me"), Some("p@s/s"), Some("meta")));
        }
        let options = options("mysql://me@unix(/run/my.sock)/meta?table_prefix=v1");
        assert_eq!((options.socket(), options.pass()), (Some("/run/my.sock"), Some("from the environment")));
        assert_eq!(parse("mysql://me@(h)/meta?table_prefix=v1&loc=Local").unwrap().prefix(), "jfs_v1_");
        assert_eq!(self::options("mysql://me:100%@([::1]:1)/m").pass(), Some("100%"), "no escape");
        assert_eq!(self::options("mysql://me@/m").tcp_port(), 3306);
    }

    #[test]
    fn encryption_is_what_is_asked_for() {
        let ways = |query: &str| parse(&format!("mysql://me@(h)/m?{query}")).unwrap().options();
        let tls =
            |query: &str| ways(query).into_iter().map(|way| Opts::from(way).ssl_opts().cloned()).collect::<Vec<_>>();
        assert_eq!(tls(""), [None]);
        assert_eq!(tls("tls=true"), [Some(SslOpts::default())]);
        assert_eq!(tls("tls=preferred"), [Some(unverified()), None]);
        assert!(tls("tls-ca=/ca.pem")[0].as_ref().unwrap().disable_built_in_roots());
    }

    #[test]
    fn passwords_are_never_shown() {
        let address = parse("mysql://me:secret@(h)/meta").unwrap();
        assert_eq!(format!("{address} {address:?}"), "mysql://me:****@(h)/meta mysql://me:****@(h)/meta");
        for wrong in
            ["mysql://me:secret@(h:x)/m", "mysql://me:secret@(h)", "mysql://me:secret@(h/m", "mysql://me:secret@h/"]
        {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        for wrong in ["mysql://me@pipe(h)/m", "mysql://me@(h)/m?tls=own", "mysql://me@(h)/m?table_prefix=a`b"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
