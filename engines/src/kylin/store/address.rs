//! Where a metastore is, as Kylin's metadata URL says it: an identifier, and a database of PostgreSQL, MySQL or MariaDB that
//! JDBC's parameters tell how to reach. Shown without secrets; it opens nothing.

use std::fmt;

use metaferry_codecs::kylin::address::{Address, Dialect};
use metaferry_codecs::kylin::url::{Access, StorageUrl};
use metaferry_pipeline::{Error, Result};

use crate::address::{Encryption, Parts, Trust};
use crate::mysql::MysqlAddress;
use crate::postgres::PostgresAddress;

/// The tables of one identifier in a database. Shown without the password, by `Debug` too.
#[derive(Clone)]
pub struct StoreAddress {
    identifier: String,
    server: Server,
}

/// The database, by what it speaks.
#[derive(Clone)]
pub(crate) enum Server {
    Postgres(Box<PostgresAddress>),
    Mysql(Box<MysqlAddress>),
}

impl StoreAddress {
    /// Whether a text is a metadata URL whose store is a database: `kylin_metadata@jdbc,url=…`.
    #[must_use]
    pub fn is_at(text: &str) -> bool {
        let url = StorageUrl::parse(text);
        url.scheme == "jdbc" && !url.identifier.contains("://")
    }

    /// Reads a metadata URL, `kylin_metadata@jdbc,url=…,username=…,password=…`, with Kylin's defaults for what it does not
    /// say. Of several hosts the first is taken. Parameters of the pool, and those of the driver that neither choose a schema
    /// nor encrypt, are passed over.
    ///
    /// # Errors
    /// `Config` for what cannot be read or reached so, `Unsupported` for a scheme that is no database; neither cites a value.
    pub fn parse(text: &str) -> Result<Self> {
        let url = StorageUrl::parse(text);
        let access = url.access().map_err(|error| match error {
            metaferry_codecs::Error::Unsupported { .. } => Error::from(error).at(&url),
            error => Error::config(format!("{url}: {error}")),
        })?;
        let wrong = |problem: String| Error::config(format!("{}@{}: {problem}", url.identifier, access.address));
        let server = server_of(&access).map_err(wrong)?;
        Ok(Self { identifier: url.identifier.clone(), server })
    }

    /// What the names of its tables begin with.
    #[must_use]
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    /// What the database speaks.
    pub(crate) fn dialect(&self) -> Dialect {
        match &self.server {
            Server::Postgres(_) => Dialect::Postgres,
            Server::Mysql(_) => Dialect::Mysql,
        }
    }

    /// Where the tables are.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }
}

fn server_of(access: &Access) -> Result<Server, String> {
    let Access { address, username, password } = access;
    let host = address.primary().ok_or("it names no host")?;
    let parts = |encryption, schema| Parts {
        host: &host.name,
        port: host.port,
        database: &address.database,
        user: username,
        password,
        schema,
        encryption,
    };
    Ok(match address.dialect {
        Dialect::Postgres => {
            let schema = address.parameter("currentSchema").filter(|schema| !schema.is_empty());
            Server::Postgres(Box::new(PostgresAddress::of(&parts(postgres_encryption(address)?, schema))))
        }
        Dialect::Mysql if address.database.is_empty() => return Err("it names no database".to_owned()),
        Dialect::Mysql => Server::Mysql(Box::new(MysqlAddress::of(&parts(mysql_encryption(address)?, None)))),
    })
}

/// Whether a parameter says yes: written without a value it does.
fn is_on(address: &Address, names: &[&str]) -> Option<bool> {
    let value = names.iter().find_map(|name| address.parameter(name))?;
    Some(value.is_empty() || value.eq_ignore_ascii_case("true"))
}

fn path(address: &Address, name: &str) -> Option<String> {
    address.parameter(name).filter(|path| !path.is_empty()).map(str::to_owned)
}

