//! The one test binary: fixtures written by a real JuiceFS, every copy between every pair of stores, the command line and
//! its exit codes, faults. Servers are started on spare ports in temporary folders.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]

mod agent;
mod cli;
mod conformance;
mod corpus;
mod deploy;
mod faults;
mod fixtures;
mod formats;
mod kit;
mod kylin;
mod layouts;
mod live;
mod mariadb;
mod matrix;
mod oracle;
mod pooler;
mod postgres;
mod preflight;
mod pruning;
mod repository;
mod restore;
mod s3;
mod trash;
mod volume_backups;
