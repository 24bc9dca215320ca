//! The stamp in Redis: a field of the hash of the root's extended attributes, set by a transaction that fails where the hash has
//! changed since it was read.

use metaferry_codecs::juicefs::counter;
use metaferry_pipeline::{Error, Result, Stop};

use super::address::Address;
use super::connection::Connection;
use super::reply::Reply;
use super::volume::Volume;
use crate::stamp::{Decide, INODE, NAME, Stamp, TRIES, contended};

/// The stamp of the volume at an address.
#[derive(Debug)]
pub struct RedisStamp {
    address: Address,
}

impl RedisStamp {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self { address }
    }

    fn open(&self, stop: &Stop) -> Result<(Connection, Volume)> {
        let connection = Connection::open(&self.address, stop)?;
        let volume = Volume::at(self.address.database(), connection.prefix());
        Ok((connection, volume))
    }
}

impl Stamp for RedisStamp {
    fn exchange(&self, decide: Decide<'_>, stop: &Stop) -> Result<()> {
        let (mut connection, volume) = self.open(stop)?;
        let key = volume.key(format!("x{INODE}").as_bytes());
        for _ in 0..TRIES {
            stop.check()?;
            connection.command(&[b"WATCH", &key])?;
            let found = connection.command(&[b"HGET", &key, NAME.as_bytes()])?;
            let Some(set) = decide(found.bytes()) else { return connection.command(&[b"UNWATCH"]).map(drop) };
            connection.command(&[b"MULTI"])?;
            connection.command(&[b"HSET", &key, NAME.as_bytes(), &set])?;
            match connection.command(&[b"EXEC"])? {
                // Another has changed it.
                Reply::Null => {}
                Reply::Array(replies) => {
                    return match replies.into_iter().next() {
                        Some(Reply::Error(error)) => Err(Error::from(error).at(connection.name())),
                        _ => Ok(()),
                    };
                }
                _ => return Err(Error::corrupt(format!("{}: not an answer to EXEC", connection.name()))),
            }
        }
        Err(contended(connection.name()))
    }

    /// The counter is one that counts from nothing, unlike others in Redis.
    fn inodes(&self, stop: &Stop) -> Result<u64> {
        let (mut connection, volume) = self.open(stop)?;
        let reply = connection.command(&[b"GET", &volume.key(counter::TOTAL_INODES)])?;
        Ok(reply.text().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0))
    }
}
