//! Kylin's metastore on real servers, held against what Kylin's own tools were seen to do.

mod commands;
mod conflicts;
mod copies;
mod deaths;
mod loads;
mod maintenance;
mod node;
mod oracle;
mod order;
mod place;
mod reading;
mod restore;
mod schema;
mod stores;
mod typed;
mod typed_copies;
