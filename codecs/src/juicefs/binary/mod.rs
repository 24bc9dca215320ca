//! JuiceFS's binary dump (`pkg/meta/backup.go`, `pkg/meta/pb/backup.proto`): segments of protobuf messages, a marker, a
//! footer. Messages become rows and rows messages by hand; a stream of any length is cut where one message ends and the
//! next begins. Files, pipes and compression are not known here.

mod block;
mod decode;
mod encode;
mod footer;
mod foreign;
mod segment;
mod split;
mod wire;

pub use block::{Block, Left};
pub use decode::decode;
pub use encode::{encode, setting_message};
pub use footer::Footer;
pub use segment::{HEAD_BYTES, MARKER, SegmentType, head, is_start};
pub use split::Splitter;

#[cfg(test)]
mod tests;
