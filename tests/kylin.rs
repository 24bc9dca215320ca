//! Kylin's metastore on real servers, held against what Kylin's own tools were seen to do.

mod commands;
mod conflicts;
mod copies;
mod deaths;
mod kit;
mod loads;
mod maintenance;
mod node;
mod oracle;
mod place;
mod reading;
mod restore;
mod typed;
mod typed_copies;
