//! How each store is read and bulk-loaded: one folder a store, files included.

mod address;
pub mod archive;
pub mod awaited;
pub mod binary;
pub mod bucket;
mod claimed;
mod feed;
mod foreign;
pub mod json;
pub mod kylin;
pub mod mysql;
mod objects;
pub mod output;
mod place;
pub mod postgres;
pub mod redis;
pub mod repository;
mod sql;
pub mod sqlite;
pub mod stamp;
pub mod synthetic;
mod watched;
pub mod wrapping;
