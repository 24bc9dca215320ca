//! Objects by name, in a folder or in an object store. The one module that knows the library behind it; it knows neither
//! repositories nor volumes.

mod address;
mod reader;
mod service;
mod store;

pub(crate) use address::Address;
pub(crate) use reader::ObjectReader;
pub(crate) use service::{Keys, Protocol, Remote, Service};
pub(crate) use store::{Condition, Conditional, Object, Store};
