//! JuiceFS's JSON dump (`pkg/meta/dump.go`): its text, both ways, v0.15 to v1.4. Reading is a walk over a stream that comes
//! in parts; writing is by pieces that somebody else puts in the order of the tree. No store is known here.

mod escape;
mod head;
mod values;
mod walk;
mod write;

pub use escape::{escape, unescape};
pub use head::{Head, counter_name, has_counter};
pub use walk::{Event, MAX_DEPTH, Tree, Walk};
pub use write::Writer;
pub(super) use write::go_string;

use super::kinds::Acl;

/// The two rules a node may have; in a dump they stand beside it, without an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclRole {
    /// `posix_acl_access`.
    Access,
    /// `posix_acl_default`, which new children of a directory take over.
    Default,
}

/// An ACL rule that has no id yet: its id is 0.
pub type Rule = Acl;

#[cfg(test)]
mod tests;
