//! Rows become messages. What holds the default is left out, as protobuf has it.

use super::wire::{put_bytes, put_int, put_integer, put_message, put_uint};
use crate::juicefs::{Batch, Sustained, acl, attr};

/// The fields of `Batch` for the quotas of directories, users and groups.
const QUOTA_FIELDS: [u32; 3] = [11, 15, 16];

/// Appends the payload of a format segment.
pub fn setting_message(document: &[u8], out: &mut Vec<u8>) {
    put_bytes(1, document, out);
}

/// Appends the messages of a batch, and says how many they are. Rows of a kind that the format has no room for are none.
pub fn encode(batch: &Batch, out: &mut Vec<u8>) -> u64 {
    match batch {
        Batch::Counter(rows) => all(rows, out, |row, out| {
            put_message(13, out, |out| {
                put_bytes(1, &row.name, out);
                put_int(2, row.value, out);
            });
        }),
        Batch::Node(rows) => all(rows, out, |row, out| {
            put_message(1, out, |out| {
                put_uint(1, row.inode, out);
                put_message(2, out, |out| attr::encode(row, out));
            });
        }),
        Batch::Edge(rows) => all(rows, out, |row, out| {
            put_message(2, out, |out| {
                put_uint(1, row.parent, out);
                put_uint(2, row.inode, out);
                put_bytes(3, &row.name, out);
                put_uint(4, u64::from(row.kind.number()), out);
            });
        }),
        Batch::Chunk(rows) => all(rows, out, |row, out| {
            put_message(3, out, |out| {
                put_uint(1, row.inode, out);
                put_uint(2, u64::from(row.index), out);
                put_message(3, out, |out| row.slices.encode(out));
            });
        }),
        Batch::Symlink(rows) => all(rows, out, |row, out| {
            put_message(7, out, |out| {
                put_uint(1, row.inode, out);
                put_bytes(2, &row.target, out);
            });
        }),
        Batch::Xattr(rows) => all(rows, out, |row, out| {
            put_message(5, out, |out| {
                put_uint(1, row.inode, out);
                put_bytes(2, &row.name, out);
                put_bytes(3, &row.value, out);
            });
        }),
        _ => encode_rare(batch, out),
    }
}

fn encode_rare(batch: &Batch, out: &mut Vec<u8>) -> u64 {
    match batch {
        Batch::SliceRef(rows) => all(rows, out, |row, out| {
            put_message(4, out, |out| {
                put_uint(1, row.id, out);
                put_uint(2, u64::from(row.size), out);
                put_int(3, row.refs, out);
            });
        }),
        Batch::Sustained(rows) => sessions(rows, out),
        Batch::DelFile(rows) => all(rows, out, |row, out| {
            put_message(9, out, |out| {
                put_uint(1, row.inode, out);
                put_uint(2, row.length, out);
                put_int(3, row.expire, out);
            });
        }),
        Batch::Acl(rows) => all(rows, out, |row, out| {
            put_message(12, out, |out| {
                put_uint(1, u64::from(row.id), out);
                put_message(2, out, |out| acl::encode(row, out));
            });
        }),
        Batch::DirStat(rows) => all(rows, out, |row, out| {
            put_message(10, out, |out| {
                put_uint(1, row.inode, out);
                put_int(2, row.length, out);
                put_int(3, row.space, out);
                put_int(4, row.inodes, out);
            });
        }),
        Batch::Quota(rows) => all(rows, out, |row, out| {
            let field = QUOTA_FIELDS.get(usize::from(row.class)).copied().unwrap_or(QUOTA_FIELDS[0]);
            put_message(field, out, |out| {
                put_uint(1, row.id, out);
                put_int(2, row.max_space.0, out);
                put_int(3, row.max_inodes.0, out);
                put_int(4, row.used_space, out);
                put_int(5, row.used_inodes, out);
                put_uint(6, u64::from(row.class), out);
            });
        }),
        Batch::Parent(rows) => all(rows, out, |row, out| {
            put_message(6, out, |out| {
                put_uint(1, row.inode, out);
                put_uint(2, row.parent, out);
                put_int(3, row.count, out);
            });
        }),
        _ => 0,
    }
}

fn all<R>(rows: &[R], out: &mut Vec<u8>, mut one: impl FnMut(&R, &mut Vec<u8>)) -> u64 {
    rows.iter().for_each(|row| one(row, out));
    rows.len() as u64
}

/// Rows of one session that follow each other become one message.
fn sessions(rows: &[Sustained], out: &mut Vec<u8>) -> u64 {
    let sessions = rows.chunk_by(|one, other| one.sid == other.sid);
    sessions.fold(0, |count, session| {
        put_message(8, out, |out| {
            put_uint(1, session.first().map_or(0, |row| row.sid), out);
            put_message(2, out, |out| session.iter().for_each(|row| put_integer(row.inode, out)));
        });
        count + 1
    })
}
