//! Dumps, read and written.
