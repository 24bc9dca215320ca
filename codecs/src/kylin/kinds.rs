//! Every kind of Kylin's metadata, declared once: its fields, key and class. Rows, batches, the canonical form and JSON follow
//! from the declaration.
//!
//! What a resource is are its key and content. `ts` and `mvcc` are declared as derived: files of a backup hold no `mvcc`, and a
//! restore sets both anew by what the store had before, so a difference in them alone is no loss. The same holds for the
//! offset of the change log. All of a log's entries are volatile: they say how one store came to be what it is, have ids that
//! mean nothing in another one, and are rotated away; they are carried as they are, and never compared.

use super::layout::Layout;
use crate::declare::kinds;

kinds! {
    /// What a store or a backup is: its layout, the last id of the change log whose effect is in it, and the project that it is
    /// of, where it is not of all.
    0 Setting "setting" Primary {
        1 key layout: Layout = "layout",
        2 derived offset: Option<u64> = "offset",
        3 plain project: Vec<u8> = "project",
    }
    /// A resource: plain content under a key, when it was written in milliseconds since 1970, and how often it was changed.
    1 Resource "resource" Primary {
        1 key key: Vec<u8> = "key",
        2 plain content: Vec<u8> = "content",
        3 derived ts: i64 = "ts",
        4 derived mvcc: i64 = "mvcc",
    }
    /// An entry of the change log: plain content, or none where the resource was deleted. All of a unit are one transaction.
    2 Audit "audit" Volatile by id unless super::canonical::is_log {
        1 key id: u64 = "id",
        2 plain key: Vec<u8> = "key",
        3 plain content: Option<Vec<u8>> = "content",
        4 plain ts: i64 = "ts",
        5 plain mvcc: Option<i64> = "mvcc",
        6 plain unit: Vec<u8> = "unit",
        7 plain operator: Option<Vec<u8>> = "operator",
        8 plain instance: Vec<u8> = "instance",
    }
}
