//! What the addresses of all engines have in common. It opens nothing, and reads no file but the one that
//! `META_PASSWORD_FILE` names.

use metaferry_pipeline::{Error, Result};

/// Hides the password, in addresses that cannot be read too: it is whatever stands between the first colon and the
/// last at sign.
pub(crate) fn redact(url: &str) -> String {
    let Some((secret, rest)) = url.rsplit_once('@') else { return url.to_owned() };
    let (scheme, userinfo) = secret.split_once("://").unwrap_or(("", secret));
    let user = userinfo.split_once(':').map_or(userinfo, |(user, _)| user);
    if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return format!("****@{rest}");
    }
    let colon = if userinfo.contains(':') { ":****" } else { "" };
    format!("{scheme}://{user}{colon}@{rest}")
}

/// How to get into a database, where that is not said by an address of JuiceFS's.
pub(crate) struct Parts<'p> {
    pub(crate) host: &'p str,
    pub(crate) port: u16,
    /// May be empty.
    pub(crate) database: &'p str,
    pub(crate) user: &'p str,
    /// May be empty.
    pub(crate) password: &'p str,
    /// Where tables are looked for, one schema or several with commas between them; a database may know none.
    pub(crate) schema: Option<&'p str>,
    pub(crate) encryption: Encryption,
}

impl Parts<'_> {
    /// The database without user and password.
    pub(crate) fn shown(&self, scheme: &str) -> String {
        let Self { host, port, database, .. } = self;
        if host.contains(':') {
            format!("{scheme}://[{host}]:{port}/{database}")
        } else {
            format!("{scheme}://{host}:{port}/{database}")
        }
    }
}

/// Whether what is said to a server is encrypted, and what the server has to prove for that.
pub(crate) enum Encryption {
    No,
    /// Where the server can; nobody's certificate is looked at.
    Preferred,
    /// Nobody's certificate is looked at.
    Unverified,
    /// An authority that is trusted knows the server, by whatever name.
    Authority(Trust),
    /// An authority that is trusted knows the server by the name it is reached by.
    Full(Trust),
}

/// Who is trusted, and what proves who we are: paths of PEM files.
#[derive(Default)]
pub(crate) struct Trust {
    /// The machine's own authorities where none is named.
    pub(crate) authority: Option<String>,
    pub(crate) certificate: Option<String>,
    pub(crate) key: Option<String>,
}

/// The password that the environment gives where the address has none: in `first`, in `META_PASSWORD`, or in the file that
/// `META_PASSWORD_FILE` names (`interface.go: setPasswordFromEnv`).
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn password_from(first: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let given = |name| env(name).filter(|value| !value.is_empty());
    if let Some(password) = given(first).or_else(|| given("META_PASSWORD")) {
        return Ok(password);
    }
    let Some(path) = given("META_PASSWORD_FILE") else { return Ok(String::new()) };
    let content = std::fs::read_to_string(&path)
        .map_err(|cause| Error::config(format!("META_PASSWORD_FILE {path}")).because(cause))?;
    Ok(content.trim().to_owned())
}

/// The parameters of an address.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the question mark; what cannot be read is none.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((unescape(name, true).ok()?, unescape(value, true).ok()?))
        });
        Self(pairs.collect())
    }

    /// The value of a parameter that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name)?;
        Some(found.1.as_str()).filter(|value| !value.is_empty())
    }
}

/// Undoes `%XX`.
///
/// # Errors
/// What is wrong, citing nothing.
pub(crate) fn unescape(text: &str, plus_is_space: bool) -> Result<String, String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (high, low) = (digit(bytes.next()), digit(bytes.next()));
                let value = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                out.push(value.ok_or("an escape is not % and two hexadecimal digits")?);
            }
            b'+' if plus_is_space => out.push(b' '),
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).map_err(|_| "an escape is not UTF-8".to_owned())
}
