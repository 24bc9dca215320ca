//! Redis: JuiceFS volumes read from an RDB file, a server's replication stream or its keys, and bulk-loaded. `volume` and
//! what follows know the file system's keys; the connection below them knows none.

mod address;
mod claim;
mod connection;
mod discovery;
mod drain;
mod fetch;
mod file;
mod joins;
mod loader;
mod owner;
mod pipe;
mod preflight;
mod reply;
pub mod resp;
mod rows;
mod scan;
mod seen;
#[cfg(test)]
mod server;
mod sink;
mod socket;
mod source;
mod stamp;
mod stream;
mod sync;
#[cfg(test)]
mod tests_io;
mod tls;
mod volume;

use std::collections::BTreeMap;

pub use address::{Address, Endpoint, Target, Timeouts, TlsOptions};
pub use connection::{Connection, Stream};
pub use file::RdbSource;
pub use reply::{Reply, ServerError};
pub use resp::Reader;
pub use sink::RedisSink;
pub use socket::Socket;
pub use source::{RedisOptions, RedisSource};
pub use stamp::RedisStamp;
pub use sync::SyncStream;

/// The fields of an `INFO` answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info(BTreeMap<String, String>);

impl Info {
    fn parse(text: &str) -> Self {
        let fields = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':'));
        Self(fields.map(|(name, value)| (name.to_owned(), value.trim_end().to_owned())).collect())
    }

    /// A field's text, as `maxmemory_policy`.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    /// A field that is a whole number, as `used_memory` (bytes) or `rdb_last_save_time` (Unix seconds).
    #[must_use]
    pub fn number(&self, field: &str) -> Option<u64> {
        self.get(field)?.parse().ok()
    }

    /// All fields by name.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_into_fields() {
        let info = Info::parse(
            "# Server\r\nredis_version:7.0.15\r\n\r\n# Memory\r\nused_memory:12\r\ndb0:keys=1,expires=0\r\n",
        );
        assert_eq!(info.get("redis_version"), Some("7.0.15"));
        assert_eq!(info.number("used_memory"), Some(12));
        assert_eq!(info.number("redis_version"), None);
        assert_eq!(info.get("db0"), Some("keys=1,expires=0"));
        assert_eq!(info.fields().count(), 3);
    }
}
