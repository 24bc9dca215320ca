//! The metadata URL, `identifier@scheme,name=value,…` (Kylin's `StorageURL`): where a store is, and what its tables are called.
//! It shows no value of a parameter, since any of them may be a secret, and opens no connection.

use std::fmt;

use zeroize::Zeroizing;

use super::address::Address;
use super::password;
use crate::{Error, Result};

/// The identifier of a URL that names none.
pub const DEFAULT_IDENTIFIER: &str = "kylin_metadata";
/// The longest identifier that Kylin's code allows, in characters; its documents say 29 for MySQL and 28 for PostgreSQL.
pub const MAX_IDENTIFIER: usize = 33;

/// The database and its user where a URL does not say (`JdbcUtil.datasourceParametersForProd`).
const DEFAULT_ADDRESS: &str = "jdbc:postgresql://sandbox:5432/kylin";
const DEFAULT_USER: &str = "postgres";

/// A metadata URL.
#[derive(Clone, PartialEq, Eq)]
pub struct StorageUrl {
    /// What every table's name starts with; a folder where there is no scheme.
    pub identifier: String,
    /// `jdbc`, `hdfs`, or empty for a local folder.
    pub scheme: String,
    parameters: Vec<(String, Zeroizing<String>)>,
}

/// How to get into the database of a `jdbc` URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// Where it is.
    pub address: Address,
    /// The user.
    pub username: String,
    /// The password, in the clear; may be empty.
    pub password: Zeroizing<String>,
}

impl StorageUrl {
    /// Reads a URL; any text is one, and an empty one Kylin's default. Commas in quotes, `"` or `'`, end no parameter; a quote
    /// that is not closed is a character like any other. Of parameters of one name the last counts; one without `=` is empty.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut pieces = pieces(text).into_iter();
        let first = pieces.next().unwrap_or_default();
        let (identifier, scheme) = first.rsplit_once('@').unwrap_or((first, ""));
        let identifier = Some(identifier.trim()).filter(|name| !name.is_empty()).unwrap_or(DEFAULT_IDENTIFIER);
        let mut parameters: Vec<(String, Zeroizing<String>)> = Vec::new();
        for piece in pieces {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            let name = name.trim();
            parameters.retain(|(known, _)| known != name);
            parameters.push((name.to_owned(), Zeroizing::new(unquoted(value.trim()).to_owned())));
        }
        Self { identifier: identifier.to_owned(), scheme: scheme.trim().to_owned(), parameters }
    }

    /// The value of a parameter, without quotes around it. It may be a secret.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The names of the parameters, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|(name, _)| name.as_str())
    }

    /// How to get into its database, with Kylin's defaults for what it does not say.
    ///
    /// # Errors
    /// A scheme other than `jdbc`, an identifier that cannot stand unquoted in the name of a table, as Kylin has it stand, and
    /// an address or a password that cannot be read.
    pub fn access(&self) -> Result<Access> {
        if self.scheme != "jdbc" {
            return Err(Error::Unsupported {
                what: "metadata URL",
                found: format!("scheme {:?}, while only jdbc is a database", self.scheme),
            });
        }
        self.check_identifier()?;
        Ok(Access {
            address: Address::parse(self.parameter("url").unwrap_or(DEFAULT_ADDRESS))?,
            username: self.parameter("username").unwrap_or(DEFAULT_USER).to_owned(),
            password: password::open(self.parameter("password").unwrap_or_default())?,
        })
    }

    fn check_identifier(&self) -> Result<()> {
        let length = self.identifier.chars().count();
        if length > MAX_IDENTIFIER {
            return Err(Error::malformed(
                "identifier of a metadata URL",
                format!("it has {length} characters, where {MAX_IDENTIFIER} are the most"),
            ));
        }
        if let Some(odd) = self.identifier.chars().find(|character| !character.is_alphanumeric() && *character != '_') {
            return Err(Error::malformed(
                "identifier of a metadata URL",
                format!("a table's name cannot have {odd:?} in it, only letters, digits and _"),
            ));
        }
        Ok(())
    }
}

/// The text between commas that are in no quotes.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut quoted_until = 0;
    for (place, character) in text.char_indices() {
        if place < quoted_until {
            continue;
        }
        match character {
            '"' | '\'' => {
                let after = text.get(place + 1..).unwrap_or_default();
                quoted_until = after.find(character).map_or(quoted_until, |length| place + 1 + length + 1);
            }
            ',' => {
                pieces.push(text.get(start..place).unwrap_or_default());
                start = place + 1;
            }
            _ => {}
        }
    }
    pieces.push(text.get(start..).unwrap_or_default());
    pieces
}

/// A value without the pair of quotes around it.
fn unquoted(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

impl fmt::Display for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.identifier)?;
        if self.scheme.is_empty() { Ok(()) } else { write!(f, "@{}", self.scheme) }
    }
}