/// As PostgreSQL's driver has it: `sslmode` counts; else `ssl` asks for a server that proves who it is, but for the factory that
/// trusts any; else encryption is had where the server offers it.
fn postgres_encryption(address: &Address) -> Result<Encryption, String> {
    let trusts_any = address.parameter("sslfactory").is_some_and(|name| name.ends_with("NonValidatingFactory"));
    let asked = match address.parameter("sslmode").filter(|mode| !mode.is_empty()) {
        None if is_on(address, &["ssl"]) != Some(true) => return Ok(Encryption::Preferred),
        None if trusts_any => return Ok(Encryption::Unverified),
        None => "verify-full",
        Some(mode) => mode,
    };
    let trust = || Trust {
        authority: path(address, "sslrootcert"),
        certificate: path(address, "sslcert"),
        key: path(address, "sslkey"),
    };
    Ok(match asked {
        "disable" => Encryption::No,
        "allow" | "prefer" => Encryption::Preferred,
        "require" => Encryption::Unverified,
        "verify-ca" => Encryption::Authority(trust()),
        "verify-full" => Encryption::Full(trust()),
        _ => return Err("its sslmode is none of disable, allow, prefer, require, verify-ca and verify-full".to_owned()),
    })
}

/// As MySQL's and MariaDB's drivers have it: `sslMode` counts; else `useSSL`, `requireSSL` and `verifyServerCertificate`; else
/// encryption is had where the server offers it. Certificates are read from the PEM file of `serverSslCert`.
fn mysql_encryption(address: &Address) -> Result<Encryption, String> {
    let trust = || match path(address, "trustCertificateKeyStoreUrl") {
        Some(_) if path(address, "serverSslCert").is_none() => {
            Err("certificates in a key store of Java are not read; name a PEM file with serverSslCert".to_owned())
        }
        _ => Ok(Trust { authority: path(address, "serverSslCert"), ..Trust::default() }),
    };
    if let Some(mode) = address.parameter("sslMode").filter(|mode| !mode.is_empty()) {
        return Ok(match mode.to_ascii_lowercase().replace('_', "-").as_str() {
            "disable" | "disabled" => Encryption::No,
            "preferred" => Encryption::Preferred,
            "required" | "trust" => Encryption::Unverified,
            "verify-ca" => Encryption::Authority(trust()?),
            "verify-identity" | "verify-full" => Encryption::Full(trust()?),
            _ => return Err("its sslMode is none that MySQL's or MariaDB's driver has".to_owned()),
        });
    }
    let verifies = is_on(address, &["verifyServerCertificate"]) == Some(true);
    let requires = is_on(address, &["requireSSL"]) == Some(true);
    Ok(match is_on(address, &["useSSL", "useSsl"]) {
        Some(false) => Encryption::No,
        Some(true) if verifies => Encryption::Authority(trust()?),
        _ if requires => Encryption::Unverified,
        _ => Encryption::Preferred,
    })
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Server::Postgres(address) => write!(f, "{}@{address}", self.identifier),
            Server::Mysql(address) => write!(f, "{}@{address}", self.identifier),
        }
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use mysql_async::Opts;
    use sqlx::postgres::PgSslMode;

    use super::*;

    fn postgres(text: &str) -> PostgresAddress {
        match StoreAddress::parse(text).unwrap().server {
            Server::Postgres(address) => *address,
            Server::Mysql(_) => panic!("{text}"),
        }
    }

    fn mysql(text: &str) -> Vec<Opts> {
        match StoreAddress::parse(text).unwrap().server {
            Server::Mysql(address) => address.options().into_iter().map(Opts::from).collect(),
            Server::Postgres(_) => panic!("{text}"),
        }
    }

    #[test]
    fn metadata_urls_are_told_from_other_addresses() {
        for url in ["kylin_metadata@jdbc", "k@jdbc,url=jdbc:mysql://h/k", " k @ jdbc , url=x", "@jdbc,a"] {
            assert!(StoreAddress::is_at(url), "{url}");
        }
        for other in ["/backup", "k@hdfs,path=/x", "postgres://u@jdbc", "mysql://u@(jdbc)/k", "x.zst", "k,url=a@jdbc"] {
            assert!(!StoreAddress::is_at(other), "{other}");
        }
    }

    #[test]
    fn a_database_of_postgresql_is_found() {
        let url = "k@jdbc,url=jdbc:postgresql://db:6543/meta?currentSchema=kylin,username=me,password=se:c@ret";
        let address = postgres(url);
        let options = address.options();
        assert_eq!((options.get_host(), options.get_port()), ("db", 6543));
        assert_eq!((options.get_username(), options.get_database()), ("me", Some("meta")));
        assert_eq!(address.search_path(), Some("kylin"));
        let whole = StoreAddress::parse(url).unwrap();
        assert_eq!(format!("{whole} {whole:?}"), "k@postgres://db:6543/meta k@postgres://db:6543/meta");
        let default = StoreAddress::parse("k@jdbc").unwrap();
        assert_eq!((default.to_string().as_str(), default.identifier()), ("k@postgres://sandbox:5432/kylin", "k"));
    }

    #[test]
    fn a_database_of_mysql_is_found_and_the_first_host_taken() {
        let url = "k@jdbc,url=\"jdbc:mysql:replication://h1:3307,h2/meta\",username=me,password=ENC('YeqVr9MakSFbgxEec9sBwg==')";
        let options = mysql(url).remove(0);
        assert_eq!((options.ip_or_hostname(), options.tcp_port()), ("h1", 3307));
        assert_eq!((options.user(), options.pass(), options.db_name()), (Some("me"), Some("kylin"), Some("meta")));
        assert_eq!(StoreAddress::parse(url).unwrap().to_string(), "k@mysql://h1:3307/meta");
        assert_eq!(
            StoreAddress::parse("k@jdbc,url=jdbc:mysql://[::1]/m").unwrap().to_string(),
            "k@mysql://[::1]:3306/m"
        );
    }

    #[test]
    fn encryption_is_what_the_driver_makes_of_the_parameters() {
        let mode =
            |query: &str| postgres(&format!("k@jdbc,url=jdbc:postgresql://h/m?{query}")).options().get_ssl_mode();
        for (query, expected) in [
            ("", PgSslMode::Prefer),
            ("ssl=false", PgSslMode::Prefer),
            ("ssl=true", PgSslMode::VerifyFull),
            ("ssl", PgSslMode::VerifyFull),
            ("ssl=true&sslmode=require", PgSslMode::Require),
            ("ssl=true&sslfactory=org.postgresql.ssl.NonValidatingFactory", PgSslMode::Require),
            ("sslmode=disable", PgSslMode::Disable),
            ("sslmode=verify-ca&sslrootcert=/ca.pem", PgSslMode::VerifyCa),
        ] {
            assert_eq!(format!("{:?}", mode(query)), format!("{expected:?}"), "{query}");
        }
        let tls = |query: &str| {
            let ways = mysql(&format!("k@jdbc,url=jdbc:mysql://h/m?{query}"));
            let tls = ways
                .iter()
                .map(|way| way.ssl_opts().map(|tls| (tls.accept_invalid_certs(), tls.skip_domain_validation())));
            tls.collect::<Vec<_>>()
        };
        let (unverified, authority, full) = (Some((true, false)), Some((false, true)), Some((false, false)));
        for (query, expected) in [
            ("", &[unverified, None][..]),
            ("useSSL=false", &[None]),
            ("useSSL=true", &[unverified, None]),
            ("useSSL=true&requireSSL=true", &[unverified]),
            ("useSSL=true&verifyServerCertificate=true&serverSslCert=/ca.pem", &[authority]),
            ("useSSL=false&sslMode=VERIFY_IDENTITY", &[full]),
            ("sslMode=verify-ca", &[authority]),
            ("sslMode=trust", &[unverified]),
            ("sslMode=DISABLED", &[None]),
        ] {
            assert_eq!(tls(query), expected, "{query}");
        }
    }

    #[test]
    fn what_cannot_be_reached_is_refused_without_its_secrets() {
        for (url, why) in [
            ("k@hdfs,password=hush", "scheme"),
            ("k@jdbc,url=jdbc:mysql://h,password=hush", "names no database"),
            ("k@jdbc,url=jdbc:oracle:thin,password=hush", "none of"),
            ("k;@jdbc,password=hush", "';'"),
            ("k@jdbc,url=jdbc:postgresql://h/m?sslmode=hush", "sslmode"),
            ("k@jdbc,url=jdbc:mysql://h/m?sslMode=hush", "sslMode"),
            ("k@jdbc,url=jdbc:mysql://h/m?sslMode=VERIFY_CA&trustCertificateKeyStoreUrl=file:hush", "serverSslCert"),
        ] {
            let told = StoreAddress::parse(url).unwrap_err().to_string();
            assert!(told.contains(why) && !told.contains("hush"), "{url}: {told}");
        }
    }
}
