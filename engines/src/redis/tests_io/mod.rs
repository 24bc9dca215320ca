//! Tests of reading volumes and writing them, with the fixtures of a real JuiceFS and real servers.

mod kit;
mod reading;
mod writing;
