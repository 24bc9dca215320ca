//! Which keys of a server are one volume's: by database, or in a cluster by the `{N}` before them.

/// A volume among the keys of a server or of a file.
#[derive(Debug, Clone)]
pub(super) struct Volume {
    database: u32,
    prefix: Vec<u8>,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Database,
    Cluster,
    /// A file does not say what it was taken of.
    Either,
}

impl Volume {
    /// The volume that a connection is at: `prefix` is what it puts before its keys.
    pub(super) fn at(database: u32, prefix: &str) -> Self {
        let place = if prefix.is_empty() { Place::Database } else { Place::Cluster };
        Self { database, prefix: prefix.as_bytes().to_vec(), place }
    }

    /// Volume `number` of a file, which may come from a node of a cluster.
    pub(super) fn in_file(number: u32) -> Self {
        Self { database: number, prefix: format!("{{{number}}}").into_bytes(), place: Place::Either }
    }

    /// Whether a key is the volume's.
    pub(super) fn holds(&self, database: u32, key: &[u8]) -> bool {
        match self.place {
            Place::Database => database == self.database,
            Place::Cluster => database == 0 && key.starts_with(&self.prefix),
            Place::Either => database == self.database || (database == 0 && key.starts_with(&self.prefix)),
        }
    }

    /// A key's name in the volume.
    pub(super) fn name<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        match self.place {
            Place::Database => key,
            Place::Cluster | Place::Either => key.strip_prefix(self.prefix.as_slice()).unwrap_or(key),
        }
    }

    /// A name as a key.
    pub(super) fn key(&self, name: &[u8]) -> Vec<u8> {
        match self.place {
            Place::Cluster => [&self.prefix, name].concat(),
            Place::Database | Place::Either => name.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_belong_by_database_or_prefix() {
        let server = Volume::at(1, "");
        assert!(server.holds(1, b"i1") && !server.holds(0, b"i1"));
        assert_eq!(server.key(b"i1"), b"i1");
        let cluster = Volume::at(1, "{1}");
        assert!(cluster.holds(0, b"{1}i1") && !cluster.holds(0, b"{2}i1") && !cluster.holds(1, b"i1"));
        assert_eq!(cluster.key(b"i1"), b"{1}i1");
        assert_eq!(cluster.name(b"{1}i1"), b"i1");
        let file = Volume::in_file(1);
        assert!(file.holds(0, b"{1}i1") && file.holds(1, b"i1") && !file.holds(0, b"i1"));
        assert_eq!((file.name(b"{1}i1"), file.name(b"i1")), (&b"i1"[..], &b"i1"[..]));
    }
}
