//! PostgreSQL addresses: reads them as JuiceFS hands them to its driver (host, port, unix socket, `sslmode`, `search_path`,
//! `table_prefix`, variables), and shows them without their password. It opens nothing.

use std::fmt;

use metaferry_codecs::juicefs::tables;
use metaferry_pipeline::{Error, Result};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::address::{Encryption, Parts, Query, password_from, redact, unescape};
use crate::sql::prefix_of;

/// A schema in a database of PostgreSQL, and the prefix of the tables in it. Shown without the password, by `Debug` too.
#[derive(Clone)]
pub struct PostgresAddress {
    options: PgConnectOptions,
    search_path: Option<String>,
    table_prefix: String,
    shown: String,
}

impl PostgresAddress {
    /// Reads `postgres://user:password@host:5432/database?search_path=…&sslmode=…`. `env` looks up an environment variable.
    /// Parameters that are not known belong to JuiceFS's driver and are ignored.
    ///
    /// # Errors
    /// `Config` where the address cannot be read, without ever citing its password; also where the password file cannot.
    pub fn parse(url: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let shown = redact(url);
        let wrong = |problem: String| {
            Error::config(format!("{shown}: {problem}"))
                .hint("write special characters of a user or password as %XX, or give the password in META_PASSWORD")
        };
        let (_, rest) = url.split_once("://").unwrap_or_default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let query = Query::parse(query);
        let mut options = host_of(first_options(), host, &query).map_err(wrong)?;
        let user = unescape(user, false).map_err(wrong)?;
        if !user.is_empty() {
            options = options.username(&user);
        }
        let password = match unescape(password, false).map_err(wrong)? {
            none if none.is_empty() => password_from("META_PASSWORD", env)?,
            password => password,
        };
        if !password.is_empty() {
            options = options.password(&password);
        }
        let database = unescape(database, false).map_err(wrong)?;
        if !database.is_empty() {
            options = options.database(&database);
        }
        options = encryption_of(options, &query).map_err(wrong)?;
        let search_path = query.get("search_path").map(str::to_owned);
        if search_path.as_ref().is_some_and(|path| path.contains(',')) {
            return Err(wrong("search_path names one schema, as JuiceFS has it".to_owned()));
        }
        let table_prefix = prefix_of(query.get("table_prefix").unwrap_or_default()).map_err(wrong)?;
        Ok(Self { options, search_path, table_prefix, shown })
    }

    /// The database that these parts name.
    pub(crate) fn of(parts: &Parts<'_>) -> Self {
        let mut options = first_options().host(parts.host).port(parts.port).username(parts.user);
        if !parts.password.is_empty() {
            options = options.password(parts.password);
        }
        if !parts.database.is_empty() {
            options = options.database(parts.database);
        }
        let (mode, trust) = match &parts.encryption {
            Encryption::No => (PgSslMode::Disable, None),
            Encryption::Preferred => (PgSslMode::Prefer, None),
            Encryption::Unverified => (PgSslMode::Require, None),
            Encryption::Authority(trust) => (PgSslMode::VerifyCa, Some(trust)),
            Encryption::Full(trust) => (PgSslMode::VerifyFull, Some(trust)),
        };
        options = options.ssl_mode(mode);
        if let Some(path) = trust.and_then(|trust| trust.authority.as_ref()) {
            options = options.ssl_root_cert(path);
        }
        if let Some(path) = trust.and_then(|trust| trust.certificate.as_ref()) {
            options = options.ssl_client_cert(path);
        }
        if let Some(path) = trust.and_then(|trust| trust.key.as_ref()) {
            options = options.ssl_client_key(path);
        }
        let search_path = parts.schema.map(str::to_owned);
        Self { options, search_path, table_prefix: String::new(), shown: parts.shown("postgres") }
    }

    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// The schema that is asked for, or several with commas between them.
    pub(crate) fn search_path(&self) -> Option<&str> {
        self.search_path.as_deref()
    }

    /// What comes before the names of its tables.
    pub(crate) fn prefix(&self) -> String {
        tables::prefix(&self.table_prefix)
    }
}

/// What is asked of every connection.
fn first_options() -> PgConnectOptions {
    let options = PgConnectOptions::new().application_name("metaferry").statement_cache_capacity(16);
    // No number here has a fraction, and poolers do not let that parameter through.
    options.extra_float_digits(None)
}

/// The host and port, or the folder of a unix socket.
fn host_of(mut options: PgConnectOptions, host: &str, query: &Query) -> Result<PgConnectOptions, String> {
    if host.contains(',') {
        return Err("it names several hosts; name the one to use".to_owned());
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port),
        _ => (host, ""),
    };
    let name = query.get("host").unwrap_or(name);
    let port = query.get("port").unwrap_or(port);
    if !port.is_empty() {
        options = options.port(port.parse().map_err(|_| "the port is invalid".to_owned())?);
    }
    let name = unescape(name.trim_start_matches('[').trim_end_matches(']'), false)?;
    Ok(match name {
        none if none.is_empty() => options,
        folder if folder.starts_with('/') => options.socket(folder),
        name => options.host(&name),
    })
}

fn encryption_of(mut options: PgConnectOptions, query: &Query) -> Result<PgConnectOptions, String> {
    let mode = match query.get("sslmode") {
        None | Some("prefer") => PgSslMode::Prefer,
        Some("disable") => PgSslMode::Disable,
        Some("allow") => PgSslMode::Allow,
        Some("require") => PgSslMode::Require,
        Some("verify-ca") => PgSslMode::VerifyCa,
        Some("verify-full") => PgSslMode::VerifyFull,
        Some(other) => return Err(format!("sslmode={other} is no mode")),
    };
    options = options.ssl_mode(mode);
    if let Some(path) = query.get("sslrootcert") {
        options = options.ssl_root_cert(path);
    }
    if let Some(path) = query.get("sslcert") {
        options = options.ssl_client_cert(path);
    }
    if let Some(path) = query.get("sslkey") {
        options = options.ssl_client_key(path);
    }
    Ok(options)
}

impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<PostgresAddress> {
        PostgresAddress::parse(url, &|name| (name == "META_PASSWORD").then(|| "from the environment".to_owned()))
    }

    #[test]
    fn addresses_are_read_as_juicefs_has_them() {
        let address =
            parse("postgres://me:p%40ss@db.example:6543/meta?sslmode=disable&search_path=jfs&table_prefix=v1");
        let address = address.unwrap();
        let options = address.options();
        assert_eq!((options.get_host(), options.get_port()), ("db.example", 6543));
        assert_eq!((options.get_username(), options.get_database()), ("me", Some("meta")));
        assert_eq!((address.search_path(), address.prefix()), (Some("jfs"), "jfs_v1_".to_owned()));
        let socket = parse("postgres://me@/meta?host=/run/postgresql").unwrap();
        assert_eq!(socket.options().get_socket().unwrap().to_str(), Some("/run/postgresql"));
    }

    #[test]
    fn passwords_are_never_shown() {
        let address = parse("postgres://me:secret@h/meta").unwrap();
        assert_eq!(format!("{address} {address:?}"), "postgres://me:****@h/meta postgres://me:****@h/meta");
        for wrong in ["postgres://me:secret@h:x/m", "postgres://me:secret@a,b/m", "postgres://me:se%cret@h/m"] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(!error.contains("secret") && !error.contains("se%"), "{error}");
        }
        assert!(parse("postgres://h/m?sslmode=often").is_err());
        assert!(parse("postgres://h/m?search_path=a,b").is_err());
    }
}
