//! Times whole commands on real servers.
fn main() {}