impl fmt::Debug for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.names().collect();
        f.debug_struct("StorageUrl")
            .field("identifier", &self.identifier)
            .field("scheme", &self.scheme)
            .field("parameters", &names)
            .finish()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("address", &self.address)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::address::Dialect;
    use super::*;

    fn url(text: &str) -> StorageUrl {
        StorageUrl::parse(text)
    }

    #[test]
    fn a_whole_url_is_read() {
        let read = url("kylin_metadata@jdbc,driverClassName=org.postgresql.Driver,url=jdbc:postgresql://h:5433/kylin,\
             username=postgres,password=ENC('YeqVr9MakSFbgxEec9sBwg==')");
        assert_eq!((&*read.identifier, &*read.scheme), ("kylin_metadata", "jdbc"));
        let access = read.access().unwrap();
        assert_eq!((&*access.username, &**access.password), ("postgres", "kylin"));
        assert_eq!((access.address.dialect, access.address.hosts[0].port), (Dialect::Postgres, 5433));
    }

    #[test]
    fn the_first_piece_is_cut_at_the_last_at() {
        let read = url(" a@b @ jdbc ");
        assert_eq!((&*read.identifier, &*read.scheme), ("a@b", "jdbc"));
        let read = url("/local/folder");
        assert_eq!((&*read.identifier, &*read.scheme), ("/local/folder", ""));
        for empty in ["", "@", " @ ", " ,a=b"] {
            assert_eq!((&*url(empty).identifier, &*url(empty).scheme), ("kylin_metadata", ""), "{empty:?}");
        }
        assert_eq!(url("@jdbc").identifier, "kylin_metadata");
    }

    #[test]
    fn commas_in_quotes_end_nothing() {
        let read =
            url("k@jdbc,url=\"jdbc:mysql:replication://h1:3306,h2:3306/kylin\",username='a,b',password=it's,zip");
        assert_eq!(read.parameter("url"), Some("jdbc:mysql:replication://h1:3306,h2:3306/kylin"));
        assert_eq!(read.parameter("username"), Some("a,b"));
        assert_eq!(read.parameter("password"), Some("it's"));
        assert_eq!(read.parameter("zip"), Some(""));
        assert_eq!(read.access().unwrap().address.hosts.len(), 2);
    }

    #[test]
    fn parameters_are_cut_at_the_first_equals_trimmed_and_the_last_counts() {
        let read = url("k@jdbc, a = b=c , a = d ,url=jdbc:mysql://h/kylin?useSSL=false,createDatabaseIfNotExist=true");
        assert_eq!(read.parameter("a"), Some("d"));
        assert_eq!(read.parameter("url"), Some("jdbc:mysql://h/kylin?useSSL=false"));
        assert_eq!(read.parameter("createDatabaseIfNotExist"), Some("true"));
        assert_eq!(read.access().unwrap().address.parameter("useSSL"), Some("false"));
    }

    #[test]
    fn what_is_not_said_is_as_kylin_has_it() {
        let access = url("kylin_metadata@jdbc").access().unwrap();
        assert_eq!(access.address.to_string(), "jdbc:postgresql://sandbox:5432/kylin");
        assert_eq!((&*access.username, &**access.password), ("postgres", ""));
        let told = url("k@hdfs,path=/x").access().unwrap_err().to_string();
        assert!(told.contains("hdfs"), "{told}");
        for (odd, why) in [("a b", "' '"), ("k;drop", "';'"), (&*"k".repeat(34), "34 characters"), ("k'", "'\\''")] {
            let told = url(&format!("{odd}@jdbc")).access().unwrap_err().to_string();
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let read = url("k@jdbc,url=jdbc:mysql://h/k?password=hush,username=u,password=hush");
        let access = read.access().unwrap();
        let shown = format!("{read} {read:?} {access:?} {} {:#?}", access.address, access);
        assert!(!shown.contains("hush") && shown.contains("\"u\"") && shown.contains("\"password\""), "{shown}");
        for wrong in
            ["k@jdbc,url=jdbc:oracle:hush@h", "k@jdbc,url=jdbc:mysql://u:hush@h/k", "k@jdbc,password=ENC('hush!')"]
        {
            assert!(!url(wrong).access().unwrap_err().to_string().contains("hush"), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn quoted_values_come_back(values in prop::collection::vec("[^\"]*", 0..5)) {
            let quoted = values.iter().enumerate().map(|(index, value)| format!(",p{index}=\"{value}\""));
            let read = url(&format!("k@jdbc{}", quoted.collect::<String>()));
            for (index, value) in values.iter().enumerate() {
                prop_assert_eq!(read.parameter(&format!("p{index}")), Some(value.as_str()));
            }
        }

        #[test]
        fn no_input_panics(text in ".*", address in "jdbc:(mysql|mariadb|postgresql):[/\\[\\]:,@?%0-9a-c]*") {
            drop(url(&text).access());
            drop(url(&format!("k@jdbc,url={text}")).access());
            drop(url(&format!("k@jdbc,url=\"{address}\"")).access());
        }
    }
}
