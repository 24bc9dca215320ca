//! What the dialects of SQL share: rows and their columns. Each dialect's statements and connections are in its own folder.

pub(crate) mod bind;
pub(crate) mod rows;
