//! This machine, as Kylin's rows name who writes: an address, and the name that a person knows it by.

use std::fs;
use std::net::UdpSocket;

/// Any address out there: nothing is sent to it, it only shows which of ours the way begins with (RFC 5737).
const OUTSIDE: &str = "192.0.2.1:9";

/// The first address that is not this machine's loopback, as Kylin's own tools take it where `kylin.env.ip-address` says none.
#[must_use]
pub fn address() -> String {
    let table = || fs::read_to_string("/proc/net/fib_trie").ok().and_then(|table| local_of(&table));
    outgoing().or_else(table).unwrap_or_else(|| "127.0.0.1".to_owned())
}

fn outgoing() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect(OUTSIDE).ok()?;
    let ours = socket.local_addr().ok()?.ip();
    (!ours.is_loopback() && !ours.is_unspecified()).then(|| ours.to_string())
}

/// Linux's table of ways: an address of the machine's own has a line of its own, and below it one that says so.
fn local_of(table: &str) -> Option<String> {
    let mut last = "";
    for line in table.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address;
        } else if line.starts_with("/32 host LOCAL") && !last.starts_with("127.") {
            return Some(last.to_owned());
        }
    }
    None
}

/// The name of this machine.
pub(super) fn name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_way_out_has_an_address_too() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 10.0.0.0\n        /24 link UNICAST\n     \
                     |-- 10.0.0.7\n        /32 host LOCAL\n";
        assert_eq!(local_of(table).as_deref(), Some("10.0.0.7"));
        assert_eq!(local_of("Main:\n     |-- 127.0.0.1\n        /32 host LOCAL\n"), None);
    }

    #[test]
    fn what_is_told_is_an_address() {
        assert!(address().parse::<std::net::IpAddr>().is_ok(), "{}", address());
        assert!(!name().is_empty());
    }
}
