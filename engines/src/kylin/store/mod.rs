//! Kylin's metastore in a database: PostgreSQL, MySQL and MariaDB, in the flat and in the typed layout. Read in pieces on several
//! sessions that see one point in time; written to where the identifier has no table yet; and restored where there is one, in one
//! transaction, under maintenance mode.

mod address;
pub(crate) mod cells;
mod cuts;
pub mod host;
mod loader;
pub mod maintenance;
mod offset;
mod padded;
pub mod patch;
mod plan;
mod preflight;
mod projects;
mod rows;
pub(crate) mod select;
pub(crate) mod session;
mod sessions;
mod sink;
mod source;
mod stretches;
pub(crate) mod tables;
mod target;
mod transaction;

pub use address::StoreAddress;
pub use sink::{KylinSink, Writing};
pub use source::{KylinSource, Reading};
