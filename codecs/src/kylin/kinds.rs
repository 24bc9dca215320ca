//! Every kind of Kylin's metadata, declared once: its fields, key and class. Rows, batches, the canonical form and JSON follow
//! from the declaration.
//!
//! What a resource is are its key and content. `ts` and `mvcc` are volatile: files of a backup hold no `mvcc`, and a restore
//! sets both anew by what the store had before, so they say nothing of a copy. The same holds for the offset of the change
//! log, and for the list of files to be cleaned up, which no backup holds. All of a log's entries are volatile: they say how
//! one store came to be what it is, and are rotated away. What is volatile is carried where there is room, and never compared.

use super::layout::Layout;
use crate::declare::kinds;

kinds! {
    /// What a store or a backup is: its layout, the last id of the change log whose effect is in it, and the project that it is
    /// of, where it is not of all.
    0 Setting "setting" Primary {
        1 key layout: Layout = "layout",
        2 volatile offset: Option<u64> = "offset",
        3 plain project: Vec<u8> = "project",
    }
    /// A resource: plain content under a key, when it was written in milliseconds since 1970, and how often it was changed.
    1 Resource "resource" Primary spread by key unless super::canonical::is_trash {
        1 key key: Vec<u8> = "key",
        2 plain content: Vec<u8> = "content",
        3 volatile ts: i64 = "ts",
        4 volatile mvcc: i64 = "mvcc",
    }
    /// An entry of the change log: plain content, or none where the resource was deleted. All of a unit are one transaction.
    /// In the typed layout it names project and model that it belongs to, and content may be a patch of the one before.
    2 Audit "audit" Volatile by id unless super::canonical::is_log {
        1 key id: u64 = "id",
        2 plain key: Vec<u8> = "key",
        3 plain content: Option<Vec<u8>> = "content",
        4 plain ts: i64 = "ts",
        5 plain mvcc: Option<i64> = "mvcc",
        6 plain unit: Vec<u8> = "unit",
        7 plain operator: Option<Vec<u8>> = "operator",
        8 plain instance: Vec<u8> = "instance",
        9 plain project: Vec<u8> = "project",
        10 plain model: Vec<u8> = "model",
        11 plain patch: u8 = "patch",
    }
}
