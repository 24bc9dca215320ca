//! Redis addresses: reads them as JuiceFS does (server, Sentinel, cluster, unix socket, TLS files, variables) and shows
//! them without their password. Knows no socket; reads no file but the one that `META_PASSWORD_FILE` names.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use metaferry_pipeline::{Error, Result};

use crate::address::{Query, password_from, redact, unescape};

const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// JuiceFS waits 30 s to read and 5 s to write; whole pipelines need more than single commands.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a volume's Redis is and how to get in. Shown without the password, by `Debug` too.
#[derive(Clone)]
pub struct Address {
    pub(super) target: Target,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) sentinel_password: String,
    pub(super) tls: Option<TlsOptions>,
    pub(super) timeouts: Timeouts,
    database: u32,
    shown: String,
}

/// What an address leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One server; it may turn out to be a node of a cluster.
    Server(Endpoint),
    /// A unix socket.
    Unix(PathBuf),
    /// Sentinels that know the master by this name.
    Sentinel {
        /// The master's name.
        master: String,
        /// Asked in turn.
        sentinels: Vec<Endpoint>,
    },
    /// Some nodes of a cluster, asked in turn.
    Cluster(Vec<Endpoint>),
}

/// A host and its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// The TLS parameters of a `rediss://` address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Accept any certificate.
    pub insecure: bool,
    /// Client certificate (PEM) and its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The only authorities to trust (PEM), instead of the system's.
    pub authorities: Option<PathBuf>,
    /// The name the server's certificate must bear, instead of the host.
    pub server_name: Option<String>,
}

/// How long to wait; `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For one connection attempt.
    pub connect: Option<Duration>,
    /// For bytes to arrive.
    pub read: Option<Duration>,
    /// For bytes to leave.
    pub write: Option<Duration>,
}

impl Address {
    /// Reads an address. `env` looks up an environment variable.
    ///
    /// A missing scheme is `redis://`. Unknown query parameters belong to JuiceFS's client and are ignored.
    ///
    /// # Errors
    /// `Config` where the address cannot be read, without ever citing its password; also where the password file cannot.
    pub fn parse(url: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let url = if url.contains("://") { url.to_owned() } else { format!("redis://{url}") };
        let shown = redact(&url);
        let mut address = parse_parts(&url, &shown).map_err(|problem| {
            Error::config(format!("{shown}: {problem}"))
                .hint("write special characters of a user or password as %XX, or give the password in META_PASSWORD")
        })?;
        if address.password.is_empty() {
            address.password = password_from("REDIS_PASSWORD", env)?;
        }
        address.sentinel_password = env("SENTINEL_PASSWORD").unwrap_or_default();
        Ok(address)
    }

    /// The database number; in a cluster it is only the number in the key prefix.
    #[must_use]
    pub fn database(&self) -> u32 {
        self.database
    }

    /// What the address leads to.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Cuts an address as Go's `net/url` and go-redis do; an error says what is wrong, citing nothing that may be secret.
fn parse_parts(url: &str, shown: &str) -> Result<Address, String> {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let (userinfo, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    if !userinfo.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b)) {
        return Err("the user or password holds a character that must be escaped".to_owned());
    }
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let query = Query::parse(query);
    let (target, database) = match scheme {
        "unix" if path.trim().is_empty() => return Err("empty unix socket path".to_owned()),
        "unix" => (Target::Unix(PathBuf::from(unescape(path, false)?)), 0),
        "redis" | "rediss" => (parse_hosts(hosts)?, database_in(path)?),
        _ => return Err("not a Redis address".to_owned()),
    };
    Ok(Address {
        target,
        user: unescape(user, false)?,
        password: unescape(password, false)?,
        sentinel_password: String::new(),
        tls: if scheme == "rediss" { Some(tls(&query)?) } else { None },
        timeouts: timeouts(&query),
        database: match query.get("db") {
            Some(number) => number.parse().map_err(|_| "the database is not a number".to_owned())?,
            None => database,
        },
        shown: shown.to_owned(),
    })
}

fn database_in(path: &str) -> Result<u32, String> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    match (parts.next(), parts.next()) {
        (None, _) => Ok(0),
        (Some(number), None) => number.parse().map_err(|_| "the database is not a number".to_owned()),
        _ => Err("the path is more than a database number".to_owned()),
    }
}

/// A comma before the first colon means Sentinel; any other comma, a list without colons too, means a cluster.
fn parse_hosts(hosts: &str) -> Result<Target, String> {
    let Some((first, others)) = hosts.split_once(',') else {
        return Ok(Target::Server(endpoint(hosts, SERVER_PORT)?));
    };
    if first.contains(':') || !others.contains(':') {
        let nodes = hosts.split(',').map(|host| endpoint(host, SERVER_PORT));
        return Ok(Target::Cluster(nodes.collect::<Result<_, _>>()?));
    }
    let last = others.rsplit(',').next().unwrap_or_default();
    let port = endpoint(last, SENTINEL_PORT)?.port;
    let sentinels = others.split(',').map(|host| endpoint(host, port)).collect::<Result<_, _>>()?;
    Ok(Target::Sentinel { master: first.to_owned(), sentinels })
}

fn endpoint(text: &str, default_port: u16) -> Result<Endpoint, String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = if port.is_empty() {
        default_port
    } else {
        port.parse().map_err(|_| "a host or port is invalid".to_owned())?
    };
    Ok(Endpoint { host: if host.is_empty() { "localhost" } else { host }.to_owned(), port })
}

fn tls(query: &Query) -> Result<TlsOptions, String> {
    let path = |name| query.get(name).map(PathBuf::from);
    let client = match (path("tls-cert-file"), path("tls-key-file")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (Some(_), None) => return Err("tls-cert-file is given without tls-key-file".to_owned()),
        (None, _) => None,
    };
    Ok(TlsOptions {
        insecure: query.get("insecure-skip-verify").is_some(),
        client,
        authorities: path("tls-ca-cert-file"),
        server_name: query.get("tls-server-name").map(str::to_owned),
    })
}

fn timeouts(query: &Query) -> Timeouts {
    let timeout = |dashed: &str, underscored: &str, default| {
        let given = query.get(dashed).or_else(|| query.get(underscored)).and_then(duration);
        given.map_or(Some(default), |given| Some(given).filter(|given| !given.is_zero()))
    };
    Timeouts {
        connect: timeout("dial-timeout", "dial_timeout", CONNECT_TIMEOUT),
        read: timeout("read-timeout", "read_timeout", ANSWER_TIMEOUT),
        write: timeout("write-timeout", "write_timeout", ANSWER_TIMEOUT),
    }
}

/// A duration as Go writes them (`1m30s`, `1.5s`, `300ms`), or whole seconds; zero and below mean none.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    }
    if text.starts_with('-') {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(unit_at);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests;
