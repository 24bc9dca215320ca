//! The one test binary: fixtures written by a real JuiceFS, every copy between every pair of stores, the command line and
//! its exit codes, faults. Servers are started on spare ports in temporary folders.

mod cli;
mod fixtures;
mod kit;
mod live;
mod matrix;
