//! Sockets that systemd opened: they are served, and matched by address.

use super::handover::echoing;
use super::{ended, has};
use crate::support::edge::EdgeBuilder;

/// systemd's own program for this passes these addresses under these names.
fn activated(sockets: &[&str], names: &str) -> EdgeBuilder {
    let mut launcher = vec!["systemd-socket-activate"];
    for socket in sockets {
        launcher.extend(["-l", socket]);
    }
    let names = format!("--fdname={names}");
    launcher.push(&names);
    echoing().under(&launcher)
}

#[test]
fn a_passed_socket_is_served_and_handed_over() {
    if !has("systemd-socket-activate") {
        return;
    }
    let mut edge =
        activated(&["127.0.0.1:{port}", "127.0.0.1:{mport}"], "public:management").start();
    assert_eq!(edge.get("/echo").send().status, 200);
    assert!(!edge.log().contains("inherited socket"), "{}", edge.log());
    // The listener is systemd's: ours could not have been bound beside it.
    let mut old = edge.upgrade();
    assert_eq!(ended(&mut old).code(), Some(0));
    assert_eq!(edge.get("/echo").send().status, 200);
}

#[test]
fn one_that_no_network_names_is_closed_with_a_warning() {
    if !has("systemd-socket-activate") {
        return;
    }
    let other = crate::support::ports::Port::claim();
    let edge =
        activated(&["127.0.0.1:{port}", &format!("127.0.0.1:{other}")], "public:other").start();
    assert!(
        edge.log().contains(&format!("the inherited socket at 127.0.0.1:{other} is closed")),
        "{}",
        edge.log()
    );
    assert!(std::net::TcpStream::connect(("127.0.0.1", other.number())).is_err());
    assert_eq!(edge.get("/echo").send().status, 200);
}
